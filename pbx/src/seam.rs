//! Call control's two sides: what it is told and what it asks for.
//!
//! The shim turns SIP into [`SipEvent`]s and [`SipCommand`]s into SIP. Neither names a header, a
//! status code or a transaction: whatever can be decided without knowing SIP is decided here.
//!
//! A call leg has one number everywhere ([`LegId`]). Legs that come in are numbered by the shim
//! (odd), legs that go out by the pbx (even), so that neither asks the other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Codec, Command, Event, LegId};
use tandem_storage::link::Position;
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{Append, LogEvent, Stamp, Token};
use tandem_storage::time::WallTime;

use crate::office::file::OfficeFile;
use crate::office::group::{Overflow, Strategy};
pub use crate::seam::outward::{
    AddressTarget, AddressTransport, Login, OutwardAsk, RouteChange, Target, TrunkChange, TrunkHost,
};

pub use crate::seam::schedules::{ScheduleAsk, ScheduleChange};

mod outward;
mod schedules;

/// Who is calling, as far as it was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user whose password was shown, or whose registered phone the call came from.
    pub user: Option<Id>,
    /// The number it gives (for a user: the extension), at most 64 characters, dialable ones.
    pub number: Arc<str>,
    /// The name it gives, at most 64 characters; may be empty.
    pub name: Arc<str>,
    /// It does not want to be known: number and name are empty, and nothing that is shown, said or kept
    /// names the user (RFC 3323).
    pub is_withheld: bool,
    /// What it may do.
    pub class: ClassOfService,
}

/// What a leg may reach; each class all of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassOfService {
    /// What anybody in the street may: users, leaving messages, the echo, the clock.
    #[default]
    Public,
    /// Mailboxes as well, with their PIN; and numbers for emergencies.
    Internal,
    /// Numbers outside.
    Outward,
    /// Dear ones, too.
    International,
}

impl ClassOfService {
    const OF_USERS: [ClassOfService; 3] = [
        ClassOfService::Internal,
        ClassOfService::Outward,
        ClassOfService::International,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ClassOfService::Public => "public",
            ClassOfService::Internal => "internal",
            ClassOfService::Outward => "outward",
            ClassOfService::International => "international",
        }
    }

    /// Reads what was written for a user.
    pub fn parse(text: &str) -> Option<ClassOfService> {
        let mut all = ClassOfService::OF_USERS.into_iter();
        all.find(|class| class.name() == text)
    }
}

/// So many times a call was sent on are known of it; the last ones.
pub const DIVERSIONS_MAX: usize = 10;

/// A line that a call was sent on from (RFC 5806).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diversion {
    /// At most 64 characters.
    pub number: Arc<str>,
    /// At most 64 characters; may be empty.
    pub name: Arc<str>,
    /// It does not want to be known: number and name are empty.
    pub is_withheld: bool,
    /// Why.
    pub reason: DiversionReason,
}

/// Why a call was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiversionReason {
    /// All calls are.
    Unconditional,
    /// The line was busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// No phone was there.
    Unreachable,
    /// The phone said so (302).
    Deflected,
    /// The line is closed at this time.
    TimeOfDay,
    /// Something else, or it was not said.
    Other,
}

/// Who transferred a call (RFC 3892).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referrer {
    /// At most 64 characters.
    pub number: Arc<str>,
    /// At most 64 characters; may be empty.
    pub name: Arc<str>,
}

/// Where a call has been before it comes to a phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallHistory {
    /// The first one first; at most [`DIVERSIONS_MAX`].
    pub diversions: Arc<[Diversion]>,
    pub referred_by: Option<Referrer>,
}

/// Why a leg ended or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The party hung up.
    Normal,
    /// The party gave up before it was answered.
    Cancelled,
    /// Another phone took the call (RFC 3326).
    AnsweredElsewhere,
    /// The party is busy (486, 600).
    Busy,
    /// The party declined (603).
    Declined,
    /// Who is called, or the company, wants no calls from this number (603).
    Blocked,
    /// Who is called wants no calls of who withholds the number (433, RFC 5079).
    AnonymityDisallowed,
    /// It rang and nobody answered (408, 480, our own timer).
    NoAnswer,
    /// The user has no phone registered.
    NotRegistered,
    /// There is no such number (404, 484).
    NoSuchNumber,
    /// Not allowed (403).
    Forbidden,
    /// No codec in common (488).
    NotAcceptable,
    /// No room: ports, calls, disk (503).
    Congestion,
    /// The party fell silent without hanging up (media or session timer).
    MediaTimeout,
    /// Something else failed (500 and others).
    Failed,
    /// This node is stopping.
    ShuttingDown,
}

