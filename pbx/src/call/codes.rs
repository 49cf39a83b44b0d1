//! The small services one dials: the speaking clock, my number, do not disturb, forwarding.
//!
//! A setting is confirmed once it is durable, not before.

use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::{Time, WallTime};

use crate::call::ending::Announcement;
use crate::call::routing::forward_target;
use crate::call::{CallEvent, CallerLeg, Phase};
use crate::office;
use crate::say::Say;
use crate::seam::Cause;
use crate::state::{PbxState, Waiter};
use crate::words::{self, Word};

/// The speaking clock: says the next full ten seconds, beeps when they come.
#[derive(Debug)]
pub(crate) struct Clock {
    ends: Time,
    step: ClockStep,
    /// When the beep is due; or, while speaking, when speech is taken for lost.
    pub(crate) until: Option<Time>,
}

#[derive(Debug, PartialEq)]
enum ClockStep {
    /// Says which time it will be; the beep is due then.
    Speaking(PlayId, Time),
    /// Has said it, waits.
    Waiting,
    /// Beeps.
    Beeping(PlayId),
}

/// A user's own setting, being changed.
#[derive(Debug)]
pub(crate) struct Setting {
    token: Token,
    confirm: Say,
    until: Time,
}

/// Which setting, and to what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Dnd(bool),
    Forward(Option<Arc<str>>),
}

/// "At the tone …" with the date takes about this long to say, without it about the other.
const FIRST_SPEECH: Duration = Duration::from_secs(11);
const SPEECH: Duration = Duration::from_secs(8);
/// No announcement lasts as long.
const SPEECH_MAX: Duration = Duration::from_secs(60);
/// A log that does not answer for so long is not asked again.
const COMMIT_WAIT: Duration = Duration::from_secs(20);

impl Clock {
    pub(crate) fn start(line: &CallerLeg, x: &mut PbxState) -> Phase {
        let ends = x.after(x.config.clock_for);
        Clock::speak(line, x, ends, true)
    }

    fn speak(line: &CallerLeg, x: &mut PbxState, ends: Time, first: bool) -> Phase {
        let every_ms = (x.config.clock_every.as_millis() as u64).max(1_000);
        let speech = if first { FIRST_SPEECH } else { SPEECH };
        let ready = (x.now.wall + speech).0;
        let at = WallTime(ready.saturating_add(every_ms - 1) / every_ms * every_ms);
        let due = x.after(Duration::from_millis(at.0.saturating_sub(x.now.wall.0)));
        let play = line.say(x, announcement(x, at, first));
        let until = Some(x.after(SPEECH_MAX));
        Phase::Clock(Clock {
            ends,
            step: ClockStep::Speaking(play, due),
            until,
        })
    }

    pub(crate) fn on(mut self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match (&self.step, event) {
            (ClockStep::Speaking(play, due), CallEvent::PlayDone(done)) if play == done => {
                self.until = Some(*due);
                self.step = ClockStep::Waiting;
                Phase::Clock(self)
            }
            (ClockStep::Waiting, CallEvent::Timer) => {
                self.step = ClockStep::Beeping(line.say(x, Say::new().beep()));
                self.until = Some(x.after(SPEECH_MAX));
                Phase::Clock(self)
            }
            (ClockStep::Beeping(play), CallEvent::PlayDone(done)) if play == done => {
                if x.now.mono >= self.ends {
                    line.end(x, Cause::Normal);
                    return Phase::Done;
                }
                Clock::speak(line, x, self.ends, false)
            }
            (_, CallEvent::Timer) => {
                line.end(x, Cause::Failed);
                Phase::Done
            }
            _ => Phase::Clock(self),
        }
    }
}

fn announcement(x: &PbxState, at: WallTime, first: bool) -> Say {
    let clock = x.local(at);
    let said = Say::one(words::AT_THE_TONE);
    let said = if first {
        said.date(clock).pause(200)
    } else {
        said
    };
    let said = said.time(clock);
    match clock.second() {
        0 => said.word(words::EXACTLY),
        1 => said.word(words::AND).number(1).word(words::SECOND),
        seconds => said
            .word(words::AND)
            .number(seconds.unsigned_abs().into())
            .word(words::SECONDS),
    }
}

/// "Your number is one zero one."
pub(crate) fn my_number(line: &CallerLeg, x: &mut PbxState) -> Phase {
    let number = match line.caller.user.and_then(|user| x.office.account(user)) {
        Some(account) => account.extension.clone(),
        None => line.caller.number.clone(),
    };
    let said = if number.is_empty() {
        Say::one(words::UNKNOWN_NUMBER)
    } else {
        Say::one(words::YOUR_NUMBER_IS).digits(&number)
    };
    Announcement::goodbye(line, x, said.pause(300).word(words::GOODBYE))
}

impl Setting {
    pub(crate) fn start(line: &CallerLeg, x: &mut PbxState, user: Id, change: Change) -> Phase {
        let Some((token, confirm)) = change.write(line, x, user) else {
            return goodbye(line, x, words::FORWARD_INVALID);
        };
        Phase::Setting(Setting {
            token,
            confirm,
            until: x.after(COMMIT_WAIT),
        })
    }

    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match event {
            CallEvent::Committed(token) if *token == self.token => {
                let said = self.confirm.pause(300).word(words::GOODBYE);
                Announcement::goodbye(line, x, said)
            }
            CallEvent::Refused(token) if *token == self.token => goodbye(line, x, words::COULD_NOT),
            CallEvent::Timer => goodbye(line, x, words::COULD_NOT),
            _ => Phase::Setting(self),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(self.until)
    }
}

impl Change {
    /// Writes it; says how it is confirmed. `None`: it cannot be.
    fn write(self, line: &CallerLeg, x: &mut PbxState, user: Id) -> Option<(Token, Say)> {
        let waiter = Waiter::Call(line.id());
        Some(match self {
            Change::Dnd(on) => {
                let word = if on { words::DND_ON } else { words::DND_OFF };
                let value = on.then_some(&true);
                (
                    x.register(waiter, office::dnd_key(user), value),
                    Say::one(word),
                )
            }
            Change::Forward(Some(to)) => {
                let to = forward_target(x, user, &to)?;
                let token = x.register(waiter, office::forward_key(user), Some(&*to));
                (token, Say::one(words::FORWARD_ON).digits(&to))
            }
            Change::Forward(None) => {
                let token = x.register::<str>(waiter, office::forward_key(user), None);
                (token, Say::one(words::FORWARD_OFF))
            }
        })
    }
}

fn goodbye(line: &CallerLeg, x: &mut PbxState, word: Word) -> Phase {
    Announcement::goodbye(line, x, Say::one(word).pause(300).word(words::GOODBYE))
}
