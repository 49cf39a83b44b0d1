//! Lines to the world as data: trunks, and the routes over them.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `trunk/ID` | [`Trunk`] |
//! | `trunk/ID/password` | string: the password itself, locked where the node encrypts; a challenge can be answered with nothing less |
//! | `route/ID` | [`OutsideRoute`] |
//!
//! A *pattern* says which numbers a route is for: digits, `*`, `#` and `+` stand for themselves, `X` for
//! any digit, a `.` at the end for whatever follows, at least one. Of several that fit the one that says
//! most counts: a whole number before a beginning, a long beginning before a short one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::seam::{AddressTransport, ClassOfService};

/// The most trunks.
pub const TRUNKS_MAX: usize = 200;
/// The most routes.
pub const ROUTES_MAX: usize = 500;
/// The port of a host that none is given for (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// A line to the world: a provider, a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunk {
    /// What it is called.
    pub name: Arc<str>,
    /// An IP address, with a port or without; with one it calls from there alone.
    pub host: Arc<str>,
    #[serde(default)]
    pub transport: AddressTransport,
    /// The name its challenges are answered with.
    #[serde(default)]
    pub username: Option<Arc<str>>,
    /// What it knows us by: shown to who is called by a user who has no number of its own there.
    #[serde(default)]
    pub number: Option<Arc<str>>,
    /// The most calls at once.
    pub calls_max: u16,
    /// Numbers under which it calls us, and the extension each is for.
    #[serde(default)]
    pub numbers: BTreeMap<Arc<str>, Arc<str>>,
    /// The extension for every other number; `None`: there is none.
    #[serde(default)]
    pub otherwise: Option<Arc<str>>,
}

/// Numbers outside, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRoute {
    /// The numbers it is for, as above.
    pub pattern: Arc<str>,
    /// So many characters are taken off in front.
    #[serde(default)]
    pub strip: u8,
    /// Put in front then.
    #[serde(default)]
    pub prefix: Arc<str>,
    /// Tried one after the other.
    pub trunks: Vec<Id>,
    /// Who may use it.
    pub kind: RouteKind,
}

/// What the numbers of a route are, and so who may call them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// Ordinary ones: for the class `outward`.
    #[default]
    Outward,
    /// Dear ones: for the class `international`.
    International,
    /// Those that everybody may always call.
    Emergency,
}

impl RouteKind {
    const ALL: [RouteKind; 3] = [
        RouteKind::Outward,
        RouteKind::International,
        RouteKind::Emergency,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            RouteKind::Outward => "outward",
            RouteKind::International => "international",
            RouteKind::Emergency => "emergency",
        }
    }

    /// Reads what was written.
    pub fn parse(text: &str) -> Option<RouteKind> {
        RouteKind::ALL.into_iter().find(|kind| kind.name() == text)
    }

    /// The least class of service that may use such a route.
    pub(crate) fn needs(self) -> ClassOfService {
        match self {
            RouteKind::Outward => ClassOfService::Outward,
            RouteKind::International => ClassOfService::International,
            RouteKind::Emergency => ClassOfService::Internal,
        }
    }
}

impl Trunk {
    /// A trunk as it is made when nothing else is said.
    pub fn new(name: Arc<str>, host: Arc<str>) -> Trunk {
        Trunk {
            name,
            host,
            transport: AddressTransport::Udp,
            username: None,
            number: None,
            calls_max: 30,
            numbers: BTreeMap::new(),
            otherwise: None,
        }
    }

    /// Where it is.
    pub fn address(&self) -> Option<SocketAddr> {
        host_address(&self.host)
    }

    /// No port was given for it: it calls from any.
    pub(crate) fn is_any_port(&self) -> bool {
        self.host.parse::<SocketAddr>().is_err()
    }

    /// Its own number of an extension.
    pub(crate) fn number_of(&self, extension: &str) -> Option<&Arc<str>> {
        let mut numbers = self.numbers.iter();
        let own = numbers.find(|(_, to)| &***to == extension);
        own.map(|(number, _)| number)
    }
}

