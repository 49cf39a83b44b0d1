//! Trunks and routes of a file: trunks by their names, routes by their patterns.
//!
//! Passwords go in and never come out: a trunk of a file without one keeps the one it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use super::differences::Differences;
use super::{Comparison, Faults, OfficeFile, UserEntry};
use crate::office::outside::{
    OutsideRoute, ROUTES_MAX, RouteKind, TRUNKS_MAX, Trunk, route_key, trunk_key,
    trunk_password_key,
};
use crate::office::{Office, json};
use crate::seam::{AddressTransport, ClassOfService};
use crate::trunks::{
    PASSWORD_BYTES_MAX, is_phone_number, number_fault, route_fault, trunk_fault, trunk_name_fault,
};
use crate::users::RINGS_ALSO_MAX;

/// One trunk. What is left out is as for any new trunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrunkEntry {
    /// What it is called: which it is.
    pub name: Arc<str>,
    /// An IP address, with a port or without.
    pub host: Arc<str>,
    /// `udp` or `tcp`.
    pub transport: Arc<str>,
    /// What its challenges are answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Arc<str>>,
    /// The same; `None`: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Arc<str>>,
    /// What it knows us by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<Arc<str>>,
    /// The most calls at once.
    pub calls_max: u16,
    /// The extension for every number that is not in `numbers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Arc<str>>,
    /// Numbers under which it calls us, and the extension each is for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Default for TrunkEntry {
    fn default() -> TrunkEntry {
        TrunkEntry::of(Trunk::new("".into(), "".into()))
    }
}

impl TrunkEntry {
    fn of(trunk: Trunk) -> TrunkEntry {
        TrunkEntry {
            name: trunk.name,
            host: trunk.host,
            transport: trunk.transport.name().into(),
            username: trunk.username,
            password: None,
            number: trunk.number,
            calls_max: trunk.calls_max,
            otherwise: trunk.otherwise,
            numbers: trunk.numbers,
        }
    }

    fn trunk(&self) -> Trunk {
        Trunk {
            name: self.name.clone(),
            host: self.host.clone(),
            transport: AddressTransport::parse(&self.transport).unwrap_or_default(),
            username: self.username.clone(),
            number: self.number.clone(),
            calls_max: self.calls_max,
            numbers: self.numbers.clone(),
            otherwise: self.otherwise.clone(),
        }
    }
}

/// One route. What is left out is as for any new route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteEntry {
    /// The numbers it is for: which it is.
    pub pattern: Arc<str>,
    /// So many characters are taken off in front.
    #[serde(skip_serializing_if = "is_zero")]
    pub strip: u8,
    /// Put in front then.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub prefix: Arc<str>,
    /// Tried one after the other, by name.
    pub trunks: Vec<Arc<str>>,
    /// `outward`, `international`, `emergency`.
    pub kind: Arc<str>,
}

fn is_zero(strip: &u8) -> bool {
    *strip == 0
}

impl Default for RouteEntry {
    fn default() -> RouteEntry {
        RouteEntry {
            pattern: "".into(),
            strip: 0,
            prefix: "".into(),
            trunks: Vec::new(),
            kind: RouteKind::Outward.name().into(),
        }
    }
}

impl RouteEntry {
    fn route(&self, trunks: &BTreeMap<Arc<str>, Id>) -> OutsideRoute {
        let named = self.trunks.iter();
        OutsideRoute {
            pattern: self.pattern.clone(),
            strip: self.strip,
            prefix: self.prefix.clone(),
            trunks: named.filter_map(|name| trunks.get(name).copied()).collect(),
            kind: RouteKind::parse(&self.kind).unwrap_or_default(),
        }
    }
}

