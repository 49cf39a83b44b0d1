//! What a dial is to try: who is rung, one step after the other, and what follows if nobody answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::call::outward::OutsideCall;
use crate::call::parking::Parking;
use crate::seam::{Cause, Diversion, Referrer};

/// What is to be tried, and what follows if nobody answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DialRequest {
    /// One after the other.
    pub(crate) steps: VecDeque<Step>,
    /// Whose phones the call has been at, the present one last: it goes to nobody twice.
    pub(crate) passed: Vec<Id>,
    /// Who is on the phone is not rung.
    pub(crate) skips_busy: bool,
    /// The phones are asked to answer by themselves.
    pub(crate) auto_answer: bool,
    pub(crate) otherwise: Otherwise,
    /// Who transferred the call there, as those who are rung are told.
    pub(crate) referred_by: Option<Referrer>,
}

/// Where a call has been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// Users and groups here, the present one last.
    pub(crate) passed: Vec<Id>,
    /// The lines that it was sent on from, elsewhere included, the first one first.
    pub(crate) diversions: Vec<Diversion>,
}

/// Who is rung at once, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) targets: Vec<DialTarget>,
    /// Where the call has been, as these are told.
    pub(crate) diversions: Vec<Diversion>,
    pub(crate) ring_for: Duration,
}

/// Who is rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DialTarget {
    /// All phones of a user.
    User(Id),
    /// A number outside.
    Outside(OutsideCall),
}

/// What follows if nobody answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Otherwise {
    /// The call goes where the user whose phones were rung last has it go, or else to this mailbox.
    Mailbox(Id),
    /// It goes on to this number.
    Number(Arc<str>),
    /// It is ended.
    End(Cause),
    /// It is ended, for the reason for which those who were rung did not come.
    Cause,
    /// The one who waits is parked again.
    Park(Parking),
}

impl DialRequest {
    /// A user's phones, or those of whom the user's calls go to; the last of `passed`.
    pub(crate) fn user(called: Id, passed: Vec<Id>, ring_for: Duration) -> DialRequest {
        let trail = Trail {
            passed,
            diversions: Vec::new(),
        };
        DialRequest::user_by(called, trail, ring_for)
    }

    /// The same for a call that may have been elsewhere before.
    pub(crate) fn user_by(called: Id, trail: Trail, ring_for: Duration) -> DialRequest {
        let Trail { passed, diversions } = trail;
        let user = passed.last().copied().unwrap_or(called);
        let step = Step {
            targets: vec![DialTarget::User(user)],
            diversions,
            ring_for,
        };
        DialRequest {
            steps: VecDeque::from([step]),
            passed,
            skips_busy: false,
            auto_answer: false,
            otherwise: Otherwise::Mailbox(called),
            referred_by: None,
        }
    }

    /// A call outside is tried no further.
    pub(crate) fn drop_outside(&mut self) {
        let is_outside = |step: &Step| {
            let mut targets = step.targets.iter();
            targets.all(|target| matches!(target, DialTarget::Outside(_)))
        };
        self.steps.retain(|step| !is_outside(step));
    }

    /// The same, and this mailbox takes the call if nobody does.
    pub(crate) fn or_mailbox(self, mailbox: Id) -> DialRequest {
        let otherwise = Otherwise::Mailbox(mailbox);
        DialRequest { otherwise, ..self }
    }
}
