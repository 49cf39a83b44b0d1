//! Leaving a message.
//!
//! ```text
//! Greeting ─► Taking ─► Review ⇄ Listening
//!    #─────────┘ ▲         │ 3: again
//!                └─────────┤ 1, silence
//!                          └─► Saving ─► "saved" ─► goodbye
//! ```
//!
//! The caller may hang up anywhere: what was said is kept if it is long enough. "Saved" is said
//! when the seal is durable, not before. `#` skips the greeting, `*` leads its owner to the
//! messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::app::ending::AwaitingSeal;
use crate::app::{App, Next, Start};
use crate::call::{Leg, LegEvent};
use crate::mailbox::{About, From};
use crate::office::Greeting;
use crate::quota::{self, Room};
use crate::say::Say;
use crate::state::PbxState;
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::take::{Length, RecordingOutcome, Spoken, Take};
use crate::words::{self, Word};

/// A message being left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deposit {
    draft: Draft,
    step: Step,
}

/// What is settled about it so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Draft {
    mailbox: Id,
    reason: Reason,
    urgent: bool,
    takes: u8,
}

/// Why the mailbox took the call: chooses the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// Nobody answered, or could.
    Unavailable,
    /// On the phone.
    Busy,
    /// The caller asked for the mailbox.
    Direct,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    /// The greeting is on its way from another node.
    Awaiting(Id, Time),
    Greeting(PlayId, Time),
    Taking(Take),
    Review(Spoken, Question),
    Listening(Spoken, PlayId, Time),
    Saving(Spoken, Token),
}

/// Longer than any greeting or message: for an engine that lost the end of one.
const PLAY_MAX: Duration = Duration::from_secs(3600);
/// The first piece of a greeting that another node has is waited for so long; then the caller is greeted
/// without it.
const AWAIT_MAX: Duration = Duration::from_secs(2);

impl Deposit {
    /// Greets the caller, or says that there is no room.
    pub(crate) fn start(leg: &Leg, x: &mut PbxState, mailbox: Id, reason: Reason) -> Next {
        if !x.can_record {
            return refuse(x, words::CANNOT_TAKE_MESSAGE);
        }
        if quota::room(x, mailbox) == Room::None {
            return refuse(x, words::MAILBOX_FULL);
        }
        let draft = Draft {
            mailbox,
            reason,
            urgent: false,
            takes: 0,
        };
        match recorded(x, mailbox, reason) {
            Some(sound) => {
                x.fetch(sound);
                if x.is_awaited(sound) {
                    return draft.at(Step::Awaiting(sound, x.after(AWAIT_MAX)));
                }
                draft.greet(leg, x)
            }
            None => draft.greet(leg, x),
        }
    }

    pub(crate) fn on(self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        let draft = self.draft;
        match self.step {
            Step::Awaiting(sound, until) => match event {
                LegEvent::RemoteFetches(id) | LegEvent::Fetched(id, _) if *id == sound => {
                    draft.greet(leg, x)
                }
                LegEvent::Timer => draft.greet(leg, x),
                LegEvent::Digit { digit: '#', .. } => draft.take(leg, x),
                LegEvent::Digit { digit: '*', .. } => {
                    Next::Start(Start::Login(Some(draft.mailbox)))
                }
                _ => draft.at(Step::Awaiting(sound, until)),
            },
            Step::Greeting(play, until) => match event {
                LegEvent::PlayDone(done) if *done == play => draft.take(leg, x),
                LegEvent::Digit { digit: '#', .. } | LegEvent::Timer => draft.take(leg, x),
                LegEvent::Digit { digit: '*', .. } => {
                    Next::Start(Start::Login(Some(draft.mailbox)))
                }
                LegEvent::SoundLocked(locked) if *locked == play => {
                    leg.stop_playback(x);
                    let said = spoken_greeting(extension(x, draft.mailbox), draft.reason);
                    let play = leg.say(x, said.word(words::INTRO));
                    draft.at(Step::Greeting(play, until))
                }
                _ => draft.at(Step::Greeting(play, until)),
            },
            Step::Taking(mut take) => match take.on(leg, x, event) {
                Some(taken) => draft.taken(leg, x, taken),
                None => draft.at(Step::Taking(take)),
            },
            Step::Review(spoken, mut question) => match question.on(leg, x, event) {
                Some(reply) => draft.reviewed(leg, x, spoken, &reply),
                None => draft.at(Step::Review(spoken, question)),
            },
            Step::Listening(spoken, play, until) => match event {
                LegEvent::Digit { digit, .. } => {
                    leg.stop_playback(x);
                    draft.reviewed(leg, x, spoken, &Reply::Key(*digit))
                }
                LegEvent::Timer => draft.review(leg, x, spoken, Say::new()),
                LegEvent::PlayDone(done) if *done == play => {
                    draft.review(leg, x, spoken, Say::new())
                }
                _ => draft.at(Step::Listening(spoken, play, until)),
            },
            Step::Saving(spoken, token) => match event {
                LegEvent::Committed(t) if *t == token => saved(leg, x, spoken),
                LegEvent::Refused(t) if *t == token => lost(x),
                _ => draft.at(Step::Saving(spoken, token)),
            },
        }
    }

