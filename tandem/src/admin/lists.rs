//! What is shown of the node: its status, calls, phones, conflicts. From call control, as it is now.

use axum::extract::State;
use tandem_pbx::seam::AdminAsk;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::{Call, Conflict, ErrorBody, Phone, Status};
use super::fault::{Fault, Json};
use super::groups;
use crate::control::Ask;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(calls, groups::dial))
        .routes(routes!(phones))
        .routes(routes!(conflicts))
}

/// One screen: calls, phones, messages, the log
#[utoipa::path(
    get, path = "/status", tag = "node",
    responses(
        (status = 200, description = "How the node is", body = Status),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn status(State(answerer): State<Answerer>) -> Result<Json<Status>, Fault> {
    answerer.show(Ask::Status).await
}

/// Who talks
#[utoipa::path(
    get, path = "/calls", tag = "node",
    responses(
        (status = 200, description = "Calls, those that ring included", body = [Call]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn calls(State(answerer): State<Answerer>) -> Result<Json<Vec<Call>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Calls)).await
}

/// Who is registered where
#[utoipa::path(
    get, path = "/phones", tag = "node",
    responses(
        (status = 200, description = "Phones", body = [Phone]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn phones(State(answerer): State<Answerer>) -> Result<Json<Vec<Phone>>, Fault> {
    answerer.show(Ask::Phones).await
}

/// What lost when nodes that were apart met again
#[utoipa::path(
    get, path = "/conflicts", tag = "nodes",
    responses(
        (status = 200, description = "Newest first", body = [Conflict]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn conflicts(State(answerer): State<Answerer>) -> Result<Json<Vec<Conflict>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Conflicts)).await
}
