//! Web pages and HTTP API. So far: whether the node lives (`/healthz`), whether it can serve
//! (`/readyz`), and its figures (`/metrics`), for people and for monitoring.
//!
//! It asks the node through [`Source`] and knows nothing of SIP or media; if it dies, calls go on.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the portal asks of the node. Calls may block for as long as the node needs to answer.
pub trait Source: Send + Sync + 'static {
    /// `Ok` once phones and callers are served; otherwise what is missing.
    fn ready(&self) -> Result<(), String>;
    /// All figures, in the Prometheus text format.
    fn metrics(&self) -> Result<String, String>;
}

/// A running portal.
pub struct Portal {
    local: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Portal {
    /// Serves `source` on `listener`.
    pub fn serve(listener: TcpListener, source: Arc<dyn Source>) -> std::io::Result<Portal> {
        let local = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let app = routes(source);
        let task = tokio::spawn(async move {
            let until = async {
                stopped.await.ok();
            };
            if let Err(e) = axum::serve(listener, app)
                .with_graceful_shutdown(until)
                .await
            {
                tracing::error!(error = %e, "the portal has stopped; calls go on");
            }
        });
        Ok(Portal { local, stop, task })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ends it; requests under way are cut after a moment.
    pub async fn close(self) {
        self.stop.send(()).ok();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(std::time::Duration::from_millis(500), self.task)
            .await
            .is_err()
        {
            abort.abort();
        }
    }
}

fn routes(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(source)
}

async fn front() -> Html<&'static str> {
    Html(FRONT)
}

async fn readyz(State(source): State<Arc<dyn Source>>) -> Response {
    match blocking(move || source.ready()).await {
        Ok(()) => "ready\n".into_response(),
        Err(missing) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {missing}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(source): State<Arc<dyn Source>>) -> Response {
    match blocking(move || source.metrics()).await {
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
        fn metrics(&self) -> Result<String, String> {
            Ok("tandem_calls 2\n".into())
        }
    }

    async fn get(ready: Result<(), String>, path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let portal = Portal::serve(listener, Arc::new(Node(ready))).unwrap();
        let mut stream = TcpStream::connect(portal.local()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        portal.close().await;
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
        assert!(reply.ends_with("tandem_calls 2\n"), "{reply}");
    }
}
