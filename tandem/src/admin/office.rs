//! The whole office as one file. Passwords and PINs that are typed in it end here; what goes on are their
//! digests.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use tandem_pbx::office::file::{Fault as FileFault, OfficeFile};
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, OfficeDifference, OfficeFault};
use super::fault::{Fault, Json, SOUND_WITHIN, parse, read};
use super::{Answerer, blocking};
use crate::control::Ask;
use crate::secrets::{self, Keeper};

/// The longest office file, as JSON.
const OFFICE_BYTES_MAX: usize = 16 << 20;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(export, apply))
        .routes(routes!(difference))
}

/// The office: every user, group and room, secrets as hashes
#[utoipa::path(
    get, path = "/office", tag = "office",
    responses(
        (status = 200, description = "As `tandem office export` writes it, in JSON", body = Value),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn export(State(answerer): State<Answerer>) -> Result<Json<Value>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::ExportOffice)).await
}

/// What would be different if the office were this, and what is wrong with it
#[utoipa::path(
    post, path = "/office/difference", tag = "office", request_body = Value,
    responses(
        (status = 200, description = "Faults, or differences", body = OfficeDifference),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn difference(
    State(answerer): State<Answerer>,
    body: Body,
) -> Result<Json<OfficeDifference>, Fault> {
    let file = parse(&read(body, OFFICE_BYTES_MAX, SOUND_WITHIN).await?)?;
    let keeper = answerer.keeper.clone();
    let (file, faults) = blocking(move || Ok(digested(&keeper, file))).await?;
    let mut told = compare(&answerer, file).await?;
    told.faults.extend(faults);
    Ok(Json(told))
}

/// Make the office this; who is not in it is removed
#[utoipa::path(
    put, path = "/office", tag = "office", request_body = Value,
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn apply(State(answerer): State<Answerer>, body: Body) -> Result<StatusCode, Fault> {
    let file = parse(&read(body, OFFICE_BYTES_MAX, SOUND_WITHIN).await?)?;
    let keeper = answerer.keeper.clone();
    let (file, faults) = blocking(move || Ok(digested(&keeper, file))).await?;
    if let Some(fault) = faults.into_iter().next() {
        return Err(fault.what.into());
    }
    answerer
        .carry_out(AdminAsk::ApplyOffice(Box::new(file)))
        .await
}

async fn compare(answerer: &Answerer, file: OfficeFile) -> Result<OfficeDifference, Fault> {
    let ask = AdminAsk::CompareOffice(Box::new(file));
    let AdminAnswer::Json(told) = answerer.ask_pbx(ask).await? else {
        return Err(Fault::internal("call control gave another answer"));
    };
    serde_json::from_value(told).map_err(|e| Fault::internal(&e.to_string()))
}

/// The file with digests in the place of what was typed, and what cannot be a secret.
fn digested(keeper: &Keeper, mut file: OfficeFile) -> (OfficeFile, Vec<OfficeFault>) {
    let mut faults = Vec::new();
    let mut fault = |table: &str, index, key: &str, what| {
        let (table, key) = (table.to_owned(), key.to_owned());
        faults.push(FileFault {
            table,
            index,
            key,
            what,
        });
    };
    for (index, user) in file.user.iter_mut().enumerate() {
        if user.password.is_some() && user.ha1_md5.is_some() {
            let what = "give the password or its digests, not both".to_owned();
            fault("user", index, "password", what);
        }
        if user.pin.is_some() && user.pin_hash.is_some() {
            let what = "give the PIN or its hash, not both".to_owned();
            fault("user", index, "pin", what);
        }
        if let Some(password) = user.password.take() {
            match secrets::password(Some(password.to_string()), &user.extension) {
                Ok(password) => {
                    let (md5, sha256) = keeper.ha1(&user.extension, &password);
                    (user.ha1_md5, user.ha1_sha256) = (Some(md5), Some(sha256));
                }
                Err(what) => fault("user", index, "password", what),
            }
        }
        if let Some(pin) = user.pin.take() {
            match hashed(keeper, &pin, &user.extension) {
                Ok(hash) => user.pin_hash = Some(hash),
                Err(what) => fault("user", index, "pin", what),
            }
        }
    }
    for (index, group) in file.group.iter_mut().enumerate() {
        if group.pin.is_some() && group.pin_hash.is_some() {
            let what = "give the PIN or its hash, not both".to_owned();
            fault("group", index, "pin", what);
        }
        if let Some(pin) = group.pin.take() {
            match hashed(keeper, &pin, &group.extension) {
                Ok(hash) => group.pin_hash = Some(hash),
                Err(what) => fault("group", index, "pin", what),
            }
        }
    }
    for (index, room) in file.room.iter_mut().enumerate() {
        let pins = [
            ("pin", room.pin.take(), &mut room.pin_hash),
            ("host_pin", room.host_pin.take(), &mut room.host_pin_hash),
        ];
        for (key, pin, hash) in pins {
            let Some(pin) = pin else { continue };
            if hash.is_some() {
                let what = "give the PIN or its hash, not both".to_owned();
                fault("room", index, key, what);
            }
            match hashed(keeper, &pin, &room.extension) {
                Ok(digest) => *hash = Some(digest),
                Err(what) => fault("room", index, key, what),
            }
        }
    }
    for (index, trunk) in file.trunk.iter_mut().enumerate() {
        if let Some(password) = trunk.password.take() {
            match keeper.trunk_password(&password) {
                Ok(kept) => trunk.password = Some(kept),
                Err(what) => fault("trunk", index, "password", what),
            }
        }
    }
    let faults = faults.into_iter().map(OfficeFault::from).collect();
    (file, faults)
}

fn hashed(keeper: &Keeper, pin: &str, extension: &str) -> Result<std::sync::Arc<str>, String> {
    let pin = secrets::pin(Some(pin.to_owned()), extension)?;
    keeper.pin_hash(&pin)
}
