//! What goes into the link and what comes out: the types between it and the shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Wrote;
use crate::link::frame::{Frame, Sorry};
use crate::name::{Id, NodeName};
use crate::seam::{Append, ChunkPlace, Refusal, Token};
use crate::time::WallTime;

/// A read of the log asks for at most so much.
pub const READ_BYTES_MAX: usize = 256 * 1024;
/// The most peers.
pub const PEERS_MAX: usize = 64;

/// A connection, named by the shell; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// How a link starts.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// This node.
    pub node: NodeName,
    /// The epoch of its log that was opened.
    pub epoch: u32,
    /// What was found of its log when it was opened.
    pub found: LogFound,
    /// The registers of the own log under [`crate::seam::LOCAL_REGISTERS`], key and value: what
    /// the link kept in mind.
    pub kept: Vec<(Arc<str>, Arc<str>)>,
    /// Bytes a second that may be sent to all peers together; 0: no ceiling.
    pub send_bytes_per_s: u64,
    /// A peer of which nothing was heard for so long is away.
    pub away_after: Duration,
    /// The length of the log's segments, for telling how much is still to be sent.
    pub segment_bytes: u64,
    /// The lowest and the highest version of the protocol that is spoken: [`crate::link::frame::VERSIONS`], unless
    /// another release is to be imitated.
    pub versions: (u16, u16),
    /// Different for each node and each start: spreads out attempts to connect.
    pub seed: u64,
}

/// What of a log the link must know before it can hand it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFound {
    /// Per epoch of the log, before the one that was opened, the last number that counts.
    pub epochs: BTreeMap<u32, u64>,
    /// All who said something that is in it.
    pub authors: BTreeSet<NodeName>,
    /// Damages found in it. If there are any that were not seen to before, everything is asked of the
    /// peers again.
    pub damages: u64,
}

/// What is known of a peer that is not its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name, as in its certificate.
    pub name: NodeName,
    /// This node keeps the sound it says; otherwise only what is said *about* sound.
    pub keep_sound: bool,
}

/// What the link is told.
#[derive(Clone, Debug)]
pub enum LinkInput {
    /// The peers there are. Replaces those before; connections to others are closed.
    Peers(Vec<PeerConfig>),
    /// A connection is up, and the certificate on the other side is that of `peer`.
    Connected {
        /// Which.
        conn: ConnId,
        /// Who is there.
        peer: NodeName,
        /// This node asked for it with [`LinkOutput::Dial`].
        dialled: bool,
    },
    /// A peer could not be reached.
    NotConnected {
        /// Which.
        peer: NodeName,
        /// Why.
        why: CloseReason,
    },
    /// The link is about to end: what is kept is written down now.
    Ending,
    /// What this machine's clock shows now.
    Clock(WallTime),
    /// A connection is gone, whoever ended it.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// A frame has come.
    Frame {
        /// On which connection.
        conn: ConnId,
        /// All of it, without the length in front.
        bytes: Vec<u8>,
    },
    /// Some bytes have come, of a frame that is not whole yet: the peer is there.
    Heard {
        /// On which connection.
        conn: ConnId,
    },
    /// A frame that was sent with `is_told` has been handed to the operating system: the oldest such frame
    /// of which this was not told yet.
    Sent {
        /// On which connection.
        conn: ConnId,
    },
    /// A commit of the own log is durable; told of each, in order, from the first of the epoch.
    Wrote(Arc<Wrote>),
    /// Commits were left out. Later ones will be told of again.
    Missed,
    /// The append with this token is durable. Told of after the commit it is in, or after
    /// [`LinkInput::Missed`] if that was left out.
    Stored {
        /// Which.
        token: Token,
    },
    /// It was refused.
    NotStored {
        /// Which.
        token: Token,
        /// Why.
        why: Refusal,
    },
    /// The answer to [`LinkOutput::ReadLog`].
    Read {
        /// Which.
        token: Token,
        /// What was there.
        piece: LogPiece,
    },
    /// The answer to [`LinkOutput::FindSound`].
    Places {
        /// Which.
        token: Token,
        /// Where the sound's chunks lie, in the order they were spoken; none if it is not here.
        places: Vec<ChunkPlace>,
    },
    /// Somebody wants to hear a sound that another node recorded. What comes is stored, from its
    /// beginning on; answered with [`LinkEvent::Fetched`], at once if it is here.
    Want {
        /// Which.
        sound: Id,
        /// Where its node sealed it.
        sealed: Position,
        /// Chunks of it, from the first on, that are here.
        chunks: u32,
    },
    /// The deadline has come.
    Tick,
}

/// A piece of the own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// As many of the bytes wanted as the file has; at its end none.
    Bytes(Vec<u8>),
    /// The segment was retired. This is the next one there is.
    Gone {
        /// `None`: there is no later one.
        next: Option<u32>,
    },
    /// The disk cannot read it.
    Failed,
}

