//! Rooms: what was asked becomes what call control is asked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use tandem_pbx::seam::{AdminAsk, RoomChange};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, Room, RoomSettings};
use super::fault::{Fault, Json, Named};
use super::{Answerer, blocking};
use crate::control::Ask;
use crate::secrets::{self, Keeper};

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_rooms, add_room))
        .routes(routes!(set_room, remove_room))
}

/// All rooms, and who is in them
#[utoipa::path(
    get, path = "/rooms", tag = "rooms",
    responses(
        (status = 200, description = "Rooms", body = [Room]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_rooms(State(answerer): State<Answerer>) -> Result<Json<Vec<Room>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Rooms)).await
}

/// Make a room: one extension at which people meet
#[utoipa::path(
    post, path = "/rooms", tag = "rooms", request_body = RoomSettings,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_room(
    State(answerer): State<Answerer>,
    Json(mut settings): Json<RoomSettings>,
) -> Result<StatusCode, Fault> {
    let extension = settings.extension.take();
    let extension = extension.ok_or_else(|| "a room needs an extension".to_owned())?;
    let keeper = answerer.keeper.clone();
    let told = extension.clone();
    let change = blocking(move || change(&keeper, &told, settings)).await?;
    let extension = extension.into();
    let ask = AdminAsk::AddRoom { extension, change };
    answerer.carry_out(ask).await?;
    Ok(StatusCode::CREATED)
}

/// Change a room
#[utoipa::path(
    patch, path = "/rooms/{extension}", tag = "rooms", request_body = RoomSettings,
    params(("extension" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_room(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(settings): Json<RoomSettings>,
) -> Result<StatusCode, Fault> {
    let keeper = answerer.keeper.clone();
    let told = extension.clone();
    let change = blocking(move || change(&keeper, &told, settings)).await?;
    let extension = extension.into();
    answerer
        .carry_out(AdminAsk::SetRoom { extension, change })
        .await
}

/// Remove a room; who is in it can go on
#[utoipa::path(
    delete, path = "/rooms/{extension}", tag = "rooms",
    params(("extension" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_room(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<StatusCode, Fault> {
    let extension = extension.into();
    answerer.carry_out(AdminAsk::RemoveRoom { extension }).await
}

fn change(keeper: &Keeper, extension: &str, to: RoomSettings) -> Result<RoomChange, String> {
    let dialled = to.extension.as_deref().unwrap_or(extension);
    let hash = |pin: Option<Option<String>>| -> Result<Option<Option<Arc<str>>>, String> {
        Ok(match pin {
            Some(Some(pin)) => {
                let pin = secrets::pin(Some(pin), dialled)?;
                Some(Some(keeper.pin_hash(&pin)?))
            }
            Some(None) => Some(None),
            None => None,
        })
    };
    if to.pin.is_some() && to.pin == to.host_pin {
        return Err("hosts need a PIN of their own".to_owned());
    }
    let (pin_hash, host_pin_hash) = (hash(to.pin.clone())?, hash(to.host_pin.clone())?);
    Ok(RoomChange {
        extension: to.extension.map(Into::into),
        name: to.name.map(Into::into),
        members_max: to.members_max,
        is_lecture: to.lecture,
        pin_hash,
        host_pin_hash,
    })
}
