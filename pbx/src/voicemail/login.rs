//! Who wants to hear messages: whose, and the PIN.
//!
//! The PIN is always asked for. It is checked elsewhere, slowly on purpose; keys typed meanwhile
//! are kept. After a few wrong ones the call ends and the mailbox pauses (see `guard`).

use std::time::Duration;

use serde_json::json;
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::ending::Announcement;
use crate::call::{CallEvent, CallerLeg, Phase};
use crate::guard::{Pause, Verdict, pause_key};
use crate::say::Say;
use crate::seam::Output;
use crate::state::{PbxState, Waiter};
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::session::Session;
use crate::words;

/// Somebody who has not shown their PIN yet.
#[derive(Debug)]
pub(crate) struct Login {
    /// Wrong tries in this call.
    tries: u32,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Whose messages? (As typed; there may be no such mailbox.)
    Mailbox(Question),
    /// `None`: of a mailbox that is not there. It is asked for a PIN like any other.
    Pin(Option<Id>, Question),
    Checking(Id, Time),
}

/// A check takes a moment; this is for one that is never answered.
const CHECK_WAIT: Duration = Duration::from_secs(30);

impl Login {
    /// Asks for the PIN, and for the mailbox first if it is not known.
    pub(crate) fn start(line: &CallerLeg, x: &mut PbxState, mailbox: Option<Id>) -> Phase {
        match mailbox {
            Some(mailbox) => Login::ask_pin(line, x, 0, Some(mailbox), Say::new()),
            None => Login::ask_mailbox(line, x, 0, Say::new()),
        }
    }

    fn ask_mailbox(line: &CallerLeg, x: &mut PbxState, tries: u32, first: Say) -> Phase {
        let question = Question::number(line, x, first.word(words::ENTER_MAILBOX));
        Phase::Login(Login {
            tries,
            step: Step::Mailbox(question),
        })
    }

    fn ask_pin(
        line: &CallerLeg,
        x: &mut PbxState,
        tries: u32,
        mailbox: Option<Id>,
        first: Say,
    ) -> Phase {
        if mailbox.is_some_and(|mailbox| x.guard.is_paused(mailbox, x.now.mono)) {
            return goodbye(line, x, Say::one(words::PIN_LOCKED));
        }
        let question = Question::number(line, x, first.word(words::ENTER_PIN));
        Phase::Login(Login {
            tries,
            step: Step::Pin(mailbox, question),
        })
    }

    pub(crate) fn on(mut self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        match &mut self.step {
            Step::Mailbox(question) => match question.on(line, x, event) {
                Some(Reply::Number(number)) => {
                    let mailbox = x.office.by_extension(&number);
                    Login::ask_pin(line, x, self.tries, mailbox, Say::new())
                }
                Some(_) => goodbye(line, x, Say::new()),
                None => Phase::Login(self),
            },
            Step::Pin(mailbox, question) => match (question.on(line, x, event), *mailbox) {
                (Some(Reply::Number(pin)), Some(mailbox)) => self.check(line, x, mailbox, &pin),
                (Some(Reply::Number(_)), None) => self.wrong(line, x, None),
                (Some(_), _) => goodbye(line, x, Say::new()),
                (None, _) => Phase::Login(self),
            },
            Step::Checking(mailbox, _) => {
                let mailbox = *mailbox;
                self.on_checked(line, x, mailbox, event)
            }
        }
    }

    fn check(self, line: &CallerLeg, x: &mut PbxState, mailbox: Id, pin: &str) -> Phase {
        // Another caller's tries may have brought a pause meanwhile.
        if x.guard.is_paused(mailbox, x.now.mono) {
            return goodbye(line, x, Say::one(words::PIN_LOCKED));
        }
        let Some(hash) = x.office.settings(mailbox).pin.filter(|_| !pin.is_empty()) else {
            return self.wrong(line, x, Some(mailbox));
        };
        x.guard.charge(line.leg, mailbox, x.now.mono, &x.config);
        x.push(Output::CheckPin {
            leg: line.leg,
            hash,
            pin: pin.into(),
        });
        let step = Step::Checking(mailbox, x.after(CHECK_WAIT));
        Phase::Login(Login { step, ..self })
    }

    fn on_checked(
        self,
        line: &CallerLeg,
        x: &mut PbxState,
        mailbox: Id,
        event: &CallEvent,
    ) -> Phase {
        match event {
            CallEvent::PinChecked(Verdict::Right { .. }) => Session::start(line, x, mailbox),
            CallEvent::PinChecked(Verdict::Wrong) => self.wrong(line, x, Some(mailbox)),
            CallEvent::PinChecked(Verdict::Pause(_)) => {
                let said = Say::one(words::PIN_INCORRECT)
                    .word(words::TOO_MANY_TRIES)
                    .word(words::TRY_AGAIN_LATER);
                goodbye(line, x, said)
            }
            CallEvent::Timer => goodbye(line, x, Say::one(words::COULD_NOT)),
            _ => Phase::Login(self),
        }
    }

    fn wrong(self, line: &CallerLeg, x: &mut PbxState, mailbox: Option<Id>) -> Phase {
        let tries = self.tries + 1;
        if tries >= x.config.pin_tries {
            return goodbye(line, x, Say::one(words::TOO_MANY_TRIES));
        }
        match mailbox {
            Some(_) => {
                let first = Say::one(words::PIN_INCORRECT);
                Login::ask_pin(line, x, tries, mailbox, first)
            }
            None => Login::ask_mailbox(line, x, tries, Say::one(words::LOGIN_INCORRECT)),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(match &self.step {
            Step::Mailbox(question) | Step::Pin(_, question) => question.until,
            Step::Checking(_, until) => *until,
        })
    }

    pub(crate) fn wants_keys(&self) -> bool {
        !matches!(self.step, Step::Checking(..))
    }
}

/// Notes what a check found: in the counters, the audit trail, and for the next start of the node.
/// True: the caller is told by the answer of the log, [`Waiter::Pin`].
pub(crate) fn note_verdict(x: &mut PbxState, leg: LegId, mailbox: Id, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Right { after_pause } => {
            x.counters.logins += 1;
            if after_pause {
                x.register::<Pause>(Waiter::Nobody, pause_key(mailbox), None);
            }
        }
        Verdict::Wrong => x.counters.pin_wrong += 1,
        Verdict::Pause(pause) => {
            x.counters.pin_wrong += 1;
            x.counters.pin_pauses += 1;
            let body = json!({
                "what": "pin paused",
                "mailbox": mailbox,
                "pause_s": pause.as_secs(),
                "at": x.now.wall,
            });
            x.entry("audit", &body);
            let kept = x.guard.pause(mailbox, x.now);
            x.register(Waiter::Pin(leg, verdict), pause_key(mailbox), kept.as_ref());
            return true;
        }
    }
    false
}

fn goodbye(line: &CallerLeg, x: &mut PbxState, said: Say) -> Phase {
    Announcement::goodbye(line, x, said.word(words::GOODBYE))
}
