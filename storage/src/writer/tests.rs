//! The writer where the disk is full before its answer comes.

use super::*;
use crate::seam::{SealKind, SoundCodec};
use crate::time::WallTime;

const SEGMENT_BYTES: u64 = 32 * BLOCK_BYTES as u64;
const NOW: Now = Now {
    mono: Time(0),
    wall: WallTime(0),
};

fn writer() -> Writer {
    let segment = Segment {
        number: 1,
        bytes: SEGMENT_BYTES,
    };
    Writer::new(
        WriterConfig {
            node: "office".parse().unwrap(),
            epoch: 1,
            before: (0, 0),
            hlc: Hlc::default(),
            segment,
            used_bytes: 0,
            reserve_bytes: 0,
            segment_bytes: SEGMENT_BYTES,
            tap: false,
        },
        NOW,
    )
}

fn id() -> Id {
    "office.1.1".parse().unwrap()
}

fn hand_in(writer: &mut Writer, token: u64, append: Append) {
    writer.handle(
        NOW,
        Input::Append(Token::call_control(token), append, Time(0)),
    );
}

fn chunk(index: u32) -> Append {
    let mut block = ChunkBlock::new();
    block.push(&[9; 100]);
    let id = id();
    Append::Chunk { id, index, block }
}

/// Every write is done at once. What was confirmed, and what refused.
fn run(writer: &mut Writer) -> (Vec<(u64, Payload)>, Vec<u64>) {
    let (mut confirmed, mut refused) = (vec![], vec![]);
    while let Some(output) = writer.poll() {
        match output {
            Output::Write(batch) => writer.handle(NOW, Input::Written(batch, Ok(()))),
            Output::Event(LogEvent::Committed { token, record }) => {
                confirmed.push((token.number, record.what));
            }
            Output::Event(LogEvent::Refused { token, why }) => {
                assert_eq!(why, Refusal::DiskFull);
                refused.push(token.number);
            }
            _ => {}
        }
    }
    (confirmed, refused)
}

#[test]
fn sound_that_is_faster_than_the_disk_leaves_room_for_its_seal() {
    let mut writer = writer();
    let begin = Append::Begin {
        id: id(),
        codec: SoundCodec::Pcmu,
        at: WallTime(0),
        about: "".into(),
    };
    hand_in(&mut writer, 0, begin);
    for index in 0..100 {
        hand_in(&mut writer, u64::from(index) + 1, chunk(index));
    }
    let seal = Append::Seal {
        id: id(),
        kind: SealKind::Whole,
        about: "".into(),
    };
    hand_in(&mut writer, 200, seal);
    let (before, refused) = run(&mut writer);
    let kept = before.len();
    assert!(kept > 20 && refused.is_empty(), "{kept}");

    writer.handle(NOW, Input::NotPrepared);
    let register = Append::Register {
        key: "heard".into(),
        value: Some("yes".into()),
    };
    hand_in(&mut writer, 201, register);
    let (after, refused) = run(&mut writer);
    assert_eq!(refused, (kept as u64..=100).collect::<Vec<_>>());
    let [
        (200, Payload::Seal { kind, .. }),
        (201, Payload::Register { .. }),
    ] = &after[..]
    else {
        panic!("{after:?}");
    };
    assert_eq!(*kind, SealKind::CutShort);
}

#[test]
fn sound_goes_to_the_end_of_a_segment_that_another_follows() {
    let mut writer = writer();
    let next = Segment {
        number: 2,
        bytes: SEGMENT_BYTES,
    };
    writer.handle(NOW, Input::Prepared(next));
    for index in 0..40 {
        hand_in(&mut writer, u64::from(index), chunk(index));
    }
    let (confirmed, refused) = run(&mut writer);
    assert_eq!((confirmed.len(), refused.len()), (40, 0));
    let last = confirmed.iter().filter_map(|(_, what)| match what {
        Payload::Chunk { place, .. } if place.segment == 1 => Some(place.offset),
        _ => None,
    });
    assert_eq!(last.max(), Some(SEGMENT_BYTES - BLOCK_BYTES as u64));
}
