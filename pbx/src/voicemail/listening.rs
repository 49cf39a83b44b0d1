//! Playing messages, moving within one and between them.
//!
//! A message counts as heard once it was played to its end, or a key led away from it after
//! [`heard_after`] of it. Hanging up in the middle leaves it as it was: the lamp stays on rather
//! than a message be missed.
//!
//! The place within a message is reckoned from how long it has been playing; the engine plays in
//! real time, and three seconds either way are not a matter of milliseconds.
//!
//! [`heard_after`]: crate::config::PbxConfig::heard_after

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::PlayId;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::call::{Leg, LegEvent};
use crate::mailbox::{Folder, heard_key};
use crate::say::Say;
use crate::state::{PbxState, Waiter, samples};
use crate::voicemail::header;
use crate::voicemail::keys::Verb;
use crate::voicemail::session::{Leave, Session, Step};
use crate::words;

/// A message that is being played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    play: PlayId,
    /// Where playing began, in samples, and when.
    from: u64,
    started: Time,
    /// When the engine is taken to have lost the end of it.
    pub(crate) until: Time,
    /// The rest of it cannot be had now.
    is_cut: bool,
}

/// Longer than any header or message.
const PLAY_MAX: Duration = Duration::from_secs(3600);
/// The first piece of what another node has is waited for so long.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// A pause does not hold the line for ever.
const PAUSE_MAX: Duration = Duration::from_secs(300);

impl Session {
    /// The message that is selected.
    pub(crate) fn selected(&self) -> Option<Id> {
        self.at.and_then(|at| self.list.get(at)).copied()
    }

    /// From the first message on; what has come meanwhile is at the end of the list.
    pub(crate) fn listen(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let known: BTreeSet<Id> = self.list.iter().copied().collect();
        let there = x.mailboxes.folder(self.mailbox, self.folder);
        self.list
            .extend(there.into_iter().filter(|id| !known.contains(id)));
        if self.list.is_empty() {
            return self.menu(leg, x, Say::one(words::FOLDER_EMPTY));
        }
        self.play(leg, x, 0)
    }

    /// Opens a folder.
    pub(crate) fn open(&mut self, leg: &Leg, x: &mut PbxState, folder: Folder) -> Leave {
        self.folder = folder;
        self.list.clear();
        self.at = None;
        self.listen(leg, x)
    }

    pub(crate) fn go(&mut self, leg: &Leg, x: &mut PbxState, verb: Verb) -> Leave {
        let Some(at) = self.at else {
            return match verb {
                Verb::Next => self.listen(leg, x),
                _ => self.menu(leg, x, Say::one(words::NOTHING_SELECTED)),
            };
        };
        match verb {
            Verb::Previous if at == 0 => self.menu(leg, x, Say::one(words::NO_PREVIOUS_MESSAGE)),
            Verb::Previous => self.play(leg, x, at - 1),
            Verb::Next if at + 1 >= self.list.len() => {
                self.menu(leg, x, Say::one(words::NO_MORE_MESSAGES))
            }
            Verb::Next => self.play(leg, x, at + 1),
            _ => self.play(leg, x, at),
        }
    }

    fn play(&mut self, leg: &Leg, x: &mut PbxState, at: usize) -> Leave {
        self.at = Some(at);
        if let Some(id) = self.selected() {
            // While the header is said, it comes.
            x.fetch(id);
        }
        let said = self.header(x);
        let play = leg.say(x, said);
        self.step = Step::Header(play, x.after(PLAY_MAX));
        None
    }

    fn header(&self, x: &PbxState) -> Say {
        let message = self.selected().and_then(|id| x.mailboxes.message(id));
        message.map_or(Say::one(words::MESSAGE_UNREADABLE), |message| {
            header::header(x, message, self.at.unwrap_or(0), self.list.len())
        })
    }

    pub(crate) fn envelope(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let said = match self.at {
            Some(_) => self.header(x),
            None => Say::one(words::NOTHING_SELECTED),
        };
        self.menu(leg, x, said)
    }