    /// Hanging up keeps what was said.
    pub(crate) fn party_gone(self, leg: &mut Leg, x: &mut PbxState) -> Next {
        let sealing = match self.step {
            Step::Awaiting(..) | Step::Greeting(..) => return Next::Over,
            Step::Taking(take) => match take.party_gone(x) {
                Some(take) => AwaitingSeal::Taking(take, self.draft.urgent),
                None => {
                    x.counters.deposits_too_short += 1;
                    return Next::Over;
                }
            },
            Step::Review(spoken, _) | Step::Listening(spoken, ..) => {
                AwaitingSeal::Seal(spoken.keep(leg, x, self.draft.urgent), spoken.id)
            }
            Step::Saving(spoken, token) => AwaitingSeal::Seal(token, spoken.id),
        };
        Next::Stay(App::AwaitingSeal(sealing))
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.step {
            Step::Awaiting(_, until) | Step::Greeting(_, until) | Step::Listening(_, _, until) => {
                Some(*until)
            }
            Step::Taking(take) => take.deadline(),
            Step::Review(_, question) => Some(question.until),
            // The log answers every token; to guess at its answer would be to promise too much.
            Step::Saving(..) => None,
        }
    }

    pub(crate) fn wants_digits(&self) -> bool {
        match &self.step {
            Step::Taking(take) => take.wants_digits(),
            Step::Saving(..) => false,
            _ => true,
        }
    }
}

impl Draft {
    fn at(self, step: Step) -> Next {
        Next::Stay(App::Deposit(Deposit { draft: self, step }))
    }

    fn greet(self, leg: &Leg, x: &mut PbxState) -> Next {
        let said = greeting(x, self.mailbox, self.reason).word(words::INTRO);
        let play = leg.say(x, said);
        self.at(Step::Greeting(play, x.after(PLAY_MAX)))
    }

    fn take(mut self, leg: &Leg, x: &mut PbxState) -> Next {
        self.takes += 1;
        let caller = &leg.party;
        let from = From {
            number: caller.number.clone(),
            name: caller.name.clone(),
            user: caller.user.filter(|_| !caller.is_withheld),
        };
        let about = About::Message {
            mailbox: self.mailbox,
            from,
            called: leg.dialed.clone(),
            restored: None,
        };
        let length = Length {
            min: x.config.message_min,
            max: x.config.message_max,
        };
        let take = Take::start(leg, x, &about, length, Say::new());
        self.at(Step::Taking(take))
    }

    fn taken(self, leg: &Leg, x: &mut PbxState, taken: RecordingOutcome) -> Next {
        match taken {
            RecordingOutcome::TooShort => {
                x.counters.deposits_too_short += 1;
                goodbye(words::TOO_SHORT)
            }
            RecordingOutcome::Refused => refuse(x, words::CANNOT_TAKE_MESSAGE),
            RecordingOutcome::Spoken(spoken) => match spoken.end {
                RecordEnd::Limit => self.review(leg, x, spoken, Say::one(words::TIME_LIMIT)),
                // Nothing more can be recorded: what is there is kept, and the caller told.
                RecordEnd::LogRefused => self.save(leg, x, spoken),
                RecordEnd::Stopped | RecordEnd::Silence => self.review(leg, x, spoken, Say::new()),
            },
        }
    }

