use super::*;
use crate::seam::{Committed, Payload};

fn said(seq: u64, segment: u32, what: Payload) -> Committed {
    let stamp = Stamp {
        hlc: Hlc(seq),
        node: "office".parse().unwrap(),
        epoch: 1,
        seq,
    };
    Committed {
        stamp,
        segment,
        what,
    }
}

#[test]
fn sounds_of_many_chunks_go_into_parts_of_their_own() {
    let mut view = View::new();
    for number in 0..5 {
        let id = Id {
            node: "office".parse().unwrap(),
            epoch: 1,
            number,
        };
        // One is longer than a part should be.
        let chunks = if number == 2 {
            CHUNKS_MAX + 1
        } else {
            CHUNKS_MAX / 2
        };
        for index in 0..chunks as u32 {
            let place = ChunkPlace {
                segment: 1,
                offset: 4096,
                samples: 1,
            };
            let what = Payload::Chunk { id, index, place };
            view.apply(&said(1, 1, what));
        }
    }
    let (mut walk, mut sizes) = (Walk::new(), Vec::new());
    while let Some(part) = walk.next(&view) {
        if let Part::Sounds(rows) = part {
            sizes.push(rows.len());
        }
    }
    assert_eq!(sizes, [2, 1, 2]);
}

#[test]
fn a_topic_that_was_full_and_no_longer_is_may_lack_entries() {
    let enter = |view: &mut View, n: u64, segment| {
        let (topic, body) = ("call".into(), "".into());
        view.apply(&said(n, segment, Payload::Entry { topic, body }));
    };
    let restored = |view: &View, gone: u32| {
        let (mut walk, mut restoring) = (Walk::new(), Restoring::default());
        while let Some(part) = walk.next(view) {
            restoring.take(part).unwrap();
        }
        restoring.finish(|segment| segment != gone).unwrap()
    };
    let mut view = View::new();
    let max = ENTRIES_PER_TOPIC_MAX as u64;
    (0..max - 1).for_each(|n| enter(&mut view, n, 1 + u32::from(n > 9)));
    enter(&mut view, max, 3);
    let whole = restored(&view, 9);
    assert_eq!(whole.full_topics.len(), 1);
    // The last one is read again, and then it is full.
    let mut again = whole.view;
    assert!(again.may_lack_entries(&whole.full_topics));
    enter(&mut again, max, 3);
    assert!(!again.may_lack_entries(&whole.full_topics));
    // Those in the first segment were too old to be kept.
    let mut lacking = restored(&view, 1).view;
    enter(&mut lacking, max, 3);
    assert!(lacking.may_lack_entries(&whole.full_topics));
}
