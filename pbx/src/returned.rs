//! Sounds of this node's earlier lives that come back from others: its disk was lost, or damaged.
//!
//! One that was being recorded when that life ended may come without its seal. Whoever starts a node seals
//! what it finds open in the log (`tandem_storage::reading::cut_short`); what comes later is sealed
//! here, once a look finds as much of it as the look before. Should its seal come yet, that one counts.

use std::collections::BTreeMap;

use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;

use crate::state::{PbxState, Waiter};

/// Sounds of earlier lives that were open at the last look. No more than the view holds open.
#[derive(Debug, Default)]
pub(crate) struct Returned(BTreeMap<Id, Look>);

#[derive(Debug, PartialEq)]
enum Look {
    /// So many samples were here.
    Open(u64),
    /// Its seal is on its way into the log.
    Sealed,
}

/// Looks whether some have come to an end.
pub(crate) fn sweep(x: &mut PbxState) {
    let (node, epoch) = (x.node(), x.epoch());
    let open = x.view.open_sounds(node).filter(|id| id.epoch != epoch);
    let open: Vec<Id> = open.collect();
    let before = std::mem::take(&mut x.returned).0;
    for id in open {
        let samples = x.view.sound(id).map_or(0, |sound| sound.samples());
        let look = match before.get(&id) {
            Some(Look::Sealed) => Look::Sealed,
            Some(Look::Open(then)) if *then == samples => {
                x.seal(Waiter::Nobody, id, SealKind::CutShort, "");
                Look::Sealed
            }
            _ => Look::Open(samples),
        };
        x.returned.0.insert(id, look);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tandem_storage::View;
    use tandem_storage::name::Ids;
    use tandem_storage::seam::{Append, ChunkPlace, Committed, Hlc, Payload, SoundCodec, Stamp};
    use tandem_storage::time::{Now, Time, WallTime};

    use super::*;
    use crate::config::PbxConfig;
    use crate::office::{Account, new_user};
    use crate::seam::Output;

    const LIFE: u32 = 9;

    /// A node in its ninth life, with a user.
    fn node() -> (PbxState, Id) {
        let now = Now {
            mono: Time(0),
            wall: WallTime(0),
        };
        let ids = Ids::new("a".parse().unwrap(), LIFE);
        let mut x = PbxState::new(PbxConfig::default(), View::new(), ids, now);
        let user: Id = "a.1.1".parse().unwrap();
        let account = Account {
            extension: "101".into(),
            name: "N".into(),
            ha1_md5: "m".into(),
            ha1_sha256: "s".into(),
        };
        for (seq, (key, value)) in (1..).zip(new_user(user, &account, "hash")) {
            let value = Some(value);
            hear(&mut x, 1, seq, Payload::Register { key, value });
        }
        (x, user)
    }

    /// A record of this node's comes back, as of that life.
    fn hear(x: &mut PbxState, epoch: u32, seq: u64, what: Payload) {
        let stamp = Stamp {
            hlc: Hlc(seq << 16),
            node: "a".parse().unwrap(),
            epoch,
            seq,
        };
        x.apply(&Committed {
            stamp,
            what,
            segment: 1,
        });
    }

    fn begin(id: Id, user: Id) -> Payload {
        let from = "\"from\":{\"number\":\"7\",\"name\":\"\"}";
        let about: Arc<str> =
            format!("{{\"kind\":\"message\",\"mailbox\":\"{user}\",{from}}}").into();
        Payload::Begin {
            id,
            codec: SoundCodec::Pcmu,
            at: WallTime(1),
            about,
        }
    }

    fn chunk(id: Id, index: u32) -> Payload {
        let place = ChunkPlace {
            segment: 1,
            offset: 4096 * u64::from(index + 1),
            samples: 4000,
        };
        Payload::Chunk { id, index, place }
    }

    fn seals(x: &mut PbxState) -> usize {
        let outputs = std::iter::from_fn(|| x.poll());
        let is_seal = |output: &Output| {
            matches!(
                output,
                Output::Log {
                    append: Append::Seal {
                        kind: SealKind::CutShort,
                        ..
                    },
                    ..
                }
            )
        };
        outputs.filter(is_seal).count()
    }

    #[test]
    fn a_message_of_an_earlier_life_is_listed_though_its_seal_came_first() {
        let (mut x, user) = node();
        let id: Id = "a.3.7".parse().unwrap();
        let (kind, about) = (SealKind::CutShort, "".into());
        hear(&mut x, 3, 20, Payload::Seal { id, kind, about });
        for index in (0..4).rev() {
            hear(&mut x, 3, 11 + u64::from(index), chunk(id, index));
        }
        assert_eq!(x.mailboxes.of(user).count(), 0);
        hear(&mut x, 3, 10, begin(id, user));
        assert_eq!(x.mailboxes.of(user).count(), 1);
    }

    #[test]
    fn one_that_comes_back_without_a_seal_is_sealed_when_no_more_of_it_comes() {
        let (mut x, user) = node();
        let id: Id = "a.3.7".parse().unwrap();
        hear(&mut x, 3, 10, begin(id, user));
        hear(&mut x, 3, 11, chunk(id, 0));
        sweep(&mut x);
        hear(&mut x, 3, 12, chunk(id, 1));
        sweep(&mut x);
        assert_eq!(seals(&mut x), 0, "more came between two looks");
        sweep(&mut x);
        assert_eq!(seals(&mut x), 1);
        // What is being recorded now is not touched.
        let now: Id = "a.9.1".parse().unwrap();
        hear(&mut x, LIFE, 30, begin(now, user));
        (0..3).for_each(|_| sweep(&mut x));
        assert_eq!(seals(&mut x), 0, "{id} is asked for once");
    }
}
