//! A hostile snapshot: its checksums are no defence, whoever makes it computes them too.
//!
//! Any file is read or not, without a panic; so is one of frames as they should be around any
//! parts. What is read can be taken apart and put together again.

use tandem_storage::sim::{snapshot_of, snapshot_parts, snapshot_rows};

use crate::feed::Feed;

const PARTS_MAX: usize = 16;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    if feed.byte().is_multiple_of(2) {
        return read(feed.take_rest());
    }
    let mut parts = Vec::new();
    while !feed.is_empty() && parts.len() < PARTS_MAX {
        let len = usize::from(feed.u16());
        parts.push(feed.take(len));
    }
    let file = snapshot_of(parts.iter().copied()).expect("short parts");
    read(&file);
    let taken_apart = snapshot_parts(&file).expect("frames as they should be");
    assert!(taken_apart.iter().map(Vec::as_slice).eq(parts));
}

fn read(file: &[u8]) {
    let Some(rows) = snapshot_rows(file) else {
        return;
    };
    let parts = snapshot_parts(file).expect("it was read");
    let again = snapshot_of(parts.iter().map(Vec::as_slice)).expect("it was that long before");
    assert_eq!(snapshot_rows(&again), Some(rows));
}