impl Office {
    pub(super) fn export_outside(&self, file: &mut OfficeFile) {
        let trunks = self.outside.trunks();
        file.trunk = trunks.map(|(_, t)| TrunkEntry::of(t.clone())).collect();
        file.trunk.sort_by(|a, b| a.name.cmp(&b.name));
        let named = |trunk: &Id| self.outside.trunk(*trunk).map(|trunk| trunk.name.clone());
        for (_, route) in self.outside.routes() {
            file.route.push(RouteEntry {
                pattern: route.pattern.clone(),
                strip: route.strip,
                prefix: route.prefix.clone(),
                trunks: route.trunks.iter().filter_map(named).collect(),
                kind: route.kind.name().into(),
            });
        }
    }

    /// Who each trunk of a file is; new ones are named by `new_id`.
    pub(super) fn trunk_ids(
        &self,
        file: &OfficeFile,
        new_id: &mut dyn FnMut() -> Id,
    ) -> BTreeMap<Arc<str>, Id> {
        let ids = file.trunk.iter().map(|trunk| {
            let known = self.outside.trunk_named(&trunk.name);
            (trunk.name.clone(), known.unwrap_or_else(&mut *new_id))
        });
        ids.collect()
    }

    pub(super) fn outside_differs(
        &self,
        told: &mut Comparison,
        file: &OfficeFile,
        trunks: &BTreeMap<Arc<str>, Id>,
        new_id: &mut dyn FnMut() -> Id,
    ) {
        for entry in &file.trunk {
            if let Some(id) = trunks.get(&entry.name) {
                self.trunk_differs(told, entry, *id);
            }
        }
        let mut kept = BTreeSet::new();
        for entry in &file.route {
            let known = self.outside.route_of(&entry.pattern);
            let id = known.unwrap_or_else(&mut *new_id);
            kept.insert(id);
            self.route_differs(told, entry, id, trunks);
        }
        let stays = |id: &Id| trunks.values().any(|kept| kept == id);
        for (id, trunk) in self.outside.trunks().filter(|(id, _)| !stays(id)) {
            told.changes.push(format!("- trunk {}", trunk.name));
            told.registers.push((trunk_password_key(id), None));
            told.registers.push((trunk_key(id), None));
        }
        let routes = self.outside.routes().into_iter();
        for (id, route) in routes.filter(|(id, _)| !kept.contains(id)) {
            told.changes.push(format!("- route {}", route.pattern));
            told.registers.push((route_key(id), None));
        }
    }

    fn trunk_differs(&self, told: &mut Comparison, entry: &TrunkEntry, id: Id) {
        let trunk = entry.trunk();
        let old = self.outside.trunk(id);
        let mut diff = Differences::new(told);
        if let Some(old) = old {
            let text = |text: &Option<Arc<str>>| text.clone().unwrap_or("none".into());
            diff.see("host", &old.host, &trunk.host);
            diff.see("transport", old.transport.name(), trunk.transport.name());
            diff.see("username", &text(&old.username), &text(&trunk.username));
            diff.see("number", &text(&old.number), &text(&trunk.number));
            diff.see("calls_max", &old.calls_max, &trunk.calls_max);
            diff.see("otherwise", &text(&old.otherwise), &text(&trunk.otherwise));
            if old.numbers != trunk.numbers {
                diff.say("numbers");
            }
        }
        if let Some(password) = &entry.password
            && self.outside.password(id) != Some(password)
        {
            diff.say("password");
            diff.set(trunk_password_key(id), Some(json(password)));
        }
        if old != Some(&trunk) {
            diff.set(trunk_key(id), Some(json(&trunk)));
        }
        diff.finish("trunk", &trunk.name, &trunk.host, old.is_none());
    }

    fn route_differs(
        &self,
        told: &mut Comparison,
        entry: &RouteEntry,
        id: Id,
        trunks: &BTreeMap<Arc<str>, Id>,
    ) {
        let route = entry.route(trunks);
        let old = self.outside.route(id);
        let mut diff = Differences::new(told);
        if let Some(old) = old {
            diff.see("strip", &old.strip, &route.strip);
            diff.see("prefix", &old.prefix, &route.prefix);
            diff.see("kind", old.kind.name(), route.kind.name());
            if old.trunks != route.trunks {
                diff.say(&format!("trunks {}", entry.trunks.join(" ")));
            }
        }
        if old != Some(&route) {
            diff.set(route_key(id), Some(json(&route)));
        }
        let by = entry.trunks.join(" ");
        diff.finish("route", &route.pattern, &by, old.is_none());
    }
}

