//! A hostile backup: hashes are no defence, whoever makes it computes them too.
//!
//! Any manifest and catalog is read without a panic, and what is read can be written and read again. Of a
//! pack of any records, with right checksums, each is restored under the stamp it says, samples and all,
//! or refused; and the log it was restored into is whole.

use std::collections::BTreeMap;

use tandem_storage::backup::{
    Catalog, Hash, Manifest, ManifestName, PackInfo, PackKind, Unpacking, records,
};
use tandem_storage::name::NodeName;
use tandem_storage::record::{self, HEADER_BYTES, RECORD_BYTES_MAX};
use tandem_storage::seam::{Append, Committed, LogEvent, Payload, Refusal, Token};
use tandem_storage::sim::{SimDisk, SimLog};
use tandem_storage::time::{Now, WallTime};

use crate::feed::Feed;

const SEGMENT_BYTES: u64 = 64 * 4096;
const DISK_BYTES: u64 = 64 * SEGMENT_BYTES;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    match feed.byte() % 4 {
        0 => manifest(feed.take_rest()),
        1 => catalog(feed.take_rest()),
        2 => pack(&[&front(), feed.take_rest()].concat()),
        _ => {
            let mut bytes = front();
            while !feed.is_empty() {
                let len = HEADER_BYTES + feed.below(RECORD_BYTES_MAX - HEADER_BYTES);
                let mut summed = feed.take(len).to_vec();
                summed.resize(summed.len().max(HEADER_BYTES), 0);
                summed[41] &= 1;
                summed[42..48].fill(0);
                record::seal(&mut summed);
                bytes.extend_from_slice(&summed);
            }
            pack(&bytes);
        }
    }
}

fn node() -> NodeName {
    "office".parse().expect("a node name")
}

fn manifest(bytes: &[u8]) {
    let name = ManifestName {
        number: 1,
        hash: Hash::of(bytes),
    };
    if let Ok(read) = Manifest::parse(&name, bytes) {
        let (name, written) = read.to_file();
        assert_eq!(Manifest::parse(&name, &written), Ok(read));
    }
}

fn catalog(bytes: &[u8]) {
    if let Some(read) = Catalog::parse(bytes) {
        assert_eq!(Catalog::parse(&read.to_bytes()), Some(read));
    }
}

/// What a pack begins with.
fn front() -> Vec<u8> {
    let mut front = b"TANDEMPK\x01\0\0\0\0\0\0\0".to_vec();
    front.extend_from_slice(&node().to_bytes());
    front
}

fn pack(bytes: &[u8]) {
    let info = PackInfo {
        hash: Hash::of(bytes),
        bytes: bytes.len() as u64,
        records: 0,
        kind: PackKind::Metadata,
        sounds: None,
    };
    let Ok(records) = records(&info, bytes) else {
        return;
    };
    let disk = SimDisk::new(SEGMENT_BYTES, DISK_BYTES);
    let mut log = SimLog::open(disk, "new".parse().expect("a node name"), Now::default())
        .expect("an empty disk is nobody's")
        .log;
    let mut unpacking = Unpacking::new(node());
    let mut said = BTreeMap::new();
    for (n, record) in (1..).zip(records.take_while(Result::is_ok).flatten()) {
        let samples = matches!(record.said.what, Payload::Chunk { .. })
            .then(|| record::decode_samples(record.raw).expect("it is a chunk").1);
        said.insert(
            Token::call_control(n),
            (record.said.clone(), samples.map(<[u8]>::to_vec)),
        );
        append(
            &mut log,
            Token::call_control(n),
            unpacking.append(&record),
            &said,
        );
    }
    let last = said.len() as u64;
    let seals: Vec<Append> = unpacking.finish(WallTime(u64::MAX)).collect();
    for (n, seal) in (last + 1..).zip(seals) {
        append(&mut log, Token::call_control(n), seal, &said);
    }
    let damages = log
        .disk_mut()
        .read("new".parse().expect("a node name"), |_| {})
        .expect("it is that node's log")
        .ending
        .damages;
    assert_eq!(damages, 0);
}

type Said = BTreeMap<Token, (Committed, Option<Vec<u8>>)>;

/// Hands it to the log, and looks at what becomes of it.
fn append(log: &mut SimLog, token: Token, append: Append, said: &Said) {
    let now = Now::default();
    log.submit(now, token, append);
    loop {
        match log.poll(now) {
            Some(LogEvent::Committed { token, record }) => {
                let Some((wanted, samples)) = said.get(&token) else {
                    continue;
                };
                assert_eq!(record.stamp, wanted.stamp);
                match (&record.what, samples) {
                    (Payload::Chunk { place, .. }, Some(samples)) => {
                        assert_eq!(log.disk_mut().samples(place), Ok(&samples[..]));
                    }
                    (what, _) => assert_eq!(what, &wanted.what),
                }
            }
            Some(LogEvent::Refused { why, .. }) => {
                assert!(
                    matches!(why, Refusal::Impossible | Refusal::DiskFull),
                    "{why}"
                );
            }
            Some(LogEvent::Room { .. }) => {}
            None if log.is_writing() => log.complete_write(now),
            None => return,
        }
    }
}