/// An address, with a port or without.
pub(crate) fn host_address(host: &str) -> Option<SocketAddr> {
    let alone = || host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let whole = host.parse().ok();
    whole.or_else(|| Some(SocketAddr::new(alone()?, SIP_PORT)))
}

impl OutsideRoute {
    /// A route as it is made when nothing else is said.
    pub fn new(pattern: Arc<str>) -> OutsideRoute {
        OutsideRoute {
            pattern,
            strip: 0,
            prefix: "".into(),
            trunks: Vec::new(),
            kind: RouteKind::Outward,
        }
    }

    /// It is for this number.
    pub(crate) fn fits(&self, dialed: &str) -> bool {
        let (fixed, is_open) = self.parts();
        let right_length = match is_open {
            true => dialed.len() > fixed.len(),
            false => dialed.len() == fixed.len(),
        };
        let same = |(pattern, digit): (u8, u8)| match pattern {
            b'X' => digit.is_ascii_digit(),
            other => other == digit,
        };
        right_length && is_number(dialed) && fixed.bytes().zip(dialed.bytes()).all(same)
    }

    /// What is called for this number.
    pub(crate) fn rewritten(&self, dialed: &str) -> Arc<str> {
        let rest = dialed.get(usize::from(self.strip)..).unwrap_or_default();
        format!("{}{rest}", self.prefix).into()
    }

    /// Orders routes by how much they say.
    fn says(&self) -> (bool, usize, usize) {
        let (fixed, is_open) = self.parts();
        let own = fixed.bytes().filter(|b| *b != b'X').count();
        (!is_open, fixed.len(), own)
    }

    /// What stands for itself, and whether more may follow.
    fn parts(&self) -> (&str, bool) {
        match self.pattern.strip_suffix('.') {
            Some(fixed) => (fixed, true),
            None => (&self.pattern, false),
        }
    }
}

/// It can be dialled.
pub(crate) fn is_number(text: &str) -> bool {
    let dialable = |b: u8| b.is_ascii_digit() || b"*#+".contains(&b);
    !text.is_empty() && text.bytes().all(dialable)
}

/// Trunks and routes.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    trunks: BTreeMap<Id, Trunk>,
    passwords: BTreeMap<Id, Arc<str>>,
    routes: BTreeMap<Id, OutsideRoute>,
}

impl Outside {
    /// `ID` or `ID/password`, behind `trunk/`. `None`: it cannot be read, and changes nothing.
    pub(super) fn apply_trunk(&mut self, rest: &str, value: Option<&str>) -> Option<Id> {
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        let id = id.parse().ok()?;
        match part {
            "" => set(&mut self.trunks, id, value)?,
            "password" => set(&mut self.passwords, id, value)?,
            _ => return None,
        }
        Some(id)
    }

    /// `ID`, behind `route/`. `None`: it cannot be read, and changes nothing.
    pub(super) fn apply_route(&mut self, rest: &str, value: Option<&str>) -> Option<Id> {
        let id = rest.parse().ok()?;
        set(&mut self.routes, id, value)?;
        Some(id)
    }

