//! What happens, as server-sent events (HTML Living Standard, 9.2): from the hub (`crate::events`), for as
//! long as somebody reads.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::ErrorBody;
use super::fault::Fault;

/// On an answer that has no end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endless;

/// The data of an event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Event {
    /// node.epoch.number; of `lost`: none.
    pub(crate) id: Option<String>,
    pub(crate) at: Option<u64>,
    /// leg.begin, leg.ring, leg.answer, leg.hold, leg.resume, leg.move, leg.end; phone.registered,
    /// phone.gone; message.new, message.heard, message.unheard, message.deleted, message.restored,
    /// message.changed, message.destroyed; user.changed, user.removed, group.changed, group.removed;
    /// conflict, alarm; node.up, node.away, node.copied, node.stopping, disk.room; or lost: events are
    /// missing here.
    pub(crate) r#type: String,
    /// What it happened to, as in listings.
    #[schema(value_type = Object)]
    pub(crate) body: Option<Value>,
    /// Of `lost`: how many; null: not known.
    pub(crate) count: Option<u64>,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What happens, as it happens
#[utoipa::path(
    get, path = "/events", tag = "node",
    params(("last-event-id" = Option<String>, Header, description = "The last event that was read: what \
        came after it is told first, as far as it is kept")),
    responses(
        (status = 200, description = "Server-sent events, each with this as its data", body = Event,
            content_type = "text/event-stream"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn events(State(answerer): State<Answerer>, headers: HeaderMap) -> Result<Response, Fault> {
    let last = headers.get("last-event-id");
    let last = last.map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
    let stream = answerer.events.read(last).await.ok_or_else(|| {
        let error = "there is no place for another reader of events; close one, and try again";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })?;
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut answer = (headers, Body::new(stream)).into_response();
    answer.extensions_mut().insert(Endless);
    Ok(answer)
}
