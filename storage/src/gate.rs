//! The promise: "saved" is said only when a backup has it too.
//!
//! Stands between the log and the pbx. Events of the log go through it in order; one that says that
//! something is durable here is held until one backup has acknowledged it, or until the deadline.
//! A backup that misses a deadline is waited for no more (it is alone then, counts it and says so)
//! until it has caught up with the log; with no backup there nothing waits. So a backup that
//! is slow, full or dead costs one deadline, once.
//!
//! Bounds: at most [`HELD_MAX`] events are held; beyond it the oldest goes on alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::link::Position;
use crate::name::NodeName;
use crate::seam::LogEvent;
use crate::time::Time;

/// The most events held.
pub const HELD_MAX: usize = 16 * 1024;

/// How a gate works.
#[derive(Clone, Copy, Debug)]
pub struct GateConfig {
    /// This node: what others said has been promised by them.
    pub node: NodeName,
    /// Wait for a backup at all (`[storage] copies = 2`).
    pub waits: bool,
    /// The longest wait.
    pub deadline: Duration,
}

/// What the gate is told.
#[derive(Clone, Debug)]
pub enum GateInput {
    /// The log says something.
    Event(LogEvent),
    /// A backup is there, or no longer.
    Backup {
        /// Which.
        peer: NodeName,
        /// It is there.
        is_up: bool,
    },
    /// A peer has the log durably up to here ([`crate::link::LinkEvent::Acked`]); whether it is a
    /// backup was told by `Backup`.
    Acked {
        /// Which.
        peer: NodeName,
        /// How far.
        position: Position,
    },
    /// The deadline has come.
    Tick,
}

/// For `tandem status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateStatus {
    /// Events that wait.
    pub held: usize,
    /// Backups that are there and keep pace.
    pub backups: usize,
    /// Backups that are there and are waited for no more until they have caught up.
    pub behind: usize,
    /// Events that went on with a copy.
    pub copied: u64,
    /// Events that went on alone after the deadline.
    pub alone_late: u64,
    /// Events that went on alone because no backup was there or kept pace.
    pub alone: u64,
}

/// See the chapter above.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    held: VecDeque<Held>,
    backups: BTreeMap<NodeName, Backup>,
    /// The last of the own log that passed by.
    last: Position,
    outputs: VecDeque<LogEvent>,
    status: GateStatus,
}

#[derive(Debug)]
struct Held {
    event: LogEvent,
    /// `None`: waits only because others before it do.
    position: Option<Position>,
    since: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Backup {
    acked: Position,
    keeps_pace: bool,
}

impl Gate {
    /// With nothing held and no backup there.
    pub fn new(config: GateConfig) -> Gate {
        Gate {
            config,
            held: VecDeque::new(),
            backups: BTreeMap::new(),
            last: Position::default(),
            outputs: VecDeque::new(),
            status: GateStatus::default(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: GateInput) {
        match input {
            GateInput::Event(event) => self.on_event(now, event),
            GateInput::Backup { peer, is_up: true } => {
                self.backups.entry(peer).or_default();
                self.see_who_keeps_pace();
            }
            GateInput::Backup { peer, is_up: false } => {
                self.backups.remove(&peer);
            }
            GateInput::Acked { peer, position } => {
                if let Some(backup) = self.backups.get_mut(&peer) {
                    backup.acked = backup.acked.max(position);
                    self.see_who_keeps_pace();
                }
            }
            GateInput::Tick => {}
        }
        self.let_go(now);
    }

    /// The next event for the pbx.
    pub fn poll(&mut self) -> Option<LogEvent> {
        self.outputs.pop_front()
    }

    /// When to hand in [`GateInput::Tick`]; `None`: nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        self.held
            .front()
            .map(|held| held.since + self.config.deadline)
    }

    /// How it stands.
    pub fn status(&self) -> GateStatus {
        let backups = self.backups.values().filter(|b| b.keeps_pace).count();
        GateStatus {
            held: self.held.len(),
            backups,
            behind: self.backups.len() - backups,
            ..self.status
        }
    }

    fn on_event(&mut self, now: Time, event: LogEvent) {
        let position = match &event {
            LogEvent::Committed { record, .. } if record.stamp.node == self.config.node => {
                let (epoch, seq) = (record.stamp.epoch, record.stamp.seq);
                let position = Position { epoch, seq };
                // What was moved forward or came back from a peer is older: it was promised then.
                (position > self.last).then_some(position)
            }
            _ => None,
        };
        self.last = position.unwrap_or(self.last);
        self.held.push_back(Held {
            event,
            position,
            since: now,
        });
    }

    fn let_go(&mut self, now: Time) {
        while let Some(first) = self.held.front() {
            let is_late = first.since + self.config.deadline <= now || self.held.len() > HELD_MAX;
            let copied = first
                .position
                .is_some_and(|p| self.backups.values().any(|b| b.acked >= p));
            let keeps_pace = self.backups.values().any(|b| b.keeps_pace);
            match first.position {
                None => {}
                Some(_) if !self.config.waits => {}
                Some(_) if copied => self.status.copied += 1,
                Some(_) if !keeps_pace => self.status.alone += 1,
                Some(_) if is_late => {
                    self.status.alone_late += 1;
                    self.backups.values_mut().for_each(|b| b.keeps_pace = false);
                }
                Some(_) => return,
            }
            self.outputs.extend(self.held.pop_front().map(|h| h.event));
        }
    }

    /// A backup that has all there is keeps pace, until it misses a deadline.
    fn see_who_keeps_pace(&mut self) {
        let last = self.last;
        for backup in self.backups.values_mut() {
            backup.keeps_pace |= backup.acked >= last;
        }
    }
}

#[cfg(test)]
mod tests;
