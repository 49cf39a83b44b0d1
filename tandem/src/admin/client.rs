//! The command line's side of the API: one question a connection, over the socket in a data directory.
//!
//! Waits until the answer is there: a question may take as long as call control, and the disk, need.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use super::bodies::{ErrorBody, INCOMPLETE};
use super::{ROOT, WAV_BYTES_MAX, socket_path};

/// The longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// What is not itself in a part of a path (RFC 3986 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Asks the node that runs on a data directory.
pub(crate) struct Client {
    data: PathBuf,
}

impl Client {
    pub(crate) fn of(data: PathBuf) -> Client {
        Client { data }
    }

    /// What is at `path`, given by its parts.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, String> {
        understand(self.ask(Method::GET, path, "", None)?.1)
    }

    /// The same with a query.
    pub(crate) fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, String> {
        let query = query.iter().enumerate().map(|(n, (name, value))| {
            let before = if n == 0 { '?' } else { '&' };
            format!("{before}{name}={}", utf8_percent_encode(value, &RESERVED))
        });
        let query: String = query.collect();
        understand(self.ask(Method::GET, path, &query, None)?.1)
    }

    /// Has something made or changed.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        understand(
            self.ask(method, path, "", Some(("application/json", body)))?
                .1,
        )
    }

    /// Has something done of which there is no more to say.
    pub(crate) fn carry_out<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<T, String> {
        understand(self.ask(method, path, "", None)?.1)
    }

    /// A WAV file that is at `path`, and whether some of it is missing.
    pub(crate) fn sound(&self, path: &[&str]) -> Result<(Vec<u8>, bool), String> {
        self.sound_with(path, "")
    }

    /// The same of what a query says more of.
    pub(crate) fn sound_with(&self, path: &[&str], query: &str) -> Result<(Vec<u8>, bool), String> {
        let (headers, wav) = self.ask(Method::GET, path, query, None)?;
        let is_incomplete = headers.get(INCOMPLETE).is_some_and(|said| said == "true");
        Ok((wav, is_incomplete))
    }

    /// Brings a WAV file in.
    pub(crate) fn send_sound<T: DeserializeOwned>(
        &self,
        path: &[&str],
        wav: Vec<u8>,
    ) -> Result<T, String> {
        // The node says so as well, but may have hung up before it could be heard.
        if wav.len() > WAV_BYTES_MAX {
            return Err(format!("a WAV file of {} bytes is too large", wav.len()));
        }
        understand(
            self.ask(Method::POST, path, "", Some(("audio/wav", wav)))?
                .1,
        )
    }

    /// Hands on the data of each event at `path`, until `take` has enough (false) or the node ends.
    pub(crate) fn follow(
        &self,
        path: &[&str],
        take: impl FnMut(&str) -> bool,
    ) -> Result<(), String> {
        let request = request(Method::GET, path, "", None)?;
        let stream = self.connect()?;
        match runtime()?.block_on(follow(stream, request, take)) {
            Ok(Some(refused)) => {
                let ErrorBody { error } = understand(refused)?;
                Err(error)
            }
            Ok(None) => Ok(()),
            Err(e) => Err(self.went_away(&e.to_string())),
        }
    }

    fn connect(&self) -> Result<std::os::unix::net::UnixStream, String> {
        let socket = socket_path(&self.data);
        // Where many ask, this waits for its turn.
        std::os::unix::net::UnixStream::connect(&socket).map_err(|e| {
            format!(
                "no node is running on {} ({e}); start one, or say which with --data DIR",
                self.data.display()
            )
        })
    }

    fn went_away(&self, why: &str) -> String {
        let socket = socket_path(&self.data);
        format!("the node at {} went away: {why}", socket.display())
    }

    fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<(HeaderMap, Vec<u8>), String> {
        let request = request(method, path, query, body)?;
        let stream = self.connect()?;
        let runtime = runtime()?;
        let answer = runtime.block_on(exchange(stream, request));
        let (is_done, headers, bytes) = answer.map_err(|e| self.went_away(&e.to_string()))?;
        if is_done {
            return Ok((headers, bytes));
        }
        let ErrorBody { error } = understand(bytes)?;
        Err(error)
    }
}

fn request(
    method: Method,
    path: &[&str],
    query: &str,
    body: Option<(&str, Vec<u8>)>,
) -> Result<Request<Body>, String> {
    let path = path
        .iter()
        .map(|part| format!("/{}", utf8_percent_encode(part, &RESERVED)));
    let path: String = path.collect();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{ROOT}{path}{query}"))
        .header(HOST, "node");
    let body = body.map(|(kind, bytes)| {
        let headers = request.headers_mut();
        if let (Some(headers), Ok(kind)) = (headers, kind.parse()) {
            headers.insert(CONTENT_TYPE, kind);
        }
        Body::from(bytes)
    });
    let request = request.body(body.unwrap_or_default());
    request.map_err(|e| format!("this cannot be asked: {e}"))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    runtime.map_err(|e| e.to_string())
}

/// An event that is longer is none of ours.
const EVENT_BYTES_MAX: usize = 1 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Hands on the data of each event; if there are none to be had, what the node said instead.
async fn follow(
    stream: std::os::unix::net::UnixStream,
    request: Request<Body>,
    mut take: impl FnMut(&str) -> bool,
) -> Result<Option<Vec<u8>>, Failure> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(UnixStream::from_std(stream)?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let (parts, mut body) = sender.send_request(request).await?.into_parts();
    if !parts.status.is_success() {
        return Ok(Some(body.collect().await?.to_bytes().to_vec()));
    }
    let mut unread = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(some) = frame?.into_data() else {
            continue;
        };
        unread.extend_from_slice(&some);
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = unread.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            if data.is_some_and(|data| !take(data)) {
                return Ok(None);
            }
        }
        if unread.len() > EVENT_BYTES_MAX {
            return Err("an event has no end".into());
        }
    }
    Err("it told nothing more".into())
}

type Exchanged = Result<(bool, HeaderMap, Vec<u8>), Failure>;

async fn exchange(stream: std::os::unix::net::UnixStream, request: Request<Body>) -> Exchanged {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(UnixStream::from_std(stream)?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let (parts, mut body) = sender.send_request(request).await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(some) = frame?.into_data() else {
            continue;
        };
        if bytes.len() + some.len() > ANSWER_BYTES_MAX {
            return Err("its answer has no end".into());
        }
        bytes.extend_from_slice(&some);
    }
    Ok((parts.status.is_success(), parts.headers, bytes))
}

/// An answer without words is null.
fn understand<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, String> {
    let read = match bytes.is_empty() {
        true => serde_json::from_value(Value::Null),
        false => serde_json::from_slice(&bytes),
    };
    read.map_err(|e| format!("the node's answer is broken: {e}"))
}
