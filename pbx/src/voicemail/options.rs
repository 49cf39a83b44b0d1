//! Mailbox options: one's greetings, one's name, one's PIN.
//!
//! A greeting is a sound of its own; a register says which one is in use. Both are written when
//! the owner accepts it, the seal first, so that hanging up right then loses nothing.

use tandem_storage::seam::SealKind;

use crate::app::Next;
use crate::call::{Leg, LegEvent};
use crate::mailbox::About;
use crate::office::{Greeting, greeting_key, pin_key};
use crate::say::Say;
use crate::seam::Output;
use crate::state::{PbxState, Waiter};
use crate::users::{self, PinFault};
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::session::{ANSWER_WAIT, After, Leave, Session, Step};
use crate::voicemail::take::{Length, RecordingOutcome, Spoken, Take};
use crate::words::{self, Word};

/// Longer than any greeting.
const PLAY_MAX: std::time::Duration = std::time::Duration::from_secs(600);

impl Session {
    pub(crate) fn options(&mut self, leg: &Leg, x: &mut PbxState, first: Say) -> Leave {
        let said = first.word(words::OPTIONS_MENU);
        self.step = Step::Options(Question::key(leg, x, said));
        None
    }

    /// Records a temporary greeting, or asks first if there is one.
    pub(crate) fn temporary(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let there = x
            .office
            .settings(self.mailbox)
            .greetings
            .contains_key(&Greeting::Temporary);
        if !there || matches!(self.step, Step::Temporary(_)) {
            return self.greet(leg, x, Greeting::Temporary);
        }
        let said = Say::one(words::TEMPORARY_MENU);
        self.step = Step::Temporary(Question::key(leg, x, said));
        None
    }

    pub(crate) fn erase_temporary(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let key = greeting_key(self.mailbox, Greeting::Temporary);
        let token = x.register::<str>(Waiter::Leg(leg.id), key, None);
        self.wait(
            x,
            token,
            After::Options(Say::one(words::GREETING_ERASED).pause(200)),
        )
    }

    pub(crate) fn greet(&mut self, leg: &Leg, x: &mut PbxState, which: Greeting) -> Leave {
        if !x.can_record {
            return self.options(leg, x, Say::one(words::NOT_SAVED));
        }
        let about = About::Greeting {
            mailbox: self.mailbox,
            which: which.name().into(),
        };
        let length = Length {
            min: x.config.greeting_min,
            max: x.config.greeting_max,
        };
        let take = Take::start(leg, x, &about, length, Say::one(ask(which)));
        self.step = Step::Taking(which, take);
        None
    }

