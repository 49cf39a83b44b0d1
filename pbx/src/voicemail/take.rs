//! One take: beep, recording, its end.
//!
//! The sound begins in the log when the beep begins, so that by its end the log has answered. The
//! recording starts with the end of the beep without waiting for that answer: both go through
//! the log's one queue in order. It ends with `#`, silence, the limit, or the caller's going.
//!
//! Invariant: every sound begun here is sealed by whoever got the [`RecordingOutcome`], or was discarded or
//! refused here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, SealKind, Token};
use tandem_storage::time::Time;

use crate::call::{Leg, LegEvent};
use crate::mailbox::{About, Sealed};
use crate::office::json;
use crate::say::Say;
use crate::state::{PbxState, Waiter, samples};

/// A recording under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Take {
    id: Id,
    begin: Token,
    /// The log has said that it began.
    begun: bool,
    length: Length,
    step: Step,
    /// When the engine is taken to have lost the end of the beep, or of the recording.
    until: Time,
}

/// How long a recording may be, and must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Length {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Step {
    Beep(PlayId),
    Recording,
    Stopping,
    /// Over; the log has yet to say that it began.
    Over(Spoken),
}

/// How a take came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RecordingOutcome {
    /// Something was said.
    Spoken(Spoken),
    /// Hardly anything; it has been taken back.
    TooShort,
    /// The log takes no sound.
    Refused,
}

/// A recording that waits for its seal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spoken {
    pub(crate) id: Id,
    /// All that was given to the log; `None`: the engine did not say.
    pub(crate) samples: Option<u64>,
    pub(crate) samples_speech: u64,
    pub(crate) end: RecordEnd,
}

/// No words before a beep last as long.
const BEEP_WAIT: Duration = Duration::from_secs(30);
/// The engine tells the end of a recording at once; this is for one that does not.
const DONE_WAIT: Duration = Duration::from_secs(5);

impl Take {
    /// Says something first, then beeps.
    pub(crate) fn start(
        leg: &Leg,
        x: &mut PbxState,
        about: &About,
        length: Length,
        first: Say,
    ) -> Take {
        let play = leg.say(x, first.beep());
        let id = x.new_id();
        let append = Append::Begin {
            id,
            codec: leg.codec.sound(),
            at: x.now.wall,
            about: json(about),
        };
        let begin = x.append(Waiter::Leg(leg.id), append);
        Take {
            id,
            begin,
            begun: false,
            length,
            step: Step::Beep(play),
            until: x.after(BEEP_WAIT),
        }
    }

    /// Takes in an event; gives the outcome once there is one.
    pub(crate) fn on(
        &mut self,
        leg: &Leg,
        x: &mut PbxState,
        event: &LegEvent,
    ) -> Option<RecordingOutcome> {
        match event {
            LegEvent::PlayDone(play) if self.step == Step::Beep(*play) => {
                self.record(leg, x);
                None
            }
            // Skips the words before the beep.
            LegEvent::Digit { digit: '#', .. } if matches!(self.step, Step::Beep(_)) => {
                self.step = Step::Beep(leg.say(x, Say::new().beep()));
                None
            }
            LegEvent::Digit { digit: '#', .. } if self.step == Step::Recording => {
                x.media(Command::StopRecord { leg: leg.id });
                self.step = Step::Stopping;
                self.until = x.after(DONE_WAIT);
                None
            }
            LegEvent::RecordDone {
                sound,
                samples,
                samples_speech,
                end,
            } if *sound == self.id => {
                let spoken = self.spoken(Some(*samples), *samples_speech, *end);
                self.over(leg, x, spoken)
            }
            LegEvent::Committed(token) if *token == self.begin => {
                self.begun = true;
                match self.step {
                    Step::Over(spoken) => Some(taken(leg, x, spoken, self.length.min)),
                    _ => None,
                }
            }
            LegEvent::Refused(token) if *token == self.begin => Some(self.refused(leg, x)),
            LegEvent::Timer if x.now.mono >= self.until => self.lost(leg, x),
            _ => None,
        }
    }

