//! Calls to the world: which trunks are tried for a number, in whose name, and what a call shows.
//!
//! A call outside is in somebody's name: of who dialled or transferred, of the user whose calls go
//! there. That user's class of service allows it ([`crate::call::routing`]), that user's limits count it
//! ([`crate::toll`]), that user's number is shown. The trunks of the route are tried one after the other
//! while they fail; who is busy or declines is not called again by another.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::call::dial_request::{DialRequest, DialTarget, Otherwise, Step, Trail};
use crate::office::outside::{OutsideRoute, RouteKind};
use crate::seam::{AddressTarget, Cause, Login, Target};
use crate::state::PbxState;

/// A number outside, by one trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutsideCall {
    pub(crate) trunk: Id,
    /// As the trunk is to call it.
    pub(crate) number: Arc<str>,
    /// As it was dialled.
    pub(crate) dialed: Arc<str>,
    /// In whose name; `None`: of somebody who is no user.
    pub(crate) by: Option<Id>,
    /// Whose phone it is, if it rings as one.
    pub(crate) phone_of: Option<Id>,
    /// It always goes.
    pub(crate) is_emergency: bool,
}

/// Who called, or is called, by a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutsideLeg {
    pub(crate) trunk: Id,
    /// In whose name we called.
    pub(crate) by: Option<Id>,
}

/// A call to a number of a route.
pub(crate) fn to_route(
    x: &PbxState,
    route: Id,
    dialed: &str,
    by: Option<Id>,
    trail: Trail,
) -> Option<DialRequest> {
    let route = x.office.outside.route(route)?;
    let Trail { passed, diversions } = trail;
    let steps = calls(route, dialed, by).map(|call| Step {
        targets: vec![DialTarget::Outside(call)],
        diversions: diversions.clone(),
        ring_for: x.config.outward_ring_for,
    });
    Some(DialRequest {
        steps: steps.collect::<VecDeque<Step>>(),
        passed,
        skips_busy: false,
        auto_answer: false,
        otherwise: Otherwise::Cause,
        referred_by: None,
    })
}

fn calls(
    route: &OutsideRoute,
    dialed: &str,
    by: Option<Id>,
) -> impl Iterator<Item = OutsideCall> + use<> {
    let number = route.rewritten(dialed);
    let is_emergency = route.kind == RouteKind::Emergency;
    let dialed: Arc<str> = dialed.into();
    route
        .trunks
        .clone()
        .into_iter()
        .map(move |trunk| OutsideCall {
            trunk,
            number: number.clone(),
            dialed: dialed.clone(),
            by,
            phone_of: None,
            is_emergency,
        })
}

/// A user's call is forwarded to a number outside. `None`: it may not be.
pub(crate) fn forwarded(x: &PbxState, by: Id, to: &str, trail: Trail) -> Option<DialRequest> {
    if !x.office.settings(by).forward_outside {
        return None;
    }
    to_route(x, allowed_route(x, by, to)?, to, Some(by), trail)
}

/// The route for a number that this user may call.
pub(crate) fn allowed_route(x: &PbxState, user: Id, number: &str) -> Option<Id> {
    let id = x.office.outside.route_for(number)?;
    let needs = x.office.outside.route(id)?.kind.needs();
    (x.office.settings(user).class() >= needs).then_some(id)
}

/// A number outside that rings as a phone of this user: by the first trunk of its route.
pub(crate) fn phone(x: &PbxState, user: Id, number: &str) -> Option<OutsideCall> {
    let route = x.office.outside.route(allowed_route(x, user, number)?)?;
    let mut calls = calls(route, number, Some(user));
    calls.next().map(|call| OutsideCall {
        phone_of: Some(user),
        ..call
    })
}

/// What the shim is to call. `None`: the trunk is gone, or not at an address.
pub(crate) fn target(x: &PbxState, call: &OutsideCall) -> Option<Target> {
    let outside = &x.office.outside;
    let trunk = outside.trunk(call.trunk)?;
    let login = trunk.username.as_ref().map(|user| Login {
        user: user.clone(),
        password: outside.password(call.trunk).cloned().unwrap_or_default(),
    });
    let settings = call.by.map(|user| x.office.settings(user));
    let extension = call.by.and_then(|user| x.office.extension(user));
    let own = || extension.and_then(|extension| trunk.number_of(extension));
    let identity = settings.as_ref().and_then(|s| s.caller_id.as_ref());
    Some(Target::Address(Arc::new(AddressTarget {
        peer: trunk.address()?,
        transport: trunk.transport,
        number: call.number.clone(),
        identity: identity.or_else(own).or(trunk.number.as_ref()).cloned(),
        login,
    })))
}

/// Another trunk need not be tried: the one who was called has been reached, or there is no such number.
pub(crate) fn is_final(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Busy | Cause::Declined | Cause::NoAnswer | Cause::NoSuchNumber
    )
}
