//! How a call ends: with last words, with a seal to wait for, with its line in the call log.

use std::time::Duration;

use serde_json::json;
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::call::{Call, CallEvent, Line, Phase, routing};
use crate::counters::cause_name;
use crate::exchange::Exchange;
use crate::say::Say;
use crate::seam::Cause;
use crate::voicemail::take::{Take, Taken};

/// Something is said, then the call ends (or the echo begins).
#[derive(Debug)]
pub(crate) struct Saying {
    play: PlayId,
    echo: bool,
    pub(crate) until: Time,
}

/// The caller has gone; what it said is still on its way to the disk.
#[derive(Debug)]
pub(crate) enum Sealing {
    /// A message, perhaps urgent, whose recording has not ended yet.
    Taking(Take, bool),
    /// A recording that has not ended yet and that nobody wants.
    Dropping(Take),
    /// The seal is being written, of this message.
    Seal(Token, Id),
}

/// Longer than any last words: for an engine that lost the end of them.
const SAYING_MAX: Duration = Duration::from_secs(120);

impl Saying {
    /// Last words.
    pub(crate) fn goodbye(line: &Line, x: &mut Exchange, say: Say) -> Phase {
        Saying::start(line, x, say, false)
    }

    /// First words before an echo.
    pub(crate) fn then_echo(line: &Line, x: &mut Exchange, say: Say) -> Phase {
        Saying::start(line, x, say, true)
    }

    fn start(line: &Line, x: &mut Exchange, say: Say, echo: bool) -> Phase {
        let play = line.say(x, say);
        Phase::Saying(Saying {
            play,
            echo,
            until: x.after(SAYING_MAX),
        })
    }

    pub(crate) fn on(self, line: &mut Line, x: &mut Exchange, event: &CallEvent) -> Phase {
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
                line.hush(x);
                routing::start_echo(line, x)
            }
            CallEvent::Timer => {
                line.end(x, Cause::Failed);
                Phase::Done
            }
            _ => Phase::Saying(self),
        }
    }
}

impl Sealing {
    pub(crate) fn on(self, line: &mut Line, x: &mut Exchange, event: &CallEvent) -> Phase {
        match self {
            Sealing::Taking(mut take, urgent) => match take.on(line, x, event) {
                Some(taken) => Sealing::taken(line, x, taken, urgent),
                None => Phase::Sealing(Sealing::Taking(take, urgent)),
            },
            Sealing::Dropping(mut take) => match take.on(line, x, event) {
                Some(Taken::Spoken(spoken)) => {
                    spoken.discard(x);
                    Phase::Done
                }
                Some(Taken::TooShort | Taken::Refused) => Phase::Done,
                None => Phase::Sealing(Sealing::Dropping(take)),
            },
            Sealing::Seal(token, id) => match event {
                CallEvent::Committed(t) if *t == token => {
                    line.message = Some(id);
                    x.counters.deposits += 1;
                    Phase::Done
                }
                CallEvent::Refused(t) if *t == token => {
                    x.counters.deposits_lost += 1;
                    Phase::Done
                }
                _ => Phase::Sealing(self),
            },
        }
    }

    fn taken(line: &Line, x: &mut Exchange, taken: Taken, urgent: bool) -> Phase {
        match taken {
            Taken::Spoken(spoken) => {
                Phase::Sealing(Sealing::Seal(spoken.keep(line, x, urgent), spoken.id))
            }
            Taken::TooShort => {
                x.counters.deposits_too_short += 1;
                Phase::Done
            }
            Taken::Refused => {
                x.counters.deposits_refused += 1;
                Phase::Done
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Sealing::Taking(take, _) | Sealing::Dropping(take) => take.deadline(),
            // The log answers every token.
            Sealing::Seal(..) => None,
        }
    }
}

impl Call {
    /// Its line in the call log, once it is over.
    pub(crate) fn log(&self, x: &mut Exchange) {
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
