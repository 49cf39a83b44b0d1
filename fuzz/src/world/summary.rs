//! What a day came to, in numbers: a world in which nothing happens proves nothing.

use std::ops::Add;

use super::node::Node;

/// What a day in the world came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls that phones made.
    pub called: u64,
    /// Times a phone was connected.
    pub connected: u64,
    /// Messages and greetings kept.
    pub kept: usize,
    /// Times "saved" was said.
    pub saved: u64,
    /// Of these, times another node had it, too.
    pub saved_twice: u64,
    /// Disks that were lost.
    pub disks_lost: u64,
    /// Nodes that were removed from their cluster.
    pub removed: u64,
    /// Restarts of nodes.
    pub restarts: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// NOTIFYs that phones took.
    pub notified: u64,
    /// Things that happened.
    pub steps: u64,
    /// Messages that call control counts as kept, as too short, and as refused for want of room.
    pub deposits: [u64; 3],
    /// Transfers, calls picked up, callers parked.
    pub moves: [u64; 3],
    /// Mailboxes opened, and wrong PINs.
    pub logins: [u64; 2],
    /// Calls whose party fell silent.
    pub vanished: u64,
}

impl Add for Summary {
    type Output = Summary;
    fn add(self, other: Summary) -> Summary {
        Summary {
            called: self.called + other.called,
            connected: self.connected + other.connected,
            kept: self.kept + other.kept,
            saved: self.saved + other.saved,
            saved_twice: self.saved_twice + other.saved_twice,
            disks_lost: self.disks_lost + other.disks_lost,
            removed: self.removed + other.removed,
            restarts: self.restarts + other.restarts,
            datagrams: self.datagrams + other.datagrams,
            notified: self.notified + other.notified,
            steps: self.steps + other.steps,
            deposits: std::array::from_fn(|n| self.deposits[n] + other.deposits[n]),
            moves: std::array::from_fn(|n| self.moves[n] + other.moves[n]),
            logins: std::array::from_fn(|n| self.logins[n] + other.logins[n]),
            vanished: self.vanished + other.vanished,
        }
    }
}

/// What call control has counted since the node started.
pub(super) fn counted(node: &Node) -> Summary {
    let counters = node.core.pbx().counters();
    Summary {
        deposits: [
            counters.deposits,
            counters.deposits_too_short,
            counters.deposits_refused,
        ],
        moves: [counters.transfers, counters.pickups, counters.parked],
        logins: [counters.logins, counters.pin_wrong],
        vanished: counters.ended.get("vanished").copied().unwrap_or(0),
        ..Summary::default()
    }
}
