use super::*;
use crate::block::Block;
use crate::name::Id;
use crate::seam::{Committed, Hlc, Payload, SealKind, SoundCodec, Stamp};
use crate::segment::SegmentHeader;
use crate::time::WallTime;
use crate::view::rows::Walk;

fn node() -> NodeName {
    "office".parse().unwrap()
}

/// The beginning of a segment of this node, and what its second block is filled with.
fn start(number: u32, fill: u8) -> Vec<u8> {
    let header = SegmentHeader {
        node: node(),
        number,
        epoch: 3,
        seq: 77,
    };
    let mut block = Block::zeroed();
    segment::encode(&header, &mut block);
    [&block.0[..], &[fill; BLOCK_BYTES]].concat()
}

fn view() -> View {
    let mut view = View::new();
    let id = Id {
        node: node(),
        epoch: 3,
        number: 1,
    };
    let begin = Payload::Begin {
        id,
        codec: SoundCodec::Pcma,
        at: WallTime(5),
        about: "for 101".into(),
    };
    let seal = Payload::Seal {
        id,
        kind: SealKind::Whole,
        about: "{}".into(),
    };
    let register = Payload::Register {
        key: "user/1/dnd".into(),
        value: Some("on".into()),
    };
    let entry = Payload::Entry {
        topic: "call".into(),
        body: "from here to there".into(),
    };
    for (seq, what) in (1..).zip([begin, seal, register, entry]) {
        let stamp = Stamp {
            hlc: Hlc(seq * 10),
            node: node(),
            epoch: 3,
            seq,
        };
        view.apply(&Committed {
            stamp,
            segment: seq as u32,
            what,
        });
    }
    view
}

fn file(view: &View) -> Vec<u8> {
    let before = vec![(1, 9), (2, 9), (3, 5)];
    let title = Title::new(node(), 4, &start(4, 1), before, [(2, 40)].into()).unwrap();
    let mut file = [&MAGIC[..], &encode_title(&title).unwrap()].concat();
    let mut walk = Walk::new();
    while let Some(part) = walk.next(view) {
        file.extend(frame(&encode_part(&part).unwrap()).unwrap());
    }
    file
}

fn read(file: &[u8]) -> Option<Snapshot> {
    let (title, frames) = open(file)?;
    title.finish([read_lot(&frames)?], |_| true)
}

#[test]
fn what_is_written_is_read() {
    let view = view();
    let read = read(&file(&view)).unwrap();
    assert_eq!((read.segment, read.epochs), (4, [(2, 40)].into()));
    assert_eq!(read.view.sounds().count(), 1);
    assert_eq!(read.view.register("user/1/dnd"), Some("on"));
    // What was said in the first segment to be read is read again.
    assert_eq!(read.view.entries("call", 9).count(), 0);
    assert_eq!(read.view.heard(), view.heard());
}

#[test]
fn one_that_is_cut_short_or_has_a_bit_flipped_is_not_read() {
    let whole = file(&view());
    assert!(read(&whole).is_some());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_none(), "cut at {end}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_none(), "bit {bit}");
    }
}

#[test]
fn it_fits_the_log_it_was_made_of_and_what_compaction_made_of_that_alone() {
    let (title, _) = open(&file(&view())).map(|(t, f)| (t, f.len())).unwrap();
    let there = [(1, 9), (2, 9), (3, 5), (4, 9), (5, 9)];
    let fits =
        |there: &[(u32, u64)], retired: &Retired| title.fits(node(), &start(4, 1), there, retired);
    let none = Retired::default();
    assert!(fits(&there, &none));
    assert!(fits(&there[..4], &none), "what comes after it may be lost");
    // Retired since, whether it is still there or not; not retired, and not there.
    let without_two = [there[0], there[2], there[3]];
    let mut two = Retired::default();
    two.add(2, (0, 0));
    assert!(fits(&there, &two) && fits(&without_two, &two));
    assert!(!fits(&without_two, &none));
    // Another length; one more; another node's; a segment that begins otherwise.
    assert!(!fits(&[(1, 9), (2, 8), (3, 5), (4, 9)], &none));
    assert!(!fits(&[(0, 9), (1, 9), (2, 9), (3, 5), (4, 9)], &none));
    let other = "branch".parse().unwrap();
    assert!(!title.fits(other, &start(4, 1), &there, &none));
    for begins_otherwise in [start(4, 2), start(5, 1), vec![0; START_BYTES], vec![]] {
        assert!(!title.fits(node(), &begins_otherwise, &there, &none));
    }
    let mut itself = Retired::default();
    itself.add(4, (0, 0));
    assert!(!fits(&there, &itself));
}

#[test]
fn a_file_that_would_unpack_to_too_much_is_not_read() {
    let mut extent = Extent::default();
    let parts = UNPACKED_BYTES_MAX / PART_BYTES_MAX as u64;
    for _ in 0..parts {
        extent.add(9, PART_BYTES_MAX).unwrap();
    }
    assert!(extent.add(9, 1).is_none());
    assert!(Extent::default().add(FILE_BYTES_MAX as usize, 1).is_none());
}
