//! What travels: the bodies of questions and answers, once for the node's side and for the command line's.
//!
//! Questions name all they may hold, and nothing else is taken. Of answers a reader leaves aside what it does
//! not know, so that nodes of a later release may tell more. Times are milliseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use tandem_pbx::backup_message::BackupMessage;
use utoipa::ToSchema;

/// The header beside a sound of which some is damaged: true.
pub(crate) const INCOMPLETE: &str = "tandem-incomplete";

/// Why something could not be done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong, where, and what to do.
    pub(crate) error: String,
}

/// How the node is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    node: String,
    version: String,
    uptime_s: u64,
    /// Phones and callers are served.
    ready: bool,
    /// What is missing for that.
    not_ready: Option<String>,
    /// What somebody should see to.
    alarms: Vec<String>,
    calls: StatusCalls,
    phones: StatusPhones,
    /// Calls that each trunk has now, by its name.
    trunks: BTreeMap<String, u64>,
    messages: StatusMessages,
    log: StatusLog,
    /// Of a node that belongs to a cluster.
    #[serde(rename = "company")]
    cluster: Option<StatusCluster>,
    backup: StatusBackup,
    media: StatusMedia,
}

/// Calls of a node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusCalls {
    now: u64,
    since_start: u64,
    answered: u64,
    /// There was no room for them.
    refused: u64,
}

/// Phones of a node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusPhones {
    registered: u64,
}

/// Messages left at a node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusMessages {
    left_since_start: u64,
    too_short: u64,
    refused: u64,
}

/// The node's log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusLog {
    /// The last record that is durable: node.epoch.number.
    last_durable: Option<String>,
    /// There is room for sound.
    can_record: bool,
    commit_p50_us: u64,
    commit_p99_us: u64,
    segments: u64,
    /// The name of the key.
    encrypts_with: Option<String>,
}

/// The other nodes, and the copies of this one's log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusCluster {
    nodes_up: Vec<String>,
    nodes_away: Vec<String>,
    /// Of what is said here, this node's own included.
    copies_now: u64,
    copies_behind: u64,
    saved_with_copy: u64,
    saved_alone: u64,
    /// Of these, because a copy did not come in time.
    saved_alone_late: u64,
    /// Of this node's log, and where.
    missing: Vec<Missing>,
    /// Nodes of whose logs not all is here.
    missing_here_of: Vec<String>,
}

/// What of this node's log is missing at another.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Missing {
    at: String,
    /// Null: not known.
    bytes: Option<u64>,
    takes_s: Option<f64>,
}

/// How backups went.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusBackup {
    /// When, or never.
    last: String,
    last_age_s: Option<u64>,
    last_to: Option<String>,
    last_bytes: Option<u64>,
    /// Why the last one could not be made.
    failed: Option<String>,
    failures: u64,
}

/// Sound on the network.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct StatusMedia {
    legs: u64,
    ports_free: u64,
    packets_received: u64,
    packets_sent: u64,
    late_ticks: u64,
}

/// A call, one that rings included.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Call {
    /// The leg of who called first: node.epoch.number.
    pub(crate) leg: String,
    pub(crate) from: Party,
    /// What was dialled.
    pub(crate) to: String,
    pub(crate) phase: String,
    /// caller, callee or both.
    pub(crate) held_by: Option<String>,
    pub(crate) started: u64,
    pub(crate) answered: Option<u64>,
    /// The dial or bridge that its legs are in; none: the one leg is alone with the machine.
    pub(crate) place: Option<String>,
    pub(crate) legs: Vec<Leg>,
}

/// One party's line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Leg {
    /// node.epoch.number.
    pub(crate) leg: String,
    /// in: the party called; out: it was called.
    pub(crate) direction: String,
    pub(crate) number: String,
    pub(crate) name: String,
    /// offered, ringing, answered or up.
    pub(crate) state: String,
    /// Its party holds the others.
    pub(crate) holds: bool,
    /// What it is in.
    pub(crate) place: String,
    /// Since when it is connected, or else called.
    pub(crate) since: u64,
}

/// Somebody on the telephone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Party {
    pub(crate) number: Option<String>,
    pub(crate) name: Option<String>,
}

/// A registered phone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Phone {
    pub(crate) extension: String,
    pub(crate) contact: String,
    /// Where it registered from.
    pub(crate) source: String,
    pub(crate) transport: String,
    pub(crate) user_agent: Option<String>,
    pub(crate) expires_s: u64,
}

