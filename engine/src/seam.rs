//! What call control asks of the media engine, and what it is told.
//!
//! A *leg* is one party's media: a local port pair, the party's address, the codec agreed with
//! it. The SIP shim opens, sets and closes legs; the pbx bridges them, plays to them and records
//! them: a *recording* is what a leg says to the machine, a *tap* what it says to whomever, wherever it
//! is. A leg belongs to one worker thread; a bridge brings its two legs to the same one, a room
//! all its members.
//!
//! Commands for one leg are carried out in the order they were given. A command for a leg that
//! is no longer there is dropped and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;
use tandem_storage::seam::{ChunkPlace, SoundCodec};

/// One party's media, and the call leg it belongs to: the same number in shim, pbx and engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LegId(pub u64);

/// One `Play`, so that its end is not taken for the end of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlayId(pub u64);

/// A room: legs that hear each other, mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub u64);

/// Whom a member of a room talks to and whom it hears. Groups are bits: who hears a group hears all
/// that talk to it, but itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The groups it talks to; 0: it is muted.
    pub talks: u8,
    /// The groups it hears; 0: it hears nobody.
    pub hears: u8,
    /// How much louder it is made for the others, in decibels.
    pub gain_db: i8,
    /// How much louder the others are made for it, in decibels.
    pub hears_gain_db: i8,
    /// Its level is evened out with the others'.
    pub is_evened: bool,
}

impl Member {
    /// One who talks to the first group and hears it.
    pub const TALKER: Member = Member {
        talks: 1,
        hears: 1,
        gain_db: 0,
        hears_gain_db: 0,
        is_evened: true,
    };
}

/// A codec the engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// G.711 mu-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
    /// G.722 at 64 kbit/s (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// What a sound recorded from a leg with this codec is kept as: the log knows G.711, and what
    /// is said in another codec is recorded as mu-law.
    pub fn sound(self) -> SoundCodec {
        match self {
            Codec::Pcma => SoundCodec::Pcma,
            Codec::Pcmu | Codec::G722 | Codec::Opus => SoundCodec::Pcmu,
        }
    }
}

/// How Opus is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits a second.
    pub bitrate_bps: u32,
    /// Work put into it, 0 to 10; lowered by itself when the machine does not keep up.
    pub complexity: u8,
    /// Packets tell of the ones before them, should those be lost.
    pub fec: bool,
    /// Nothing is sent while nothing is said.
    pub dtx: bool,
}

impl Default for OpusConfig {
    fn default() -> OpusConfig {
        OpusConfig {
            bitrate_bps: 24_000,
            complexity: 5,
            fec: true,
            dtx: false,
        }
    }
}

/// What was agreed with a party by offer and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaParams {
    /// Where the party says it receives RTP; `None` while it has not said, or says 0.0.0.0.
    pub remote_rtp: Option<SocketAddr>,
    /// Where it receives RTCP (RFC 3605, or RTP port + 1).
    pub remote_rtcp: Option<SocketAddr>,
    /// The codec we send, and the party as well until it chooses another of `receives`.
    pub codec: Codec,
    /// Payload type of `codec`, as the party wants to receive it.
    pub payload_type: u8,
    /// Payload type of telephone-event (RFC 4733), if agreed.
    pub dtmf_payload_type: Option<u8>,
    /// The clock of telephone-events: as a rule the codec's.
    pub dtmf_clock_hz: u32,
    /// Milliseconds of sound in the packets we make.
    pub ptime_ms: u8,
    /// What the party may send, each by its payload type and at any time (RFC 3264 §7).
    pub receives: Vec<(u8, Receives)>,
    /// We may send to it.
    pub send: bool,
    /// It may send to us.
    pub receive: bool,
    /// From where else than `remote_rtp` the party may be heard (RFC 4961).
    pub learning: Learning,
}

/// What comes under a payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receives {
    /// Sound.
    Sound(Codec),
    /// Telephone-events (RFC 4733).
    Keys,
}

/// From where else than the signalled address a party's packets may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learning {
    /// From somewhere else at all.
    pub is_allowed: bool,
    /// The host that the party's signalling comes from.
    pub host: Option<IpAddr>,
    /// There is a NAT on the way: from anywhere.
    pub anywhere: bool,
}

impl Learning {
    /// From nowhere else.
    pub const OFF: Learning = Learning {
        is_allowed: false,
        host: None,
        anywhere: false,
    };

    /// From another port of the signalled host, from the host that signals, and, behind a NAT, from anywhere.
    pub fn from_host(host: IpAddr, behind_nat: bool) -> Learning {
        Learning {
            is_allowed: true,
            host: Some(host),
            anywhere: behind_nat,
        }
    }
}