/// What the shim tells.
#[derive(Clone, Debug, PartialEq)]
pub enum SipEvent {
    /// Somebody calls. The leg's media port is open; nothing has been answered yet.
    Incoming {
        /// The new leg (odd).
        leg: LegId,
        caller: Caller,
        /// What was dialled, at most 64 characters.
        dialed: Arc<str>,
        /// It is to take the place of this leg (RFC 3891).
        replaces: Option<LegId>,
        /// Where it has been, as far as a peer that is believed says; at most [`DIVERSIONS_MAX`].
        diversions: Vec<Diversion>,
        /// The trunk by which it came: then `dialed` is a number of the trunk.
        trunk: Option<Id>,
    },
    /// A leg that goes out rings.
    Ringing { leg: LegId },
    /// A leg that goes out speaks before it answers (183 with a description): an announcement, the ringing of
    /// another network. Its media is set.
    Progress { leg: LegId },
    /// The phone says to call this number in its place (302). The leg has ended.
    Redirected {
        leg: LegId,
        /// Whom, at most 64 characters.
        to: Arc<str>,
    },
    /// A leg that goes out was answered; its media is set.
    Answered {
        leg: LegId,
        /// What was agreed with it.
        codec: Codec,
    },
    /// A leg that came in has been answered and its party has confirmed (ACK).
    Confirmed {
        leg: LegId,
        /// What was agreed with it: what is recorded from it is kept as this.
        codec: Codec,
    },
    /// A leg ended, whichever way, by the other side or by failing. Its media is closed; nothing
    /// more comes for it.
    Ended { leg: LegId, cause: Cause },
    /// The party put us on hold, or took us back.
    Held {
        leg: LegId,
        /// On hold.
        held: bool,
    },
    /// The party asks us to connect whoever it talks to with somebody else (RFC 3515). Answered by
    /// [`SipCommand::ReferResult`].
    Refer {
        leg: LegId,
        /// The number, at most 64 characters.
        to: Arc<str>,
        /// With the party at the other end of this leg, if it names one.
        replaces: Option<LegId>,
        /// Who it says has sent it, if it says so.
        referred_by: Option<Referrer>,
    },
    /// A user sends a text to a number. Answered by [`SipCommand::Text`].
    Text {
        /// The text's number.
        number: u64,
        caller: Caller,
        /// For whom, at most 64 characters.
        to: Arc<str>,
    },
    /// A key, sent in signalling (SIP INFO).
    Digit {
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// Where a phone is, to be written down and given back after a restart with [`SipCommand::Phone`].
    PhoneSeen {
        user: Id,
        /// Which of the user's phones; small numbers that are used again.
        slot: u32,
        /// What the shim must know of it; `None`: it is gone.
        seen: Option<Arc<str>>,
    },
    /// The phones of a user changed: the shim wants the lamp told again.
    PhoneCame { user: Id },
    /// Somebody watches a line's calls now, or nobody does any more.
    Watched {
        what: Watchable,
        /// The calls are to be told with [`SipCommand::Calls`]: now, and whenever they change.
        is_watched: bool,
    },
}

/// What the pbx asks of the shim.
#[derive(Clone, Debug, PartialEq)]
pub enum SipCommand {
    /// Tell the caller it rings.
    Ring {
        /// A leg that came in.
        leg: LegId,
    },
    /// Let the caller hear what is bridged to it, before it is answered.
    Progress {
        /// A leg that came in.
        leg: LegId,
        /// Prefer the codec agreed on this other leg.
        like: Option<LegId>,
    },
    /// Answer it.
    Answer {
        /// A leg that came in.
        leg: LegId,
        /// Prefer the codec agreed on this other leg.
        like: Option<LegId>,
    },
    /// Call somebody. All phones of a user are called at once, as one leg: the first to answer wins.
    Call {
        /// The new leg (even).
        leg: LegId,
        target: Target,
        /// Who is calling.
        caller: Caller,
        /// On behalf of this leg: its codecs are offered first.
        like: Option<LegId>,
        /// Ask the phones to answer by themselves (intercom).
        auto_answer: bool,
        /// Where the call has been.
        history: CallHistory,
    },
    /// For whom a text is: it goes to all phones of this user; or why it goes nowhere.
    Text {
        /// The text's number.
        number: u64,
        target: Result<Id, Cause>,
    },
    /// What became of a transfer that the leg's party asked for.
    ReferResult {
        leg: LegId,
        /// Why it failed; `None`: it is done.
        refused: Option<Cause>,
    },
    /// End a leg, in whichever phase it is. [`SipEvent::Ended`] does not follow.
    End { leg: LegId, cause: Cause },
    /// A phone that was registered before this node was restarted.
    Phone {
        user: Id,
        /// Which of the user's phones; small numbers that are used again.
        slot: u32,
        /// What was told of it last.
        seen: Arc<str>,
    },
    /// A trunk is at this host (`Some`), or there is no such trunk any more.
    Trunk { id: Id, host: Option<TrunkHost> },
    /// A line that is no user's can be watched (`Some`), or no longer (`None`).
    Watchable {
        what: Watchable,
        /// What it is called now.
        label: Option<Label>,
    },
    /// The calls of a line that is watched.
    Calls {
        what: Watchable,
        /// All of them, by the numbers of their legs.
        calls: Arc<[WatchedCall]>,
    },
    /// A user's lamp: light it on every phone of the user and for every watcher.
    MessageSummary {
        user: Id,
        /// Its state.
        lamp: MessageSummary,
    },
}

/// A line whose calls others may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watchable {
    /// A user's own.
    User(Id),
    /// What comes in through a group.
    Group(Id),
    /// Who is parked in this slot.
    Slot(u32),
}

