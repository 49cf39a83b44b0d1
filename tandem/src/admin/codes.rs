//! Codes to dial: what was asked becomes what call control is asked.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tandem_pbx::seam::AdminAsk;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::ErrorBody;
use super::fault::{Fault, Json, Named};
use crate::control::Ask;

/// What is dialled for a service.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Code {
    pub(crate) name: String,
    /// Empty: nothing is.
    pub(crate) code: String,
    /// What most people know it by.
    pub(crate) default: String,
}

/// What is to be dialled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeSettings {
    /// null: what most people know; empty: nothing.
    pub(crate) code: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_codes))
        .routes(routes!(set_code))
}

/// All codes to dial
#[utoipa::path(
    get, path = "/codes", tag = "codes",
    responses(
        (status = 200, description = "Codes", body = [Code]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_codes(State(answerer): State<Answerer>) -> Result<Json<Vec<Code>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Codes)).await
}

/// Change what is dialled for a service
#[utoipa::path(
    put, path = "/codes/{name}", tag = "codes", request_body = CodeSettings,
    params(("name" = String, Path, description = "Of the service")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_code(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
    Json(settings): Json<CodeSettings>,
) -> Result<StatusCode, Fault> {
    let ask = AdminAsk::SetCode {
        service: name.into(),
        code: settings.code.map(Into::into),
    };
    answerer.carry_out(ask).await
}