    fn save(self, leg: &Leg, x: &mut PbxState, spoken: Spoken) -> Next {
        let token = spoken.keep(leg, x, self.urgent);
        self.at(Step::Saving(spoken, token))
    }

    fn review(self, leg: &Leg, x: &mut PbxState, spoken: Spoken, first: Say) -> Next {
        let menu = if self.urgent {
            words::REVIEW_URGENT
        } else {
            words::REVIEW
        };
        let question = Question::key(leg, x, first.word(menu));
        self.at(Step::Review(spoken, question))
    }

    fn reviewed(mut self, leg: &Leg, x: &mut PbxState, spoken: Spoken, reply: &Reply) -> Next {
        match reply {
            Reply::Key('1') | Reply::Silence | Reply::Number(_) => self.save(leg, x, spoken),
            Reply::Key('2') => match x.sound(spoken.id, 0) {
                Some(sound) => {
                    let play = leg.say(x, Say::new().sound(sound));
                    self.at(Step::Listening(spoken, play, x.after(PLAY_MAX)))
                }
                None => self.review(leg, x, spoken, Say::one(words::MESSAGE_UNREADABLE)),
            },
            Reply::Key('3') if self.takes < x.config.takes_max => {
                spoken.discard(x);
                self.take(leg, x)
            }
            Reply::Key('4') => {
                self.urgent = !self.urgent;
                let word = if self.urgent {
                    words::MARKED_URGENT
                } else {
                    words::MARKED_NOT_URGENT
                };
                self.review(leg, x, spoken, Say::one(word).pause(200))
            }
            Reply::Key(_) => self.review(leg, x, spoken, Say::one(words::INVALID_CHOICE)),
        }
    }
}

/// The sound that the owner recorded for this case, or else its name.
fn recorded(x: &PbxState, mailbox: Id, reason: Reason) -> Option<Id> {
    let greetings = x.office.settings(mailbox).greetings;
    let own = own_greeting(reason);
    let mut wanted = [Greeting::Temporary, own, Greeting::Name].into_iter();
    wanted.find_map(|which| greetings.get(&which).copied())
}

fn own_greeting(reason: Reason) -> Greeting {
    match reason {
        Reason::Busy => Greeting::Busy,
        Reason::Unavailable | Reason::Direct => Greeting::Unavailable,
    }
}

/// What the owner recorded for this case, as far as it is here, or else the extension.
fn greeting(x: &PbxState, mailbox: Id, reason: Reason) -> Say {
    let greetings = x.office.settings(mailbox).greetings;
    let recorded = |which| {
        greetings
            .get(&which)
            .and_then(|id| x.sound(*id, 0))
            .map(|sound| Say::new().sound(sound))
    };
    let own = own_greeting(reason);
    if let Some(said) = recorded(Greeting::Temporary).or_else(|| recorded(own)) {
        return said.pause(300);
    }
    let name = recorded(Greeting::Name).unwrap_or_else(|| extension(x, mailbox));
    spoken_greeting(name, reason)
}

/// "The person at extension one zero two"
fn extension(x: &PbxState, mailbox: Id) -> Say {
    let extension = x.office.extension(mailbox).map_or("", |e| e);
    Say::one(words::PERSON_AT_EXTENSION).digits(extension)
}

/// "… is not available."
fn spoken_greeting(name: Say, reason: Reason) -> Say {
    let what = match reason {
        Reason::Busy => words::IS_ON_THE_PHONE,
        Reason::Unavailable | Reason::Direct => words::IS_NOT_AVAILABLE,
    };
    name.word(what).pause(200)
}

fn saved(leg: &mut Leg, x: &mut PbxState, spoken: Spoken) -> Next {
    x.counters.deposits += 1;
    leg.message = Some(spoken.id);
    match spoken.end {
        RecordEnd::LogRefused => refuse(x, words::CANNOT_TAKE_MESSAGE),
        _ => goodbye(words::MESSAGE_SAVED),
    }
}

fn lost(x: &mut PbxState) -> Next {
    x.counters.deposits_lost += 1;
    goodbye(words::MESSAGE_NOT_SAVED)
}

fn refuse(x: &mut PbxState, word: Word) -> Next {
    x.counters.deposits_refused += 1;
    goodbye(word)
}

fn goodbye(word: Word) -> Next {
    Next::goodbye(Say::one(word).pause(300))
}
