//! Two people talk, until one of them hangs up or falls silent.
//!
//! Holding is between the parties and the engine: who is held hears silence. Keys go from end to
//! end as media; only one that came in signalling is passed on here.

use tandem_engine::seam::{Command, LegId};

use crate::call::{CallEvent, CallerLeg, Phase};
use crate::seam::{Cause, SipCommand};
use crate::state::PbxState;

/// See the chapter above.
#[derive(Debug)]
pub(crate) struct Talking {
    pub(crate) out: LegId,
}

impl Talking {
    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match event {
            CallEvent::OutGone(leg, cause) if *leg == self.out => {
                x.forget_leg(self.out);
                line.end(x, *cause);
                Phase::Done
            }
            CallEvent::OutRedirected(leg, _) if *leg == self.out => {
                x.forget_leg(self.out);
                line.end(x, Cause::Failed);
                Phase::Done
            }
            CallEvent::Silent(leg) if *leg == self.out => {
                self.end_out(x, Cause::MediaTimeout);
                line.end(x, Cause::MediaTimeout);
                Phase::Done
            }
            CallEvent::Digit {
                leg,
                digit,
                signalled: true,
            } => {
                let other = if *leg == self.out { line.leg } else { self.out };
                x.media(Command::SendDigit {
                    leg: other,
                    digit: *digit,
                });
                Phase::Talking(self)
            }
            _ => Phase::Talking(self),
        }
    }

    pub(crate) fn caller_gone(self, line: &CallerLeg, x: &mut PbxState) -> Phase {
        self.end_out(x, line.cause);
        Phase::Done
    }

    fn end_out(&self, x: &mut PbxState, cause: Cause) {
        x.forget_leg(self.out);
        x.sip(SipCommand::End {
            leg: self.out,
            cause,
        });
    }
}