/// What a line that is no user's is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What one dials, and subscribes to.
    pub extension: Arc<str>,
    /// For display.
    pub name: Arc<str>,
}

/// A call of a line, as watchers may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedCall {
    /// The number of the leg by which it is told from others.
    pub leg: u64,
    /// Whose line it is called.
    pub is_initiator: bool,
    /// How far it is.
    pub state: CallState,
    /// Whose line it is holds the other.
    pub holds: bool,
    /// Of the other, or what was dialled; empty if it is withheld.
    pub number: Arc<str>,
    /// Of the other; may be empty.
    pub name: Arc<str>,
}

/// How far a watched call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// It rings.
    Early,
    /// It is answered.
    Confirmed,
}

/// Message waiting, as in RFC 3842 §3.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageSummary {
    /// Not heard yet.
    pub new: u32,
    /// Heard and kept.
    pub old: u32,
    /// Of the new ones, urgent.
    pub new_urgent: u32,
    /// Of the old ones, urgent.
    pub old_urgent: u32,
}

/// A user as the shim needs to know it, given whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipUser {
    pub id: Id,
    /// What one dials, and the user part of its address.
    pub extension: Arc<str>,
    /// For display.
    pub name: Arc<str>,
    /// MD5 of `extension:realm:password`, lower-case hex (RFC 8760, RFC 2617).
    pub ha1_md5: Arc<str>,
    /// SHA-256 of the same.
    pub ha1_sha256: Arc<str>,
}

/// What call control is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// By the shim.
    Sip(SipEvent),
    /// By the media engine.
    Media(Event),
    /// By the log.
    Log(LogEvent),
    /// A PIN was checked.
    PinChecked {
        leg: LegId,
        /// It is the right one.
        right: bool,
    },
    /// A PIN was hashed.
    PinHashed {
        leg: LegId,
        /// Its Argon2 hash in PHC form; `None` if it could not be hashed.
        hash: Option<Arc<str>>,
    },
    /// Of a sound that was asked for with [`Output::Fetch`] nothing more comes. All that came was told
    /// of before.
    Fetched {
        sound: Id,
        /// It is whole.
        found: bool,
    },
    /// A node of the cluster has been away for a while: what it was recording ends here.
    NodeAway(NodeName),
    /// By an administrator, over the control socket.
    Admin(AdminRequest),
    /// Time to look what is to be deleted and destroyed; every few seconds.
    Sweep,
    /// Somebody wants to know what happens ([`Output::Event`]), or nobody does any more.
    Watch(bool),
    /// The node is stopping: no new calls.
    Drain,
    /// The node stops now: end every call, seal every recording.
    Stop,
}