/// What the link asks for.
#[derive(Debug)]
pub enum LinkOutput {
    /// Connect to a peer. Answered with `Connected` or `NotConnected`.
    Dial {
        /// Which.
        peer: NodeName,
    },
    /// End a connection; nothing more is sent on it. No `Disconnected` is needed, one does no harm.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// Send a frame, with its length in front.
    Send {
        /// On which connection.
        conn: ConnId,
        /// What.
        frame: Frame,
        /// To be answered with `Sent`.
        is_told: bool,
        /// Others may overtake it, but none that is bulk, too.
        is_bulk: bool,
    },
    /// Append to the own log. Answered with `Stored` or `NotStored`; the order must be kept. A log
    /// that is busy makes it wait, it is not refused.
    Store {
        /// Of the link.
        token: Token,
        /// What.
        append: Append,
    },
    /// Read a piece of the own log. Answered with `Read`.
    ReadLog {
        /// For the answer.
        token: Token,
        /// The segment's number.
        segment: u32,
        /// Where in its file.
        offset: u64,
        /// How much; at most [`READ_BYTES_MAX`].
        bytes: usize,
    },
    /// Ask the view where a sound's chunks lie. Answered with `Places`.
    FindSound {
        /// For the answer.
        token: Token,
        /// Which.
        sound: Id,
    },
    /// For whoever wants to know.
    Event(LinkEvent),
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A peer is there.
    Up {
        /// Which.
        peer: NodeName,
    },
    /// It is not any more.
    Away {
        /// Which.
        peer: NodeName,
        /// Why.
        why: CloseReason,
    },
    /// A peer keeps a copy of the own log, sound included, and is there; or no longer.
    Backup {
        /// Which.
        peer: NodeName,
        /// It is there.
        is_up: bool,
    },
    /// A peer that keeps a copy has all of the own log up to here durably, sound included.
    Acked {
        /// Which.
        peer: NodeName,
        /// How far.
        position: Position,
    },
    /// A peer holds more of this node's log than there is, or a later epoch: the disk is an old one and
    /// its epoch may have been used before. Nothing is exchanged until the log was opened with a higher
    /// epoch than this.
    Contradiction {
        /// Which peer.
        peer: NodeName,
        /// The highest epoch of this node that it knows.
        epoch: u32,
    },
    /// A peer's copy of the records of another (or of this) node is taken, because it has more.
    Relaying {
        /// Who is asked.
        peer: NodeName,
        /// Whose records.
        author: NodeName,
    },
    /// A sound that was wanted is here, as far as a peer has it, or nobody who is there has all of
    /// it.
    Fetched {
        /// Which.
        sound: Id,
        /// It is here.
        found: bool,
        /// The last append of it; number 0: there was none.
        after: Token,
    },
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It ended.
    #[error("the connection ended")]
    Ended,
    /// Nothing was heard for too long.
    #[error("nothing was heard for a second")]
    Silent,
    /// What came made no sense.
    #[error("a frame made no sense: {0}")]
    Nonsense(&'static str),
    /// There is no version both know.
    #[error("the other side's version is too old or too new")]
    Version,
    /// One of both has a log that contradicts what the other holds.
    #[error("the logs contradict each other")]
    Contradiction,
    /// A newer connection of the same kind took its place.
    #[error("a newer connection took its place")]
    Replaced,
    /// It is not, or no longer, one of the peers.
    #[error("it is not one of the nodes of this cluster")]
    Stranger,
    /// The other one does not let this node in.
    #[error("{0}")]
    Refused(Sorry),
    /// Nobody answers at its address.
    #[error("nobody answers at its address")]
    Unreachable,
    /// Somebody else answers there, or what is known of it is old.
    #[error("who answers at its address shows another certificate than its own")]
    OtherCertificate,
    /// Nobody has said where it is.
    #[error("its address is not known")]
    NoAddress,
}

/// A place in the order of a node's log: epoch, and number in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The epoch.
    pub epoch: u32,
    /// The sequence number; 0: before the first.
    pub seq: u64,
}

impl Position {
    /// What is held never reaches it.
    pub const NEVER: Position = Position {
        epoch: u32::MAX,
        seq: u64::MAX,
    };
}

/// For `tandem status` and metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkStatus {
    /// How far the own log is.
    pub tip: Position,
    /// Because of damage in the own log all is asked of the peers again, and has not come yet.
    pub is_mending: bool,
    /// One of each peer.
    pub peers: Vec<PeerStatus>,
    /// Frames of a kind this version does not know; they were skipped.
    pub frames_unknown: u64,
    /// Records that came and were here already.
    pub records_known: u64,
    /// Records that came and were stored.
    pub records_stored: u64,
    /// Bytes of frames sent.
    pub sent_bytes: u64,
}

/// How it stands with one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// Its name.
    pub name: NodeName,
    /// It is there.
    pub is_up: bool,
    /// Why it was not, the last time.
    pub away_why: Option<CloseReason>,
    /// It keeps a copy of the own log, sound included.
    pub is_backup: bool,
    /// How far it has the own log durably.
    pub acked: Position,
    /// About how much of the own log it still lacks, in bytes; `None`: it was not there since this node
    /// started.
    pub to_send_bytes: Option<u64>,
    /// About how long that takes; `None`: it is not there, or too early to say.
    pub to_send_time: Option<Duration>,
    /// How far this node has the peer's log durably.
    pub followed: Position,
    /// All that the peer held when it was asked is here.
    pub is_whole: bool,
    /// How far the peer's log is, as it said last.
    pub theirs: Position,
    /// By how much its clock is ahead of this node's, in milliseconds.
    pub clock_off_ms: Option<i64>,
}