/// A piece of something to be played. Pieces follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlayItem {
    /// A prompt by name, as in `vm-intro` or `digits/7`. An unknown one is skipped and counted.
    Prompt(Arc<str>),
    /// A recorded sound, straight from the log.
    Sound {
        /// How its samples are kept.
        codec: SoundCodec,
        /// Its chunks, in order.
        places: Arc<[ChunkPlace]>,
        /// Where to begin, in samples.
        from_sample: u64,
        /// More of it comes by [`Command::PlayMore`].
        is_open: bool,
    },
    /// A tone, for instance the beep.
    Tone {
        /// In hertz.
        frequency_hz: u16,
        /// In milliseconds.
        duration_ms: u32,
        /// Level relative to full scale, in decibels (negative).
        level_dbfs: i8,
    },
    /// Nothing.
    Silence {
        /// In milliseconds.
        duration_ms: u32,
    },
}

/// What call control asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Sets or changes what was agreed with the party.
    Set {
        /// Which leg.
        leg: LegId,
        /// The agreement.
        params: MediaParams,
    },
    /// Two legs hear each other. Ends what is played to them and any earlier bridge.
    Bridge {
        /// One.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Ends the leg's bridge or echo: neither party hears the other any more. It leaves its room.
    Unbridge {
        /// Which leg.
        leg: LegId,
    },
    /// The leg hears itself.
    Echo {
        /// Which leg.
        leg: LegId,
    },
    /// The leg comes into a room, or its rights there change. Ends its bridge, or its place in
    /// another room. Of a full room [`Event::RoomFull`] tells.
    Join {
        /// Which leg.
        leg: LegId,
        /// Which room. It comes to be with its first member, and ends with its last.
        room: RoomId,
        /// What it may do there.
        member: Member,
    },
    /// Plays the items once to all in the room in which the leg is, over what is said there, in
    /// place of what was being played so. Prompts and tones only; nothing is told of the end.
    PlayToRoom {
        /// One who is in the room.
        leg: LegId,
        /// What, at most [`PLAY_ITEMS_MAX`].
        items: Vec<PlayItem>,
    },
    /// Plays the items once, in place of what was being played.
    Play {
        /// To whom.
        leg: LegId,
        /// Its number.
        play: PlayId,
        /// What, at most [`PLAY_ITEMS_MAX`].
        items: Vec<PlayItem>,
    },
    /// More has come of the first sound of a play that is open. What is no longer played wants
    /// nothing more.
    PlayMore {
        /// To whom.
        leg: LegId,
        /// Of which play.
        play: PlayId,
        /// The chunks that follow those told of before.
        places: Arc<[ChunkPlace]>,
        /// That is all of it.
        is_last: bool,
    },
    /// Ends what is being played; no [`Event::PlayDone`] follows.
    StopPlay {
        /// To whom.
        leg: LegId,
    },
    /// Records what the leg says into a sound that has begun in the log.
    Record {
        /// Whom.
        leg: LegId,
        /// Into what. Its codec must be the leg's [`Codec::sound`].
        sound: Id,
        /// Stop after this much.
        limit: Duration,
        /// Stop after this much silence, if any.
        silence: Option<Duration>,
    },
    /// Ends the recording; [`Event::RecordDone`] follows.
    StopRecord {
        /// Whom.
        leg: LegId,
    },
    /// Writes what the leg says into a sound that has begun in the log, and goes on while the leg is
    /// bridged, held, in a room, or speaks another codec. The tap is named by its sound; a leg has at
    /// most [`TAPS_MAX`]. [`Event::TapDone`] tells of its end.
    Tap {
        /// Whom.
        leg: LegId,
        /// Into what.
        sound: Id,
        /// What the sound is kept as. What is said in this codec is written as it comes.
        codec: SoundCodec,
        /// Stop after this much.
        limit: Duration,
    },
    /// A tap writes silence from now on, or again what the leg says.
    PauseTap {
        /// Whose.
        leg: LegId,
        /// Which.
        sound: Id,
        /// Silence.
        is_paused: bool,
    },
    /// Ends a tap.
    Untap {
        /// Whose.
        leg: LegId,
        /// Which.
        sound: Id,
    },
    /// Sends a digit to the party as RFC 4733 events.
    SendDigit {
        /// To whom.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// Frees the leg and its ports. A recording that runs is ended first, and so are taps.
    Close {
        /// Which leg.
        leg: LegId,
    },
}

impl Command {
    /// The leg it is for; of two, the first.
    pub fn leg(&self) -> LegId {
        match self {
            Command::Set { leg, .. }
            | Command::Bridge { a: leg, .. }
            | Command::Unbridge { leg }
            | Command::Echo { leg }
            | Command::Join { leg, .. }
            | Command::PlayToRoom { leg, .. }
            | Command::Play { leg, .. }
            | Command::PlayMore { leg, .. }
            | Command::StopPlay { leg }
            | Command::Record { leg, .. }
            | Command::StopRecord { leg }
            | Command::Tap { leg, .. }
            | Command::PauseTap { leg, .. }
            | Command::Untap { leg, .. }
            | Command::SendDigit { leg, .. }
            | Command::Close { leg } => *leg,
        }
    }
}

/// The most items in one [`Command::Play`].
pub const PLAY_ITEMS_MAX: usize = 64;

/// The most taps on one leg.
pub const TAPS_MAX: usize = 4;

/// What a tap came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapReport {
    /// Its sound.
    pub sound: Id,
    /// Samples given to the log.
    pub samples: u64,
    /// Why it ended; never for silence.
    pub end: RecordEnd,
    /// The party's packets, counted.
    pub packets: TapPackets,
    /// Where packets are missing, as far as named.
    pub gaps: Vec<TapGap>,
    /// Gaps that are not named.
    pub gaps_more: u64,
    /// Where it was paused.
    pub pauses: Vec<TapPause>,
    /// SHA-256 of the samples; `None`: the log did not take all that was hashed.
    pub sha256: Option<[u8; 32]>,
}

