//! The call log: one record for each leg, at its end.
//!
//! From a leg that is over, what it has been through ([`crate::call::history`]) and what the engine
//! counted (`Event::Closed`, which comes a moment later); to the log, as an entry of the topic `call`,
//! and so to every node. Whoever reads it gets the texts as they lie there, in parts
//! ([`AdminAnswer::CallLog`](crate::seam::AdminAnswer)), and reads each with [`CallRecord::parse`]: reading
//! many takes longer than call control may.
//!
//! Fields are only ever added: a record of an earlier release has no `leg`, was written for legs that
//! came in alone, and is read as such.
//!
//! Invariants: every leg leaves one record; one whose media does not close in time leaves it without
//! quality. Who withholds the number is named in no record. At most [`WAITING_MAX`] records wait for
//! their quality; beside them, legs leave theirs without it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Codec, LegId, LegReport};
use tandem_storage::name::Id;
use tandem_storage::seam::{Hlc, Stamp};
use tandem_storage::time::{Time, WallTime};

use crate::call::history;
pub use crate::call::history::{Party, Step};
use crate::call::leg::{Direction, Leg};
use crate::counters::cause_name;
use crate::pbx::Pbx;
use crate::seam::{AdminAnswer, CallLogPart, Cause};
use crate::state::PbxState;

/// The topic of the entries.
pub(crate) const TOPIC: &str = "call";
/// How long a record waits for what the engine counted.
const QUALITY_WAIT: Duration = Duration::from_secs(2);
/// Records that may wait so.
const WAITING_MAX: usize = 4096;
/// Entries that are handed out at once.
const PART_MAX: usize = 1000;

/// What is kept of a leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The leg; `None` in records of earlier releases.
    #[serde(default)]
    pub leg: Option<Id>,
    /// The call it belonged to at its end, by its first leg.
    #[serde(default)]
    pub call: Option<Id>,
    /// What that call was called before it was joined with an older one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Id>,
    #[serde(default)]
    pub direction: LegDirection,
    /// Whose line it was.
    #[serde(default)]
    pub user: Option<Id>,
    /// What one dialled for that user then.
    #[serde(default)]
    pub extension: Option<Arc<str>>,
    /// Who called.
    pub from: Party,
    /// What was dialled last, by the party or for it.
    pub to: Arc<str>,
    /// With whom it was connected last.
    #[serde(default)]
    pub with: Option<Party>,
    pub started: WallTime,
    pub answered: Option<WallTime>,
    pub ended: WallTime,
    /// The trunk it went over, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<Arc<str>>,
    /// Why it ended, as in metrics.
    pub cause: Arc<str>,
    /// What became of it; `None` in records of earlier releases.
    #[serde(default)]
    outcome: Option<Outcome>,
    /// What it went through.
    #[serde(default)]
    pub through: Vec<Step>,
    /// The message that was left.
    #[serde(default)]
    pub message: Option<Id>,
    /// What it was heard in, if it was answered.
    #[serde(default)]
    pub codec: Option<Cow<'static, str>>,
    #[serde(default)]
    pub quality: Option<Quality>,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LegDirection {
    /// The party called.
    #[default]
    In,
    /// It was called.
    Out,
}

/// What became of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It talked with somebody.
    Answered,
    /// It came to a mailbox.
    Mailbox,
    /// It ended while it was parked.
    Parked,
    /// It transferred whom it talked with.
    Transferred,
    /// Nobody but the machine was there, as was wanted: echo, clock, messages heard.
    Service,
    Busy,
    NoAnswer,
    /// The user had no phone registered.
    Unreachable,
    /// The party declined, or it was not allowed.
    Refused,
    /// The caller gave up.
    Cancelled,
    /// Another phone took the call.
    AnsweredElsewhere,
    NoSuchNumber,
    Failed,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Mailbox => "mailbox",
            Outcome::Parked => "parked",
            Outcome::Transferred => "transferred",
            Outcome::Service => "service",
            Outcome::Busy => "busy",
            Outcome::NoAnswer => "no_answer",
            Outcome::Unreachable => "unreachable",
            Outcome::Refused => "refused",
            Outcome::Cancelled => "cancelled",
            Outcome::AnsweredElsewhere => "answered_elsewhere",
            Outcome::NoSuchNumber => "no_such_number",
            Outcome::Failed => "failed",
        }
    }

    /// Of a leg nobody answered.
    fn of_cause(cause: &str) -> Outcome {
        match cause {
            "busy" => Outcome::Busy,
            "no_answer" => Outcome::NoAnswer,
            "not_registered" => Outcome::Unreachable,
            "declined" | "blocked" | "anonymity_disallowed" | "forbidden" => Outcome::Refused,
            "normal" | "cancelled" => Outcome::Cancelled,
            "answered_elsewhere" => Outcome::AnsweredElsewhere,
            "no_such_number" => Outcome::NoSuchNumber,
            _ => Outcome::Failed,
        }
    }

    fn of(cause: Cause, is_answered: bool, steps: &[Step]) -> Outcome {
        let cause = Outcome::of_cause(cause_name(cause));
        if !is_answered {
            return cause;
        }
        let has_talked = steps.iter().any(|step| step.what == history::TALKING);
        match steps.last().map(|step| &*step.what) {
            Some("parked") => Outcome::Parked,
            Some("leaving a message") => Outcome::Mailbox,
            Some(history::TRANSFERRING) => Outcome::Transferred,
            _ if has_talked => Outcome::Answered,
            // It was answered by the machine, and then nobody came to the line.
            Some(history::DIAL | history::GROUP) => cause,
            _ => Outcome::Service,
        }
    }
}