    fn record(&mut self, leg: &Leg, x: &mut PbxState) {
        x.media(Command::Record {
            leg: leg.id,
            sound: self.id,
            limit: self.length.max,
            silence: Some(x.config.silence_for),
        });
        self.step = Step::Recording;
        self.until = x.after(self.length.max + DONE_WAIT);
    }

    /// The recording is over. Whether there is a sound at all, the log must have said.
    fn over(&mut self, leg: &Leg, x: &mut PbxState, spoken: Spoken) -> Option<RecordingOutcome> {
        if self.begun {
            return Some(taken(leg, x, spoken, self.length.min));
        }
        self.step = Step::Over(spoken);
        None
    }

    fn spoken(&self, samples: Option<u64>, samples_speech: u64, end: RecordEnd) -> Spoken {
        Spoken {
            id: self.id,
            samples,
            samples_speech,
            end,
        }
    }

    fn refused(&self, leg: &Leg, x: &mut PbxState) -> RecordingOutcome {
        match self.step {
            Step::Beep(_) => leg.stop_playback(x),
            Step::Recording => x.media(Command::StopRecord { leg: leg.id }),
            Step::Stopping | Step::Over(_) => {}
        }
        RecordingOutcome::Refused
    }

    /// The engine did not tell the end: what is on the disk is what was said.
    fn lost(&mut self, leg: &Leg, x: &mut PbxState) -> Option<RecordingOutcome> {
        if matches!(self.step, Step::Recording) {
            x.media(Command::StopRecord { leg: leg.id });
        }
        let samples = x.view.sound(self.id).map_or(0, |sound| sound.samples());
        let spoken = self.spoken(None, samples, RecordEnd::Stopped);
        self.over(leg, x, spoken)
    }

    /// The caller has gone. `Some`: more will be told; wait for it.
    pub(crate) fn party_gone(mut self, x: &mut PbxState) -> Option<Take> {
        match self.step {
            Step::Beep(_) if self.begun => {
                x.seal(Waiter::Nobody, self.id, SealKind::Discarded, "");
                return None;
            }
            Step::Beep(_) => {
                self.step = Step::Over(self.spoken(None, 0, RecordEnd::Stopped));
            }
            Step::Recording | Step::Stopping => {
                self.step = Step::Stopping;
                self.until = x.after(DONE_WAIT);
            }
            Step::Over(_) => {}
        }
        Some(self)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.step {
            // The log answers every token.
            Step::Over(_) => None,
            _ => Some(self.until),
        }
    }

    /// While it is being stopped, keys are already meant for what follows.
    pub(crate) fn wants_digits(&self) -> bool {
        matches!(self.step, Step::Beep(_) | Step::Recording)
    }
}

fn taken(leg: &Leg, x: &mut PbxState, spoken: Spoken, min: Duration) -> RecordingOutcome {
    if spoken.samples_speech >= samples(min) {
        return RecordingOutcome::Spoken(spoken);
    }
    spoken.discard(x);
    match spoken.end {
        RecordEnd::LogRefused if leg.is_alive => RecordingOutcome::Refused,
        _ => RecordingOutcome::TooShort,
    }
}

impl Spoken {
    /// Seals it. It is kept once the log has said so.
    pub(crate) fn keep(&self, leg: &Leg, x: &mut PbxState, urgent: bool) -> Token {
        let kind = match self.end {
            // The disk filled up on the way: its owner shall know that something is missing.
            RecordEnd::LogRefused => SealKind::CutShort,
            _ => SealKind::Whole,
        };
        let about = json(&Sealed {
            urgent,
            samples_speech: self.samples_speech,
            samples: self.samples,
        });
        x.seal(Waiter::Leg(leg.id), self.id, kind, &about)
    }

    /// Takes it back.
    pub(crate) fn discard(&self, x: &mut PbxState) {
        x.seal(Waiter::Nobody, self.id, SealKind::Discarded, "");
    }
}
