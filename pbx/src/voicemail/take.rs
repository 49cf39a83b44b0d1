//! One take: beep, recording, its end.
//!
//! The sound begins in the log when the beep begins, so that by its end the log has answered. The
//! recording starts with the end of the beep without waiting for that answer: both go through
//! the log's one queue in order. It ends with `#`, silence, the limit, or the caller's going.
//!
//! Invariant: every sound begun here is sealed by whoever got the [`Taken`], or was discarded or
//! refused here.

use std::time::Duration;

use tandem_engine::seam::{Command, PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, SealKind, Token};
use tandem_storage::time::Time;

use crate::call::{CallEvent, Line};
use crate::exchange::{Exchange, Waiter, samples};
use crate::mailbox::{About, Sealed};
use crate::office::json;
use crate::say::Say;

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Take {
    id: Id,
    begin: Token,
    limit: Duration,
    step: Step,
    /// When the engine is taken to have lost the end of the beep, or of the recording.
    until: Time,
}

#[derive(Debug, PartialEq)]
enum Step {
    Beep(PlayId),
    Recording,
    Stopping,
}

/// How a take came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Taken {
    /// Something was said.
    Spoken(Spoken),
    /// Hardly anything; it has been taken back.
    TooShort,
    /// The log takes no sound.
    Refused,
}

/// A recording that waits for its seal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spoken {
    pub(crate) id: Id,
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
        line: &Line,
        x: &mut Exchange,
        about: &About,
        limit: Duration,
        first: Say,
    ) -> Take {
        let play = line.say(x, first.beep());
        let id = x.new_id();
        let append = Append::Begin {
            id,
            codec: line.codec.sound(),
            at: x.now.wall,
            about: json(about),
        };
        let begin = x.append(Waiter::Call(line.id()), append);
        Take {
            id,
            begin,
            limit,
            step: Step::Beep(play),
            until: x.after(BEEP_WAIT),
        }
    }

    /// Takes in an event; gives the outcome once there is one.
    pub(crate) fn on(&mut self, line: &Line, x: &mut Exchange, event: &CallEvent) -> Option<Taken> {
        match event {
            CallEvent::PlayDone(play) if self.step == Step::Beep(*play) => {
                self.record(line, x);
                None
            }
            CallEvent::Digit { digit: '#', .. } if self.step == Step::Recording => {
                x.media(Command::StopRecord { leg: line.leg });
                self.step = Step::Stopping;
                self.until = x.after(DONE_WAIT);
                None
            }
            CallEvent::RecordDone {
                sound,
                samples_speech,
                end,
                ..
            } if *sound == self.id => Some(self.done(line, x, *samples_speech, *end)),
            CallEvent::Refused(token) if *token == self.begin => Some(self.refused(line, x)),
            CallEvent::Timer if x.now.mono >= self.until => Some(self.lost(line, x)),
            _ => None,
        }
    }

    fn record(&mut self, line: &Line, x: &mut Exchange) {
        x.media(Command::Record {
            leg: line.leg,
            sound: self.id,
            limit: self.limit,
            silence: Some(x.config.silence_for),
        });
        self.step = Step::Recording;
        self.until = x.after(self.limit + DONE_WAIT);
    }

    fn done(&self, line: &Line, x: &mut Exchange, samples_speech: u64, end: RecordEnd) -> Taken {
        let spoken = Spoken {
            id: self.id,
            samples_speech,
            end,
        };
        if samples_speech >= samples(x.config.message_min) {
            return Taken::Spoken(spoken);
        }
        spoken.discard(x);
        match end {
            RecordEnd::LogRefused if line.alive => Taken::Refused,
            _ => Taken::TooShort,
        }
    }

    fn refused(&self, line: &Line, x: &mut Exchange) -> Taken {
        match self.step {
            Step::Beep(_) => line.hush(x),
            Step::Recording | Step::Stopping => x.media(Command::StopRecord { leg: line.leg }),
        }
        Taken::Refused
    }

    /// The engine did not tell the end: what is on the disk is what was said.
    fn lost(&self, line: &Line, x: &mut Exchange) -> Taken {
        if matches!(self.step, Step::Recording) {
            x.media(Command::StopRecord { leg: line.leg });
        }
        let samples = x.view.sound(self.id).map_or(0, |sound| sound.samples());
        self.done(line, x, samples, RecordEnd::Stopped)
    }

    /// The caller has gone. `Some`: the recording's end will be told; wait for it.
    pub(crate) fn caller_gone(mut self, x: &mut Exchange) -> Option<Take> {
        if matches!(self.step, Step::Beep(_)) {
            x.seal(Waiter::Nobody, self.id, SealKind::Discarded, "");
            return None;
        }
        self.step = Step::Stopping;
        self.until = x.after(DONE_WAIT);
        Some(self)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(self.until)
    }

    /// While it is being stopped, keys are already meant for what follows.
    pub(crate) fn wants_keys(&self) -> bool {
        self.step != Step::Stopping
    }
}

impl Spoken {
    /// Seals it. It is kept once the log has said so.
    pub(crate) fn keep(&self, line: &Line, x: &mut Exchange, urgent: bool) -> Token {
        let kind = match self.end {
            // The disk filled up on the way: its owner shall know that something is missing.
            RecordEnd::LogRefused => SealKind::CutShort,
            _ => SealKind::Whole,
        };
        let about = json(&Sealed {
            urgent,
            samples_speech: self.samples_speech,
        });
        x.seal(Waiter::Call(line.id()), self.id, kind, &about)
    }

    /// Takes it back.
    pub(crate) fn discard(&self, x: &mut Exchange) {
        x.seal(Waiter::Nobody, self.id, SealKind::Discarded, "");
    }
}
