//! What a node is told and what it asks for: the types between it and the shell.

use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::{Command, Event, LegId};
use tandem_pbx::PbxConfig;
use tandem_pbx::seam::{AdminReply, AdminRequest, Happened};
use tandem_sip_shim::{ShimConfig, WireIn, WireOut};
use tandem_storage::cipher::{Keyring, Locked};
use tandem_storage::gate::GateConfig;
use tandem_storage::link::{CloseReason, LinkEvent, Position};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{Append, LogEvent, Token};
use tandem_storage::site::Members;

/// Registers whose keys begin with this are the shell's: [`Output::ShellRegister`] tells of them.
pub const SHELL_REGISTERS: &str = "api-token/";

/// How a node starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Of call control. Whether there are peers is known by `members`.
    pub pbx: PbxConfig,
    /// Of the SIP shim.
    pub shim: ShimConfig,
    /// By chance, for what the shim makes by chance.
    pub seed: [u8; 32],
    /// Of the promise of two copies.
    pub gate: GateConfig,
    /// Who belongs to the cluster; `None`: there is none.
    pub members: Option<Members>,
    /// What the digests of passwords are unlocked with.
    pub keys: Keyring,
    /// How long calls may go on after [`Input::Stop`].
    pub stop_grace: Duration,
}

/// What a node is told.
#[derive(Debug)]
pub enum Input {
    /// By the SIP transports.
    Wire(WireIn),
    /// By the media engine.
    Media(Event),
    /// The answer to [`Output::OpenMedia`].
    MediaOpened {
        leg: LegId,
        /// Its local RTP port, or nothing: no port is free.
        port: Result<u16, ()>,
    },
    /// By the log, in its order.
    Log(LogEvent),
    /// By the link to other nodes, in its order.
    Link(LinkEvent),
    /// The answer to [`Output::CheckPin`].
    PinChecked {
        leg: LegId,
        /// It is the right one.
        right: bool,
    },
    /// The answer to [`Output::HashPin`].
    PinHashed {
        leg: LegId,
        /// Its Argon2 hash in PHC form; `None` if it could not be hashed.
        hash: Option<Arc<str>>,
    },
    /// An administrator asks; answered by [`Output::Admin`].
    Admin(AdminRequest),
    /// Write these registers; answered by [`Output::Written`] when all of them are durable, or one is
    /// refused.
    Write {
        /// The asker's number, as in an [`AdminRequest`].
        asker: u64,
        /// Key and value; `None`: removed.
        registers: Vec<(String, Option<String>)>,
    },
    /// Somebody wants to know what happens ([`Output::Event`]), or nobody does any more.
    Watch(bool),
    /// New settings for call control, and for how long calls may go on after a stop.
    Configure(Box<PbxConfig>, Duration),
    /// Once: no new calls, and end when the last one has. Twice: end now.
    Stop,
}

/// What a node asks for.
#[derive(Debug)]
pub enum Output {
    /// Of the SIP transports.
    Wire(WireOut),
    /// Of the media engine.
    Media(Command),
    /// Of the media engine, answered at once by [`Input::MediaOpened`].
    OpenMedia { leg: LegId },
    /// Of the log. The order must be kept; answered through [`Input::Log`].
    Log {
        /// Comes back in the answer.
        token: Token,
        /// What to write.
        append: Append,
    },
    /// Check a PIN against its hash, elsewhere (it is slow on purpose).
    CheckPin {
        leg: LegId,
        /// Argon2 hash in PHC form.
        hash: Arc<str>,
        pin: Arc<str>,
    },
    /// Hash a new PIN, elsewhere.
    HashPin { leg: LegId, pin: Arc<str> },
    /// Of the link: get a sound here; answered by [`LinkEvent::Fetched`].
    Fetch {
        sound: Id,
        /// Where its node sealed it.
        sealed: Position,
        /// Chunks, from the first on, that are here.
        chunks: u32,
    },
    /// Of the link: these belong to the cluster now.
    Members(Members),
    /// The answer to an [`AdminRequest`].
    Admin(AdminReply),
    /// A register of the shell's ([`SHELL_REGISTERS`]) was set: this is its value now. Told before
    /// whoever wrote it is answered.
    ShellRegister {
        key: Arc<str>,
        /// `None`: there is none any more.
        value: Option<Arc<str>>,
    },
    /// Something happened; told only while somebody watches.
    Event(Happened),
    /// The answer to [`Input::Write`].
    Written {
        /// The asker's number.
        asker: u64,
        /// It is durable, or why not.
        result: Result<(), String>,
    },
    /// To be told in the log lines.
    Notice(Notice),
    /// Every call has ended and every seal is durable.
    Stopped,
}

/// What whoever watches the node should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another node is there.
    Up(NodeName),
    /// Another node is away.
    Away(NodeName, CloseReason),
    /// What is saved is at another node, too, from now on.
    Copied,
    /// What is saved is here alone from now on.
    Alone {
        /// Backups that are there and have not caught up.
        behind: usize,
    },
    /// Another node has seen more of this node's log than is here.
    Contradiction {
        peer: NodeName,
        /// The epoch it knows.
        epoch: u32,
    },
    /// What one node said is taken from another.
    Relaying {
        /// From this.
        peer: NodeName,
        /// What this said.
        author: NodeName,
    },
    /// No node that is there has all of this sound.
    NotFetched(Id),
    /// The disk has room for messages, or no longer.
    Room(bool),
    /// The phones of a user cannot log in here.
    UserLocked(Id, Locked),
    /// No new calls are taken, so many go on.
    Stopping {
        /// Calls that go on.
        calls: usize,
        /// For so long at most.
        grace: Duration,
    },
}
