//! Who wants to hear messages: whose, and the PIN.
//!
//! The PIN is always asked for. It is checked elsewhere, slowly on purpose; keys typed meanwhile
//! are kept. After a few wrong ones the call ends and the mailbox pauses (see `guard`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tandem_engine::seam::LegId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::{App, Next, Start};
use crate::call::{Leg, LegEvent};
use crate::guard::{Pause, Verdict, pause_key};
use crate::say::Say;
use crate::seam::Output;
use crate::state::{PbxState, Waiter};
use crate::voicemail::question::{Question, Reply};
use crate::words;

/// Somebody who has not shown their PIN yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    /// Wrong tries in this call.
    tries: u32,
    step: Step,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
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
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, mailbox: Option<Id>) -> Next {
        match mailbox {
            Some(mailbox) => Login::ask_pin(leg, x, 0, Some(mailbox), Say::new()),
            None => Login::ask_mailbox(leg, x, 0, Say::new()),
        }
    }

    fn ask_mailbox(leg: &Leg, x: &mut PbxState, tries: u32, first: Say) -> Next {
        let question = Question::number(leg, x, first.word(words::ENTER_MAILBOX));
        Next::Stay(App::Login(Login {
            tries,
            step: Step::Mailbox(question),
        }))
    }

    fn ask_pin(leg: &Leg, x: &mut PbxState, tries: u32, mailbox: Option<Id>, first: Say) -> Next {
        if mailbox.is_some_and(|mailbox| x.guard.is_paused(mailbox, x.now.mono)) {
            return Next::goodbye(Say::one(words::PIN_LOCKED));
        }
        let question = Question::number(leg, x, first.word(words::ENTER_PIN));
        Next::Stay(App::Login(Login {
            tries,
            step: Step::Pin(mailbox, question),
        }))
    }

    pub(crate) fn on(mut self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match &mut self.step {
            Step::Mailbox(question) => match question.on(leg, x, event) {
                Some(Reply::Number(number)) => {
                    let mailbox = x.office.mailbox(&number);
                    Login::ask_pin(leg, x, self.tries, mailbox, Say::new())
                }
                Some(_) => Next::goodbye(Say::new()),
                None => Next::Stay(App::Login(self)),
            },
            Step::Pin(mailbox, question) => match (question.on(leg, x, event), *mailbox) {
                (Some(Reply::Number(pin)), Some(mailbox)) => self.check(leg, x, mailbox, &pin),
                (Some(Reply::Number(_)), None) => self.wrong(leg, x, None),
                (Some(_), _) => Next::goodbye(Say::new()),
                (None, _) => Next::Stay(App::Login(self)),
            },
            Step::Checking(mailbox, _) => {
                let mailbox = *mailbox;
                self.on_checked(leg, x, mailbox, event)
            }
        }
    }

    fn check(self, leg: &Leg, x: &mut PbxState, mailbox: Id, pin: &str) -> Next {
        // Another caller's tries may have brought a pause meanwhile.
        if x.guard.is_paused(mailbox, x.now.mono) {
            return Next::goodbye(Say::one(words::PIN_LOCKED));
        }
        let Some(hash) = x.office.settings(mailbox).pin.filter(|_| !pin.is_empty()) else {
            return self.wrong(leg, x, Some(mailbox));
        };
        x.guard.charge(leg.id, mailbox, x.now.mono, &x.config);
        x.push(Output::CheckPin {
            leg: leg.id,
            hash,
            pin: pin.into(),
        });
        let step = Step::Checking(mailbox, x.after(CHECK_WAIT));
        Next::Stay(App::Login(Login { step, ..self }))
    }

    fn on_checked(self, leg: &Leg, x: &mut PbxState, mailbox: Id, event: &LegEvent) -> Next {
        match event {
            LegEvent::PinChecked(Verdict::Right { .. }) => Next::Start(Start::Session(mailbox)),
            LegEvent::PinChecked(Verdict::Wrong) => self.wrong(leg, x, Some(mailbox)),
            LegEvent::PinChecked(Verdict::Pause(_)) => {
                let said = Say::one(words::PIN_INCORRECT)
                    .word(words::TOO_MANY_TRIES)
                    .word(words::TRY_AGAIN_LATER);
                Next::goodbye(said)
            }
            LegEvent::Timer => Next::goodbye(Say::one(words::COULD_NOT)),
            _ => Next::Stay(App::Login(self)),
        }
    }

    fn wrong(self, leg: &Leg, x: &mut PbxState, mailbox: Option<Id>) -> Next {
        let tries = self.tries + 1;
        if tries >= x.config.pin_tries {
            return Next::goodbye(Say::one(words::TOO_MANY_TRIES));
        }
        match mailbox {
            Some(_) => {
                let first = Say::one(words::PIN_INCORRECT);
                Login::ask_pin(leg, x, tries, mailbox, first)
            }
            None => Login::ask_mailbox(leg, x, tries, Say::one(words::LOGIN_INCORRECT)),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        Some(match &self.step {
            Step::Mailbox(question) | Step::Pin(_, question) => question.until,
            Step::Checking(_, until) => *until,
        })
    }

    pub(crate) fn wants_digits(&self) -> bool {
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