/// What lost in a merge, or a user who claims another's extension.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Conflict {
    pub(crate) what: String,
    /// Whose counts: a node, or a user's name.
    pub(crate) kept_of: Option<String>,
    pub(crate) lost_of: String,
    /// The user without its extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost_at: Option<u64>,
}

/// A user and its lamp.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) extension: String,
    pub(crate) name: String,
    pub(crate) dnd: bool,
    /// Numbers and extensions that ring all the same.
    pub(crate) dnd_except: Vec<String>,
    /// Where all calls go.
    pub(crate) forward: Option<String>,
    /// Where they go while the user is on the phone.
    pub(crate) forward_busy: Option<String>,
    /// Where they go when nobody answers.
    pub(crate) forward_no_answer: Option<String>,
    /// Where they go while no phone is registered.
    pub(crate) forward_unreachable: Option<String>,
    /// No calls of who withholds the number.
    pub(crate) reject_anonymous: bool,
    /// Numbers whose calls are refused.
    pub(crate) blocked: Vec<String>,
    /// They come to the mailbox.
    pub(crate) blocked_to_mailbox: bool,
    /// What the user may call: internal, outward or international.
    pub(crate) class: String,
    /// Calls may be forwarded to numbers outside.
    pub(crate) forward_outside: bool,
    /// Numbers outside that ring with the phones.
    pub(crate) rings_also: Vec<String>,
    /// The number outside that is the user's phone for now.
    pub(crate) works_at: Option<String>,
    /// Shown to who is called outside.
    pub(crate) caller_id: Option<String>,
    /// Whether calls are recorded: never, on-demand or always.
    pub(crate) record: String,
    /// Another user has this extension.
    pub(crate) conflict: bool,
    pub(crate) messages: MessageSummary,
}

/// A number whose calls from outside the company is to refuse.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBlocked {
    pub(crate) number: String,
}

/// Two digits that stand for a number.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SpeedDial {
    pub(crate) code: String,
    pub(crate) number: String,
    /// Whose it is.
    pub(crate) name: String,
}

/// What a speed dial is to stand for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeedDialSettings {
    /// An extension, or a number outside as it would be dialled.
    pub(crate) number: String,
    /// Whose it is.
    pub(crate) name: String,
}

/// Messages of a mailbox, counted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MessageSummary {
    pub(crate) new: u64,
    pub(crate) old: u64,
    pub(crate) new_urgent: u64,
    pub(crate) old_urgent: u64,
}

/// A user to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// What one dials: 2 to 10 digits.
    pub(crate) extension: String,
    /// For displays.
    pub(crate) name: String,
    /// Of its phones; without one, one is made.
    pub(crate) password: Option<String>,
    /// Of its mailbox; without one, one is made.
    pub(crate) pin: Option<String>,
}

/// A user that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct UserMade {
    pub(crate) extension: String,
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) pin: String,
}

/// What is to be different about a user; what is left out stays.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserSettings {
    /// For displays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What one dials; it needs a new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// Of its phones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// Of its mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
    /// No calls are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dnd: Option<bool>,
    /// Numbers and extensions that ring all the same, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dnd_except: Option<Vec<String>>,
    /// The extension all calls go to; null: no longer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) forward: Option<Option<String>>,
    /// The same while the user is on the phone.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) forward_busy: Option<Option<String>>,
    /// The same when nobody answers.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) forward_no_answer: Option<Option<String>>,
    /// The same while no phone is registered.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) forward_unreachable: Option<Option<String>>,
    /// No calls of who withholds the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reject_anonymous: Option<bool>,
    /// Numbers whose calls are refused, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blocked: Option<Vec<String>>,
    /// They come to the mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blocked_to_mailbox: Option<bool>,
    /// What the user may call: internal, outward or international.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    /// Calls may be forwarded to numbers outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forward_outside: Option<bool>,
    /// All numbers outside that ring with the phones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rings_also: Option<Vec<String>>,
    /// The number outside that is the user's phone for now; null: no longer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) works_at: Option<Option<String>>,
    /// Shown to who is called outside; null: what the trunk knows the user by.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) caller_id: Option<Option<String>>,
    /// Whether calls are recorded: never, on-demand or always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
}

/// Users under one extension.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) extension: String,
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    /// all, in_order, rotating, longest_idle, page or page_two_way.
    pub(crate) strategy: String,
    /// How long each step rings, in seconds.
    pub(crate) ring_s: u16,
    /// mailbox, busy, or a number.
    pub(crate) overflow: String,
    /// By name, when it is open; null: always.
    pub(crate) schedule: Option<String>,
    /// Where calls go while it is closed: mailbox, busy, or a number.
    pub(crate) night: String,
    /// Now.
    pub(crate) open: bool,
}

