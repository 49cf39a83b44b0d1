//! Lines to the world, in this world: trunks and routes as they are typed, and calls that come by one.

use crate::office::outside::RouteKind;
use crate::seam::{AdminAsk, OutwardAsk, RouteChange, TrunkChange};
use crate::sim::World;

impl World {
    /// A trunk is made, or changed if it is there.
    pub(super) fn trunk(&mut self, name: &str, settings: &[&str]) {
        let mut change = TrunkChange::default();
        for (key, value) in settings.iter().filter_map(|s| s.split_once('=')) {
            match key {
                "host" => change.host = Some(value.into()),
                "number" => change.number = Some(Some(value.into())),
                "username" => change.username = Some(Some(value.into())),
                "password" => change.password = Some(Some(value.into())),
                "calls_max" => change.calls_max = value.parse().ok(),
                "otherwise" => change.otherwise = Some(Some(value.into())),
                "numbers" => {
                    let pairs = value.split(',').filter_map(|pair| pair.split_once(':'));
                    let pairs = pairs.map(|(number, to)| (number.into(), to.into()));
                    change.numbers = Some(pairs.collect());
                }
                _ => self.faults.push(format!("a trunk has no {key}")),
            }
        }
        let is_there = self.pbx.x.office.outside.trunk_named(name).is_some();
        let name = name.into();
        self.ask(AdminAsk::Outward(match is_there {
            true => OutwardAsk::SetTrunk { name, change },
            false => OutwardAsk::AddTrunk { name, change },
        }));
    }

    /// A route is made, or changed if it is there.
    pub(super) fn route(&mut self, pattern: &str, settings: &[&str]) {
        let mut change = RouteChange::default();
        for (key, value) in settings.iter().filter_map(|s| s.split_once('=')) {
            match key {
                "trunks" => change.trunks = Some(value.split(',').map(Into::into).collect()),
                "strip" => change.strip = value.parse().ok(),
                "prefix" => change.prefix = Some(value.into()),
                "kind" => change.kind = RouteKind::parse(value),
                _ => self.faults.push(format!("a route has no {key}")),
            }
        }
        let is_there = self.pbx.x.office.outside.route_of(pattern).is_some();
        let pattern = pattern.into();
        self.ask(AdminAsk::Outward(match is_there {
            true => OutwardAsk::SetRoute { pattern, change },
            false => OutwardAsk::AddRoute { pattern, change },
        }));
    }

    /// The next call that comes in comes by this trunk.
    pub(super) fn comes_by(&mut self, trunk: &str) {
        self.trunk = self.pbx.x.office.outside.trunk_named(trunk);
    }
}
