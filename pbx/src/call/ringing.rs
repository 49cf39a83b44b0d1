//! A user's phones ring.
//!
//! Ends with an answer (two people talk), with the caller giving up, or in the mailbox of the
//! user who was dialled: busy, declined, no answer in time, no phone, or any other failure of the
//! far side. A phone may also forward the call itself (302). The answer may cross with our giving up: whoever's word goes out first holds, and
//! what still comes for the ended leg is ignored.

use std::time::Duration;

use tandem_engine::seam::{Command, LegId};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::routing::{goes_on, take_message};
use crate::call::talking::Talking;
use crate::call::{CallEvent, CallerLeg, Phase};
use crate::seam::{Cause, SipCommand};
use crate::state::PbxState;
use crate::voicemail::deposit::Reason;

/// A caller hears ringing after this long, though no phone has said yet that it rings.
const RING_AFTER: Duration = Duration::from_secs(1);

/// See the chapter above.
#[derive(Debug)]
pub(crate) struct Ringing {
    out: LegId,
    /// Who was dialled: the owner of the mailbox.
    called: Id,
    /// Whose phones the call has been at, the present one last: it goes to nobody twice.
    passed: Vec<Id>,
    /// What the caller hears.
    tone: Tone,
    /// When the caller is to hear ringing at the latest.
    ring_at: Time,
    until: Time,
}

/// What a caller hears while phones ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Nothing,
    /// The caller's own phone makes the ringing.
    Ringing,
    /// What the called side says.
    Early,
}

impl Ringing {
    /// Calls the last of `passed` on behalf of `called`.
    pub(crate) fn start(line: &CallerLeg, x: &mut PbxState, called: Id, passed: Vec<Id>) -> Phase {
        let until = x.after(x.config.ring_for);
        let user = passed.last().copied().unwrap_or(called);
        let out = Ringing::dial(line, x, user);
        Phase::Ringing(Ringing {
            out,
            called,
            passed,
            tone: Tone::Nothing,
            ring_at: x.after(RING_AFTER),
            until,
        })
    }

    fn dial(line: &CallerLeg, x: &mut PbxState, user: Id) -> LegId {
        let out = x.new_leg(line.id());
        x.sip(SipCommand::Call {
            leg: out,
            user,
            caller: line.caller.clone(),
            like: Some(line.leg),
        });
        out
    }

    /// When it wants to hear of [`CallEvent::Timer`].
    pub(crate) fn deadline(&self) -> Time {
        match self.tone {
            Tone::Nothing => self.ring_at.min(self.until),
            _ => self.until,
        }
    }

    fn ring(&mut self, line: &CallerLeg, x: &mut PbxState) {
        if self.tone == Tone::Nothing {
            self.tone = Tone::Ringing;
            x.sip(SipCommand::Ring { leg: line.leg });
        }
    }

    pub(crate) fn on(mut self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match event {
            CallEvent::OutRinging(leg) if *leg == self.out => {
                self.ring(line, x);
                Phase::Ringing(self)
            }
            CallEvent::OutProgress(leg) if *leg == self.out => {
                self.tone = Tone::Early;
                let like = Some(self.out);
                x.sip(SipCommand::Progress {
                    leg: line.leg,
                    like,
                });
                x.media(Command::Bridge {
                    a: line.leg,
                    b: self.out,
                });
                Phase::Ringing(self)
            }
            CallEvent::OutRedirected(leg, to) if *leg == self.out => {
                x.forget_leg(self.out);
                let user = x.office.by_extension(to);
                let Some(passed) = user.and_then(|user| goes_on(x, user, self.passed.clone()))
                else {
                    return take_message(line, x, self.called, Reason::Unavailable);
                };
                self.out = Ringing::dial(line, x, passed[passed.len() - 1]);
                self.passed = passed;
                self.until = x.after(x.config.ring_for);
                Phase::Ringing(self)
            }
            CallEvent::OutAnswered(leg) if *leg == self.out => {
                line.answer(x, Some(self.out));
                x.media(Command::Bridge {
                    a: line.leg,
                    b: self.out,
                });
                Phase::Talking(Talking { out: self.out })
            }
            CallEvent::OutGone(leg, cause) if *leg == self.out => {
                x.forget_leg(self.out);
                take_message(line, x, self.called, reason(*cause))
            }
            CallEvent::Timer if x.now.mono < self.until => {
                self.ring(line, x);
                Phase::Ringing(self)
            }
            CallEvent::Timer => {
                self.stop(x, Cause::NoAnswer);
                take_message(line, x, self.called, Reason::Unavailable)
            }
            _ => Phase::Ringing(self),
        }
    }

    pub(crate) fn caller_gone(self, line: &mut CallerLeg, x: &mut PbxState) -> Phase {
        if line.cause == Cause::Normal {
            line.cause = Cause::Cancelled;
        }
        let cause = match line.cause {
            Cause::AnsweredElsewhere => Cause::AnsweredElsewhere,
            _ => Cause::Cancelled,
        };
        self.stop(x, cause);
        Phase::Done
    }

    fn stop(&self, x: &mut PbxState, cause: Cause) {
        x.forget_leg(self.out);
        x.sip(SipCommand::End {
            leg: self.out,
            cause,
        });
    }
}

fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Busy => Reason::Busy,
        _ => Reason::Unavailable,
    }
}