/// A user in a group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Member {
    pub(crate) extension: String,
    pub(crate) logged_in: bool,
}

/// A group to be made, or what is to be different about one; what is left out stays, or is as for any
/// new group.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupSettings {
    /// What one dials: 2 to 10 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// For displays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// All its members, by extension, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<String>>,
    /// all, in_order, rotating, longest_idle, page or page_two_way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strategy: Option<String>,
    /// How long each step rings, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ring_s: Option<u16>,
    /// What follows if nobody answers: mailbox, busy, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overflow: Option<String>,
    /// By name, when it is open; null: always.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) schedule: Option<Option<String>>,
    /// Where calls go while it is closed: mailbox, busy, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) night: Option<String>,
    /// Of its mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<String>,
}

/// One extension at which people meet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) extension: String,
    pub(crate) name: String,
    /// So many can be in it at once.
    pub(crate) members_max: u16,
    pub(crate) has_pin: bool,
    pub(crate) has_host_pin: bool,
    /// Only hosts are heard now.
    pub(crate) lecture: bool,
    /// Nobody but hosts can come in now.
    pub(crate) locked: bool,
    /// Who is in it, in the order in which they came.
    pub(crate) members: Vec<RoomMember>,
}

/// Somebody in a room.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoomMember {
    pub(crate) leg: String,
    pub(crate) number: String,
    pub(crate) name: String,
    pub(crate) host: bool,
    /// It is not heard by the others.
    pub(crate) muted: bool,
    /// Milliseconds since 1970.
    pub(crate) since: u64,
}

/// A room to be made, or what is to be different about one; what is left out stays, or is as for any
/// new room.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoomSettings {
    /// What one dials: 2 to 10 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// For displays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// So many can be in it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members_max: Option<u16>,
    /// Only hosts are heard, until one of them lets the others speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lecture: Option<bool>,
    /// What lets in; null: nothing is asked for.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) pin: Option<Option<String>>,
    /// What lets in as a host; null: every user is one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_counts"
    )]
    #[schema(value_type = Option<String>)]
    pub(crate) host_pin: Option<Option<String>>,
}

/// How an office file differs from the office.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfficeDifference {
    /// What is wrong with the file; nothing is written while there is anything.
    pub(crate) faults: Vec<OfficeFault>,
    /// One line each: + made, - removed, ~ changed.
    pub(crate) changes: Vec<String>,
}

/// Something that is wrong with an office file.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfficeFault {
    /// user, group, room, trunk, route, schedule, speed_dial or blocked.
    pub(crate) table: String,
    /// Which of them, from 0.
    pub(crate) index: usize,
    pub(crate) key: String,
    pub(crate) what: String,
}

impl From<tandem_pbx::office::file::Fault> for OfficeFault {
    fn from(fault: tandem_pbx::office::file::Fault) -> OfficeFault {
        OfficeFault {
            table: fault.table,
            index: fault.index,
            key: fault.key,
            what: fault.what,
        }
    }
}

/// A call to be begun for a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCall {
    /// Whose phones are rung first.
    pub(crate) extension: String,
    /// Who is called then.
    pub(crate) number: String,
}

/// What is left out is `None`; what is null, `Some(None)`.
pub(super) fn null_counts<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A message in a mailbox.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) at: u64,
    pub(crate) from: Party,
    pub(crate) folder: String,
    pub(crate) heard: bool,
    pub(crate) urgent: bool,
    /// The node or the line went away while it was spoken.
    pub(crate) cut_short: bool,
    /// Some of it is not at this node.
    pub(crate) incomplete: bool,
    pub(crate) length_ms: u64,
}

/// The message that an import became.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MessageMade {
    pub(crate) id: String,
}

/// The message that one of a backup became.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MessageRestored {
    /// Null: it was there.
    pub(crate) id: Option<String>,
}

/// A message of a backup, to be put back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreMessage {
    /// All of it but the sound, as the backup has it.
    #[schema(value_type = Object)]
    pub(crate) kept: Box<BackupMessage>,
    /// Its samples as they are kept, one byte each, in base64.
    #[schema(format = "byte")]
    pub(crate) samples: String,
}

/// A WAV file, as it is.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(
    dead_code,
    reason = "for the description: the bytes travel as they are"
)]
pub(crate) struct Wav(Vec<u8>);

