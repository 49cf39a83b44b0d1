//! How a call ends: with last words, with a seal to wait for, with its line in the call log.

use std::time::Duration;

use serde_json::json;
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::call::{Call, CallEvent, CallerLeg, Phase, routing};
use crate::counters::cause_name;
use crate::say::Say;
use crate::seam::Cause;
use crate::state::PbxState;
use crate::voicemail::take::{RecordingOutcome, Take};

/// Something is said, then the call ends (or the echo begins).
#[derive(Debug)]
pub(crate) struct Announcement {
    play: PlayId,
    echo: bool,
    pub(crate) until: Time,
}

/// The caller has gone; what it said is still on its way to the disk.
#[derive(Debug)]
pub(crate) enum AwaitingSeal {
    /// A message, perhaps urgent, whose recording has not ended yet.
    Taking(Take, bool),
    /// A recording that has not ended yet and that nobody wants.
    Dropping(Take),
    /// The seal is being written, of this message.
    Seal(Token, Id),
}

/// Longer than any last words: for an engine that lost the end of them.
const SAYING_MAX: Duration = Duration::from_secs(120);

impl Announcement {
    /// Last words.
    pub(crate) fn goodbye(line: &CallerLeg, x: &mut PbxState, say: Say) -> Phase {
        Announcement::start(line, x, say, false)
    }

    /// First words before an echo.
    pub(crate) fn then_echo(line: &CallerLeg, x: &mut PbxState, say: Say) -> Phase {
        Announcement::start(line, x, say, true)
    }

    fn start(line: &CallerLeg, x: &mut PbxState, say: Say, echo: bool) -> Phase {
        let play = line.say(x, say);
        Phase::Announcement(Announcement {
            play,
            echo,
            until: x.after(SAYING_MAX),
        })
    }

    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match event {
            CallEvent::PlayDone(play) if *play == self.play => {
                if self.echo {
                    return routing::start_echo(line, x);
                }
                line.end(x, Cause::Normal);
                Phase::Done
            }
            // Any key skips the words before an echo.
            CallEvent::Digit { .. } if self.echo => {
                line.stop_playback(x);
                routing::start_echo(line, x)
            }
            CallEvent::Timer => {
                line.end(x, Cause::Failed);
                Phase::Done
            }
            _ => Phase::Announcement(self),
        }
    }
}

impl AwaitingSeal {
    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match self {
            AwaitingSeal::Taking(mut take, urgent) => match take.on(line, x, event) {
                Some(taken) => AwaitingSeal::taken(line, x, taken, urgent),
                None => Phase::AwaitingSeal(AwaitingSeal::Taking(take, urgent)),
            },
            AwaitingSeal::Dropping(mut take) => match take.on(line, x, event) {
                Some(RecordingOutcome::Spoken(spoken)) => {
                    spoken.discard(x);
                    Phase::Done
                }
                Some(RecordingOutcome::TooShort | RecordingOutcome::Refused) => Phase::Done,
                None => Phase::AwaitingSeal(AwaitingSeal::Dropping(take)),
            },
            AwaitingSeal::Seal(token, id) => match event {
                CallEvent::Committed(t) if *t == token => {
                    line.message = Some(id);
                    x.counters.deposits += 1;
                    Phase::Done
                }
                CallEvent::Refused(t) if *t == token => {
                    x.counters.deposits_lost += 1;
                    Phase::Done
                }
                _ => Phase::AwaitingSeal(self),
            },
        }
    }

    fn taken(line: &CallerLeg, x: &mut PbxState, taken: RecordingOutcome, urgent: bool) -> Phase {
        match taken {
            RecordingOutcome::Spoken(spoken) => {
                Phase::AwaitingSeal(AwaitingSeal::Seal(spoken.keep(line, x, urgent), spoken.id))
            }
            RecordingOutcome::TooShort => {
                x.counters.deposits_too_short += 1;
                Phase::Done
            }
            RecordingOutcome::Refused => {
                x.counters.deposits_refused += 1;
                Phase::Done
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            AwaitingSeal::Taking(take, _) | AwaitingSeal::Dropping(take) => take.deadline(),
            // The log answers every token.
            AwaitingSeal::Seal(..) => None,
        }
    }
}

impl Call {
    /// Its line in the call log, once it is over.
    pub(crate) fn log(&self, x: &mut PbxState) {
        let line = &self.line;
        x.counters.end(line.cause);
        x.forget_leg(line.leg);
        let body = json!({
            "from": { "number": line.caller.number, "name": line.caller.name, "user": line.caller.user },
            "to": line.dialed,
            "started": line.started,
            "answered": line.answered,
            "ended": x.now.wall,
            "cause": cause_name(line.cause),
            "message": line.message,
        });
        x.entry("call", &body);
    }
}
