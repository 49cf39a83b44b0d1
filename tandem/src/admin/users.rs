//! Users: what was asked becomes what call control is asked. Passwords and PINs end here; what goes on are
//! their digests.

use axum::extract::State;
use axum::http::StatusCode;
use tandem_pbx::office::{Account, RecordWish};
use tandem_pbx::seam::{AdminAsk, ClassOfService, UserChange};
use tandem_pbx::users::{extension_fault, name_fault};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{
    ErrorBody, NewBlocked, NewUser, SpeedDial, SpeedDialSettings, User, UserMade, UserSettings,
};
use super::fault::{Fault, Json, Named};
use super::{Answerer, blocking};
use crate::control::Ask;
use crate::secrets::{self, Keeper};

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_users, add_user))
        .routes(routes!(set_user, remove_user))
        .routes(routes!(list_blocked, add_blocked))
        .routes(routes!(remove_blocked))
        .routes(routes!(list_speed_dials))
        .routes(routes!(set_speed_dial, remove_speed_dial))
}

/// All users
#[utoipa::path(
    get, path = "/users", tag = "users",
    responses(
        (status = 200, description = "Users", body = [User]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_users(State(answerer): State<Answerer>) -> Result<Json<Vec<User>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Users)).await
}

/// Make a user: somebody with an extension, phones and a mailbox
#[utoipa::path(
    post, path = "/users", tag = "users", request_body = NewUser,
    responses(
        (status = 201, description = "Made; its password and PIN are shown this once", body = UserMade),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_user(
    State(answerer): State<Answerer>,
    Json(user): Json<NewUser>,
) -> Result<(StatusCode, Json<UserMade>), Fault> {
    let keeper = answerer.keeper.clone();
    let (ask, made) = blocking(move || add(&keeper, user)).await?;
    answerer.carry_out(ask).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Change a user
#[utoipa::path(
    patch, path = "/users/{extension}", tag = "users", request_body = UserSettings,
    params(("extension" = String, Path, description = "Whom")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_user(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    Json(settings): Json<UserSettings>,
) -> Result<StatusCode, Fault> {
    let keeper = answerer.keeper.clone();
    let ask = blocking(move || set(&keeper, extension, settings)).await?;
    answerer.carry_out(ask).await
}

/// Remove a user; its messages are in nobody's mailbox then
#[utoipa::path(
    delete, path = "/users/{extension}", tag = "users",
    params(("extension" = String, Path, description = "Whom")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_user(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
) -> Result<StatusCode, Fault> {
    let extension = extension.into();
    answerer.carry_out(AdminAsk::RemoveUser { extension }).await
}

/// Numbers whose calls from outside the company refuses
#[utoipa::path(
    get, path = "/blocked", tag = "users",
    responses(
        (status = 200, description = "Numbers", body = [String]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_blocked(State(answerer): State<Answerer>) -> Result<Json<Vec<String>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::Blocked)).await
}

/// Refuse the calls of a number from outside
#[utoipa::path(
    post, path = "/blocked", tag = "users", request_body = NewBlocked,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_blocked(
    State(answerer): State<Answerer>,
    Json(new): Json<NewBlocked>,
) -> Result<StatusCode, Fault> {
    let number = new.number.into();
    let is_blocked = true;
    let ask = AdminAsk::Block { number, is_blocked };
    answerer.carry_out(ask).await?;
    Ok(StatusCode::CREATED)
}

/// Refuse the calls of a number no longer
#[utoipa::path(
    delete, path = "/blocked/{number}", tag = "users",
    params(("number" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_blocked(
    State(answerer): State<Answerer>,
    Named(number): Named<String>,
) -> Result<StatusCode, Fault> {
    let number = number.into();
    let is_blocked = false;
    answerer
        .carry_out(AdminAsk::Block { number, is_blocked })
        .await
}

/// Speed dials of the company
#[utoipa::path(
    get, path = "/speed-dials", tag = "users",
    responses(
        (status = 200, description = "Speed dials", body = [SpeedDial]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_speed_dials(State(answerer): State<Answerer>) -> Result<Json<Vec<SpeedDial>>, Fault> {
    answerer.show(Ask::Pbx(AdminAsk::SpeedDials)).await
}

/// Set a speed dial
#[utoipa::path(
    put, path = "/speed-dials/{code}", tag = "users", request_body = SpeedDialSettings,
    params(("code" = String, Path, description = "Its two digits")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_speed_dial(
    State(answerer): State<Answerer>,
    Named(code): Named<String>,
    Json(to): Json<SpeedDialSettings>,
) -> Result<StatusCode, Fault> {
    let dial = Some(tandem_pbx::office::speed::SpeedDial {
        number: to.number.into(),
        name: to.name.into(),
    });
    let code = code.into();
    answerer
        .carry_out(AdminAsk::SetSpeedDial { code, dial })
        .await
}

/// Remove a speed dial
#[utoipa::path(
    delete, path = "/speed-dials/{code}", tag = "users",
    params(("code" = String, Path, description = "Its two digits")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_speed_dial(
    State(answerer): State<Answerer>,
    Named(code): Named<String>,
) -> Result<StatusCode, Fault> {
    let (code, dial) = (code.into(), None);
    answerer
        .carry_out(AdminAsk::SetSpeedDial { code, dial })
        .await
}

/// A user to be made, and what is told of it to whoever asked.
fn add(keeper: &Keeper, user: NewUser) -> Result<(AdminAsk, UserMade), String> {
    let NewUser {
        extension,
        name,
        password,
        pin,
    } = user;
    let fault = extension_fault(&extension).or_else(|| name_fault(&name));
    fault.map_or(Ok(()), Err)?;
    let password = secrets::password(password, &extension)?;
    let pin = secrets::pin(pin, &extension)?;
    let (ha1_md5, ha1_sha256) = keeper.ha1(&extension, &password);
    let ask = AdminAsk::AddUser {
        account: Account {
            extension: extension.as_str().into(),
            name: name.as_str().into(),
            ha1_md5,
            ha1_sha256,
        },
        pin_hash: keeper.pin_hash(&pin)?,
    };
    let made = UserMade {
        extension,
        name,
        password,
        pin,
    };
    Ok((ask, made))
}

fn class(text: &str) -> Result<ClassOfService, String> {
    let wrong = || format!("'{text}' is none of internal, outward, international");
    ClassOfService::parse(text).ok_or_else(wrong)
}

/// A user to be changed.
fn set(keeper: &Keeper, extension: String, to: UserSettings) -> Result<AdminAsk, String> {
    let record = to.record.map(|wish| {
        let wrong = || format!("record is never, on-demand or always, not '{wish}'");
        RecordWish::named(&wish).ok_or_else(wrong)
    });
    let mut change = UserChange {
        record: record.transpose()?,
        name: to.name.map(Into::into),
        extension: to.extension.map(Into::into),
        dnd: to.dnd,
        dnd_except: to
            .dnd_except
            .map(|all| all.into_iter().map(Into::into).collect()),
        forward: to.forward.map(|to| to.map(Into::into)),
        forward_busy: to.forward_busy.map(|to| to.map(Into::into)),
        forward_no_answer: to.forward_no_answer.map(|to| to.map(Into::into)),
        forward_unreachable: to.forward_unreachable.map(|to| to.map(Into::into)),
        reject_anonymous: to.reject_anonymous,
        blocked: to
            .blocked
            .map(|all| all.into_iter().map(Into::into).collect()),
        blocked_to_mailbox: to.blocked_to_mailbox,
        class: to.class.map(|text| class(&text)).transpose()?,
        forward_outside: to.forward_outside,
        rings_also: to
            .rings_also
            .map(|all| all.into_iter().map(Into::into).collect()),
        works_at: to.works_at.map(|to| to.map(Into::into)),
        caller_id: to.caller_id.map(|to| to.map(Into::into)),
        ..UserChange::default()
    };
    if let Some(pin) = to.pin {
        let pin = secrets::pin(Some(pin), &extension)?;
        change.pin_hash = Some(keeper.pin_hash(&pin)?);
    }
    if let Some(password) = to.password {
        let dialled = change.extension.as_deref().unwrap_or(&extension);
        let password = secrets::password(Some(password), dialled)?;
        change.ha1 = Some(keeper.ha1(dialled, &password));
    }
    Ok(AdminAsk::SetUser {
        extension: extension.into(),
        change,
    })
}
