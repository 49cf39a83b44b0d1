//! A bridge: legs that hear each other, until one of them hangs up or falls silent.
//!
//! Who is held by the other's phone hears music. Digits go from end to end as media; only one that came
//! in signalling is passed on here. A user whose phone has no key for it transfers the other with the
//! keys of [`transfer_keys`]: it is asked for a number, while the other hears music. With those of
//! [`record_keys`] the call is recorded ([`crate::call::recording`]).
//!
//! [`transfer_keys`]: crate::config::PbxConfig::transfer_keys
//! [`record_keys`]: crate::config::PbxConfig::record_keys

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId, PlayId};
use tandem_storage::time::Time;

use crate::app::Next;
use crate::call::LegEvent;
use crate::call::leg::Place;
use crate::call::parking::slot_of;
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::Cause;
use crate::voicemail::question::{Question, Reply};
use crate::words;

/// Keys that mean something together are pressed within this time of each other.
const KEYS_WITHIN: Duration = Duration::from_secs(2);

/// So many are kept in mind.
const KEYS_MAX: usize = 8;

/// A bridge's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct BridgeId(pub(crate) u64);

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bridge {
    /// Two, as long as nothing but two legs can be connected.
    pub(crate) legs: Vec<LegId>,
    /// Who of them hears music.
    music: BTreeMap<LegId, PlayId>,
}

/// The last keys that a party pressed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeysPressed {
    keys: String,
    at: Time,
}

/// What keys that are pressed together ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Transfer,
    Record,
}

impl Bridge {
    /// The legs that hear this one.
    pub(crate) fn others(&self, leg: LegId) -> impl Iterator<Item = LegId> {
        self.legs.iter().copied().filter(move |other| *other != leg)
    }

    /// It hears music in place of the others.
    pub(crate) fn hears_music(&self, leg: LegId) -> bool {
        self.music.contains_key(&leg)
    }
}

impl Pbx {
    /// Connects two legs; one that has not been answered is.
    pub(crate) fn bridge(&mut self, a: LegId, b: LegId) {
        let id = BridgeId(self.board.new_place());
        for (leg, like) in [(a, b), (b, a)] {
            if let Some(leg) = self.board.legs.get_mut(&leg) {
                leg.answer(&mut self.x, Some(like));
                leg.place = Place::Bridge(id);
                leg.asking = None;
            }
            self.board.note_leg(leg);
        }
        self.note_met(a, b);
        self.x.media(Command::Bridge { a, b });
        let legs = vec![a, b];
        let music = BTreeMap::new();
        self.board.bridges.insert(id, Bridge { legs, music });
        self.update_music(id);
        self.record_bridge(id);
    }

