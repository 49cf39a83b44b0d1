//! Trunks and routes as an administrator makes, changes and removes them, and how trunks are used now.
//!
//! Trunks are told apart by their names, routes by their patterns. Nothing of a change is written unless
//! all of it can be. A password that is given is never shown again.

use std::sync::Arc;

use serde_json::{Value, json};
use tandem_storage::name::Id;

use crate::office::outside::{
    OutsideRoute, ROUTES_MAX, TRUNKS_MAX, Trunk, host_address, is_number, route_key, trunk_key,
    trunk_password_key,
};
use crate::office::{Entry, json};
use crate::pbx::Pbx;
use crate::seam::{OutwardAsk, RouteChange, TrunkChange};
use crate::state::{PbxState, Waiter};
use crate::users::name_fault;

/// The most numbers of a trunk, and the most trunks of a route.
pub(crate) const NUMBERS_MAX: usize = 2000;
pub(crate) const ROUTE_TRUNKS_MAX: usize = 10;
/// The longest user name, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 128;
/// The longest password as it is kept, in bytes: it may be locked.
pub(crate) const PASSWORD_BYTES_MAX: usize = 512;
/// How many calls a trunk may have at once.
pub(crate) const CALLS: std::ops::RangeInclusive<u16> = 1..=10_000;

impl Pbx {
    /// `Ok(None)`: it is answered when it is durable.
    pub(crate) fn on_outward_ask(
        &mut self,
        asker: u64,
        ask: OutwardAsk,
    ) -> Result<Option<Value>, String> {
        match ask {
            OutwardAsk::Trunks => return Ok(Some(self.trunks_json())),
            OutwardAsk::Routes => return Ok(Some(self.routes_json())),
            OutwardAsk::AddTrunk { name, change } => self.add_trunk(asker, &name, change)?,
            OutwardAsk::SetTrunk { name, change } => {
                let id = self.trunk_of(&name)?;
                let trunk = self.x.office.outside.trunk(id).cloned();
                self.write_trunk(asker, id, trunk.ok_or("the trunk is gone")?, change)?;
            }
            OutwardAsk::RemoveTrunk { name } => {
                let id = self.trunk_of(&name)?;
                let routes = self.x.office.outside.routes().into_iter();
                let mut users = routes.filter(|(_, route)| route.trunks.contains(&id));
                if let Some((_, route)) = users.next() {
                    return Err(format!(
                        "the route {} goes over the trunk {name}; change it first",
                        route.pattern
                    ));
                }
                let x = &mut self.x;
                x.append_register(Waiter::Nobody, trunk_password_key(id), None);
                x.append_register(Waiter::Asker(asker), trunk_key(id), None);
            }
            OutwardAsk::AddRoute { pattern, change } => self.add_route(asker, &pattern, change)?,
            OutwardAsk::SetRoute { pattern, change } => {
                let id = self.route_of(&pattern)?;
                let route = self.x.office.outside.route(id).cloned();
                self.write_route(asker, id, route.ok_or("the route is gone")?, change)?;
            }
            OutwardAsk::RemoveRoute { pattern } => {
                let id = self.route_of(&pattern)?;
                self.x
                    .append_register(Waiter::Asker(asker), route_key(id), None);
            }
        }
        Ok(None)
    }

    fn trunk_of(&self, name: &str) -> Result<Id, String> {
        let found = self.x.office.outside.trunk_named(name);
        found.ok_or_else(|| format!("no trunk is called {name}"))
    }

    fn route_of(&self, pattern: &str) -> Result<Id, String> {
        let found = self.x.office.outside.route_of(pattern);
        found.ok_or_else(|| format!("no route has the pattern {pattern}"))
    }

    fn add_trunk(
        &mut self,
        asker: u64,
        name: &Arc<str>,
        change: TrunkChange,
    ) -> Result<(), String> {
        trunk_name_fault(name).map_or(Ok(()), Err)?;
        if self.trunk_of(name).is_ok() {
            return Err(format!("there is a trunk {name} already"));
        }
        if self.x.office.outside.trunks().count() >= TRUNKS_MAX {
            return Err(format!("there are at most {TRUNKS_MAX} trunks"));
        }
        let host = change.host.clone().ok_or("a trunk needs a host")?;
        let id = self.x.new_id();
        self.write_trunk(asker, id, Trunk::new(name.clone(), host), change)
    }

