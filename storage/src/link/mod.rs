//! The link: how a node hands its log on to its peers, and takes theirs.
//!
//! The shell hands in connections, frames, what became durable and the time; out come frames, appends
//! to the own log, and events. Nothing here touches a socket or a file: a company of nodes runs in one
//! thread. Types in `seam.rs`, bytes in `frame.rs`.

pub mod frame;
mod seam;

use std::collections::VecDeque;

pub use self::frame::Frame;
pub use self::seam::{
    CloseReason, ConnId, LINK_TOKENS, LinkConfig, LinkEvent, LinkInput, LinkOutput, LinkStatus,
    LogPiece, PEERS_MAX, PeerConfig, PeerStatus, Position, READ_BYTES_MAX,
};
use crate::time::Time;

/// See the chapter above.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    outputs: VecDeque<LinkOutput>,
    deadline: Time,
}

impl Link {
    /// With nobody connected. `saved` are the registers whose keys begin with
    /// [`crate::seam::LOCAL_KEYS`], as the own log has them.
    pub fn new<'a>(
        config: LinkConfig,
        now: Time,
        saved: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Link {
        let _ = saved.into_iter().count();
        Link {
            config,
            outputs: VecDeque::new(),
            deadline: now,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: LinkInput) {
        if let LinkInput::Tick = input {
            self.deadline = now;
        }
    }

    /// The next thing asked for.
    pub fn poll(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    /// When to hand in [`LinkInput::Tick`].
    pub fn deadline(&self) -> Time {
        self.deadline
    }

    /// How it stands.
    pub fn status(&self) -> LinkStatus {
        let _ = &self.config;
        LinkStatus::default()
    }
}
