//! Groups, and calls that are begun for a user: what was asked becomes what call control is asked.

use axum::extract::State;
use axum::http::StatusCode;
use tandem_pbx::office::group::{Overflow, Strategy};
use tandem_pbx::seam::{AdminAsk, GroupChange};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, Group, GroupSettings, NewCall};
use super::fault::{Fault, Json, Named};
use super::{Answerer, blocking};
use crate::control::Ask;
use crate::secrets::{self, Keeper};

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_groups, add_group))
        .routes(routes!(set_group, remove_group))
}

/// All groups and their members
#[utoipa::path(
    get, path = "/groups", tag = "groups",
    responses(
        (status = 200, description = "Groups", body = [Group]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_groups(State(answerer): State<Answerer>) -> Result<Json<Vec<Group>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Groups)).await
}

/// Make a group: users who are rung under one extension
#[utoipa::path(
    post, path = "/groups", tag = "groups", request_body = GroupSettings,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_group(
    State(answerer): State<Answerer>,
    Json(mut settings): Json<GroupSettings>,
) -> Result<StatusCode, Fault> {
    let extension = settings.extension.take();
    let extension = extension.ok_or_else(|| "a group needs an extension".to_owned())?;
    let keeper = answerer.keeper.clone();
    let told = extension.clone();
    let change = blocking(move || change(&keeper, &told, settings)).await?;
    let extension = extension.into();
    let ask = AdminAsk::AddGroup { extension, change };
    answerer.carry_out(ask).await?;
    Ok(StatusCode::CREATED)
}

/// Change a group
#[utoipa::path(
    patch, path = "/groups/{extension}", tag = "groups", request_body = GroupSettings,
    params(("extension" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_group(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(settings): Json<GroupSettings>,
) -> Result<StatusCode, Fault> {
    let keeper = answerer.keeper.clone();
    let told = extension.clone();
    let change = blocking(move || change(&keeper, &told, settings)).await?;
    let extension = extension.into();
    answerer
        .carry_out(AdminAsk::SetGroup { extension, change })
        .await
}

/// Remove a group; its messages are in nobody's mailbox then
#[utoipa::path(
    delete, path = "/groups/{extension}", tag = "groups",
    params(("extension" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_group(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<StatusCode, Fault> {
    let extension = extension.into();
    answerer
        .carry_out(AdminAsk::RemoveGroup { extension })
        .await
}

/// Ring a user's phones, then call a number for it
#[utoipa::path(
    post, path = "/calls", tag = "node", request_body = NewCall,
    responses(
        (status = 202, description = "The phones are being rung"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
pub(super) async fn dial(
    State(answerer): State<Answerer>,
    Json(call): Json<NewCall>,
) -> Result<StatusCode, Fault> {
    let ask = AdminAsk::Dial {
        extension: call.extension.into(),
        number: call.number.into(),
    };
    answerer.carry_out(ask).await?;
    Ok(StatusCode::ACCEPTED)
}

fn change(keeper: &Keeper, extension: &str, to: GroupSettings) -> Result<GroupChange, String> {
    let strategy = to.strategy.map(|name| {
        let none = || {
            format!(
                "'{name}' is no strategy; there are all, in_order, rotating, longest_idle, page \
                 and page_two_way"
            )
        };
        Strategy::parse(&name).ok_or_else(none)
    });
    let pin_hash = match to.pin {
        Some(pin) => {
            let dialled = to.extension.as_deref().unwrap_or(extension);
            let pin = secrets::pin(Some(pin), dialled)?;
            Some(keeper.pin_hash(&pin)?)
        }
        None => None,
    };
    Ok(GroupChange {
        extension: to.extension.map(Into::into),
        name: to.name.map(Into::into),
        members: to
            .members
            .map(|all| all.into_iter().map(Into::into).collect()),
        strategy: strategy.transpose()?,
        ring_s: to.ring_s,
        overflow: to.overflow.as_deref().map(Overflow::parse),
        schedule: to.schedule.map(|name| name.map(Into::into)),
        night: to.night.as_deref().map(Overflow::parse),
        pin_hash,
    })
}
