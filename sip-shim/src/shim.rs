//! The core: SIP on one side, call control on the other.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tandem_engine::seam::{Command, LegId};
use tandem_pbx::seam::{SipCommand, SipEvent, SipUser};
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time};

use crate::config::ShimConfig;
use crate::counters::ShimCounters;
use crate::wire::{Transport, WireIn, WireOut};

/// What the shim is told.
#[derive(Debug)]
pub enum ShimInput {
    /// By the network.
    Wire(WireIn),
    /// By call control.
    Pbx(SipCommand),
    /// A user came or changed (`Some`) or went (`None`).
    User {
        /// Who.
        id: Id,
        /// Its new form.
        user: Option<SipUser>,
    },
    /// The answer to [`ShimOutput::OpenMedia`].
    MediaOpened {
        /// Which leg.
        leg: LegId,
        /// Its local RTP port, or nothing: no port is free.
        port: Result<u16, ()>,
    },
}

/// What the shim asks for.
#[derive(Debug)]
pub enum ShimOutput {
    /// Of the network.
    Wire(WireOut),
    /// Of call control.
    Pbx(SipEvent),
    /// Open a leg in the media engine and answer at once with [`ShimInput::MediaOpened`].
    OpenMedia {
        /// Which leg.
        leg: LegId,
    },
    /// Of the media engine: [`Command::Set`] or [`Command::Close`].
    Media(Command),
}

/// A registered phone, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    /// Whose.
    pub user: Id,
    /// What one dials to reach it.
    pub extension: Arc<str>,
    /// The address it gave.
    pub contact: String,
    /// The address it was heard from: requests to it go there.
    pub source: SocketAddr,
    /// How.
    pub transport: Transport,
    /// What it says it is; may be empty.
    pub user_agent: String,
    /// Seconds until it must register again.
    pub expires_s: u64,
}

/// SIP for one node. Pure: fed by [`Shim::handle`] and [`Shim::tick`], drained by [`Shim::poll`].
#[derive(Debug)]
pub struct Shim {
    outputs: VecDeque<ShimOutput>,
    counters: ShimCounters,
}

impl Shim {
    /// `seed` makes every tag, branch and nonce: secret where it faces a network.
    pub fn new(_config: ShimConfig, _seed: u64) -> Shim {
        Shim {
            outputs: VecDeque::new(),
            counters: ShimCounters::default(),
        }
    }

    /// Takes one input. Drain [`Shim::poll`] afterwards.
    pub fn handle(&mut self, _now: Now, _input: ShimInput) {}

    /// Does what is due by `now`. Drain [`Shim::poll`] afterwards.
    pub fn tick(&mut self, _now: Now) {}

    /// The next output, until there is none.
    pub fn poll(&mut self) -> Option<ShimOutput> {
        self.outputs.pop_front()
    }

    /// When [`Shim::tick`] is wanted next.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// Who is registered where, ordered by extension.
    pub fn phones(&self, _now: Now) -> Vec<Phone> {
        Vec::new()
    }

    /// What has been counted.
    pub fn counters(&self) -> &ShimCounters {
        &self.counters
    }

    /// Calls in whatever phase.
    pub fn dialogs(&self) -> usize {
        0
    }
}