    fn write_trunk(
        &mut self,
        asker: u64,
        id: Id,
        mut trunk: Trunk,
        change: TrunkChange,
    ) -> Result<(), String> {
        if let Some(name) = change.name.filter(|name| *name != trunk.name) {
            trunk_name_fault(&name).map_or(Ok(()), Err)?;
            if self.trunk_of(&name).is_ok() {
                return Err(format!("there is a trunk {name} already"));
            }
            trunk.name = name;
        }
        trunk.host = change.host.unwrap_or(trunk.host);
        trunk.transport = change.transport.unwrap_or(trunk.transport);
        trunk.username = change.username.unwrap_or(trunk.username);
        trunk.number = change.number.unwrap_or(trunk.number);
        trunk.calls_max = change.calls_max.unwrap_or(trunk.calls_max);
        trunk.otherwise = change.otherwise.unwrap_or(trunk.otherwise);
        if let Some(numbers) = change.numbers {
            trunk.numbers = numbers.into_iter().collect();
        }
        let is_there = |extension: &str| self.x.office.entry(extension).is_some();
        trunk_fault(&trunk, &is_there).map_or(Ok(()), |(_, what)| Err(what))?;
        if let Some(password) = change.password {
            if password
                .as_ref()
                .is_some_and(|p| p.len() > PASSWORD_BYTES_MAX)
            {
                return Err("the password is too long".to_owned());
            }
            let value = password.map(|password| json(&password));
            self.x
                .append_register(Waiter::Nobody, trunk_password_key(id), value);
        }
        let value = Some(json(&trunk));
        self.x
            .append_register(Waiter::Asker(asker), trunk_key(id), value);
        Ok(())
    }

    fn add_route(
        &mut self,
        asker: u64,
        pattern: &Arc<str>,
        change: RouteChange,
    ) -> Result<(), String> {
        if self.route_of(pattern).is_ok() {
            return Err(format!("there is a route for {pattern} already"));
        }
        if self.x.office.outside.routes().len() >= ROUTES_MAX {
            return Err(format!("there are at most {ROUTES_MAX} routes"));
        }
        let id = self.x.new_id();
        self.write_route(asker, id, OutsideRoute::new(pattern.clone()), change)
    }

    fn write_route(
        &mut self,
        asker: u64,
        id: Id,
        mut route: OutsideRoute,
        change: RouteChange,
    ) -> Result<(), String> {
        if let Some(pattern) = change.pattern.filter(|to| *to != route.pattern) {
            if self.route_of(&pattern).is_ok() {
                return Err(format!("there is a route for {pattern} already"));
            }
            route.pattern = pattern;
        }
        route.strip = change.strip.unwrap_or(route.strip);
        route.prefix = change.prefix.unwrap_or(route.prefix);
        route.kind = change.kind.unwrap_or(route.kind);
        if let Some(names) = change.trunks {
            let trunks = names.iter().map(|name| self.trunk_of(name));
            route.trunks = trunks.collect::<Result<Vec<Id>, String>>()?;
        }
        route_fault(&route).map_or(Ok(()), |(_, what)| Err(what))?;
        let value = Some(json(&route));
        self.x
            .append_register(Waiter::Asker(asker), route_key(id), value);
        Ok(())
    }

    /// Each trunk by its name, with the calls it has now.
    pub fn trunk_calls(&self) -> impl Iterator<Item = (&str, usize)> {
        let trunks = self.x.office.outside.trunks();
        trunks.map(|(id, trunk)| (&*trunk.name, self.board.legs_at(id)))
    }

    fn trunks_json(&self) -> Value {
        let trunks = self.x.office.outside.trunks();
        let rows = trunks.filter_map(|(id, _)| {
            let mut row = trunk_row(&self.x, id)?;
            row["calls"] = self.board.legs_at(id).into();
            Some(row)
        });
        rows.collect()
    }

    fn routes_json(&self) -> Value {
        let routes = self.x.office.outside.routes().into_iter();
        routes
            .filter_map(|(id, _)| route_row(&self.x, id))
            .collect()
    }
}

/// A trunk as it is listed.
pub(crate) fn trunk_row(x: &PbxState, id: Id) -> Option<Value> {
    let trunk = x.office.outside.trunk(id)?;
    Some(json!({
        "id": id,
        "name": trunk.name,
        "host": trunk.host,
        "transport": trunk.transport,
        "username": trunk.username,
        "has_password": x.office.outside.password(id).is_some(),
        "number": trunk.number,
        "calls_max": trunk.calls_max,
        "numbers": trunk.numbers,
        "otherwise": trunk.otherwise,
    }))
}

/// A route as it is listed.
pub(crate) fn route_row(x: &PbxState, id: Id) -> Option<Value> {
    let outside = &x.office.outside;
    let route = outside.route(id)?;
    let trunks = route.trunks.iter();
    let names = trunks.filter_map(|trunk| outside.trunk(*trunk).map(|trunk| &*trunk.name));
    Some(json!({
        "id": id,
        "pattern": route.pattern,
        "strip": route.strip,
        "prefix": route.prefix,
        "trunks": names.collect::<Vec<&str>>(),
        "kind": route.kind,
    }))
}

