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

use tandem_engine::seam::{PlayId, RecordEnd};
use tandem_storage::name::Id;
use tandem_storage::seam::Token;
use tandem_storage::time::Time;

use crate::call::ending::{Announcement, AwaitingSeal};
use crate::call::{CallEvent, CallerLeg, Phase};
use crate::mailbox::{About, From};
use crate::office::Greeting;
use crate::quota::{self, Room};
use crate::say::Say;
use crate::state::PbxState;
use crate::voicemail::login::Login;
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::take::{Length, RecordingOutcome, Spoken, Take};
use crate::words::{self, Word};

/// A message being left.
#[derive(Debug)]
pub(crate) struct Deposit {
    draft: Draft,
    step: Step,
}

/// What is settled about it so far.
#[derive(Clone, Copy, Debug)]
struct Draft {
    mailbox: Id,
    reason: Reason,
    urgent: bool,
    takes: u8,
}

/// Why the mailbox took the call: chooses the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody answered, or could.
    Unavailable,
    /// On the phone.
    Busy,
    /// The caller asked for the mailbox.
    Direct,
}

#[derive(Debug)]
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
    pub(crate) fn start(line: &CallerLeg, x: &mut PbxState, mailbox: Id, reason: Reason) -> Phase {
        if !x.can_record {
            return refuse(line, x, words::CANNOT_TAKE_MESSAGE);
        }
        if quota::room(x, mailbox) == Room::None {
            return refuse(line, x, words::MAILBOX_FULL);
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
                draft.greet(line, x)
            }
            None => draft.greet(line, x),
        }
    }

    pub(crate) fn on(self, line: &mut CallerLeg, x: &mut PbxState, event: &CallEvent) -> Phase {
        let draft = self.draft;
        match self.step {
            Step::Awaiting(sound, until) => match event {
                CallEvent::RemoteFetches(id) | CallEvent::Fetched(id, _) if *id == sound => {
                    draft.greet(line, x)
                }
                CallEvent::Timer => draft.greet(line, x),
                CallEvent::Digit { digit: '#', .. } => draft.take(line, x),
                CallEvent::Digit { digit: '*', .. } => Login::start(line, x, Some(draft.mailbox)),
                _ => draft.at(Step::Awaiting(sound, until)),
            },
            Step::Greeting(play, until) => match event {
                CallEvent::PlayDone(done) if *done == play => draft.take(line, x),
                CallEvent::Digit { digit: '#', .. } | CallEvent::Timer => draft.take(line, x),
                CallEvent::Digit { digit: '*', .. } => Login::start(line, x, Some(draft.mailbox)),
                CallEvent::SoundLocked(locked) if *locked == play => {
                    line.stop_playback(x);
                    let said = spoken_greeting(extension(x, draft.mailbox), draft.reason);
                    let play = line.say(x, said.word(words::INTRO));
                    draft.at(Step::Greeting(play, until))
                }
                _ => draft.at(Step::Greeting(play, until)),
            },
            Step::Taking(mut take) => match take.on(line, x, event) {
                Some(taken) => draft.taken(line, x, taken),
                None => draft.at(Step::Taking(take)),
            },
            Step::Review(spoken, mut question) => match question.on(line, x, event) {
                Some(reply) => draft.reviewed(line, x, spoken, &reply),
                None => draft.at(Step::Review(spoken, question)),
            },
            Step::Listening(spoken, play, until) => match event {
                CallEvent::Digit { digit, .. } => {
                    line.stop_playback(x);
                    draft.reviewed(line, x, spoken, &Reply::Key(*digit))
                }
                CallEvent::Timer => draft.review(line, x, spoken, Say::new()),
                CallEvent::PlayDone(done) if *done == play => {
                    draft.review(line, x, spoken, Say::new())
                }
                _ => draft.at(Step::Listening(spoken, play, until)),
            },
            Step::Saving(spoken, token) => match event {
                CallEvent::Committed(t) if *t == token => saved(line, x, spoken),
                CallEvent::Refused(t) if *t == token => lost(line, x),
                _ => draft.at(Step::Saving(spoken, token)),
            },
        }
    }

    /// Hanging up keeps what was said.
    pub(crate) fn caller_gone(self, line: &mut CallerLeg, x: &mut PbxState) -> Phase {
        let sealing = match self.step {
            Step::Awaiting(..) | Step::Greeting(..) => return Phase::Done,
            Step::Taking(take) => match take.caller_gone(x) {
                Some(take) => AwaitingSeal::Taking(take, self.draft.urgent),
                None => {
                    x.counters.deposits_too_short += 1;
                    return Phase::Done;
                }
            },
            Step::Review(spoken, _) | Step::Listening(spoken, ..) => {
                AwaitingSeal::Seal(spoken.keep(line, x, self.draft.urgent), spoken.id)
            }
            Step::Saving(spoken, token) => AwaitingSeal::Seal(token, spoken.id),
        };
        Phase::AwaitingSeal(sealing)
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

    pub(crate) fn wants_keys(&self) -> bool {
        match &self.step {
            Step::Taking(take) => take.wants_keys(),
            Step::Saving(..) => false,
            _ => true,
        }
    }
}

