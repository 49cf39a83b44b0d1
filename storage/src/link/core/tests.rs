//! What a link does at its start, without peers.

use super::super::kept;
use super::super::seam::LogFound;
use super::*;
use crate::seam::Append;

type Registers = Vec<(Arc<str>, Arc<str>)>;

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn config(epoch: u32, damages: u64, kept: Registers) -> LinkConfig {
    let found = LogFound {
        epochs: (1..epoch).map(|epoch| (epoch, 100)).collect(),
        authors: [name("a"), name("b")].into(),
        damages,
    };
    LinkConfig {
        node: name("a"),
        epoch,
        found,
        kept,
        send_bytes_per_s: 0,
        away_after: Duration::from_secs(1),
        segment_bytes: 4 << 20,
        versions: frame::VERSIONS,
        seed: 1,
    }
}

/// What it writes down, over what was there.
fn written(link: &mut Link, mut kept: Registers) -> Registers {
    for seconds in [0, 5] {
        link.handle(Time(seconds * 1_000_000_000), LinkInput::Tick);
        while let Some(output) = link.poll() {
            let LinkOutput::Store { append, .. } = output else {
                continue;
            };
            if let Append::Register { key, value } = append {
                kept.retain(|(k, _)| *k != key);
                kept.extend(value.map(|value| (key, value)));
            }
        }
    }
    kept
}

/// A log of which much of another node's is held.
fn held() -> Registers {
    let mut copies = Copies::default();
    copies.raise(name("b"), RecordClass::Metadata, &[(7, 70)].into());
    let own = LocalLog {
        node: name("a"),
        epoch: 3,
        found: LogFound::default(),
        tip: LogCursor::default(),
        is_behind: false,
    };
    match kept::keep_held(&copies, name("b"), &own) {
        Append::Register { key, value } => vec![(key, value.unwrap())],
        _ => panic!("no register"),
    }
}

#[test]
fn what_is_held_counts_as_long_as_nothing_is_damaged() {
    let link = Link::new(config(3, 0, held()), Time(0));
    assert_eq!(link.copies.of(name("b"), RecordClass::Metadata)[&7], 70);
    assert_eq!(link.copies.of(name("a"), RecordClass::Metadata)[&2], 100);
    assert!(!link.status(Time(0)).is_mending);
}

#[test]
fn what_is_damaged_is_asked_for_again_once_and_a_start_in_the_middle_goes_on_with_it() {
    let mut link = Link::new(config(3, 1, held()), Time(0));
    assert!(link.copies.of(name("b"), RecordClass::Metadata).is_empty());
    assert!(
        !link
            .copies
            .of(name("a"), RecordClass::Metadata)
            .contains_key(&2)
    );
    assert!(link.status(Time(0)).is_mending);
    let kept = written(&mut link, held());
    // Some has come again, and was written down.
    let mut link = Link::new(config(3, 1, kept.clone()), Time(0));
    let came = [(7, 30)].into();
    link.copies.raise(name("b"), RecordClass::Metadata, &came);
    let kept = written(&mut link, kept);
    // Started once more, with two epochs since: that is not asked for again, what is missing is.
    let link = Link::new(config(5, 1, kept.clone()), Time(0));
    assert_eq!(*link.copies.of(name("b"), RecordClass::Metadata), came);
    let own = link.copies.of(name("a"), RecordClass::Metadata);
    assert!(
        !own.contains_key(&2) && own[&3] == 100 && own[&4] == 100,
        "{own:?}"
    );
    assert!(link.status(Time(0)).is_mending);
    // Another damage is another matter.
    let link = Link::new(config(5, 2, kept), Time(0));
    assert!(link.copies.of(name("b"), RecordClass::Metadata).is_empty());
}
