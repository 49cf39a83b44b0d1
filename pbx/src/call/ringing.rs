//! A user's phones ring.
//!
//! Ends with an answer (two people talk), with the caller giving up, or in the mailbox of the
//! user who was dialled: busy, declined, no answer in time, no phone, or any other failure of the
//! far side. The answer may cross with our giving up: whoever's word goes out first holds, and
//! what still comes for the ended leg is ignored.

use tandem_engine::seam::{Command, LegId};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::routing::take_message;
use crate::call::talking::Talking;
use crate::call::{CallEvent, Line, Phase};
use crate::exchange::Exchange;
use crate::seam::{Cause, SipCommand};
use crate::voicemail::deposit::Reason;

/// See the chapter above.
#[derive(Debug)]
pub(crate) struct Ringing {
    out: LegId,
    /// Who was dialled: the owner of the mailbox.
    called: Id,
    told: bool,
    pub(crate) until: Time,
}

impl Ringing {
    /// Calls `user` on behalf of `called`.
    pub(crate) fn start(line: &Line, x: &mut Exchange, called: Id, user: Id) -> Phase {
        let out = x.new_leg(line.id());
        x.sip(SipCommand::Call {
            leg: out,
            user,
            caller: line.caller.clone(),
            like: Some(line.leg),
        });
        let until = x.after(x.config.ring_for);
        Phase::Ringing(Ringing {
            out,
            called,
            told: false,
            until,
        })
    }

    pub(crate) fn on(mut self, line: &mut Line, x: &mut Exchange, event: &CallEvent) -> Phase {
        match event {
            CallEvent::OutRinging(leg) if *leg == self.out => {
                if !self.told {
                    self.told = true;
                    x.sip(SipCommand::Ring { leg: line.leg });
                }
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
            CallEvent::Timer => {
                self.stop(x, Cause::NoAnswer);
                take_message(line, x, self.called, Reason::Unavailable)
            }
            _ => Phase::Ringing(self),
        }
    }

    pub(crate) fn caller_gone(self, line: &mut Line, x: &mut Exchange) -> Phase {
        if line.cause == Cause::Normal {
            line.cause = Cause::Cancelled;
        }
        self.stop(x, Cause::Cancelled);
        Phase::Done
    }

    fn stop(&self, x: &mut Exchange, cause: Cause) {
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
