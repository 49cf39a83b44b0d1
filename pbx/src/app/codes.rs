//! The small services one dials: the speaking clock, my number, do not disturb, forwarding.
//!
//! A setting is confirmed once it is durable, not before.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::{Time, WallTime};

use crate::app::{App, Next};
use crate::call::outward;
use crate::call::routing::forward_target;
use crate::call::{Leg, LegEvent};
use crate::office::group::logged_out_key;
use crate::office::{self, ForwardCase};
use crate::say::Say;
use crate::seam::Cause;
use crate::state::{PbxState, Waiter};
use crate::words::{self, Word};

/// The speaking clock: says the next full ten seconds, beeps when they come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clock {
    ends: Time,
    step: ClockStep,
    /// When the beep is due; or, while speaking, when speech is taken for lost.
    pub(crate) until: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum ClockStep {
    /// Says which time it will be; the beep is due then.
    Speaking(PlayId, Time),
    /// Has said it, waits.
    Waiting,
    /// Beeps.
    Beeping(PlayId),
}

/// A user's own setting, being changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    token: Token,
    confirm: Say,
    until: Time,
}

/// Which setting, and to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    Dnd(bool),
    Forward(Option<Arc<str>>),
    ForwardIn(ForwardCase, Option<Arc<str>>),
    RejectAnonymous(bool),
    /// The number outside that is the user's phone for now.
    WorkAt(Option<Arc<str>>),
    /// Logged in to this group, or to all of the user's.
    Group(Option<Id>, bool),
}

/// "At the tone …" with the date takes about this long to say, without it about the other.
const FIRST_SPEECH: Duration = Duration::from_secs(11);
const SPEECH: Duration = Duration::from_secs(8);
/// No announcement lasts as long.
const SPEECH_MAX: Duration = Duration::from_secs(60);
/// A log that does not answer for so long is not asked again.
const COMMIT_WAIT: Duration = Duration::from_secs(20);

impl Clock {
    pub(crate) fn start(leg: &Leg, x: &mut PbxState) -> Next {
        let ends = x.after(x.config.clock_for);
        Clock::speak(leg, x, ends, true)
    }

    fn speak(leg: &Leg, x: &mut PbxState, ends: Time, first: bool) -> Next {
        let every_ms = (x.config.clock_every.as_millis() as u64).max(1_000);
        let speech = if first { FIRST_SPEECH } else { SPEECH };
        let ready = (x.now.wall + speech).0;
        let at = WallTime(ready.saturating_add(every_ms - 1) / every_ms * every_ms);
        let due = x.after(Duration::from_millis(at.0.saturating_sub(x.now.wall.0)));
        let play = leg.say(x, announcement(x, at, first));
        let until = Some(x.after(SPEECH_MAX));
        Next::Stay(App::Clock(Clock {
            ends,
            step: ClockStep::Speaking(play, due),
            until,
        }))
    }

