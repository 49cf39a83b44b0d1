//! Sound that another node recorded and this one does not keep: asked for, and heard while it comes.
//!
//! A call that wants to play a sound asks for it ([`PbxState::fetch`]) and plays what is here without
//! a gap from its beginning ([`PbxState::sound`]); what becomes durable after that is handed to the
//! engine piece by piece, until the answer says that this was all. What is not here at all is waited
//! for by the call, which hears of the first piece ([`crate::call::LegEvent::RemoteFetches`]) or of the end.
//!
//! Bounds: [`FETCHING_MAX`] sounds; more are played as far as they are here. One listener a leg.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId, PlayId, PlayItem};
use tandem_storage::link::Position;
use tandem_storage::name::Id;
use tandem_storage::seam::ChunkPlace;

use crate::seam::Output;
use crate::state::PbxState;

/// Sounds that are being fetched at once; more are played as far as they are here.
const FETCHING_MAX: usize = 256;
/// Sounds that are known to have come whole.
const WHOLE_MAX: usize = 16 * 1024;

/// A sound to be played, and whether that is all of it.
#[derive(Clone, Debug)]
pub(crate) struct Playable {
    pub(crate) item: PlayItem,
    pub(crate) open: Option<Open>,
}

/// There will be more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    sound: Id,
    /// Chunks that the engine has been told of.
    told: usize,
}

/// All sounds that are asked for. See the chapter above.
#[derive(Debug, Default)]
pub(crate) struct RemoteFetches {
    sounds: BTreeMap<Id, BTreeMap<LegId, Listener>>,
    /// Of these the first piece has come, and nobody knows yet.
    news: BTreeSet<Id>,
    whole: BTreeSet<Id>,
}

#[derive(Clone, Copy, Debug)]
struct Listener {
    play: PlayId,
    told: usize,
}

impl PbxState {
    /// Sees to it that a sound is here, if another node recorded it. What cannot be asked for now is
    /// played as far as it is here.
    pub(crate) fn fetch(&mut self, sound: Id) {
        let full = self.coming.sounds.len() >= FETCHING_MAX;
        let is_here = sound.node == self.node() || self.coming.whole.contains(&sound);
        if is_here || !self.config.has_peers || full || self.is_coming(sound) {
            return;
        }
        let Some(stamp) = self.view.sealed_at(sound) else {
            return;
        };
        let sealed = match stamp.node == sound.node {
            true => Position {
                epoch: stamp.epoch,
                seq: stamp.seq,
            },
            // Sealed by another than its node, it is not known how far it goes.
            false => Position::NEVER,
        };
        let chunks = self.view.unbroken(sound).len();
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        self.coming.sounds.insert(sound, BTreeMap::new());
        self.push(Output::Fetch {
            sound,
            sealed,
            chunks,
        });
    }

    /// It was asked for and has not all come.
    pub(crate) fn is_coming(&self, sound: Id) -> bool {
        self.coming.sounds.contains_key(&sound)
    }

    /// It was asked for and nothing of it is here yet.
    pub(crate) fn is_awaited(&self, sound: Id) -> bool {
        self.is_coming(sound) && self.view.unbroken(sound).is_empty()
    }

    /// A recorded sound from `from_sample` on, as far as it is durable.
    pub(crate) fn sound(&self, id: Id, from_sample: u64) -> Option<Playable> {
        let sound = self.view.sound(id)?;
        let is_open = self.is_coming(id);
        let chunks = match is_open {
            true => self.view.unbroken(id),
            false => &sound.chunks,
        };
        (!chunks.is_empty()).then(|| Playable {
            item: PlayItem::Sound {
                codec: sound.codec,
                places: chunks.into(),
                from_sample,
                is_open,
            },
            open: is_open.then_some(Open {
                sound: id,
                told: chunks.len(),
            }),
        })
    }

    /// It is being played: what comes of it goes there.
    pub(crate) fn is_heard(&mut self, leg: LegId, play: PlayId, open: Open) {
        let told = open.told;
        if let Some(listeners) = self.coming.sounds.get_mut(&open.sound) {
            listeners.insert(leg, Listener { play, told });
        }
    }

    /// Nobody listens on this leg any more.
    pub(crate) fn hears_nothing(&mut self, leg: LegId) {
        for listeners in self.coming.sounds.values_mut() {
            listeners.remove(&leg);
        }
    }

    /// A piece of a sound has become durable.
    pub(crate) fn on_piece(&mut self, id: Id) {
        let Some(mut listeners) = self.coming.sounds.remove(&id) else {
            return;
        };
        let here = self.view.unbroken(id).len();
        if here > 0 && listeners.is_empty() {
            self.coming.news.insert(id);
        }
        for (leg, listener) in &mut listeners {
            if listener.told < here {
                let places = self.view.unbroken(id)[listener.told..].into();
                self.play_more(*leg, listener.play, places, false);
                listener.told = here;
            }
        }
        self.coming.sounds.insert(id, listeners);
    }

    /// Sounds of which the first piece has come.
    pub(crate) fn take_news(&mut self) -> BTreeSet<Id> {
        std::mem::take(&mut self.coming.news)
    }

    /// Nothing more comes; `found`: it is whole. False: it was not asked for.
    pub(crate) fn on_fetched(&mut self, id: Id, found: bool) -> bool {
        let Some(listeners) = self.coming.sounds.remove(&id) else {
            return false;
        };
        if found {
            if self.coming.whole.len() >= WHOLE_MAX {
                self.coming.whole.clear();
            }
            self.coming.whole.insert(id);
        }
        for (leg, listener) in listeners {
            // What is missing in between is left out.
            let chunks = self.view.sound(id).map_or(&[][..], |sound| &sound.chunks);
            let rest = chunks.get(listener.told..).unwrap_or_default().into();
            self.play_more(leg, listener.play, rest, true);
        }
        true
    }

    fn play_more(&mut self, leg: LegId, play: PlayId, places: Arc<[ChunkPlace]>, is_last: bool) {
        self.media(Command::PlayMore {
            leg,
            play,
            places,
            is_last,
        });
    }
}