/// What the engine counted of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// RTP packets taken from the party.
    pub packets_received: u64,
    /// Of those it sent, lost on the way; negative: duplicates.
    pub packets_lost: i64,
    /// RTP packets sent to it.
    pub packets_sent: u64,
    /// Interarrival jitter, in microseconds.
    pub jitter_us: u32,
    /// In microseconds; 0: not known.
    pub round_trip_us: u32,
}

impl From<LegReport> for Quality {
    fn from(report: LegReport) -> Quality {
        Quality {
            packets_received: report.packets_received,
            packets_lost: report.packets_lost,
            packets_sent: report.packets_sent,
            jitter_us: report.jitter_us,
            round_trip_us: report.round_trip_us,
        }
    }
}

impl CallRecord {
    /// What an entry says; `None`: it is no record.
    pub fn parse(body: &str) -> Option<CallRecord> {
        serde_json::from_str(body).ok()
    }

    /// Of a leg that is over.
    fn of(leg: &Leg, x: &PbxState) -> CallRecord {
        let history = &leg.history;
        let party = Party::of(&leg.party);
        let name = |leg: LegId| Id {
            node: x.node(),
            epoch: x.epoch(),
            number: leg.0,
        };
        let is_user = party.user.is_some();
        let trunk = leg.outside.as_ref();
        let trunk = trunk.and_then(|outside| x.office.outside.trunk(outside.trunk));
        CallRecord {
            leg: Some(name(leg.id)),
            call: Some(name(history.call)),
            joined: history.joined.iter().map(|call| name(*call)).collect(),
            direction: match leg.direction {
                Direction::In => LegDirection::In,
                Direction::Out => LegDirection::Out,
            },
            user: party.user,
            extension: is_user.then(|| party.number.clone()),
            from: history.from.clone().unwrap_or(party),
            to: leg.dialed.clone(),
            with: history.with.clone(),
            started: leg.started,
            answered: leg.answered,
            ended: x.now.wall,
            trunk: trunk.map(|trunk| trunk.name.clone()),
            cause: cause_name(leg.cause).into(),
            outcome: Some(Outcome::of(
                leg.cause,
                leg.answered.is_some(),
                &history.steps,
            )),
            through: history.steps.clone(),
            message: leg.message,
            codec: leg.answered.map(|_| codec_name(leg.codec).into()),
            quality: history.quality,
        }
    }

    /// Whose line it was.
    pub fn user(&self) -> Option<Id> {
        match self.leg {
            Some(_) => self.user,
            None => self.from.user,
        }
    }

    /// What became of it.
    pub fn outcome(&self) -> Outcome {
        match self.outcome {
            Some(outcome) => outcome,
            None if self.message.is_some() => Outcome::Mailbox,
            None if self.answered.is_some() => Outcome::Answered,
            None => Outcome::of_cause(&self.cause),
        }
    }

    /// How long it was connected, in whole seconds.
    pub fn talked_s(&self) -> u64 {
        let talked = |answered: WallTime| self.ended.0.saturating_sub(answered.0);
        self.answered.map_or(0, talked).div_ceil(1000)
    }
}

/// As it is registered (RFC 3551, RFC 7587).
fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
        Codec::G722 => "G722",
        Codec::Opus => "opus",
    }
}

/// Records of legs that are over and whose media has not closed yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    records: BTreeMap<LegId, (Time, CallRecord)>,
    until: BTreeSet<(Time, LegId)>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// When a record is to be written without quality.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.until.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, until: Time, leg: LegId, record: CallRecord) {
        self.until.insert((until, leg));
        self.records.insert(leg, (until, record));
    }

    fn remove(&mut self, leg: LegId) -> Option<CallRecord> {
        let (until, record) = self.records.remove(&leg)?;
        self.until.remove(&(until, leg));
        Some(record)
    }

    fn due(&mut self, now: Time) -> Option<CallRecord> {
        let (at, leg) = *self.until.first()?;
        (at <= now).then(|| self.remove(leg))?
    }
}

impl Pbx {
    /// A leg is over: its record is written, as soon as its media has closed.
    pub(crate) fn file_record(&mut self, leg: &Leg) {
        if leg.direction == Direction::In {
            self.x.counters.end(leg.cause);
        }
        let record = CallRecord::of(leg, &self.x);
        self.leg_over(leg, &record);
        let is_complete = record.quality.is_some() || leg.answered.is_none();
        if is_complete || self.records.records.len() >= WAITING_MAX {
            return self.x.write_record(&record);
        }
        let until = self.x.after(QUALITY_WAIT);
        self.records.insert(until, leg.id, record);
    }