/// What call control asks for.
#[derive(Debug)]
pub enum Output {
    /// Of the shim.
    Sip(SipCommand),
    /// A user came or changed (`Some`) or went (`None`).
    User {
        id: Id,
        /// Its new form.
        user: Option<SipUser>,
    },
    /// Of the media engine.
    Media(Command),
    /// Of the log.
    Log {
        /// Comes back in the answer.
        token: Token,
        /// What to write.
        append: Append,
    },
    /// See to it that the samples of a sound are here, which another node recorded; answered by
    /// [`Input::Fetched`].
    Fetch {
        sound: Id,
        /// Where its node sealed it.
        sealed: Position,
        /// Chunks, from the first on, that are here.
        chunks: u32,
    },
    /// Check a PIN against its hash, away from this thread (it is slow on purpose).
    CheckPin {
        leg: LegId,
        /// Argon2 hash in PHC form.
        hash: Arc<str>,
        pin: Arc<str>,
    },
    /// Hash a new PIN, away from this thread; answered by [`Input::PinHashed`].
    HashPin { leg: LegId, pin: Arc<str> },
    /// An answer to an [`AdminRequest`].
    Admin(AdminReply),
    /// Something happened; made only while somebody watches.
    Event(Happened),
    /// After [`Input::Stop`]: every call has ended and every seal is durable.
    Stopped,
}

/// Something that happened, for whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    /// For instance `leg.answer`; all of them are in `events.rs`.
    pub kind: &'static str,
    /// What it happened to, as in listings.
    pub body: serde_json::Value,
}

/// A question or an order from an administrator, numbered so that its answer finds the asker.
#[derive(Clone, Debug)]
pub struct AdminRequest {
    /// The asker's number.
    pub asker: u64,
    /// What is asked.
    pub ask: AdminAsk,
}

/// What is to be different about a user; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// For display.
    pub name: Option<Arc<str>>,
    /// What one dials. It is part of the password's digests, so they must come with it.
    pub extension: Option<Arc<str>>,
    /// MD5 and SHA-256 of `extension:realm:password`, lower-case hex.
    pub ha1: Option<(Arc<str>, Arc<str>)>,
    /// Argon2 hash of the PIN, PHC form.
    pub pin_hash: Option<Arc<str>>,
    /// No calls are wanted.
    pub dnd: Option<bool>,
    /// Numbers and extensions that ring all the same, all of them.
    pub dnd_except: Option<Vec<Arc<str>>>,
    /// The extension all calls go to; `Some(None)`: no longer.
    pub forward: Option<Option<Arc<str>>>,
    /// The same while the user is on the phone.
    pub forward_busy: Option<Option<Arc<str>>>,
    /// The same when nobody answers.
    pub forward_no_answer: Option<Option<Arc<str>>>,
    /// The same while no phone is registered.
    pub forward_unreachable: Option<Option<Arc<str>>>,
    /// No calls of who withholds the number.
    pub reject_anonymous: Option<bool>,
    /// Numbers whose calls are refused, all of them.
    pub blocked: Option<Vec<Arc<str>>>,
    /// They come to the mailbox.
    pub blocked_to_mailbox: Option<bool>,
    /// What the user may call.
    pub class: Option<ClassOfService>,
    /// The user's calls may be forwarded to numbers outside.
    pub forward_outside: Option<bool>,
    /// Numbers outside that ring with the user's phones, all of them.
    pub rings_also: Option<Vec<Arc<str>>>,
    /// The number outside that is the user's phone for now; `Some(None)`: no longer.
    pub works_at: Option<Option<Arc<str>>>,
    /// Shown to who is called outside; `Some(None)`: what the trunk knows the user by.
    pub caller_id: Option<Option<Arc<str>>>,
    /// Whether calls are recorded.
    pub record: Option<crate::office::RecordWish>,
}

/// What is to be different about a group; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct GroupChange {
    /// What one dials.
    pub extension: Option<Arc<str>>,
    /// For display.
    pub name: Option<Arc<str>>,
    /// All its members, by extension, in their order.
    pub members: Option<Vec<Arc<str>>>,
    /// Who is rung when.
    pub strategy: Option<Strategy>,
    /// How long each step rings, in seconds.
    pub ring_s: Option<u16>,
    /// What follows if nobody answers.
    pub overflow: Option<Overflow>,
    /// By name, when it is open; `Some(None)`: always.
    pub schedule: Option<Option<Arc<str>>>,
    /// What follows while it is closed.
    pub night: Option<Overflow>,
    /// Argon2 hash of the PIN of its mailbox, PHC form.
    pub pin_hash: Option<Arc<str>>,
}