    /// A leg in a bridge is told something.
    pub(crate) fn on_bridged(&mut self, id: BridgeId, leg: LegId, event: &LegEvent) {
        if self.on_asked(id, leg, event) {
            return;
        }
        match event {
            LegEvent::PlayDone(play) => {
                let bridge = self.board.bridges.get_mut(&id);
                if let Some(bridge) = bridge.filter(|b| b.music.get(&leg) == Some(play)) {
                    bridge.music.remove(&leg);
                    self.update_music(id);
                }
            }
            LegEvent::Digit { digit, signalled } => {
                if *signalled && let Some(bridge) = self.board.bridges.get(&id) {
                    for leg in bridge.others(leg) {
                        let digit = *digit;
                        self.x.media(Command::SendDigit { leg, digit });
                    }
                }
                match self.keys_ask_for(leg, *digit) {
                    Some(Wish::Transfer) => self.ask_for_number(id, leg),
                    Some(Wish::Record) => self.record_keys_pressed(id, leg),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Who is held, or waits while the other dials, hears music, and nobody else does.
    pub(crate) fn update_music(&mut self, id: BridgeId) {
        let Some(bridge) = self.board.bridges.get(&id) else {
            return;
        };
        let legs = &self.board.legs;
        let is_away = |id: &LegId| {
            let leg = legs.get(id);
            leg.is_some_and(|leg| leg.holds || leg.asking.is_some())
        };
        let wanted = bridge.legs.iter().copied().filter(|leg| {
            let is_there = legs.get(leg).is_some_and(|leg| leg.is_alive) && !is_away(leg);
            is_there && bridge.others(*leg).any(|other| is_away(&other))
        });
        let wanted: Vec<LegId> = wanted.collect();
        let mut music = bridge.music.clone();
        let ended = music.keys().filter(|leg| !wanted.contains(leg)).copied();
        for leg in ended.collect::<Vec<_>>() {
            music.remove(&leg);
            // Who is asked something hears that in its place already.
            if let Some(leg) = legs
                .get(&leg)
                .filter(|leg| leg.is_alive && leg.asking.is_none())
            {
                leg.stop_playback(&mut self.x);
            }
        }
        for id in wanted {
            if let Some(leg) = legs.get(&id) {
                let x = &mut self.x;
                music.entry(id).or_insert_with(|| leg.say(x, Say::music()));
            }
        }
        if let Some(bridge) = self.board.bridges.get_mut(&id) {
            bridge.music = music;
        }
    }

    /// Notes a key, and says what those that a user pressed together ask for.
    fn keys_ask_for(&mut self, id: LegId, digit: char) -> Option<Wish> {
        let config = &self.x.config;
        let wishes = [
            (&config.transfer_keys, Wish::Transfer),
            (&config.record_keys, Wish::Record),
        ];
        let now = self.x.now.mono;
        let leg = self.board.legs.get_mut(&id)?;
        leg.party.user?;
        let before = leg.keys_pressed.take();
        let before = before.filter(|keys| now.since(keys.at) <= KEYS_WITHIN);
        let mut keys = before.map_or(String::new(), |before| before.keys);
        keys.push(digit);
        let mut wishes = wishes.iter();
        let asked = wishes.find(|(wanted, _)| !wanted.is_empty() && keys.ends_with(&***wanted));
        if let Some((_, wish)) = asked {
            return Some(*wish);
        }
        if keys.chars().count() > KEYS_MAX {
            keys.remove(0);
        }
        leg.keys_pressed = Some(KeysPressed { keys, at: now });
        None
    }

    fn ask_for_number(&mut self, id: BridgeId, leg: LegId) {
        if self.partner(leg).is_none() {
            return;
        }
        if let Some(leg) = self.board.legs.get_mut(&leg) {
            let said = Say::one(words::TRANSFER_TO);
            leg.asking = Some(Question::number(leg, &mut self.x, said));
        }
        self.board.note_leg(leg);
        self.update_music(id);
    }

    /// Is the leg being asked for a number? Then the event is for the question.
    fn on_asked(&mut self, id: BridgeId, leg: LegId, event: &LegEvent) -> bool {
        let Some(asked) = self.board.legs.get_mut(&leg) else {
            return false;
        };
        let Some(mut question) = asked.asking.take() else {
            return false;
        };
        let reply = question.on(asked, &mut self.x, event);
        match reply {
            None => asked.asking = Some(question),
            Some(Reply::Number(to)) if !to.is_empty() => self.transfer_by_keys(id, leg, &to),
            Some(_) => self.update_music(id),
        }
        self.board.note_leg(leg);
        true
    }

    /// The other is transferred there, and the one who asked for it hung up; or both talk on.
    fn transfer_by_keys(&mut self, id: BridgeId, leg: LegId, to: &str) {
        let moved = self.partner(leg).map(|(_, moved)| moved);
        if self.transfer_blind(leg, to, None).is_err() {
            self.x.counters.transfers_refused += 1;
            if let Some(leg) = self.board.legs.get(&leg) {
                leg.say(&mut self.x, Say::one(words::COULD_NOT));
            }
            return self.update_music(id);
        }
        let moved = moved.and_then(|moved| self.board.legs.get(&moved));
        let said = match moved.and_then(slot_of) {
            Some(slot) => Say::one(words::PARKED_AT).number(slot),
            None => Say::new(),
        };
        if let Some(leg) = self.board.legs.get_mut(&leg) {
            leg.place = Place::Between;
        }
        self.go(leg, Next::goodbye(said));
    }

    /// A leg has left a bridge for good: who is left alone is hung up, too.
    pub(crate) fn bridge_left(&mut self, id: BridgeId, leg: LegId, cause: Cause) {
        let Some(bridge) = self.board.bridges.remove(&id) else {
            return;
        };
        for other in bridge.others(leg).collect::<Vec<_>>() {
            if let Some(other) = self.board.legs.get_mut(&other) {
                other.place = Place::Between;
                other.end(&mut self.x, cause);
            }
            self.over(other);
        }
    }
}