impl Draft {
    fn at(self, step: Step) -> Phase {
        Phase::Deposit(Deposit { draft: self, step })
    }

    fn greet(self, line: &CallerLeg, x: &mut PbxState) -> Phase {
        let said = greeting(x, self.mailbox, self.reason).word(words::INTRO);
        let play = line.say(x, said);
        self.at(Step::Greeting(play, x.after(PLAY_MAX)))
    }

    fn take(mut self, line: &CallerLeg, x: &mut PbxState) -> Phase {
        self.takes += 1;
        let caller = &line.caller;
        let from = From {
            number: caller.number.clone(),
            name: caller.name.clone(),
            user: caller.user.filter(|_| !caller.is_withheld),
        };
        let about = About::Message {
            mailbox: self.mailbox,
            from,
            called: line.dialed.clone(),
            restored: None,
        };
        let length = Length {
            min: x.config.message_min,
            max: x.config.message_max,
        };
        let take = Take::start(line, x, &about, length, Say::new());
        self.at(Step::Taking(take))
    }

    fn taken(self, line: &CallerLeg, x: &mut PbxState, taken: RecordingOutcome) -> Phase {
        match taken {
            RecordingOutcome::TooShort => {
                x.counters.deposits_too_short += 1;
                goodbye(line, x, words::TOO_SHORT)
            }
            RecordingOutcome::Refused => refuse(line, x, words::CANNOT_TAKE_MESSAGE),
            RecordingOutcome::Spoken(spoken) => match spoken.end {
                RecordEnd::Limit => self.review(line, x, spoken, Say::one(words::TIME_LIMIT)),
                // Nothing more can be recorded: what is there is kept, and the caller told.
                RecordEnd::LogRefused => self.save(line, x, spoken),
                RecordEnd::Stopped | RecordEnd::Silence => self.review(line, x, spoken, Say::new()),
            },
        }
    }

    fn save(self, line: &CallerLeg, x: &mut PbxState, spoken: Spoken) -> Phase {
        let token = spoken.keep(line, x, self.urgent);
        self.at(Step::Saving(spoken, token))
    }

    fn review(self, line: &CallerLeg, x: &mut PbxState, spoken: Spoken, first: Say) -> Phase {
        let menu = if self.urgent {
            words::REVIEW_URGENT
        } else {
            words::REVIEW
        };
        let question = Question::key(line, x, first.word(menu));
        self.at(Step::Review(spoken, question))
    }

    fn reviewed(
        mut self,
        line: &CallerLeg,
        x: &mut PbxState,
        spoken: Spoken,
        reply: &Reply,
    ) -> Phase {
        match reply {
            Reply::Key('1') | Reply::Silence | Reply::Number(_) => self.save(line, x, spoken),
            Reply::Key('2') => match x.sound(spoken.id, 0) {
                Some(sound) => {
                    let play = line.say(x, Say::new().sound(sound));
                    self.at(Step::Listening(spoken, play, x.after(PLAY_MAX)))
                }
                None => self.review(line, x, spoken, Say::one(words::MESSAGE_UNREADABLE)),
            },
            Reply::Key('3') if self.takes < x.config.takes_max => {
                spoken.discard(x);
                self.take(line, x)
            }
            Reply::Key('4') => {
                self.urgent = !self.urgent;
                let word = if self.urgent {
                    words::MARKED_URGENT
                } else {
                    words::MARKED_NOT_URGENT
                };
                self.review(line, x, spoken, Say::one(word).pause(200))
            }
            Reply::Key(_) => self.review(line, x, spoken, Say::one(words::INVALID_CHOICE)),
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
    let account = x.office.account(mailbox);
    let extension = account.map(|account| account.extension.clone());
    Say::one(words::PERSON_AT_EXTENSION).digits(&extension.unwrap_or_default())
}

/// "… is not available."
fn spoken_greeting(name: Say, reason: Reason) -> Say {
    let what = match reason {
        Reason::Busy => words::IS_ON_THE_PHONE,
        Reason::Unavailable | Reason::Direct => words::IS_NOT_AVAILABLE,
    };
    name.word(what).pause(200)
}

fn saved(line: &mut CallerLeg, x: &mut PbxState, spoken: Spoken) -> Phase {
    x.counters.deposits += 1;
    line.message = Some(spoken.id);
    match spoken.end {
        RecordEnd::LogRefused => refuse(line, x, words::CANNOT_TAKE_MESSAGE),
        _ => goodbye(line, x, words::MESSAGE_SAVED),
    }
}

fn lost(line: &CallerLeg, x: &mut PbxState) -> Phase {
    x.counters.deposits_lost += 1;
    goodbye(line, x, words::MESSAGE_NOT_SAVED)
}

fn refuse(line: &CallerLeg, x: &mut PbxState, word: Word) -> Phase {
    x.counters.deposits_refused += 1;
    goodbye(line, x, word)
}

fn goodbye(line: &CallerLeg, x: &mut PbxState, word: Word) -> Phase {
    Announcement::goodbye(line, x, Say::one(word).pause(300).word(words::GOODBYE))
}