/// What is to be different about a room; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct RoomChange {
    /// What one dials.
    pub extension: Option<Arc<str>>,
    /// For display.
    pub name: Option<Arc<str>>,
    /// So many can be in it at once.
    pub members_max: Option<u16>,
    /// Only hosts are heard, until one of them lets the others speak.
    pub is_lecture: Option<bool>,
    /// Argon2 hash of its PIN, PHC form; `Some(None)`: it needs none.
    pub pin_hash: Option<Option<Arc<str>>>,
    /// The same of its hosts' PIN.
    pub host_pin_hash: Option<Option<Arc<str>>>,
}

/// What an administrator can ask of call control.
#[derive(Clone, Debug)]
pub enum AdminAsk {
    /// Calls, as JSON.
    Calls,
    /// Records of legs that have ended, newest first, in parts.
    CallLog {
        /// Whose is looked up, by the extension; the records are not chosen by it.
        user: Option<Arc<str>>,
        /// That ended since then.
        since: WallTime,
        /// What is behind this one; `None`: the newest.
        before: Option<Stamp>,
    },
    /// Users and their lamps, as JSON.
    Users,
    /// Counts for status and metrics, as JSON.
    Counts,
    /// What lost in a merge, as JSON.
    Conflicts,
    /// Make a user. Answered when it is durable.
    AddUser {
        account: crate::office::Account,
        /// Argon2 hash of the PIN, PHC form.
        pin_hash: Arc<str>,
    },
    /// Change a user. Answered when it is durable.
    SetUser {
        extension: Arc<str>,
        change: UserChange,
    },
    /// Remove a user. Answered when it is durable.
    RemoveUser { extension: Arc<str> },
    /// Groups and their members, as JSON.
    Groups,
    /// Make a group. Answered when it is durable.
    AddGroup {
        extension: Arc<str>,
        /// All that is not as for any new group.
        change: GroupChange,
    },
    /// Change a group. Answered when it is durable.
    SetGroup {
        extension: Arc<str>,
        change: GroupChange,
    },
    /// Remove a group. Answered when it is durable.
    RemoveGroup { extension: Arc<str> },
    /// Rooms and who is in them, as JSON.
    Rooms,
    /// Make a room. Answered when it is durable.
    AddRoom {
        extension: Arc<str>,
        /// All that is not as for any new room.
        change: RoomChange,
    },
    /// Change a room. Answered when it is durable.
    SetRoom {
        extension: Arc<str>,
        change: RoomChange,
    },
    /// Remove a room; who is in it stays. Answered when it is durable.
    RemoveRoom { extension: Arc<str> },
    /// Trunks and routes.
    Outward(OutwardAsk),
    /// When the office is open.
    Schedule(ScheduleAsk),
    /// Speed dials, as JSON.
    SpeedDials,
    /// Set a speed dial; `None`: remove it. Answered when it is durable.
    SetSpeedDial {
        /// Its two digits.
        code: Arc<str>,
        dial: Option<crate::office::speed::SpeedDial>,
    },
    /// Numbers whose calls the company refuses, as JSON.
    Blocked,
    /// Refuse the calls of a number from outside, or no longer. Answered when it is durable.
    Block {
        number: Arc<str>,
        /// They are refused.
        is_blocked: bool,
    },
    /// Codes to dial, as JSON.
    Codes,
    /// Set what is dialled for a service. Answered when it is durable.
    SetCode {
        /// By its name.
        service: Arc<str>,
        /// `None`: as people know it; empty: nothing is.
        code: Option<Arc<str>>,
    },
    /// The office as a file, as JSON ([`OfficeFile`]).
    ExportOffice,
    /// What a file would change, as JSON: `faults` and `changes`.
    CompareOffice(Box<OfficeFile>),
    /// Make the office what a file says. Answered when it is durable.
    ApplyOffice(Box<OfficeFile>),
    /// Ring a user's phones, and call the number for it when it answers. Answered at once.
    Dial {
        /// The user's.
        extension: Arc<str>,
        number: Arc<str>,
    },
    /// Messages of an extension, as JSON.
    Mailbox { extension: Arc<str> },
    /// Deleted messages of an extension that can still be had back, as JSON.
    Deleted { extension: Arc<str> },
    /// Have a deleted message back. Answered when it is durable.
    Undelete { extension: Arc<str>, id: Id },
    /// Put a mailbox on legal hold, or take it off. Answered when it is durable.
    Hold { extension: Arc<str>, hold: bool },
    /// Delete heard messages after so many days. Answered when it is durable.
    KeepHeard {
        extension: Arc<str>,
        /// `None`: for ever.
        days: Option<f64>,
    },
    /// How much a mailbox holds and may hold, as JSON.
    Quota { extension: Arc<str> },
    /// Set how much a mailbox may hold. Answered when it is durable.
    SetQuota {
        extension: Arc<str>,
        /// Minutes; 0: as the configuration says; `None`: as it was.
        minutes: Option<u32>,
        /// Messages, likewise.
        messages: Option<u32>,
    },
    /// Where a message's samples lie.
    Message { extension: Arc<str>, id: Id },
    /// Which messages of an extension are there, deleted ones included, as JSON: what needs not be
    /// put back.
    There { extension: Arc<str> },
    /// Put a message from a backup back, unless it is there. Answered when it is durable.
    Restore {
        extension: Arc<str>,
        /// All of it but the sound.
        kept: Box<crate::backup_message::BackupMessage>,
        samples: Arc<[u8]>,
    },
    /// Recordings of calls, the newest first, as JSON.
    Recordings {
        /// Those that are behind this one; `None`: the newest.
        before: Option<Id>,
        /// So many at most; never more than [`PAGE_MAX`](crate::recordings::PAGE_MAX).
        limit: usize,
    },
    /// One of them.
    Recording { id: Id },
    /// Where the samples of its tracks lie.
    RecordingTracks { id: Id },
    /// Delete it. Answered when it is durable.
    DeleteRecording { id: Id },
    /// Put a finished sound into a mailbox. Answered when it is durable.
    Import {
        extension: Arc<str>,
        /// How its samples are kept.
        codec: tandem_storage::seam::SoundCodec,
        /// The samples; at most the mailbox's longest message.
        samples: Arc<[u8]>,
    },
}