    pub(crate) fn trunk(&self, id: Id) -> Option<&Trunk> {
        self.trunks.get(&id)
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn trunks(&self) -> impl Iterator<Item = (Id, &Trunk)> {
        self.trunks.iter().map(|(id, trunk)| (*id, trunk))
    }

    /// The trunk of this name; of several the one made first.
    pub(crate) fn trunk_named(&self, name: &str) -> Option<Id> {
        let mut trunks = self.trunks();
        let found = trunks.find(|(_, trunk)| &*trunk.name == name);
        found.map(|(id, _)| id)
    }

    /// The extension for which a call is that came from the host of a trunk, and its trunk: of several at
    /// one host the one that has the number.
    pub(crate) fn meant(&self, from: Id, dialed: &str) -> Option<(Id, Arc<str>)> {
        let first = self.trunks.get(&from)?;
        let host = first.address();
        let there = self.trunks().filter(|(_, trunk)| trunk.address() == host);
        let mut there = std::iter::once((from, first)).chain(there);
        let own = there.find_map(|(id, trunk)| Some((id, trunk.numbers.get(dialed)?.clone())));
        own.or_else(|| Some((from, first.otherwise.clone()?)))
    }

    pub(crate) fn password(&self, trunk: Id) -> Option<&Arc<str>> {
        self.passwords.get(&trunk)
    }

    pub(crate) fn route(&self, id: Id) -> Option<&OutsideRoute> {
        self.routes.get(&id)
    }

    /// All of them, the one that says most first.
    pub(crate) fn routes(&self) -> Vec<(Id, &OutsideRoute)> {
        let mut routes: Vec<_> = self.routes.iter().map(|(id, r)| (*id, r)).collect();
        routes.sort_by(|(_, a), (_, b)| b.says().cmp(&a.says()).then(a.pattern.cmp(&b.pattern)));
        routes
    }

    /// The route for this number.
    pub(crate) fn route_for(&self, dialed: &str) -> Option<Id> {
        let fitting = self.routes.iter().filter(|(_, route)| route.fits(dialed));
        let best = fitting.max_by_key(|(id, route)| (route.says(), std::cmp::Reverse(**id)));
        best.map(|(id, _)| *id)
    }

    /// The route of this pattern; of several the one made first.
    pub(crate) fn route_of(&self, pattern: &str) -> Option<Id> {
        let mut routes = self.routes.iter();
        let found = routes.find(|(_, route)| &*route.pattern == pattern);
        found.map(|(id, _)| *id)
    }
}

fn set<T: serde::de::DeserializeOwned>(
    all: &mut BTreeMap<Id, T>,
    id: Id,
    value: Option<&str>,
) -> Option<()> {
    match value {
        Some(value) => drop(all.insert(id, serde_json::from_str(value).ok()?)),
        None => drop(all.remove(&id)),
    }
    Some(())
}

/// The register that holds a trunk.
pub fn trunk_key(id: Id) -> Arc<str> {
    format!("trunk/{id}").into()
}

/// The register that holds the password a trunk's challenges are answered with.
pub fn trunk_password_key(id: Id) -> Arc<str> {
    format!("trunk/{id}/password").into()
}

/// The register that holds a route.
pub fn route_key(id: Id) -> Arc<str> {
    format!("route/{id}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_that_says_most_counts() {
        let mut outside = Outside::default();
        for (number, pattern) in ["9.", "900.", "9X1.", "9112", "112"].iter().enumerate() {
            let value = serde_json::to_string(&OutsideRoute::new((*pattern).into())).unwrap();
            outside
                .apply_route(&format!("a.1.{}", number + 1), Some(&value))
                .unwrap();
        }
        for (dialed, pattern) in [
            ("9", None),
            ("91", Some("9.")),
            ("900", Some("9.")),
            ("9001", Some("900.")),
            ("9012", Some("9X1.")),
            ("9112", Some("9112")),
            ("91123", Some("9X1.")),
            ("112", Some("112")),
            ("1123", None),
            ("9é", None),
            ("", None),
        ] {
            let found = outside.route_for(dialed).and_then(|id| outside.route(id));
            assert_eq!(found.map(|route| &*route.pattern), pattern, "{dialed}");
        }
    }

    #[test]
    fn a_number_is_rewritten() {
        let route = OutsideRoute {
            strip: 2,
            prefix: "+49".into(),
            ..OutsideRoute::new("90.".into())
        };
        assert_eq!(&*route.rewritten("90301234"), "+49301234");
        assert_eq!(&*route.rewritten("9"), "+49");
    }

    #[test]
    fn a_host_is_an_address() {
        for (host, address) in [
            ("192.0.2.1", Some("192.0.2.1:5060")),
            ("192.0.2.1:5070", Some("192.0.2.1:5070")),
            ("2001:db8::1", Some("[2001:db8::1]:5060")),
            ("[2001:db8::1]:5080", Some("[2001:db8::1]:5080")),
            ("sip.example.com", None),
            ("", None),
        ] {
            let found = host_address(host).map(|a| a.to_string());
            assert_eq!(found.as_deref(), address, "{host}");
        }
    }
}
