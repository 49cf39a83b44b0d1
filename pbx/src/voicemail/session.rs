//! Hearing messages, once the PIN was right.
//!
//! A session has one folder open, the list of what lay in it, and perhaps a message selected.
//! The list does not change under the caller's feet: what is deleted or filed stays in it until
//! the folder is opened anew, so that it can be restored, and "next" means what it seems to.
//!
//! Here is what keys and events lead to; `listening` plays and moves, `filing` deletes and saves,
//! `options` records greetings and changes the PIN.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::app::ending::AwaitingSeal;
use crate::app::{App, Next, Start};
use crate::call::{Leg, LegEvent};
use crate::mailbox::Folder;
use crate::office::Greeting;
use crate::quota;
use crate::say::Say;
use crate::state::PbxState;
use crate::voicemail::deposit::Reason;
use crate::voicemail::header;
use crate::voicemail::keys::{self, KeyMap, MenuContext, Typed, Verb};
use crate::voicemail::listening::Body;
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::take::{Spoken, Take};
use crate::words;

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) mailbox: Id,
    pub(crate) folder: Folder,
    pub(crate) list: Vec<Id>,
    /// Which of the list is selected.
    pub(crate) at: Option<usize>,
    pub(crate) step: Step,
    /// Keys that may be the beginning of a command, and until when more is waited for.
    typed: String,
    gap: Option<Time>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    Menu(Question),
    Advanced(Question),
    Options(Question),
    Temporary(Question),
    ChooseFolder(Question),
    SaveFolder(Question),
    /// For whom to leave a message.
    Recipient(Question),
    /// When a message came and from whom.
    Header(PlayId, Time),
    Body(Body),
    /// Another node has it: from this sample on, once it is here.
    Fetching(Id, u64, Time),
    /// Paused at this sample.
    Paused(u64, Time),
    Taking(Greeting, Take),
    Review(Greeting, Spoken, Question),
    Hearing(Greeting, Spoken, PlayId, Time),
    NewPin(Question),
    RepeatPin(String, Question),
    Hashing(Time),
    /// Something is being written; then this is said.
    Waiting(Token, After, Time),
}

/// Where a session goes on once the log has answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum After {
    Menu(Say),
    Options(Say),
}

/// Between the keys of one command.
const KEY_GAP: Duration = Duration::from_millis(1500);
/// For a log or a check that does not answer.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// A handler's outcome: `Some` leaves the session.
pub(crate) type Leave = Option<Next>;

