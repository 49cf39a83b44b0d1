//! Words of a line, as what they stand for. What cannot be read is 0, or "failed": the world has
//! no such leg, so nothing comes of it.

use tandem_engine::seam::LegId;

use crate::counters::cause_name;
use crate::seam::Cause;

pub(super) fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

pub(super) fn leg_of(text: &str) -> LegId {
    LegId(number(text))
}

pub(super) fn cause_of(name: &str) -> Cause {
    CAUSES
        .into_iter()
        .find(|c| cause_name(*c) == name)
        .unwrap_or(Cause::Failed)
}

const CAUSES: [Cause; 16] = [
    Cause::Normal,
    Cause::Cancelled,
    Cause::AnsweredElsewhere,
    Cause::Busy,
    Cause::Declined,
    Cause::Blocked,
    Cause::AnonymityDisallowed,
    Cause::NoAnswer,
    Cause::NotRegistered,
    Cause::NoSuchNumber,
    Cause::Forbidden,
    Cause::NotAcceptable,
    Cause::Congestion,
    Cause::MediaTimeout,
    Cause::Failed,
    Cause::ShuttingDown,
];