/// The packets of a party that is tapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapPackets {
    /// By their numbers, those that the party sent.
    pub expected: u64,
    /// Those that came in time.
    pub come: u64,
    /// Those that came too late, or twice.
    pub late: u64,
    /// Those in whose place something else was written.
    pub concealed: u64,
}

/// Packets that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapGap {
    /// Where, in samples from the beginning.
    pub at_sample: u64,
    /// How many.
    pub packets: u32,
}

/// A time in which a tap was paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapPause {
    /// In samples from the beginning.
    pub from_sample: u64,
    /// Likewise.
    pub to_sample: u64,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordEnd {
    /// As asked, or the leg was closed.
    Stopped,
    /// The speaker was silent for as long as allowed. As far as nothing could be heard in that
    /// silence it is not in the sound, but for half a second.
    Silence,
    /// It reached its limit.
    Limit,
    /// The log took no more.
    LogRefused,
}

/// What the engine tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A key was pressed (counted once, however many packets said so).
    Digit {
        /// By whom.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// A [`Command::Play`] was played to its end.
    PlayDone {
        /// To whom.
        leg: LegId,
        /// Which.
        play: PlayId,
    },
    /// Something of a [`Command::Play`] is encrypted, and the key is not here: silence is played in its
    /// place. Told for each piece of it.
    SoundLocked {
        /// To whom.
        leg: LegId,
        /// Which.
        play: PlayId,
    },
    /// A recording ended and its last chunk was given to the log: a seal may follow.
    RecordDone {
        /// Whose.
        leg: LegId,
        /// Which.
        sound: Id,
        /// Samples given to the log.
        samples: u64,
        /// Samples of speech, less the silence that ended it.
        samples_speech: u64,
        /// Why.
        end: RecordEnd,
    },
    /// A tap ended and its last chunk was given to the log: a seal may follow.
    TapDone {
        /// Whose.
        leg: LegId,
        /// What it came to.
        report: Box<TapReport>,
    },
    /// A leg could not come into a room: as many are in it as can be.
    RoomFull {
        /// Which leg.
        leg: LegId,
    },
    /// Nothing has come from the party, neither RTP nor RTCP, for the configured time while it
    /// was expected to send.
    MediaTimeout {
        /// Who fell silent.
        leg: LegId,
    },
    /// The leg is gone; what it had been through.
    Closed {
        /// Which.
        leg: LegId,
        /// Its counts.
        report: LegReport,
    },
}

/// One leg's figures, at its end or on request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegReport {
    /// RTP packets taken from the party.
    pub packets_received: u64,
    /// RTP packets sent to it.
    pub packets_sent: u64,
    /// Packets that never came, by sequence numbers (RFC 3550 §A.3); negative: duplicates.
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 §A.8), in microseconds.
    pub jitter_us: u32,
    /// Round trip from the party's last RTCP report, in microseconds; 0: none came.
    pub round_trip_us: u32,
    /// Lost of what we sent, by the party's last report, in 256ths.
    pub fraction_lost_by_peer: u8,
    /// Packets from addresses that are not the party's, dropped. Once the party's address is
    /// certain the kernel drops them, and nobody counts.
    pub packets_from_strangers: u64,
    /// Packets that were not RTP, or not of a payload type agreed on, dropped.
    pub packets_malformed: u64,
    /// How loud the party is in its room, in decibels to full scale; 0: it is in none.
    pub level_dbfs: i8,
}

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Local address of every leg.
    pub bind: IpAddr,
    /// First and last port, inclusive. Even ports carry RTP, the odd one above it RTCP.
    pub ports: (u16, u16),
    /// Worker threads; each is pinned to a core of its own where there are enough.
    pub workers: usize,
    /// Folder of prompts: WAV files by name.
    pub prompts_dir: std::path::PathBuf,
    /// After how much of nothing a leg that should send is reported.
    pub media_timeout: Duration,
    /// DSCP of what we send (46: expedited forwarding).
    pub dscp: u8,
    /// How Opus is encoded.
    pub opus: OpusConfig,
}

/// Why a leg could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every port of the range is in use.
    #[error("no RTP port is free in {first}-{last}; widen [rtp] ports")]
    PortsUsedUp {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// A worker's queue is full.
    #[error("the media engine is overloaded")]
    Overloaded,
    /// The operating system refused.
    #[error("opening a media socket: {0}")]
    Os(#[from] std::io::Error),
}
