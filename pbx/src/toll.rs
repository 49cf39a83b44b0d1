//! Limits of calls outside, so that a stolen password does not cost a fortune.
//!
//! From whoever calls outside ([`crate::call::dial`]); each user has so many calls at once, so many an
//! hour and so many a day. What is beyond is refused, counted, written down as an alarm, once an hour a
//! user, and shown in `tandem status` until the hour is over. Numbers for emergencies are not limited.
//!
//! The counts are of this node since its start. Invariant: one entry a user who has called in the last
//! day; users are bounded by the office.

use std::collections::BTreeMap;

use serde_json::json;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::state::PbxState;

/// The topic of the entries.
const TOPIC: &str = "alarm";
const HOURS: usize = 24;
const HOUR_S: u64 = 3600;

/// What each has called. Whoever is no user has one entry for all of them.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    callers: BTreeMap<Option<Id>, Calls>,
}

/// Calls by the hour.
#[derive(Clone, Copy, Debug)]
struct Calls {
    hours: [u32; HOURS],
    /// The hour that the last of them is, since the clock's beginning.
    hour: u64,
    /// The hour in which it was refused last.
    refused: Option<u64>,
}

impl Calls {
    fn new(hour: u64) -> Calls {
        Calls {
            hours: [0; HOURS],
            hour,
            refused: None,
        }
    }

    /// Hours that are over are forgotten.
    fn turn(&mut self, hour: u64) {
        let passed = usize::try_from(hour.saturating_sub(self.hour)).unwrap_or(HOURS);
        for _ in 0..passed.min(HOURS) {
            self.hours.rotate_left(1);
            self.hours[HOURS - 1] = 0;
        }
        self.hour = self.hour.max(hour);
    }

    fn this_hour(&self) -> u32 {
        self.hours[HOURS - 1]
    }

    fn today(&self) -> u32 {
        self.hours.iter().sum()
    }
}

fn hour_of(now: Time) -> u64 {
    now.since(Time(0)).as_secs() / HOUR_S
}

impl PbxState {
    /// Counts a call outside in this name, where `at_once` are under way. False: it is one too many.
    pub(crate) fn take_outward(&mut self, by: Option<Id>, at_once: usize) -> bool {
        let hour = hour_of(self.now.mono);
        let limits = self.config.outward_limits;
        let calls = self.toll.callers.entry(by).or_insert(Calls::new(hour));
        calls.turn(hour);
        let what = if at_once >= limits.at_once {
            "at once"
        } else if calls.this_hour() >= limits.an_hour {
            "in an hour"
        } else if calls.today() >= limits.a_day {
            "in a day"
        } else {
            calls.hours[HOURS - 1] += 1;
            self.counters.calls_outward += 1;
            return true;
        };
        self.counters.calls_outward_refused += 1;
        if calls.refused.replace(hour) != Some(hour) {
            let extension = by.and_then(|user| self.office.extension(user)).cloned();
            let body = json!({ "what": "too many calls outside", "limit": what,
                "user": by, "extension": extension });
            self.entry(TOPIC, &body);
            self.event("alarm", |_| body);
        }
        false
    }

    /// Who was refused in this hour, in words.
    pub(crate) fn toll_alarms(&self) -> Vec<String> {
        let hour = hour_of(self.now.mono);
        let callers = self.toll.callers.iter();
        let refused = callers.filter(|(_, calls)| calls.refused == Some(hour));
        let words = refused.map(|(by, _)| {
            let extension = by.and_then(|user| self.office.extension(user));
            let who = extension.map_or("a gateway".to_owned(), |e| format!("extension {e}"));
            format!(
                "{who} calls outside more than it may: look whether its password is in wrong hands"
            )
        });
        words.collect()
    }

    /// Whoever has not called for a day is forgotten.
    pub(crate) fn sweep_toll(&mut self) {
        let hour = hour_of(self.now.mono);
        let callers = &mut self.toll.callers;
        callers.retain(|_, calls| hour.saturating_sub(calls.hour) < HOURS as u64);
    }
}