    /// The media of a leg has closed.
    pub(crate) fn media_closed(&mut self, id: LegId, report: LegReport) {
        let quality = Some(Quality::from(report));
        if let Some(leg) = self.board.legs.get_mut(&id) {
            leg.history.quality = quality;
        } else if let Some(mut record) = self.records.remove(id) {
            record.quality = quality;
            self.x.write_record(&record);
        }
    }

    /// Writes the records whose media did not close in time.
    pub(crate) fn write_due_records(&mut self) {
        while let Some(record) = self.records.due(self.x.now.mono) {
            self.x.write_record(&record);
        }
    }

    /// The newest entries before a stamp, or of all, of legs that ended since then.
    pub(crate) fn call_log(
        &self,
        user: Option<&str>,
        since: WallTime,
        before: Option<Stamp>,
    ) -> Result<AdminAnswer, String> {
        let user = user.map(|extension| self.user_of(extension)).transpose()?;
        let since = Hlc(since.0.saturating_mul(1 << 16));
        let entries = self.x.view.entries_before(TOPIC, since, before);
        let entries: Vec<(Stamp, Arc<str>)> = entries.take(PART_MAX).collect();
        let is_last = entries.len() < PART_MAX;
        Ok(AdminAnswer::CallLog(CallLogPart {
            user,
            entries,
            is_last,
        }))
    }
}

impl PbxState {
    fn write_record(&mut self, record: &CallRecord) {
        let body = serde_json::to_value(record).unwrap_or_default();
        self.entry(TOPIC, &body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_release_is_read() {
        let body = r#"{"from":{"number":"101","name":"Reception","user":"a.1.1"},"to":"102",
            "started":1000,"answered":2000,"ended":5001,"cause":"normal","message":null}"#;
        let record = CallRecord::parse(body).unwrap();
        assert_eq!(record.user(), Some("a.1.1".parse().unwrap()));
        assert_eq!(record.outcome(), Outcome::Answered);
        assert_eq!(
            (record.leg, record.direction, record.talked_s()),
            (None, LegDirection::In, 4)
        );
        let outcome = |from: &str, to: &str| {
            let body = body.replace(from, to);
            CallRecord::parse(&body).unwrap().outcome()
        };
        let unanswered = r#""answered":2000"#;
        assert_eq!(
            outcome(unanswered, r#""answered":null"#),
            Outcome::Cancelled
        );
        assert_eq!(
            outcome(r#""message":null"#, r#""message":"a.1.9""#),
            Outcome::Mailbox
        );
        assert_eq!(CallRecord::parse("{}"), None);
    }

    #[test]
    fn a_record_waits_for_its_quality_for_a_while() {
        let body = r#"{"from":{"number":"101"},"to":"102","started":1,"answered":2,"ended":3,"cause":"normal"}"#;
        let record = CallRecord::parse(body).unwrap();
        let mut waiting = Waiting::default();
        for (until, leg) in [(20, 1), (10, 2), (10, 3)] {
            waiting.insert(Time(until), LegId(leg), record.clone());
        }
        assert_eq!(waiting.deadline(), Some(Time(10)));
        assert!(waiting.due(Time(9)).is_none());
        assert!(waiting.remove(LegId(2)).is_some());
        assert!(waiting.due(Time(10)).is_some());
        assert!(waiting.due(Time(10)).is_none());
        assert!(waiting.remove(LegId(1)).is_some() && waiting.is_empty());
        assert_eq!(waiting.deadline(), None);
    }

    #[test]
    fn what_became_of_a_leg_is_read_from_its_last_place() {
        let steps = |names: &[&'static str]| -> Vec<Step> {
            let step = |name: &&'static str| Step {
                at: WallTime(0),
                what: (*name).into(),
                whom: None,
            };
            names.iter().map(step).collect()
        };
        let outcome = |names: &[&'static str]| Outcome::of(Cause::Normal, true, &steps(names));
        assert_eq!(outcome(&["dial", "talking"]), Outcome::Answered);
        assert_eq!(
            outcome(&["dial", "talking", "transferred", "dial"]),
            Outcome::Answered
        );
        assert_eq!(outcome(&["dial", "leaving a message"]), Outcome::Mailbox);
        assert_eq!(outcome(&["talking", "parked"]), Outcome::Parked);
        assert_eq!(outcome(&["talking", "transferring"]), Outcome::Transferred);
        assert_eq!(outcome(&["echo"]), Outcome::Service);
        assert_eq!(outcome(&["announcement", "dial"]), Outcome::Cancelled);
        let busy = Outcome::of(Cause::Busy, false, &steps(&["dial"]));
        assert_eq!(busy, Outcome::Busy);
        let json = serde_json::to_value(Outcome::AnsweredElsewhere).unwrap();
        assert_eq!(json, Outcome::AnsweredElsewhere.as_str());
    }
}
