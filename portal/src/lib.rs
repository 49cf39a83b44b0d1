//! Web pages and HTTP API. So far: whether the node lives (`/healthz`), whether it can serve
//! (`/readyz`), and its figures (`/metrics`), for people and for monitoring; and beside them the API, which
//! comes from whoever starts the portal, with its own guard.
//!
//! It asks the node through [`Source`] and knows nothing of SIP or media; if it dies, calls go on.
#![forbid(unsafe_code)]

mod door;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use door::Door;

/// What the portal asks of the node. Calls may block for as long as the node needs to answer.
pub trait Source: Send + Sync + 'static {
    /// `Ok` once phones and callers are served; otherwise what is missing.
    fn ready(&self) -> Result<(), String>;
    /// All figures, in the Prometheus text format. `refused`: the portal's own, the connections for which it
    /// had no room.
    fn metrics(&self, refused: u64) -> Result<String, String>;
}

/// A running portal.
pub struct Portal {
    local: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Portal {
    /// Serves `source` on `listener`, and `api`, whose paths begin with `/api/`.
    pub fn serve(
        listener: TcpListener,
        source: Arc<dyn Source>,
        api: Router,
    ) -> std::io::Result<Portal> {
        let local = listener.local_addr()?;
        let door = Door::default();
        let app = routes(source, door.clone()).merge(api);
        let task = tokio::spawn(door.serve(listener, app));
        Ok(Portal { local, task })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ends it: nobody is let in any more. Requests under way end with the program.
    pub fn close(self) {
        self.task.abort();
    }
}

/// What pages are made from.
#[derive(Clone)]
struct Pages {
    source: Arc<dyn Source>,
    door: Door,
}

fn routes(source: Arc<dyn Source>, door: Door) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Pages { source, door })
}

async fn front() -> Html<&'static str> {
    Html(FRONT)
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match blocking(move || pages.source.ready()).await {
        Ok(()) => "ready\n".into_response(),
        Err(missing) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {missing}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let refused = pages.door.refused();
    match blocking(move || pages.source.metrics(refused)).await {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(e) => (StatusCode::SERVICE_UNAVAILABLE, e + "\n").into_response(),
    }
}

/// The node's answer may take a moment; the portal's own threads do not wait for it.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(ask)
        .await
        .unwrap_or_else(|e| Err(e.to_string()))
}

const FRONT: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content='width=device-width'><title>Tandem</title>\
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}\
</style><h1>Tandem</h1><p>This telephone system is running.</p><ul>\
<li><a href=/readyz>Is it ready for calls?</a></li>\
<li><a href=/metrics>Its figures</a>, for Prometheus</li></ul>\
<p>On its machine, <code>tandem status</code> shows phones, calls and messages.</p></html>";

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct Node(Result<(), String>);

    impl Source for Node {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }
        fn metrics(&self, refused: u64) -> Result<String, String> {
            Ok(format!(
                "tandem_calls 2\ntandem_portal_refused_total {refused}\n"
            ))
        }
    }

    async fn get(ready: Result<(), String>, path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let portal = Portal::serve(listener, Arc::new(Node(ready)), Router::new()).unwrap();
        let mut stream = TcpStream::connect(portal.local()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        portal.close();
        reply
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing() {
        let reply = get(Err("the log is closed".into()), "/readyz").await;
        assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
        assert!(reply.ends_with("not ready: the log is closed\n"), "{reply}");
        assert!(get(Ok(()), "/readyz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let reply = get(Ok(()), "/metrics").await;
        assert!(reply.contains("text/plain; version=0.0.4"), "{reply}");
        assert!(reply.contains("tandem_calls 2\n"), "{reply}");
        assert!(
            reply.ends_with("tandem_portal_refused_total 0\n"),
            "{reply}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_a_request_is_let_go_and_others_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let portal = Portal::serve(listener, Arc::new(Node(Ok(()))), Router::new()).unwrap();
        let mut slow = TcpStream::connect(portal.local()).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let mut rest = Vec::new();
        // Closed, with or without a word: the clock of this test runs on when nothing else does.
        slow.read_to_end(&mut rest).await.ok();
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
        assert!(get(Ok(()), "/healthz").await.starts_with("HTTP/1.1 200"));
        portal.close();
    }
}