    pub(crate) fn on_option(&mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Leave {
        match &mut self.step {
            Step::Taking(which, take) => {
                let which = *which;
                let taken = take.on(leg, x, event)?;
                self.on_taken(leg, x, which, taken)
            }
            Step::Review(which, spoken, question) => {
                let (which, spoken) = (*which, *spoken);
                let reply = question.on(leg, x, event)?;
                self.on_review(leg, x, which, spoken, &reply)
            }
            Step::Hearing(which, spoken, play, _) => {
                let (which, spoken, play) = (*which, *spoken, *play);
                match event {
                    LegEvent::Digit { digit, .. } => {
                        leg.stop_playback(x);
                        self.on_review(leg, x, which, spoken, &Reply::Key(*digit))
                    }
                    LegEvent::PlayDone(done) if *done == play => {
                        self.review(leg, x, which, spoken, Say::new())
                    }
                    LegEvent::Timer => self.review(leg, x, which, spoken, Say::new()),
                    _ => None,
                }
            }
            Step::NewPin(question) => {
                let reply = question.on(leg, x, event)?;
                self.on_new_pin(leg, x, reply)
            }
            Step::RepeatPin(first, question) => {
                let reply = question.on(leg, x, event)?;
                let first = std::mem::take(first);
                self.on_repeated(leg, x, &first, reply)
            }
            Step::Hashing(_) => self.on_hashed(leg, x, event),
            _ => None,
        }
    }

    fn on_taken(
        &mut self,
        leg: &Leg,
        x: &mut PbxState,
        which: Greeting,
        taken: RecordingOutcome,
    ) -> Leave {
        match taken {
            RecordingOutcome::Spoken(spoken) => self.review(leg, x, which, spoken, Say::new()),
            RecordingOutcome::TooShort => self.options(leg, x, Say::one(words::TOO_SHORT)),
            RecordingOutcome::Refused => self.options(leg, x, Say::one(words::NOT_SAVED)),
        }
    }

    fn review(
        &mut self,
        leg: &Leg,
        x: &mut PbxState,
        which: Greeting,
        spoken: Spoken,
        first: Say,
    ) -> Leave {
        let question = Question::key(leg, x, first.word(words::GREETING_REVIEW));
        self.step = Step::Review(which, spoken, question);
        None
    }

    fn on_review(
        &mut self,
        leg: &Leg,
        x: &mut PbxState,
        which: Greeting,
        spoken: Spoken,
        reply: &Reply,
    ) -> Leave {
        match reply {
            Reply::Key('1') => self.accept(leg, x, which, spoken),
            Reply::Key('2') => match x.sound(spoken.id, 0) {
                Some(sound) => {
                    let play = leg.say(x, Say::new().sound(sound));
                    self.step = Step::Hearing(which, spoken, play, x.after(PLAY_MAX));
                    None
                }
                None => self.review(leg, x, which, spoken, Say::one(words::MESSAGE_UNREADABLE)),
            },
            Reply::Key('3') => {
                spoken.discard(x);
                self.greet(leg, x, which)
            }
            Reply::Key('*') => {
                spoken.discard(x);
                self.options(leg, x, Say::new())
            }
            Reply::Key(_) => self.review(leg, x, which, spoken, Say::one(words::INVALID_CHOICE)),
            Reply::Number(_) | Reply::Silence => {
                spoken.discard(x);
                Some(Next::goodbye(Say::new()))
            }
        }
    }

    fn accept(&mut self, leg: &Leg, x: &mut PbxState, which: Greeting, spoken: Spoken) -> Leave {
        x.seal(Waiter::Nobody, spoken.id, SealKind::Whole, "");
        let key = greeting_key(self.mailbox, which);
        let token = x.register(Waiter::Leg(leg.id), key, Some(&spoken.id));
        let word = match which {
            Greeting::Name => words::NAME_RECORDED,
            _ => words::GREETING_RECORDED,
        };
        self.wait(x, token, After::Options(Say::one(word).pause(200)))
    }

    pub(crate) fn ask_pin(&mut self, leg: &Leg, x: &mut PbxState, first: Say) -> Leave {
        let question = Question::number(leg, x, first.word(words::NEW_PIN));
        self.step = Step::NewPin(question);
        None
    }

    fn on_new_pin(&mut self, leg: &Leg, x: &mut PbxState, reply: Reply) -> Leave {
        let Reply::Number(pin) = reply else {
            return Some(Next::goodbye(Say::new()));
        };
        if let Some(fault) = self.fault(x, &pin) {
            return self.options(leg, x, Say::one(fault).word(words::PIN_NOT_CHANGED));
        }
        let question = Question::number(leg, x, Say::one(words::REPEAT_PIN));
        self.step = Step::RepeatPin(pin, question);
        None
    }

    /// What is wrong with a new PIN.
    fn fault(&self, x: &PbxState, pin: &str) -> Option<Word> {
        let extension = x.office.extension(self.mailbox).map_or("", |e| e);
        match users::pin_fault(&x.config, extension, pin)? {
            PinFault::TooShort => Some(words::PIN_TOO_SHORT),
            PinFault::TooLong => Some(words::PIN_TOO_LONG),
            PinFault::TooSimple => Some(words::PIN_TOO_SIMPLE),
        }
    }

    fn on_repeated(&mut self, leg: &Leg, x: &mut PbxState, first: &str, reply: Reply) -> Leave {
        let Reply::Number(again) = reply else {
            return Some(Next::goodbye(Say::new()));
        };
        if again != first {
            let said = Say::one(words::PIN_MISMATCH).word(words::PIN_NOT_CHANGED);
            return self.options(leg, x, said);
        }
        x.push(Output::HashPin {
            leg: leg.id,
            pin: again.into(),
        });
        self.step = Step::Hashing(x.after(ANSWER_WAIT));
        None
    }

    fn on_hashed(&mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Leave {
        match event {
            LegEvent::PinHashed(Some(hash)) => {
                let key = pin_key(self.mailbox);
                let token = x.register(Waiter::Leg(leg.id), key, Some(&**hash));
                self.wait(
                    x,
                    token,
                    After::Options(Say::one(words::PIN_CHANGED).pause(200)),
                )
            }
            LegEvent::PinHashed(None) | LegEvent::Timer => {
                self.options(leg, x, Say::one(words::PIN_NOT_CHANGED))
            }
            _ => None,
        }
    }
}

fn ask(which: Greeting) -> Word {
    match which {
        Greeting::Unavailable => words::RECORD_UNAVAILABLE,
        Greeting::Busy => words::RECORD_BUSY,
        Greeting::Temporary => words::RECORD_TEMPORARY,
        Greeting::Name => words::RECORD_NAME,
    }
}
