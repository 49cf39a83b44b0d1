//! Schedules: what they look like in JSON, and what was asked becomes what call control is asked.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tandem_pbx::office::schedule::Override;
use tandem_pbx::seam::{AdminAsk, ScheduleAsk, ScheduleChange};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::{ErrorBody, null_counts};
use super::fault::{Fault, Json, Named};
use crate::control::Ask;

/// When the office is open.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Schedule {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What is dialled behind the code that switches it.
    pub(crate) number: u16,
    /// Days and times, as in mon-fri 09:00-12:00 13:00-17:00.
    pub(crate) hours: Vec<String>,
    /// 2026-12-25, or 12-25 for every year.
    pub(crate) holidays: Vec<String>,
    /// Where its clock hangs; null: where the node's does.
    pub(crate) time_zone: Option<String>,
    /// open or closed by hand, or by the clock.
    #[serde(rename = "override")]
    pub(crate) switched: String,
    /// Now.
    pub(crate) open: bool,
    /// The groups that go by it.
    pub(crate) groups: Vec<String>,
}

/// A schedule to be made, or what is to be different about one; what is left out stays, or is as for any
/// new schedule.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleSettings {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What is dialled behind the code that switches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u16>,
    /// Days and times, as in mon-fri 09:00-12:00 13:00-17:00; without any it is always open but on its
    /// holidays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hours: Option<Vec<String>>,
    /// 2026-12-25, or 12-25 for every year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holidays: Option<Vec<String>>,
    /// Where its clock hangs; null: where the node's does.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) time_zone: Option<Option<String>>,
    /// open or closed by hand, or by the clock.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub(crate) switched: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_schedules, add_schedule))
        .routes(routes!(set_schedule, remove_schedule))
}

/// All schedules, and whether each is open now
#[utoipa::path(
    get, path = "/schedules", tag = "schedules",
    responses(
        (status = 200, description = "Schedules", body = [Schedule]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_schedules(State(answerer): State<Answerer>) -> Result<Json<Vec<Schedule>>, Fault> {
    let ask = AdminAsk::Schedule(ScheduleAsk::List);
    answerer.show(Ask::Pbx(ask)).await
}

/// Make a schedule: when the office is open
#[utoipa::path(
    post, path = "/schedules", tag = "schedules", request_body = ScheduleSettings,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_schedule(
    State(answerer): State<Answerer>,
    Json(mut settings): Json<ScheduleSettings>,
) -> Result<StatusCode, Fault> {
    let name = settings.name.take();
    let name = name.ok_or_else(|| "a schedule needs a name".to_owned())?;
    let ask = ScheduleAsk::Add {
        name: name.into(),
        change: change(settings)?,
    };
    answerer.carry_out(AdminAsk::Schedule(ask)).await?;
    Ok(StatusCode::CREATED)
}

/// Change a schedule, or switch it by hand
#[utoipa::path(
    patch, path = "/schedules/{name}", tag = "schedules", request_body = ScheduleSettings,
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_schedule(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
    Json(settings): Json<ScheduleSettings>,
) -> Result<StatusCode, Fault> {
    let ask = ScheduleAsk::Set {
        name: name.into(),
        change: change(settings)?,
    };
    answerer.carry_out(AdminAsk::Schedule(ask)).await
}

/// Remove a schedule that no group goes by
#[utoipa::path(
    delete, path = "/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_schedule(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
) -> Result<StatusCode, Fault> {
    let ask = ScheduleAsk::Remove { name: name.into() };
    answerer.carry_out(AdminAsk::Schedule(ask)).await
}

fn change(to: ScheduleSettings) -> Result<ScheduleChange, String> {
    let switched = to.switched.map(|text| {
        let wrong = || format!("'{text}' is none of open, closed, clock");
        Override::parse(&text).ok_or_else(wrong)
    });
    let texts = |all: Vec<String>| all.into_iter().map(Arc::from).collect();
    Ok(ScheduleChange {
        name: to.name.map(Into::into),
        number: to.number,
        hours: to.hours.map(texts),
        holidays: to.holidays.map(texts),
        time_zone: to.time_zone.map(|zone| zone.map(Into::into)),
        switched: switched.transpose()?,
    })
}