/// Which messages are there of a mailbox.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct There {
    /// Its name, which stays when the extension changes.
    pub(crate) mailbox: String,
    /// Names of messages, and of those that they are copies of.
    pub(crate) there: Vec<String>,
}

/// Legal hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    pub(crate) hold: bool,
}

/// How long heard messages are kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeepHeard {
    /// Fractions count; 0: for ever.
    pub(crate) days: f64,
}

/// What a mailbox holds, and may.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Quota {
    pub(crate) messages: u64,
    pub(crate) messages_max: u64,
    pub(crate) minutes: u64,
    pub(crate) quota_minutes: u64,
    /// Of the scarcer of the two.
    pub(crate) percent: u64,
}

/// How much a mailbox may hold; what is left out stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotaSettings {
    /// 0: as the configuration says.
    pub(crate) minutes: Option<u32>,
    /// 0: as the configuration says.
    pub(crate) messages: Option<u32>,
}

/// A call that was recorded, or is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Recording {
    /// node.epoch.number.
    pub(crate) id: String,
    /// The call, by its first leg.
    pub(crate) call: String,
    /// asked: somebody pressed the keys for it; policy: one of the parties is always recorded.
    pub(crate) why: String,
    /// Who asked, by extension.
    pub(crate) by: Option<String>,
    pub(crate) began: u64,
    /// Null: it is under way, or the node stopped before.
    pub(crate) ended: Option<u64>,
    pub(crate) length_ms: Option<u64>,
    /// recording, ended or cut short.
    pub(crate) state: String,
    /// Of all tracks.
    pub(crate) packets: RecordingPackets,
    /// The hash over its tracks; null: there is none.
    pub(crate) sha256: Option<String>,
    pub(crate) tracks: Vec<RecordingTrack>,
}

/// What one party said in a call that was recorded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingTrack {
    /// From 1.
    pub(crate) track: u32,
    /// left or right.
    pub(crate) side: String,
    pub(crate) number: String,
    pub(crate) name: String,
    /// Where it begins, from the beginning of the recording.
    pub(crate) from_ms: u64,
    pub(crate) length_ms: u64,
    pub(crate) cut_short: bool,
    pub(crate) packets: RecordingPackets,
}

/// The packets of parties who were recorded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingPackets {
    pub(crate) expected: u64,
    /// In time.
    pub(crate) come: u64,
    /// Too late, or twice.
    pub(crate) late: u64,
    /// In whose place something else is heard.
    pub(crate) concealed: u64,
}

/// Whether a recording is whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingVerified {
    pub(crate) id: String,
    /// Nothing is missing, and all is as it was written.
    pub(crate) whole: bool,
    /// What is wrong with it as a whole.
    pub(crate) faults: Vec<String>,
    /// The hash over its tracks, as they were read.
    pub(crate) sha256: String,
    pub(crate) tracks: Vec<TrackVerified>,
}

/// Whether a track is whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TrackVerified {
    pub(crate) track: u32,
    /// left or right.
    pub(crate) side: String,
    pub(crate) length_ms: u64,
    /// Of its samples, as they were read.
    pub(crate) sha256: String,
    pub(crate) gaps: Vec<RecordingGap>,
    /// Where it was paused, as somebody asked.
    pub(crate) pauses: Vec<RecordingPause>,
}

/// Where something of a track is missing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingGap {
    /// From the beginning of the track.
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) why: String,
}

/// Where a track was paused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingPause {
    /// From the beginning of the track.
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

/// A node of the cluster.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    /// Names with spaces between, or all.
    pub(crate) sound_kept_by: String,
    /// this node, up, away or unknown.
    pub(crate) state: String,
    #[serde(flatten)]
    pub(crate) copies: Option<Copies>,
}

/// How copies stand between this node and another.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Copies {
    pub(crate) away_why: Option<String>,
    pub(crate) has_our_sound: bool,
    /// epoch.number.
    pub(crate) has_ours_up_to: Option<String>,
    /// Null: not known.
    pub(crate) lacks_of_ours_bytes: Option<u64>,
    pub(crate) takes_s: Option<f64>,
    pub(crate) we_have_all_of_theirs: bool,
}

/// What a machine joins the cluster with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Invitation {
    pub(crate) token: String,
    /// There is a node of this name, whose place it takes.
    pub(crate) replaces: bool,
}

/// Which nodes keep a copy of the sound a node records.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keepers {
    /// Null: all.
    pub(crate) backups: Option<Vec<String>>,
}