    pub(crate) fn on(mut self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match (&self.step, event) {
            (ClockStep::Speaking(play, due), LegEvent::PlayDone(done)) if play == done => {
                self.until = Some(*due);
                self.step = ClockStep::Waiting;
                Next::Stay(App::Clock(self))
            }
            (ClockStep::Waiting, LegEvent::Timer) => {
                self.step = ClockStep::Beeping(leg.say(x, Say::new().beep()));
                self.until = Some(x.after(SPEECH_MAX));
                Next::Stay(App::Clock(self))
            }
            (ClockStep::Beeping(play), LegEvent::PlayDone(done)) if play == done => {
                if x.now.mono >= self.ends {
                    return Next::End(Cause::Normal);
                }
                Clock::speak(leg, x, self.ends, false)
            }
            (_, LegEvent::Timer) => Next::End(Cause::Failed),
            _ => Next::Stay(App::Clock(self)),
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
pub(crate) fn my_number(leg: &Leg, x: &PbxState) -> Next {
    let number = match leg.party.user.and_then(|user| x.office.account(user)) {
        Some(account) => account.extension.clone(),
        None => leg.party.number.clone(),
    };
    let said = if number.is_empty() {
        Say::one(words::UNKNOWN_NUMBER)
    } else {
        Say::one(words::YOUR_NUMBER_IS).digits(&number)
    };
    Next::goodbye(said.pause(300))
}

impl Setting {
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, user: Id, change: Change) -> Next {
        let Some((token, confirm)) = change.write(leg, x, user) else {
            return goodbye(words::FORWARD_INVALID);
        };
        Next::Stay(App::Setting(Setting {
            token,
            confirm,
            until: x.after(COMMIT_WAIT),
        }))
    }

    pub(crate) fn on(self, event: &LegEvent) -> Next {
        match event {
            LegEvent::Committed(token) if *token == self.token => {
                Next::goodbye(self.confirm.pause(300))
            }
            LegEvent::Refused(token) if *token == self.token => goodbye(words::COULD_NOT),
            LegEvent::Timer => goodbye(words::COULD_NOT),
            _ => Next::Stay(App::Setting(self)),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(self.until)
    }
}

impl Change {
    /// Writes it; says how it is confirmed. `None`: it cannot be.
    fn write(self, leg: &Leg, x: &mut PbxState, user: Id) -> Option<(Token, Say)> {
        let waiter = Waiter::Leg(leg.id);
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
            Change::ForwardIn(case, to) => {
                let to = match to {
                    Some(to) => Some(forward_target(x, user, &to)?),
                    None => None,
                };
                let key = office::forward_case_key(user, case);
                let token = x.register(waiter, key, to.as_deref());
                (token, confirm_case(case, to.as_deref()))
            }
            Change::RejectAnonymous(on) => {
                let word = match on {
                    true => words::ANONYMOUS_REJECTED,
                    false => words::ANONYMOUS_ACCEPTED,
                };
                let key = office::reject_anonymous_key(user);
                (x.register(waiter, key, on.then_some(&true)), Say::one(word))
            }
            Change::Group(group, is_in) => {
                let groups = x
                    .office
                    .groups_of(user)
                    .filter(|g| group.is_none_or(|one| one == *g));
                let mut groups: Vec<Id> = groups.collect();
                let last = groups.pop()?;
                for group in groups {
                    let key = logged_out_key(group, user);
                    x.register(Waiter::Nobody, key, (!is_in).then_some(&true));
                }
                let word = match is_in {
                    true => words::LOGGED_IN,
                    false => words::LOGGED_OUT,
                };
                let key = logged_out_key(last, user);
                (
                    x.register(waiter, key, (!is_in).then_some(&true)),
                    Say::one(word),
                )
            }
            Change::WorkAt(to) => {
                if let Some(to) = &to {
                    outward::allowed_route(x, user, to)?;
                }
                let token = x.register(waiter, office::works_at_key(user), to.as_deref());
                let said = match &to {
                    Some(to) => Say::one(words::FORWARD_ON).digits(to),
                    None => Say::one(words::FORWARD_OFF),
                };
                (token, said)
            }
            Change::Forward(None) => {
                let token = x.register::<str>(waiter, office::forward_key(user), None);
                (token, Say::one(words::FORWARD_OFF))
            }
        })
    }
}

fn confirm_case(case: ForwardCase, to: Option<&str>) -> Say {
    let Some(to) = to else {
        return Say::one(words::FORWARD_OFF);
    };
    let word = match case {
        ForwardCase::Busy => words::FORWARD_BUSY_ON,
        ForwardCase::NoAnswer => words::FORWARD_NO_ANSWER_ON,
        ForwardCase::Unreachable => words::FORWARD_UNREACHABLE_ON,
    };
    Say::one(word).digits(to)
}

fn goodbye(word: Word) -> Next {
    Next::goodbye(Say::one(word).pause(300))
}