pub(super) fn check_outside(
    file: &OfficeFile,
    extensions: &BTreeMap<Arc<str>, Id>,
    trunks: &BTreeMap<Arc<str>, Id>,
    faults: &mut Faults,
) {
    let is_there = |extension: &str| extensions.contains_key(extension);
    let mut seen = BTreeSet::new();
    for (index, entry) in file.trunk.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("trunk", index, key, what);
        if let Some(what) = trunk_name_fault(&entry.name) {
            fault("name", what);
        } else if !seen.insert(&entry.name) {
            fault("name", format!("the trunk {} is there twice", entry.name));
        }
        if AddressTransport::parse(&entry.transport).is_none() {
            fault(
                "transport",
                format!("'{}' is neither udp nor tcp", entry.transport),
            );
        }
        let password = entry.password.as_ref();
        if password.is_some_and(|password| password.len() > PASSWORD_BYTES_MAX) {
            fault("password", "the password is too long".to_owned());
        }
        if let Some((key, what)) = trunk_fault(&entry.trunk(), &is_there) {
            fault(key, what);
        }
    }
    if file.trunk.len() > TRUNKS_MAX {
        let what = format!("there are at most {TRUNKS_MAX} trunks");
        faults.add("trunk", 0, "name", what);
    }
    if file.route.len() > ROUTES_MAX {
        let what = format!("there are at most {ROUTES_MAX} routes");
        faults.add("route", 0, "pattern", what);
    }
    let mut seen = BTreeSet::new();
    for (index, entry) in file.route.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("route", index, key, what);
        if !seen.insert(&entry.pattern) {
            let what = format!("there are two routes for {}", entry.pattern);
            fault("pattern", what);
        }
        if RouteKind::parse(&entry.kind).is_none() {
            let what = format!(
                "'{}' is none of outward, international, emergency",
                entry.kind
            );
            fault("kind", what);
        }
        for name in entry
            .trunks
            .iter()
            .filter(|name| !trunks.contains_key(*name))
        {
            fault("trunks", format!("no trunk is called {name}"));
        }
        if let Some((key, what)) = route_fault(&entry.route(trunks)) {
            fault(key, what);
        }
    }
}

/// What is wrong with what a user may do outside: its keys, and what.
pub(super) fn user_faults(
    file: &OfficeFile,
    extensions: &BTreeMap<Arc<str>, Id>,
    user: &UserEntry,
) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    if let Some(class) = user
        .class
        .as_ref()
        .filter(|c| ClassOfService::parse(c).is_none())
    {
        let what = format!("'{class}' is none of internal, outward, international");
        faults.push(("class", what));
    }
    if user.rings_also.len() > RINGS_ALSO_MAX {
        let what = format!("at most {RINGS_ALSO_MAX} numbers can ring as well");
        faults.push(("rings_also", what));
    }
    let also = user.rings_also.iter().map(|number| ("rings_also", number));
    let works_at = user.works_at.iter().map(|number| ("works_at", number));
    for (key, number) in also.chain(works_at) {
        if extensions.contains_key(number) {
            faults.push((key, format!("{number} is an extension, and not outside")));
        } else if !is_phone_number(number) {
            faults.push((key, number_fault(number)));
        } else if !leads_outside(file, number) {
            faults.push((key, format!("no route of the file leads to {number}")));
        }
    }
    if let Some(number) = user.caller_id.as_ref().filter(|n| !is_phone_number(n)) {
        faults.push(("caller_id", number_fault(number)));
    }
    faults
}

/// A route of the file is for this number.
pub(super) fn leads_outside(file: &OfficeFile, number: &str) -> bool {
    let none = BTreeMap::new();
    let mut routes = file.route.iter();
    routes.any(|route| route.route(&none).fits(number))
}
