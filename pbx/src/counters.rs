//! What call control has seen, in numbers: for status and metrics. They start at zero with the
//! node and only grow.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::seam::Cause;

/// Counts since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls that came in, refused ones included.
    pub calls: u64,
    /// Of these, answered by a person or by us.
    pub calls_answered: u64,
    /// Calls by how they ended.
    pub ended: BTreeMap<&'static str, u64>,
    /// Calls refused because there were too many.
    pub refused_full: u64,
    /// Of calls that went out, answered.
    pub calls_out_answered: u64,
    /// Calls to numbers outside.
    pub calls_outward: u64,
    /// Calls to numbers outside that were one too many for whoever made them.
    pub calls_outward_refused: u64,
    /// Calls that a trunk had no line free for.
    pub trunks_full: u64,
    /// Calls that the user called does not want: anonymous ones, blocked numbers.
    pub calls_unwanted: u64,
    /// Transfers, blind and attended.
    pub transfers: u64,
    /// Transfers that were asked for and not made.
    pub transfers_refused: u64,
    /// Calls picked up at another phone.
    pub pickups: u64,
    /// Callers parked.
    pub parked: u64,
    /// Times somebody came into a room.
    pub rooms_entered: u64,
    /// Times somebody found a room locked or full.
    pub rooms_refused: u64,
    /// Pages to a group's phones.
    pub pages: u64,
    /// Messages that are durable.
    pub deposits: u64,
    /// Messages dropped because hardly anything was said.
    pub deposits_too_short: u64,
    /// Callers told that the mailbox takes no message now.
    pub deposits_refused: u64,
    /// Messages the log refused to keep after they were spoken.
    pub deposits_lost: u64,
    /// Mailboxes opened with the right PIN.
    pub logins: u64,
    /// Wrong PINs.
    pub pin_wrong: u64,
    /// Times a mailbox paused after wrong PINs.
    pub pin_pauses: u64,
    /// Deleted messages destroyed after their time.
    pub messages_destroyed: u64,
    /// Recordings of calls that a user asked for, or that policy wants.
    pub recordings_wanted: u64,
    /// Recordings that have begun in the log.
    pub recordings_begun: u64,
    /// Recordings that were wanted and could not begin.
    pub recordings_refused: u64,
    /// Of these, recordings of calls that policy wants recorded.
    pub recordings_missed: u64,
    /// Recordings of which something is missing at the end.
    pub recordings_cut_short: u64,
    /// Recordings destroyed after their time.
    pub recordings_destroyed: u64,
    /// Mails asked for, because a mailbox was nearly full.
    pub quota_warnings: u64,
    /// Calls made because somebody who was asked for had become free.
    pub calls_when_free: u64,
    /// Wishes for one that found no room.
    pub calls_when_free_refused: u64,
    /// Messages imported by an administrator.
    pub imports: u64,
    /// Records the log refused, of any kind.
    pub log_refused: u64,
    /// Events for legs, plays or tokens nobody waits for: mostly crossings, harmless.
    pub events_stray: u64,
    /// Keys typed ahead that found no room.
    pub digits_dropped: u64,
}

impl Counters {
    pub(crate) fn end(&mut self, cause: Cause) {
        *self.ended.entry(cause_name(cause)).or_default() += 1;
    }
}

/// A cause as it is written in the call log and in metrics.
pub fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Normal => "normal",
        Cause::Cancelled => "cancelled",
        Cause::AnsweredElsewhere => "answered_elsewhere",
        Cause::Busy => "busy",
        Cause::Declined => "declined",
        Cause::Blocked => "blocked",
        Cause::AnonymityDisallowed => "anonymity_disallowed",
        Cause::NoAnswer => "no_answer",
        Cause::NotRegistered => "not_registered",
        Cause::NoSuchNumber => "no_such_number",
        Cause::Forbidden => "forbidden",
        Cause::NotAcceptable => "not_acceptable",
        Cause::Congestion => "congestion",
        Cause::MediaTimeout => "vanished",
        Cause::Failed => "failed",
        Cause::ShuttingDown => "shutting_down",
    }
}
