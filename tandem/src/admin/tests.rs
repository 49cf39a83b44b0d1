//! The API from outside, against a control thread that answers as it is told.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tandem_storage::cipher::Keyring;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;

/// A node whose control thread has ended.
fn answerer(dir: &Path) -> Answerer {
    let (control, _, _) = crate::control::queues();
    let (_, events) = crate::events::start("a".parse().unwrap(), 1, control.clone());
    Answerer {
        control,
        events,
        tokens: Tokens::default(),
        reader: SoundReader::new(dir),
        inviter: None,
        keeper: Keeper {
            realm: "tandem".into(),
            keyring: Keyring::default(),
        },
    }
}

async fn ask(method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let dir = tempfile::tempdir().unwrap();
    ask_of(open(answerer(dir.path())), method, path, &[], body).await
}

async fn ask_of(
    app: Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let answer = TowerToHyperService::new(app).call(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn refused(method: &str, path: &str, body: impl Into<Body>) -> (u16, String) {
    let (status, body) = ask(method, path, body).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    (status.as_u16(), body["error"].as_str().unwrap().to_owned())
}

#[test]
fn the_description_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let described = described(&verbs().1);
    if std::env::var_os("TANDEM_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &described).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == described,
        "docs/openapi.json is not what the code describes; if that is meant, run this test with \
         TANDEM_WRITE_OPENAPI=1, and look at the difference"
    );
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let (status, error) = refused("GET", "/api/v1/nowhere", Body::empty()).await;
    assert_eq!(status, 404);
    assert!(
        error.starts_with("there is nothing at /api/v1/nowhere"),
        "{error}"
    );
    assert_eq!(refused("GET", "/", Body::empty()).await.0, 404);
    let (status, error) = refused("PUT", "/api/v1/calls", Body::empty()).await;
    assert_eq!(status, 405);
    assert!(error.starts_with("/api/v1/calls has no PUT"), "{error}");
}

#[tokio::test]
async fn wrong_bodies_are_refused_in_words() {
    let (status, error) = refused("POST", "/api/v1/users", "{").await;
    assert_eq!(status, 400);
    assert!(error.starts_with("the body is not JSON: "), "{error}");
    let (status, error) = refused("POST", "/api/v1/users", r#"{"extension":"1"}"#).await;
    assert_eq!(status, 422);
    assert!(error.contains("missing field `name`"), "{error}");
    let (status, error) = refused("PATCH", "/api/v1/users/101", r#"{"colour":1}"#).await;
    assert_eq!(status, 422);
    assert!(error.contains("unknown field `colour`"), "{error}");
    let body = json!({ "extension": "1", "name": "Eve" }).to_string();
    let (status, error) = refused("POST", "/api/v1/users", body).await;
    assert_eq!(status, 422);
    assert_eq!(error, "'1' is not an extension: 2 to 10 digits");
    let path = "/api/v1/mailboxes/101/keep-heard";
    assert_eq!(refused("PUT", path, r#"{"days":-1}"#).await.0, 422);
    let path = "/api/v1/mailboxes/101/messages/x/sound";
    assert_eq!(refused("GET", path, Body::empty()).await.0, 400);
    assert_eq!(
        refused("GET", "/api/v1/mailboxes/%ff/quota", Body::empty())
            .await
            .0,
        400
    );
    let path = "/api/v1/mailboxes/101/messages";
    assert_eq!(refused("POST", path, "RIFF but no WAV").await.0, 422);
}

#[tokio::test]
async fn what_is_too_long_is_not_read() {
    let long = vec![b' '; 65 * 1024];
    let (status, error) = refused("POST", "/api/v1/users", long).await;
    assert_eq!(status, 413);
    assert!(error.contains("66560 bytes is too long"), "{error}");
    let body = streamed(vec![b' '; 40 * 1024], 3);
    assert_eq!(refused("POST", "/api/v1/users", body).await.0, 413);
}

/// A body that does not say how long it is.
fn streamed(piece: Vec<u8>, times: usize) -> Body {
    let (mut sender, receiver) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        for _ in 0..times {
            if sender.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    Body::new(Pieces(receiver))
}

struct Pieces(tokio::io::DuplexStream);

impl axum::body::HttpBody for Pieces {
    type Data = hyper::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let mut space = [0; 1024];
        let mut read = tokio::io::ReadBuf::new(&mut space);
        let stream = std::pin::Pin::new(&mut self.0);
        tokio::io::AsyncRead::poll_read(stream, context, &mut read).map(|done| match done {
            Err(e) => Some(Err(e)),
            Ok(()) if read.filled().is_empty() => None,
            Ok(()) => {
                let some = hyper::body::Bytes::copy_from_slice(read.filled());
                Some(Ok(hyper::body::Frame::data(some)))
            }
        })
    }
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let (status, error) = refused("GET", "/api/v1/status", Body::empty()).await;
    assert_eq!((status, &*error), (503, "the node is stopping"));
}

#[test]
fn the_status_fits_the_words() {
    let status = |error: &str| Fault::from(error).status().as_u16();
    assert_eq!(status("no user has the extension 999"), 404);
    assert_eq!(
        status("extension 102 has no message a.1.2; tandem mailbox list 102"),
        404
    );
    assert_eq!(
        status("there is no node b; tandem site list names them"),
        404
    );
    assert_eq!(status("Eve has the extension 102 already"), 409);
    assert_eq!(status(NO_CLUSTER), 409);
    assert_eq!(
        status("the mailbox is full; delete messages and try again"),
        507
    );
    assert_eq!(status("too much waits for call control"), 503);
    assert_eq!(status("there is nothing to set"), 422);
}

#[tokio::test]
async fn on_the_portals_port_only_the_description_needs_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let app = behind_token(answerer(dir.path()), Token::of(dir.path()));
    let ask = |path, headers| ask_of(app.clone(), "GET", path, headers, Body::empty());
    let (status, description) = ask("/api/v1/openapi.json", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(description, described(&verbs().1));
    let (status, error) = ask("/api/v1/status", &[]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(error.contains("api.token"), "{error}");
    let wrong = [("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
    assert_eq!(
        ask("/api/v1/calls", &wrong).await.0,
        StatusCode::UNAUTHORIZED
    );
    let token = std::fs::read_to_string(dir.path().join("api.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let right = [("authorization", &*bearer)];
    // Let in: it is the node that has ended.
    let (status, _) = ask("/api/v1/status", &right).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_token_opens_what_its_role_may() {
    let dir = tempfile::tempdir().unwrap();
    let token = "5".repeat(64);
    let mut keeper = TokensKeeper::default();
    let mut answerer = answerer(dir.path());
    answerer.tokens = keeper.tokens();
    let app = behind_token(answerer, Token::of(dir.path()));
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let ask = async |method: &str, path: &str| {
        let (status, body) = ask_of(app.clone(), method, path, &headers, Body::empty()).await;
        (status.as_u16(), body)
    };
    assert_eq!(ask("GET", "/api/v1/status").await.0, 401);
    // What is let in meets a node that has ended.
    for (role, read, operate, administer) in [
        ("read", 503, 403, 403),
        ("operate", 503, 400, 403),
        ("administer", 503, 400, 503),
    ] {
        let register = tokens::register_of(role, &token);
        keeper.set("api-token/crm", Some(&register));
        assert_eq!(ask("GET", "/api/v1/status").await.0, read, "{role}");
        assert_eq!(ask("POST", "/api/v1/calls").await.0, operate, "{role}");
        let (status, body) = ask("DELETE", "/api/v1/users/101").await;
        assert_eq!(status, administer, "{role}");
        if status == 403 {
            let expected = format!("the token crm may only {role}");
            assert!(body.contains(&expected), "{body}");
        }
    }
    keeper.set("api-token/crm", None);
    assert_eq!(ask("GET", "/api/v1/status").await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_to_ask_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let heads: [&[u8]; 3] = [
        b"",
        b"GET /api/v1/calls HT",
        b"POST /api/v1/users HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    ];
    for head in heads {
        let (mut asker, node) = UnixStream::pair().unwrap();
        asker.write_all(head).await.unwrap();
        let served = server::serve(node, open(answerer(dir.path())));
        let ended = tokio::time::timeout(Duration::from_secs(30), served).await;
        assert!(ended.is_ok(), "{}", String::from_utf8_lossy(head));
    }
}

#[tokio::test]
async fn a_connection_carries_one_question() {
    let dir = tempfile::tempdir().unwrap();
    let (mut asker, node) = UnixStream::pair().unwrap();
    tokio::spawn(server::serve(node, open(answerer(dir.path()))));
    let question = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n";
    asker.write_all(question).await.unwrap();
    let mut answer = String::new();
    asker.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("}\n"), "{answer}");
}
