//! What comes in with a request and what goes back: bodies with a bound, JSON, and faults as
//! `{"error": "…"}` with a fitting status.
//!
//! Call control says in words alone why something cannot be; the status is found by its words, in one place.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::NO_CLUSTER;
use super::bodies::ErrorBody;

/// The longest question without sound.
const JSON_BYTES_MAX: usize = 64 * 1024;
/// How long somebody may take to ask.
pub(super) const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How long sound may take, in or out.
pub(super) const SOUND_WITHIN: Duration = Duration::from_secs(120);

/// What could not be done.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    error: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Fault {
        let error = error.into();
        Fault { status, error }
    }

    /// Not the asker's.
    pub(super) fn internal(error: &str) -> Fault {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

/// Something that was asked for by name is not there.
const NOT_FOUND: [&str; 13] = [
    "there is no recording ",
    "no user has the extension ",
    "no group has the extension ",
    "no room has the extension ",
    "no trunk is called ",
    "no route has the pattern ",
    "no schedule is called ",
    "nobody has the number ",
    "nobody has blocked ",
    "no code is called ",
    "no speed dial has the digits ",
    "there is no node ",
    "extension ",
];
/// The node cannot do it for now, or not any more.
const UNAVAILABLE: [&str; 5] = [
    "there are too many calls",
    "too much waits for call control",
    "the node is stopping",
    "the log did not take it",
    "too many imports at once",
];
/// The disk or a mailbox has no room.
const NO_ROOM: [&str; 2] = ["the disk is full", "the mailbox is full"];

/// What call control, or a check before it, says.
impl From<String> for Fault {
    fn from(error: String) -> Fault {
        let begins = |words: &[&str]| words.iter().any(|some| error.starts_with(some));
        let status = if begins(&NOT_FOUND) {
            StatusCode::NOT_FOUND
        } else if begins(&UNAVAILABLE) {
            StatusCode::SERVICE_UNAVAILABLE
        } else if begins(&NO_ROOM) {
            StatusCode::INSUFFICIENT_STORAGE
        } else if error == NO_CLUSTER || error.ends_with(" already") {
            StatusCode::CONFLICT
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        Fault { status, error }
    }
}

impl From<&str> for Fault {
    fn from(error: &str) -> Fault {
        error.to_owned().into()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Fault { status, error } = self;
        (status, Json(ErrorBody { error })).into_response()
    }
}

/// A body that is JSON: as an answer, or as what was asked, at most [`JSON_BYTES_MAX`] long.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Fault> {
        let body = request.into_body();
        let bytes = read(body, JSON_BYTES_MAX, ASKED_WITHIN).await?;
        parse(&bytes).map(Json)
    }
}

/// The name in a path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Fault> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Named(name))
            .map_err(|e| Fault::new(StatusCode::BAD_REQUEST, e.body_text()))
    }
}

/// What was asked, out of its bytes.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|e| {
        if e.is_data() {
            let error = format!("the body is not what is asked for here: {e}");
            Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error)
        } else {
            Fault::new(
                StatusCode::BAD_REQUEST,
                format!("the body is not JSON: {e}"),
            )
        }
    })
}

/// All of a body. Room is taken as it comes, not as it is announced.
pub(super) async fn read(body: Body, most: usize, within: Duration) -> Result<Vec<u8>, Fault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(too_long(announced, most));
    }
    let slow = |_| Fault::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    timeout(within, gather(body, most)).await.map_err(slow)?
}

async fn gather(mut body: Body, most: usize) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |e| Fault::new(StatusCode::BAD_REQUEST, format!("the body broke off: {e}"));
        if let Ok(some) = frame.map_err(broken)?.into_data() {
            let length = all.len() + some.len();
            if length > most {
                return Err(too_long(length, most));
            }
            all.extend_from_slice(&some);
        }
    }
    Ok(all)
}

fn too_long(length: usize, most: usize) -> Fault {
    let error = format!("a body of {length} bytes is too long; at most {most} are taken here");
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, error)
}
