//! Mailboxes without their sound: messages, holds, quotas. A mailbox is named by the extension of its user.

use axum::extract::State;
use axum::http::StatusCode;
use tandem_pbx::seam::AdminAsk;
use tandem_storage::name::Id;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::{ErrorBody, Hold, KeepHeard, Message, Quota, QuotaSettings, There};
use super::fault::{Fault, Json, Named};
use crate::control::Ask;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_messages))
        .routes(routes!(list_deleted))
        .routes(routes!(undelete_message))
        .routes(routes!(set_hold))
        .routes(routes!(set_keep_heard))
        .routes(routes!(quota, set_quota))
        .routes(routes!(there))
}

/// The messages of a mailbox
#[utoipa::path(
    get, path = "/mailboxes/{extension}/messages", tag = "mailboxes",
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 200, description = "Messages", body = [Message]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_messages(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<Json<Vec<Message>>, Fault> {
    let extension = extension.into();
    answerer
        .show(Ask::Pbx(AdminAsk::Mailbox { extension }))
        .await
}

/// Deleted messages that can still be had back
#[utoipa::path(
    get, path = "/mailboxes/{extension}/deleted", tag = "mailboxes",
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 200, description = "Messages", body = [Message]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_deleted(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<Json<Vec<Message>>, Fault> {
    let extension = extension.into();
    answerer
        .show(Ask::Pbx(AdminAsk::Deleted { extension }))
        .await
}

/// Have a deleted message back
#[utoipa::path(
    post, path = "/mailboxes/{extension}/deleted/{id}/undelete", tag = "mailboxes",
    params(
        ("extension" = String, Path, description = "Whose"),
        ("id" = String, Path, description = "Which, from the list of deleted ones"),
    ),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn undelete_message(
    State(answerer): State<Answerer>,
    Named((extension, id)): Named<(String, String)>,
) -> Result<StatusCode, Fault> {
    let id = message_id(&id)?;
    let extension = extension.into();
    answerer
        .carry_out(AdminAsk::Undelete { extension, id })
        .await
}

/// Legal hold: nothing of a mailbox is destroyed while it is on
#[utoipa::path(
    put, path = "/mailboxes/{extension}/hold", tag = "mailboxes", request_body = Hold,
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_hold(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(Hold { hold }): Json<Hold>,
) -> Result<StatusCode, Fault> {
    let extension = extension.into();
    answerer.carry_out(AdminAsk::Hold { extension, hold }).await
}

/// Delete heard messages after so many days
#[utoipa::path(
    put, path = "/mailboxes/{extension}/keep-heard", tag = "mailboxes", request_body = KeepHeard,
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_keep_heard(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(KeepHeard { days }): Json<KeepHeard>,
) -> Result<StatusCode, Fault> {
    let most = tandem_pbx::DAYS_MAX;
    if !(0.0..=most).contains(&days) {
        return Err(format!("days must be 0 to {most}").into());
    }
    let extension = extension.into();
    let days = (days > 0.0).then_some(days);
    answerer
        .carry_out(AdminAsk::KeepHeard { extension, days })
        .await
}

/// How much a mailbox holds and may hold
#[utoipa::path(
    get, path = "/mailboxes/{extension}/quota", tag = "mailboxes",
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 200, description = "What it holds, and may", body = Quota),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn quota(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<Json<Quota>, Fault> {
    let extension = extension.into();
    answerer.show(Ask::Pbx(AdminAsk::Quota { extension })).await
}

/// Set how much a mailbox may hold
#[utoipa::path(
    patch, path = "/mailboxes/{extension}/quota", tag = "mailboxes", request_body = QuotaSettings,
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_quota(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(QuotaSettings { minutes, messages }): Json<QuotaSettings>,
) -> Result<StatusCode, Fault> {
    let ask = AdminAsk::SetQuota {
        extension: extension.into(),
        minutes,
        messages,
    };
    answerer.carry_out(ask).await
}

/// Which messages are there, deleted ones included: what need not be put back from a backup
#[utoipa::path(
    get, path = "/mailboxes/{extension}/there", tag = "mailboxes",
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 200, description = "Names of messages", body = There),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn there(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<Json<There>, Fault> {
    let extension = extension.into();
    answerer.show(Ask::Pbx(AdminAsk::There { extension })).await
}

/// A message's name, as somebody typed it.
pub(super) fn message_id(id: &str) -> Result<Id, Fault> {
    id.parse()
        .map_err(|e| Fault::new(StatusCode::BAD_REQUEST, format!("'{id}': {e}")))
}
