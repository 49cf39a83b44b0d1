//! Trunks and routes: what they look like in JSON, and what was asked becomes what call control is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tandem_pbx::office::outside::RouteKind;
use tandem_pbx::seam::{AddressTransport, AdminAsk, OutwardAsk, RouteChange, TrunkChange};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answerer;
use super::bodies::{ErrorBody, null_counts};
use super::fault::{Fault, Json, Named};
use crate::control::Ask;
use crate::secrets::Keeper;

/// A line to the world.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Trunk {
    pub(crate) id: String,
    pub(crate) name: String,
    /// An IP address, with a port or without.
    pub(crate) host: String,
    /// udp or tcp.
    pub(crate) transport: String,
    /// What its challenges are answered with.
    pub(crate) username: Option<String>,
    pub(crate) has_password: bool,
    /// What it knows us by.
    pub(crate) number: Option<String>,
    /// The most calls at once.
    pub(crate) calls_max: u16,
    /// Numbers under which it calls us, and the extension each is for.
    pub(crate) numbers: BTreeMap<String, String>,
    /// The extension for every other number.
    pub(crate) otherwise: Option<String>,
    /// Calls now.
    pub(crate) calls: usize,
}

/// A trunk to be made, or what is to be different about one; what is left out stays, or is as for any new
/// trunk.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrunkSettings {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// An IP address, with a port or without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// udp or tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<String>,
    /// What its challenges are answered with; null: they are not.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) username: Option<Option<String>>,
    /// The same; null: none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) password: Option<Option<String>>,
    /// What it knows us by; null: the caller's extension is shown.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) number: Option<Option<String>>,
    /// The most calls at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls_max: Option<u16>,
    /// All numbers under which it calls us, and the extension each is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) numbers: Option<BTreeMap<String, String>>,
    /// The extension for every other number; null: there is none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) otherwise: Option<Option<String>>,
}

/// Numbers outside, and how they are reached.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Route {
    pub(crate) id: String,
    /// Digits, *, # and + stand for themselves, X for any digit, a dot at the end for what follows.
    pub(crate) pattern: String,
    /// So many characters are taken off in front.
    pub(crate) strip: u8,
    /// Put in front then.
    pub(crate) prefix: String,
    /// Tried one after the other, by name.
    pub(crate) trunks: Vec<String>,
    /// outward, international or emergency.
    pub(crate) kind: String,
}

/// A route to be made, or what is to be different about one; what is left out stays, or is as for any new
/// route.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteSettings {
    /// Digits, *, # and + stand for themselves, X for any digit, a dot at the end for what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    /// So many characters are taken off in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strip: Option<u8>,
    /// Put in front then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// Tried one after the other, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trunks: Option<Vec<String>>,
    /// outward, international or emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_trunks, add_trunk))
        .routes(routes!(set_trunk, remove_trunk))
        .routes(routes!(list_routes, add_route))
        .routes(routes!(set_route, remove_route))
}

