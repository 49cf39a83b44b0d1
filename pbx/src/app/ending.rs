//! How a call ends: with last words, or with a seal to wait for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::app::{App, Next, Start};
use crate::call::{Leg, LegEvent};
use crate::say::Say;
use crate::seam::Cause;
use crate::state::PbxState;
use crate::voicemail::take::{RecordingOutcome, Take};

/// Something is said, then the call ends (or the echo begins).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Announcement {
    play: PlayId,
    echo: bool,
    pub(crate) until: Time,
}

/// The caller has gone; what it said is still on its way to the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, say: Say) -> Next {
        Announcement::say(leg, x, say, false)
    }

    /// First words before an echo.
    pub(crate) fn then_echo(leg: &Leg, x: &mut PbxState, say: Say) -> Next {
        Announcement::say(leg, x, say, true)
    }

    fn say(leg: &Leg, x: &mut PbxState, say: Say, echo: bool) -> Next {
        let play = leg.say(x, say);
        Next::Stay(App::Announcement(Announcement {
            play,
            echo,
            until: x.after(SAYING_MAX),
        }))
    }

    pub(crate) fn on(self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match event {
            LegEvent::PlayDone(play) if *play == self.play => match self.echo {
                true => Next::Start(Start::Echo),
                false => Next::End(Cause::Normal),
            },
            // Any key skips the words before an echo.
            LegEvent::Digit { .. } if self.echo => {
                leg.stop_playback(x);
                Next::Start(Start::Echo)
            }
            LegEvent::Timer => Next::End(Cause::Failed),
            _ => Next::Stay(App::Announcement(self)),
        }
    }
}

impl AwaitingSeal {
    pub(crate) fn on(self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match self {
            AwaitingSeal::Taking(mut take, urgent) => match take.on(leg, x, event) {
                Some(taken) => AwaitingSeal::taken(leg, x, taken, urgent),
                None => Next::Stay(App::AwaitingSeal(AwaitingSeal::Taking(take, urgent))),
            },
            AwaitingSeal::Dropping(mut take) => match take.on(leg, x, event) {
                Some(RecordingOutcome::Spoken(spoken)) => {
                    spoken.discard(x);
                    Next::Over
                }
                Some(RecordingOutcome::TooShort | RecordingOutcome::Refused) => Next::Over,
                None => Next::Stay(App::AwaitingSeal(AwaitingSeal::Dropping(take))),
            },
            AwaitingSeal::Seal(token, id) => match event {
                LegEvent::Committed(t) if *t == token => {
                    leg.message = Some(id);
                    x.counters.deposits += 1;
                    Next::Over
                }
                LegEvent::Refused(t) if *t == token => {
                    x.counters.deposits_lost += 1;
                    Next::Over
                }
                _ => Next::Stay(App::AwaitingSeal(self)),
            },
        }
    }

    fn taken(leg: &Leg, x: &mut PbxState, taken: RecordingOutcome, urgent: bool) -> Next {
        match taken {
            RecordingOutcome::Spoken(spoken) => Next::Stay(App::AwaitingSeal(AwaitingSeal::Seal(
                spoken.keep(leg, x, urgent),
                spoken.id,
            ))),
            RecordingOutcome::TooShort => {
                x.counters.deposits_too_short += 1;
                Next::Over
            }
            RecordingOutcome::Refused => {
                x.counters.deposits_refused += 1;
                Next::Over
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