    pub(crate) fn on_playing(&mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Leave {
        match (&self.step, event) {
            (_, LegEvent::Digit { digit, .. }) => self.press(leg, x, *digit),
            (Step::Header(play, _), LegEvent::PlayDone(done)) if play == done => {
                self.play_body(leg, x, 0)
            }
            (Step::Body(body), LegEvent::PlayDone(done)) if body.play == *done => {
                if body.is_cut {
                    return self.menu(leg, x, Say::one(words::MESSAGE_UNREADABLE));
                }
                self.mark_heard(x);
                self.menu(leg, x, Say::new().pause(300))
            }
            (Step::Body(body), LegEvent::SoundLocked(locked)) if body.play == *locked => {
                leg.stop_playback(x);
                self.menu(leg, x, Say::one(words::MESSAGE_LOCKED).pause(300))
            }
            (
                Step::Fetching(id, from, _),
                LegEvent::RemoteFetches(here) | LegEvent::Fetched(here, _),
            ) if id == here => {
                let from = *from;
                self.play_what_is_here(leg, x, from)
            }
            (Step::Body(_), LegEvent::Fetched(id, false)) if self.selected() == Some(*id) => {
                if let Step::Body(body) = &mut self.step {
                    body.is_cut = true;
                }
                None
            }
            (Step::Fetching(_, from, _), LegEvent::Timer) => {
                let from = *from;
                self.play_what_is_here(leg, x, from)
            }
            (_, LegEvent::Timer) => self.menu(leg, x, Say::new()),
            _ => None,
        }
    }

    fn play_body(&mut self, leg: &Leg, x: &mut PbxState, from: u64) -> Leave {
        if let Some(id) = self.selected().filter(|id| x.is_awaited(*id)) {
            leg.stop_playback(x);
            self.step = Step::Fetching(id, from, x.after(FETCH_MAX));
            return None;
        }
        self.play_what_is_here(leg, x, from)
    }

    fn play_what_is_here(&mut self, leg: &Leg, x: &mut PbxState, from: u64) -> Leave {
        let Some(sound) = self.selected().and_then(|id| x.sound(id, from)) else {
            return self.menu(leg, x, Say::one(words::MESSAGE_UNREADABLE));
        };
        let play = leg.say(x, Say::new().sound(sound));
        let until = x.after(PLAY_MAX);
        self.step = Step::Body(Body {
            play,
            from,
            started: x.now.mono,
            until,
            is_cut: false,
        });
        None
    }

    /// Forward, back, pause, from the start.
    pub(crate) fn wind(&mut self, leg: &Leg, x: &mut PbxState, verb: Verb) -> Leave {
        let skip = samples(x.config.skip);
        let end = self.samples(x);
        let (here, paused) = match &self.step {
            Step::Body(body) => (body.position(x).min(end), false),
            Step::Paused(from, _) => (*from, true),
            // In the header: forward skips it, the rest begins it anew.
            Step::Header(..) if verb == Verb::SkipForward => return self.play_body(leg, x, 0),
            _ => return self.go(leg, x, Verb::Repeat),
        };
        match verb {
            Verb::Pause if paused => self.play_body(leg, x, here),
            Verb::Pause => {
                leg.stop_playback(x);
                self.step = Step::Paused(here, x.after(PAUSE_MAX));
                None
            }
            Verb::SkipForward => self.skip_to(leg, x, here.saturating_add(skip)),
            Verb::SkipBack => self.skip_to(leg, x, here.saturating_sub(skip)),
            _ => self.skip_to(leg, x, 0),
        }
    }

    fn skip_to(&mut self, leg: &Leg, x: &mut PbxState, to: u64) -> Leave {
        if to >= self.samples(x) {
            self.mark_heard(x);
            leg.stop_playback(x);
            return self.menu(leg, x, Say::new());
        }
        self.play_body(leg, x, to)
    }

    /// The length of the message that is selected; of one that is still coming nobody knows it.
    fn samples(&self, x: &PbxState) -> u64 {
        let Some(id) = self.selected() else { return 0 };
        match x.is_coming(id) {
            true => u64::MAX,
            false => x.view.sound(id).map_or(0, |sound| sound.samples()),
        }
    }

    /// A key leads away from the message that is being played, if one is.
    pub(crate) fn leave_body(&mut self, x: &mut PbxState) {
        let position = match &self.step {
            Step::Body(body) => body.position(x),
            Step::Paused(from, _) => *from,
            _ => return,
        };
        if position >= samples(x.config.heard_after) {
            self.mark_heard(x);
        }
    }

    fn mark_heard(&self, x: &mut PbxState) {
        let Some(id) = self.selected() else { return };
        if x.mailboxes
            .message(id)
            .is_some_and(|message| !message.heard)
        {
            x.register(Waiter::Nobody, heard_key(id), Some(&true));
        }
    }
}

impl Body {
    fn position(&self, x: &PbxState) -> u64 {
        self.from
            .saturating_add(samples(x.now.mono.since(self.started)))
    }
}