/// What is wrong with a trunk's name, if anything: it is typed in lists.
pub(crate) fn trunk_name_fault(name: &str) -> Option<String> {
    let typed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let is_right = name_fault(name).is_none() && name.chars().all(typed);
    (!is_right).then(|| {
        format!(
            "'{}' is not a trunk's name: letters, digits, '-', '_' and '.'",
            name.escape_debug()
        )
    })
}

/// What is wrong with a trunk, if anything, and with which of its keys.
pub(crate) fn trunk_fault(
    trunk: &Trunk,
    is_there: &dyn Fn(&str) -> bool,
) -> Option<(&'static str, String)> {
    if host_address(&trunk.host).is_none() {
        let what = format!(
            "'{}' is not an IP address, with a port or without",
            trunk.host.escape_debug()
        );
        return Some(("host", what));
    }
    if !CALLS.contains(&trunk.calls_max) {
        let (least, most) = (CALLS.start(), CALLS.end());
        let what = format!(
            "a trunk has {least} to {most} calls, not {}",
            trunk.calls_max
        );
        return Some(("calls_max", what));
    }
    let is_text = |text: &str| {
        let quotable = |c: char| !c.is_control() && c != '"' && c != '\\';
        !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.chars().all(quotable)
    };
    if let Some(name) = trunk.username.as_ref().filter(|name| !is_text(name)) {
        let what = format!("'{}' is not a user name", name.escape_debug());
        return Some(("username", what));
    }
    if let Some(number) = trunk
        .number
        .as_ref()
        .filter(|number| !is_phone_number(number))
    {
        return Some(("number", number_fault(number)));
    }
    if trunk.numbers.len() > NUMBERS_MAX {
        let what = format!("a trunk has at most {NUMBERS_MAX} numbers");
        return Some(("numbers", what));
    }
    if let Some(number) = trunk.numbers.keys().find(|number| !is_phone_number(number)) {
        return Some(("numbers", number_fault(number)));
    }
    let mut extensions = trunk.numbers.values();
    if let Some(extension) = extensions.find(|extension| !is_there(extension)) {
        return Some(("numbers", format!("nobody has the extension {extension}")));
    }
    let otherwise = trunk.otherwise.as_ref();
    let nobody = otherwise.filter(|extension| !is_there(extension))?;
    Some(("otherwise", format!("nobody has the extension {nobody}")))
}

/// What is wrong with a route, if anything, and with which of its keys.
pub(crate) fn route_fault(route: &OutsideRoute) -> Option<(&'static str, String)> {
    let fixed = route.pattern.strip_suffix('.').unwrap_or(&route.pattern);
    if !is_phone_number(&fixed.replace('X', "0")) {
        let what = format!(
            "'{}' is not a pattern: digits, *, #, +, X for any digit, and a '.' at the end for what follows",
            route.pattern.escape_debug()
        );
        return Some(("pattern", what));
    }
    let takes_all = usize::from(route.strip) > fixed.len();
    if takes_all {
        let what = format!("strip takes off more than {} begins with", route.pattern);
        return Some(("strip", what));
    }
    if !route.prefix.is_empty() && !is_phone_number(&route.prefix) {
        return Some(("prefix", number_fault(&route.prefix)));
    }
    if route.trunks.is_empty() || route.trunks.len() > ROUTE_TRUNKS_MAX {
        let what = format!("a route has 1 to {ROUTE_TRUNKS_MAX} trunks");
        return Some(("trunks", what));
    }
    None
}

/// A number as it can be dialled, and no longer than one is.
pub(crate) fn is_phone_number(text: &str) -> bool {
    is_number(text) && text.len() <= 32
}

/// What is wrong with a number that is none.
pub(crate) fn number_fault(number: &str) -> String {
    format!(
        "'{}' is not a number: digits, +, * and #",
        number.escape_debug()
    )
}

impl PbxState {
    /// What is wrong with a number that is to be called outside for a user, if anything.
    pub(crate) fn outside_number_fault(&self, number: &str) -> Option<String> {
        match self.office.entry(number) {
            Some(Entry::User(_) | Entry::Group(_) | Entry::Room(_)) => {
                Some(format!("{number} is an extension, and not outside"))
            }
            None if !is_phone_number(number) => Some(number_fault(number)),
            None if self.office.outside.route_for(number).is_none() => Some(format!(
                "no route leads to {number}; tandem route list shows them"
            )),
            None => None,
        }
    }
}