/// All trunks, and how many calls each has
#[utoipa::path(
    get, path = "/trunks", tag = "trunks",
    responses(
        (status = 200, description = "Trunks", body = [Trunk]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_trunks(State(answerer): State<Answerer>) -> Result<Json<Vec<Trunk>>, Fault> {
    answerer.show(ask(OutwardAsk::Trunks)).await
}

/// Make a trunk: a provider, or a gateway, that calls outside go through
#[utoipa::path(
    post, path = "/trunks", tag = "trunks", request_body = TrunkSettings,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_trunk(
    State(answerer): State<Answerer>,
    Json(mut settings): Json<TrunkSettings>,
) -> Result<StatusCode, Fault> {
    let name = settings.name.take();
    let name = name.ok_or_else(|| "a trunk needs a name".to_owned())?;
    let change = trunk_change(&answerer.keeper, settings)?;
    let ask = OutwardAsk::AddTrunk {
        name: name.into(),
        change,
    };
    answerer.carry_out(AdminAsk::Outward(ask)).await?;
    Ok(StatusCode::CREATED)
}

/// Change a trunk
#[utoipa::path(
    patch, path = "/trunks/{name}", tag = "trunks", request_body = TrunkSettings,
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_trunk(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
    Json(settings): Json<TrunkSettings>,
) -> Result<StatusCode, Fault> {
    let change = trunk_change(&answerer.keeper, settings)?;
    let name = name.into();
    let ask = OutwardAsk::SetTrunk { name, change };
    answerer.carry_out(AdminAsk::Outward(ask)).await
}

/// Remove a trunk that no route goes over
#[utoipa::path(
    delete, path = "/trunks/{name}", tag = "trunks",
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_trunk(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
) -> Result<StatusCode, Fault> {
    let ask = OutwardAsk::RemoveTrunk { name: name.into() };
    answerer.carry_out(AdminAsk::Outward(ask)).await
}

/// All routes, in the order in which they are looked at
#[utoipa::path(
    get, path = "/routes", tag = "trunks",
    responses(
        (status = 200, description = "Routes", body = [Route]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_routes(State(answerer): State<Answerer>) -> Result<Json<Vec<Route>>, Fault> {
    answerer.show(ask(OutwardAsk::Routes)).await
}

/// Make a route: numbers outside, and the trunks by which they are reached
#[utoipa::path(
    post, path = "/routes", tag = "trunks", request_body = RouteSettings,
    responses(
        (status = 201, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_route(
    State(answerer): State<Answerer>,
    Json(mut settings): Json<RouteSettings>,
) -> Result<StatusCode, Fault> {
    let pattern = settings.pattern.take();
    let pattern = pattern.ok_or_else(|| "a route needs a pattern".to_owned())?;
    let change = route_change(settings)?;
    let ask = OutwardAsk::AddRoute {
        pattern: pattern.into(),
        change,
    };
    answerer.carry_out(AdminAsk::Outward(ask)).await?;
    Ok(StatusCode::CREATED)
}

/// Change a route
#[utoipa::path(
    patch, path = "/routes/{pattern}", tag = "trunks", request_body = RouteSettings,
    params(("pattern" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn set_route(
    State(answerer): State<Answerer>,
    Named(pattern): Named<String>,
    Json(settings): Json<RouteSettings>,
) -> Result<StatusCode, Fault> {
    let change = route_change(settings)?;
    let pattern = pattern.into();
    let ask = OutwardAsk::SetRoute { pattern, change };
    answerer.carry_out(AdminAsk::Outward(ask)).await
}

/// Remove a route
#[utoipa::path(
    delete, path = "/routes/{pattern}", tag = "trunks",
    params(("pattern" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_route(
    State(answerer): State<Answerer>,
    Named(pattern): Named<String>,
) -> Result<StatusCode, Fault> {
    let pattern = pattern.into();
    let ask = OutwardAsk::RemoveRoute { pattern };
    answerer.carry_out(AdminAsk::Outward(ask)).await
}

fn ask(ask: OutwardAsk) -> Ask {
    Ask::Pbx(AdminAsk::Outward(ask))
}

fn trunk_change(keeper: &Keeper, to: TrunkSettings) -> Result<TrunkChange, String> {
    let transport = to.transport.map(|text| {
        AddressTransport::parse(&text).ok_or(format!("'{text}' is neither udp nor tcp"))
    });
    let password = |given: Option<String>| -> Result<Option<Arc<str>>, String> {
        given.map(|given| keeper.trunk_password(&given)).transpose()
    };
    let pair = |(number, to): (String, String)| (number.into(), to.into());
    Ok(TrunkChange {
        name: to.name.map(Into::into),
        host: to.host.map(Into::into),
        transport: transport.transpose()?,
        username: to.username.map(|to| to.map(Into::into)),
        password: to.password.map(password).transpose()?,
        number: to.number.map(|to| to.map(Into::into)),
        calls_max: to.calls_max,
        numbers: to.numbers.map(|all| all.into_iter().map(pair).collect()),
        otherwise: to.otherwise.map(|to| to.map(Into::into)),
    })
}

fn route_change(to: RouteSettings) -> Result<RouteChange, String> {
    let kind = to.kind.map(|text| {
        let wrong = format!("'{text}' is none of outward, international, emergency");
        RouteKind::parse(&text).ok_or(wrong)
    });
    let trunks = to.trunks;
    Ok(RouteChange {
        pattern: to.pattern.map(Into::into),
        strip: to.strip,
        prefix: to.prefix.map(Into::into),
        trunks: trunks.map(|all| all.into_iter().map(Into::into).collect()),
        kind: kind.transpose()?,
    })
}