/// The answer.
#[derive(Clone, Debug)]
pub struct AdminReply {
    /// The asker's number.
    pub asker: u64,
    /// The answer, or what was wrong with the question.
    pub answer: Result<AdminAnswer, String>,
}

/// Records of the call log, newest first, as they lie in the log ([`crate::call_log::CallRecord`]).
#[derive(Clone, Debug)]
pub struct CallLogPart {
    /// The user who was looked up.
    pub user: Option<Id>,
    pub entries: Vec<(Stamp, Arc<str>)>,
    /// There are no older ones.
    pub is_last: bool,
}

/// A track of a recording, and where its samples lie.
#[derive(Clone, Debug)]
pub struct TrackSound {
    /// From 1.
    pub number: u32,
    pub side: crate::recordings::Side,
    pub sound: Id,
    /// Where it begins on the recording's time line.
    pub from_ms: u64,
    /// How its samples are kept.
    pub codec: tandem_storage::seam::SoundCodec,
    /// The chunks that are here, by their numbers.
    pub pieces: Vec<(u32, tandem_storage::seam::ChunkPlace)>,
    /// How it ended; `None`: it is under way.
    pub seal: Option<tandem_storage::seam::SealKind>,
    /// What its seal says; `None`: nothing.
    pub sealed: Option<crate::recordings::TrackSealed>,
    /// What is not here may be at another node.
    pub is_elsewhere: bool,
    /// It was asked for there, and has not all come.
    pub is_coming: bool,
}

/// An answer's form.
#[derive(Clone, Debug)]
pub enum AdminAnswer {
    /// To be printed or shown.
    Json(serde_json::Value),
    /// The samples of a message.
    Sound {
        /// How they are kept.
        codec: tandem_storage::seam::SoundCodec,
        /// Where they are.
        places: Arc<[tandem_storage::seam::ChunkPlace]>,
        /// Some of it is damaged and cannot be had.
        is_incomplete: bool,
    },
    /// The tracks of a recording.
    Tracks {
        /// In the order in which they began.
        tracks: Vec<TrackSound>,
        /// `None`: it is under way, or was cut short.
        ending: Option<crate::recordings::Ending>,
    },
    /// Part of the call log.
    CallLog(CallLogPart),
    /// It is durable.
    Done,
    /// The message an import became.
    Imported { id: Id },
}