impl Session {
    /// Says what is there, and asks what to do.
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, mailbox: Id) -> Next {
        let lamp = x.mailboxes.lamp(mailbox);
        let folder = if lamp.new == 0 && lamp.old > 0 {
            Folder::Old
        } else {
            Folder::New
        };
        let said = header::little_room(quota::room(x, mailbox));
        let said = said.then(header::summary(lamp)).pause(300);
        let question = Question::key(leg, x, said.word(menu_word(x, false)));
        Next::Stay(App::Session(Box::new(Session {
            mailbox,
            folder,
            list: Vec::new(),
            at: None,
            step: Step::Menu(question),
            typed: String::new(),
            gap: None,
        })))
    }

    pub(crate) fn on(
        mut self: Box<Self>,
        leg: &mut Leg,
        x: &mut PbxState,
        event: &LegEvent,
    ) -> Next {
        match self.handle(leg, x, event) {
            Some(phase) => phase,
            None => Next::Stay(App::Session(self)),
        }
    }

    fn handle(&mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Leave {
        if let LegEvent::Timer = event
            && self.gap.is_some_and(|gap| x.now.mono >= gap)
        {
            return self.typed_out(leg, x);
        }
        match &mut self.step {
            Step::Menu(question)
            | Step::Advanced(question)
            | Step::Options(question)
            | Step::Temporary(question) => {
                let reply = question.on(leg, x, event)?;
                self.on_reply(leg, x, &reply)
            }
            Step::ChooseFolder(question) | Step::SaveFolder(question) => {
                let reply = question.on(leg, x, event)?;
                self.on_folder(leg, x, &reply)
            }
            Step::Recipient(question) => {
                let reply = question.on(leg, x, event)?;
                self.on_recipient(leg, x, &reply)
            }
            Step::Header(..) | Step::Body(_) | Step::Fetching(..) | Step::Paused(..) => {
                self.on_playing(leg, x, event)
            }
            Step::Waiting(token, ..) => {
                let token = *token;
                self.on_written(leg, x, token, event)
            }
            Step::Taking(..)
            | Step::Review(..)
            | Step::Hearing(..)
            | Step::NewPin(_)
            | Step::RepeatPin(..)
            | Step::Hashing(_) => self.on_option(leg, x, event),
        }
    }

    fn on_reply(&mut self, leg: &Leg, x: &mut PbxState, reply: &Reply) -> Leave {
        match reply {
            Reply::Key(digit) => self.press(leg, x, *digit),
            Reply::Number(_) | Reply::Silence => Some(Next::goodbye(Say::new())),
        }
    }

    fn place(&self) -> MenuContext {
        match self.step {
            Step::Header(..) | Step::Body(_) | Step::Fetching(..) | Step::Paused(..) => {
                MenuContext::Playing
            }
            Step::Advanced(_) => MenuContext::Advanced,
            Step::Options(_) => MenuContext::Options,
            Step::Temporary(_) => MenuContext::Temporary,
            _ if self.at.is_some() => MenuContext::Message,
            _ => MenuContext::Menu,
        }
    }

    /// A key: a command, part of one, or nothing.
    pub(crate) fn press(&mut self, leg: &Leg, x: &mut PbxState, digit: char) -> Leave {
        let before = keys::read(x.config.keys, self.place(), &self.typed);
        self.typed.push(digit);
        match keys::read(x.config.keys, self.place(), &self.typed) {
            Typed::Begun(_) => {
                self.gap = Some(x.after(KEY_GAP));
                None
            }
            Typed::Complete(verb) => {
                self.clear_typed();
                self.act(leg, x, verb)
            }
            Typed::Unknown => {
                self.clear_typed();
                if let Typed::Begun(Some(verb)) = before {
                    // What was typed before was a command after all; this key is the next.
                    let leave = self.act(leg, x, verb);
                    return leave.or_else(|| self.press(leg, x, digit));
                }
                self.leave_body(x);
                self.menu(leg, x, Say::one(words::INVALID_CHOICE))
            }
        }
    }

    /// No further key came: what was typed must be a command as it stands.
    fn typed_out(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let typed = keys::read(x.config.keys, self.place(), &self.typed);
        self.clear_typed();
        match typed {
            Typed::Complete(verb) | Typed::Begun(Some(verb)) => self.act(leg, x, verb),
            Typed::Begun(None) | Typed::Unknown => {
                self.menu(leg, x, Say::one(words::INVALID_CHOICE))
            }
        }
    }

    fn clear_typed(&mut self) {
        self.typed.clear();
        self.gap = None;
    }

    fn act(&mut self, leg: &Leg, x: &mut PbxState, verb: Verb) -> Leave {
        if !verb.winds() {
            self.leave_body(x);
        }
        match verb {
            Verb::Listen => self.listen(leg, x),
            Verb::Next | Verb::Previous | Verb::Repeat => self.go(leg, x, verb),
            Verb::Envelope => self.envelope(leg, x),
            Verb::Delete | Verb::Undelete => self.delete(leg, x, verb),
            Verb::Keep => self.file(leg, x, Folder::Old),
            Verb::SaveTo => self.ask_save(leg, x),
            Verb::ChangeFolder => self.ask_folder(leg, x),
            Verb::Advanced => self.advanced(leg, x, Say::new()),
            Verb::Options => self.options(leg, x, Say::new()),
            Verb::GreetUnavailable => self.greet(leg, x, Greeting::Unavailable),
            Verb::GreetBusy => self.greet(leg, x, Greeting::Busy),
            Verb::GreetName => self.greet(leg, x, Greeting::Name),
            Verb::GreetTemporary => self.temporary(leg, x),
            Verb::Erase => self.erase_temporary(leg, x),
            Verb::ChangePin => self.ask_pin(leg, x, Say::new()),
            Verb::Leave => self.ask_recipient(leg, x),
            Verb::Help => self.menu(leg, x, Say::one(words::HELP_PLAYING).pause(200)),
            Verb::Back => self.back(leg, x),
            Verb::Exit => Some(Next::goodbye(Say::new())),
            Verb::Forward | Verb::Reply | Verb::CallBack | Verb::DialOut => {
                self.menu(leg, x, Say::one(words::NOT_AVAILABLE_YET))
            }
            Verb::SkipForward | Verb::SkipBack | Verb::Pause | Verb::Restart => {
                self.wind(leg, x, verb)
            }
        }
    }

    /// Says something, then asks what to do.
    pub(crate) fn menu(&mut self, leg: &Leg, x: &mut PbxState, first: Say) -> Leave {
        let said = first.word(menu_word(x, self.at.is_some()));
        self.step = Step::Menu(Question::key(leg, x, said));
        None
    }

    fn back(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        if matches!(self.step, Step::Menu(_) | Step::Header(..) | Step::Body(_)) {
            self.at = None;
        }
        self.menu(leg, x, Say::new())
    }

    fn advanced(&mut self, leg: &Leg, x: &mut PbxState, first: Say) -> Leave {
        let said = first.word(words::ADVANCED_MENU);
        self.step = Step::Advanced(Question::key(leg, x, said));
        None
    }

    fn ask_recipient(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let said = Say::one(words::ENTER_EXTENSION);
        self.step = Step::Recipient(Question::number(leg, x, said));
        None
    }

    fn on_recipient(&mut self, leg: &Leg, x: &mut PbxState, reply: &Reply) -> Leave {
        let Reply::Number(number) = reply else {
            return Some(Next::goodbye(Say::new()));
        };
        match x.office.mailbox(number) {
            Some(mailbox) => Some(Next::Start(Start::Deposit(mailbox, Reason::Direct))),
            None => self.menu(leg, x, Say::one(words::NO_SUCH_MAILBOX)),
        }
    }

    /// Waits for the log before it says that something is done.
    pub(crate) fn wait(&mut self, x: &mut PbxState, token: Token, after: After) -> Leave {
        self.step = Step::Waiting(token, after, x.after(ANSWER_WAIT));
        None
    }

    fn on_written(&mut self, leg: &Leg, x: &mut PbxState, token: Token, event: &LegEvent) -> Leave {
        let done = match event {
            LegEvent::Committed(t) if *t == token => true,
            LegEvent::Refused(t) if *t == token => false,
            LegEvent::Timer => false,
            _ => return None,
        };
        let step = std::mem::replace(&mut self.step, Step::Hashing(x.now.mono));
        let Step::Waiting(_, after, _) = step else {
            self.step = step;
            return None;
        };
        match after {
            After::Menu(said) if done => self.menu(leg, x, said),
            After::Options(said) if done => self.options(leg, x, said),
            After::Menu(_) => self.menu(leg, x, Say::one(words::NOT_SAVED)),
            After::Options(_) => self.options(leg, x, Say::one(words::NOT_SAVED)),
        }
    }

    /// A recording nobody accepted is nobody's; all that was said to be done is on its way.
    pub(crate) fn party_gone(self: Box<Self>, x: &mut PbxState) -> Next {
        match self.step {
            Step::Taking(_, take) => match take.party_gone(x) {
                Some(take) => Next::Stay(App::AwaitingSeal(AwaitingSeal::Dropping(take))),
                None => Next::Over,
            },
            Step::Review(_, spoken, _) | Step::Hearing(_, spoken, ..) => {
                spoken.discard(x);
                Next::Over
            }
            _ => Next::Over,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let step = match &self.step {
            Step::Menu(question)
            | Step::Advanced(question)
            | Step::Options(question)
            | Step::Temporary(question)
            | Step::ChooseFolder(question)
            | Step::SaveFolder(question)
            | Step::Recipient(question)
            | Step::Review(_, _, question)
            | Step::NewPin(question)
            | Step::RepeatPin(_, question) => question.until,
            Step::Header(_, until)
            | Step::Fetching(_, _, until)
            | Step::Paused(_, until)
            | Step::Hearing(_, _, _, until)
            | Step::Hashing(until)
            | Step::Waiting(_, _, until) => *until,
            Step::Body(body) => body.until,
            Step::Taking(_, take) => return take.deadline(),
        };
        Some(self.gap.map_or(step, |gap| gap.min(step)))
    }

    pub(crate) fn wants_digits(&self) -> bool {
        match &self.step {
            Step::Hashing(_) | Step::Waiting(..) => false,
            Step::Taking(_, take) => take.wants_digits(),
            _ => true,
        }
    }
}

fn menu_word(x: &PbxState, selected: bool) -> words::Word {
    match (x.config.keys, selected) {
        (KeyMap::Comedian, false) => words::MAIN_MENU,
        (KeyMap::Comedian, true) => words::MESSAGE_MENU,
        (KeyMap::Intuity, false) => words::INTUITY_MENU,
        (KeyMap::Intuity, true) => words::INTUITY_MESSAGE_MENU,
    }
}
