//! Legs, dials and bridges: who is on the line, who is being rung, who hears whom.
//!
//! ```text
//!                     ┌──────────── answer ───────────┐
//!   dialled ─► routing ─► dial (waits) ──► bridge ◄───┴── dial (rings) ◄─ called
//!                  └────► application ◄──┘  (nobody answered: the mailbox)
//! ```
//!
//! | noun | file | is |
//! |---|---|---|
//! | leg | [`leg`] | one party's line, and the one place it is in |
//! | dial | [`dial`] | an attempt to get somebody on the line |
//! | bridge | [`bridge`] | legs that hear each other |
//! | conference | [`conference`] | legs that meet in a room |
//! | recording | [`recording`] | what the legs of a bridge say, written down |
//! | application | `crate::app` | what a leg goes through alone with the machine |
//!
//! [`moves`] takes legs from one place to another; [`routing`] reads what was dialled. All four nouns
//! are plain data: they are printed by `tandem calls --json`, and can be written down and gone on from.

pub(crate) mod board;
pub(crate) mod bridge;
pub(crate) mod conference;
pub(crate) mod dial;
pub(crate) mod dial_request;
mod groups;
pub(crate) mod history;
pub(crate) mod leg;
pub(crate) mod listing;
pub(crate) mod moves;
pub(crate) mod outward;
pub(crate) mod parking;
mod pickup;
pub(crate) mod recording;
pub(crate) mod routing;
mod texts;
pub(crate) mod transfer;
pub(crate) mod watched;
pub(crate) mod when_free;

use std::sync::Arc;

use tandem_engine::seam::{Codec, PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::Token;

pub(crate) use crate::call::leg::Leg;
use crate::guard::Verdict;
use crate::seam::Cause;

/// What a leg is told.
#[derive(Clone, Debug)]
pub(crate) enum LegEvent {
    /// The phone that is called rings.
    Ringing,
    /// It speaks before it answers.
    Progress,
    /// It is forwarded to this number, and has ended.
    Redirected(Arc<str>),
    /// It was answered.
    Answered(Codec),
    /// The party has confirmed our answer.
    Confirmed(Codec),
    /// The party has gone, or did not want to come.
    Ended(Cause),
    /// The party fell silent.
    Silent,
    /// The party holds the others, or does no longer.
    Held(bool),
    /// A digit was pressed; `signalled`: in SIP, so that the other side has not heard it.
    Digit { digit: char, signalled: bool },
    /// Something was said to its end.
    PlayDone(PlayId),
    /// Something of what is being said is encrypted, and the key is not here.
    SoundLocked(PlayId),
    /// There is no more room for it in its room.
    RoomFull,
    /// A recording ended.
    RecordDone {
        sound: Id,
        samples: u64,
        samples_speech: u64,
        end: RecordEnd,
    },
    /// What was written is durable.
    Committed(Token),
    /// What was written was refused.
    Refused(Token),
    /// A PIN was checked.
    PinChecked(Verdict),
    /// A new PIN was hashed, or could not be.
    PinHashed(Option<Arc<str>>),
    /// The first piece of another node's sound is here.
    RemoteFetches(Id),
    /// Nothing more comes of another node's sound; true: it is whole.
    Fetched(Id, bool),
    /// The deadline of the leg's application has come.
    Timer,
    /// The node stops now.
    Stop,
}
