//! The peers, and which connection with each is used.
//!
//! Both sides dial, for one of them may sit behind a router that lets nobody in; one connection carries
//! both directions. If there are two, both sides keep the one that the node with the lower name dialled;
//! of two that the same side dialled, the newer.
//!
//! A peer that cannot be reached is tried again after [`BACKOFF_MIN`], each time twice as long up to
//! [`BACKOFF_MAX`], with up to half of it by chance, so that nodes that lost the same switch do not come
//! back all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::follow::Follower;
use super::frame::{LogCursor, RecordClass};
use super::seam::{CloseReason, ConnId, PeerConfig, Position};
use crate::name::NodeName;
use crate::time::Time;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    pub(super) conn: Option<ConnId>,
    dialling: bool,
    dial_at: Time,
    backoff: Duration,
    /// The others were told that it is there.
    pub(super) is_up: bool,
    /// It keeps a copy of the own log, as far as was told.
    pub(super) is_backup: bool,
    pub(super) away_why: Option<CloseReason>,
    /// By how much its clock is ahead, as it said last.
    pub(super) clock_off_ms: Option<i64>,
    /// Of whom it holds something.
    pub(super) has: BTreeSet<(NodeName, RecordClass)>,
    /// Where to go on in its log.
    pub(super) places: BTreeMap<(NodeName, RecordClass), LogCursor>,
    pub(super) places_changed: bool,
    /// How far its log is, as it said last.
    pub(super) tip: Position,
    /// How far it has the own log.
    pub(super) acked: Position,
    /// How far the own log had been read for it when its connection went.
    pub(super) left_at: Option<LogCursor>,
    /// What the log here did not take, and when it is asked for again.
    pub(super) refused: BTreeMap<(NodeName, RecordClass), Time>,
}

/// What became of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is used; this one is not, any more.
    Use(Option<ConnId>),
    /// The other one stays.
    Refuse,
}

impl Peer {
    /// Not connected yet.
    pub(super) fn new(config: PeerConfig, now: Time) -> Peer {
        Peer {
            config,
            conn: None,
            dialling: false,
            dial_at: now,
            backoff: BACKOFF_MIN,
            is_up: false,
            is_backup: false,
            away_why: None,
            clock_off_ms: None,
            has: BTreeSet::new(),
            places: BTreeMap::new(),
            places_changed: false,
            tip: Position::default(),
            acked: Position::default(),
            left_at: None,
            refused: BTreeMap::new(),
        }
    }

    /// It should be dialled now. True once.
    pub(super) fn dials(&mut self, now: Time) -> bool {
        let dials = self.conn.is_none() && !self.dialling && self.dial_at <= now;
        self.dialling |= dials;
        dials
    }

    /// When it should be.
    pub(super) fn dial_at(&self) -> Option<Time> {
        (self.conn.is_none() && !self.dialling).then_some(self.dial_at)
    }

    /// It could not be reached. `chance`: from 0 to below 1.
    pub(super) fn on_not_connected(&mut self, now: Time, chance: f64, why: CloseReason) {
        self.dialling = false;
        if self.conn.is_none() {
            self.away_why = Some(why);
        }
        self.back_off(now, chance);
    }

    /// A connection is there. `is_preferred`: both sides would rather have this one. `current_is`:
    /// the same of the one there is.
    pub(super) fn on_connected(
        &mut self,
        conn: ConnId,
        dialled: bool,
        is_preferred: bool,
        current_is: bool,
    ) -> Verdict {
        self.dialling &= !dialled;
        if self.conn.is_some() && current_is && !is_preferred {
            return Verdict::Refuse;
        }
        Verdict::Use(self.conn.replace(conn))
    }

    /// Its connection is gone. `lasted`: the two talked for a while, so the next attempt can be a quick one.
    /// Otherwise it is one that shut the door, or whose log contradicts: it would be asked again at once,
    /// for ever.
    pub(super) fn on_gone(&mut self, now: Time, chance: f64, lasted: bool) {
        self.conn = None;
        if lasted {
            self.backoff = BACKOFF_MIN;
            self.dial_at = now + self.backoff.mul_f64(chance / 2.0);
        } else {
            self.back_off(now, chance);
        }
    }

    fn back_off(&mut self, now: Time, chance: f64) {
        self.dial_at = now + self.backoff.mul_f64(1.0 + chance / 2.0);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// So far its log was followed.
    pub(super) fn at(&mut self, follower: &Follower) {
        let what = (follower.author, follower.lane);
        self.places.insert(what, follower.place);
        self.places_changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shuts_the_door_is_asked_ever_less_often() {
        let name = "b".parse().unwrap();
        let config = PeerConfig {
            name,
            keep_sound: true,
        };
        let mut now = Time(0);
        let mut peer = Peer::new(config, now);
        let (mut dials, end) = (0, now + Duration::from_secs(60));
        while let Some(at) = peer.dial_at().filter(|at| *at < end) {
            now = at;
            assert!(peer.dials(now));
            dials += 1;
            peer.on_connected(ConnId(dials), true, true, false);
            peer.on_gone(now, 0.0, false);
        }
        assert!((10..=13).contains(&dials), "{dials} in a minute");

        // With one that had talked for a while it is tried at once.
        peer.on_gone(now, 0.5, true);
        assert!(peer.dial_at().unwrap() <= now + BACKOFF_MIN);
    }
}
