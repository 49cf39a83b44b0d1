//! What a link keeps in mind over a restart: registers of its own log that no peer is told of.
//!
//! | key | value |
//! |---|---|
//! | `link/held/AUTHOR` | what is held of an author: `{"metadata":{"EPOCH":SEQ,…},"sound":{…}}` |
//! | `link/at/PEER` | where in a peer's log to go on: `{"AUTHOR":{"metadata":[EPOCH,SEQ,SEGMENT,OFFSET],…},…}` |
//! | `link/mended` | how many damages the own log had when everything had been asked of the peers again |
//! | `link/mending` | `[DAMAGES,EPOCH]`: the registers above were emptied for so many damages in this epoch, and tell since then only what came again |
//!
//! They are written behind the records they speak of, so after a crash they say at most too little, and
//! what comes twice changes nothing. A value that cannot be read counts as none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::copies::Copies;
use super::feed::LocalLog;
use super::frame::{Epochs, LogCursor, RecordClass};
use super::seam::Position;
use crate::name::NodeName;
use crate::record::{EPOCH_MAX, SEQ_MAX};
use crate::seam::Append;

const HELD: &str = "link/held/";
const AT: &str = "link/at/";
const MENDED: &str = "link/mended";
const MENDING: &str = "link/mending";

/// Where to go on in the logs of the peers.
pub(super) type Places = BTreeMap<NodeName, BTreeMap<(NodeName, RecordClass), LogCursor>>;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct FollowState {
    pub(super) copies: Copies,
    pub(super) places: Places,
    pub(super) mended: u64,
    pub(super) mending: (u64, u32),
}

#[derive(Serialize, Deserialize, Default)]
struct Two<T> {
    metadata: T,
    sound: T,
}

type At = (u32, u64, u32, u64);

impl FollowState {
    /// Reads the registers.
    pub(super) fn read(registers: &[(Arc<str>, Arc<str>)]) -> FollowState {
        let mut kept = FollowState::default();
        for (key, value) in registers {
            if let Some(author) = key.strip_prefix(HELD).and_then(|name| name.parse().ok()) {
                let held: Two<Epochs> = serde_json::from_str(value).unwrap_or_default();
                let in_range = |(epoch, seq): &(u32, u64)| *epoch <= EPOCH_MAX && *seq <= SEQ_MAX;
                for (lane, held) in [
                    (RecordClass::Metadata, held.metadata),
                    (RecordClass::Sound, held.sound),
                ] {
                    let held = held.into_iter().filter(in_range).collect();
                    kept.copies.raise(author, lane, &held);
                }
            } else if let Some(peer) = key.strip_prefix(AT).and_then(|name| name.parse().ok()) {
                let at: BTreeMap<String, Two<Option<At>>> =
                    serde_json::from_str(value).unwrap_or_default();
                kept.places.insert(peer, places(at));
            } else if &**key == MENDED {
                kept.mended = value.parse().unwrap_or(0);
            } else if &**key == MENDING {
                kept.mending = serde_json::from_str(value).unwrap_or_default();
            }
        }
        let _ = (kept.copies.take_unkept(), kept.copies.take_unsaid());
        kept
    }
}

fn places(at: BTreeMap<String, Two<Option<At>>>) -> BTreeMap<(NodeName, RecordClass), LogCursor> {
    let mut places = BTreeMap::new();
    for (author, two) in at {
        let Ok(author) = author.parse() else { continue };
        for (lane, at) in [
            (RecordClass::Metadata, two.metadata),
            (RecordClass::Sound, two.sound),
        ] {
            if let Some((epoch, seq, segment, offset)) = at {
                let position = Position { epoch, seq };
                let place = LogCursor {
                    position,
                    segment,
                    offset,
                };
                places.insert((author, lane), place);
            }
        }
    }
    places
}

/// Keeps what is held of an author.
pub(super) fn keep_held(copies: &Copies, author: NodeName, own: &LocalLog) -> Append {
    let mut two = Two {
        metadata: copies.of(author, RecordClass::Metadata).clone(),
        sound: copies.of(author, RecordClass::Sound).clone(),
    };
    if author == own.node {
        // How far this epoch goes the log will say.
        two.metadata.remove(&own.epoch);
        two.sound.remove(&own.epoch);
    }
    register(
        format!("{HELD}{author}"),
        serde_json::to_string(&two).unwrap_or_default(),
    )
}

/// Keeps where to go on in a peer's log.
pub(super) fn keep_places(
    peer: NodeName,
    places: &BTreeMap<(NodeName, RecordClass), LogCursor>,
) -> Append {
    let mut at: BTreeMap<String, Two<Option<At>>> = BTreeMap::new();
    for ((author, lane), place) in places {
        let two = at.entry(author.to_string()).or_default();
        let (position, segment, offset) = (place.position, place.segment, place.offset);
        let place = Some((position.epoch, position.seq, segment, offset));
        match lane {
            RecordClass::Metadata => two.metadata = place,
            RecordClass::Sound => two.sound = place,
        }
    }
    register(
        format!("{AT}{peer}"),
        serde_json::to_string(&at).unwrap_or_default(),
    )
}

/// Keeps that so many damages were seen to.
pub(super) fn keep_mended(damages: u64) -> Append {
    register(MENDED.to_owned(), damages.to_string())
}

/// Keeps that what is held is asked for again because of so many damages, since this epoch.
pub(super) fn keep_mending(damages: u64, since: u32) -> Append {
    register(MENDING.to_owned(), format!("[{damages},{since}]"))
}

fn register(key: String, value: String) -> Append {
    Append::Register {
        key: key.into(),
        value: Some(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(append: Append) -> (Arc<str>, Arc<str>) {
        match append {
            Append::Register { key, value } => (key, value.unwrap()),
            _ => panic!("no register"),
        }
    }

    #[test]
    fn what_is_kept_reads_back() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut copies = Copies::default();
        copies.raise(a, RecordClass::Metadata, &Epochs::from([(1, 5), (3, 9)]));
        copies.raise(a, RecordClass::Sound, &Epochs::from([(1, 4)]));
        let position = Position { epoch: 3, seq: 9 };
        let place = LogCursor {
            position,
            segment: 2,
            offset: 8192,
        };
        let places = BTreeMap::from([((a, RecordClass::Sound), place)]);
        let own = LocalLog {
            node: b,
            epoch: 1,
            found: Default::default(),
            tip: LogCursor::default(),
            is_behind: false,
        };
        let kept = FollowState::read(&[
            both(keep_held(&copies, a, &own)),
            both(keep_places(b, &places)),
            both(keep_mended(2)),
            both(keep_mending(3, 7)),
            ("link/held/a!".into(), "{".into()),
            ("link/at/c".into(), "[]".into()),
        ]);
        assert_eq!(
            kept.copies.of(a, RecordClass::Metadata),
            copies.of(a, RecordClass::Metadata)
        );
        assert_eq!(
            kept.copies.of(a, RecordClass::Sound),
            copies.of(a, RecordClass::Sound)
        );
        assert_eq!(kept.places.get(&b), Some(&places));
        assert_eq!((kept.mended, kept.mending), (2, (3, 7)));
        assert!(!kept.copies.has_unkept());
    }
}
