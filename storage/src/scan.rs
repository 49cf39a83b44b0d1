//! One segment's bytes, cut into what is in them.
//!
//! Recovery, `verify` and `show` hand in a segment as it was read from the disk; what comes back
//! says for each stretch of it whether it is a record, zeros, or neither. Nothing is judged here:
//! whether something is missing or merely unfinished is known only from the records after it, see
//! `recovery.rs`. Bytes may be anything: nothing panics, and nothing is allocated but the texts
//! of records whose checksum is right.

use crate::block::BLOCK_BYTES;
use crate::record::{self, ALIGN_BYTES, Fault, Record};

/// A stretch of a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A whole record of this segment.
    Record(Record),
    /// A whole record of an earlier life of the file: free space.
    Stale,
    /// Not a record, not zero; to the end of its block.
    Garbage(Fault),
    /// Blocks of zeros.
    Zeros {
        /// How many bytes.
        bytes: u64,
    },
}

/// Cuts up what follows a segment's first block. `offset` in what is handed on counts from the
/// start of the segment.
pub fn scan(number: u32, segment: &[u8], mut found: impl FnMut(u64, Found)) {
    let mut scan = Scan::new(number);
    while scan.step(segment, &mut found) {}
}

/// The same, block by block, for whoever has other things to do in between.
#[derive(Clone, Debug)]
pub struct Scan {
    number: u32,
    at: usize,
    zeros_from: Option<usize>,
}

impl Scan {
    /// Of the segment with this number.
    pub fn new(number: u32) -> Scan {
        Scan {
            number,
            at: BLOCK_BYTES,
            zeros_from: None,
        }
    }

    /// Cuts up the next block, or as many as a record is long; always of the same segment.
    /// `false`: that was all.
    pub fn step(&mut self, segment: &[u8], found: &mut impl FnMut(u64, Found)) -> bool {
        if self.at >= segment.len() {
            self.end_zeros(found);
            return false;
        }
        let block_end = segment.len().min(self.at + BLOCK_BYTES);
        if is_zero(&segment[self.at..block_end]) {
            self.zeros_from.get_or_insert(self.at);
            self.at = block_end;
        } else {
            self.end_zeros(found);
            self.at = scan_block(self.number, segment, self.at, found);
        }
        true
    }

    /// How far it has come.
    pub fn at(&self) -> usize {
        self.at
    }

    fn end_zeros(&mut self, found: &mut impl FnMut(u64, Found)) {
        if let Some(from) = self.zeros_from.take() {
            let bytes = (self.at - from) as u64;
            found(from as u64, Found::Zeros { bytes });
        }
    }
}

/// Where the last block that is not zero ends: what comes after is free.
pub fn used_bytes(segment: &[u8]) -> u64 {
    let blocks = segment
        .chunks(BLOCK_BYTES)
        .rposition(|block| !is_zero(block));
    blocks.map_or(0, |last| (last as u64 + 1) * BLOCK_BYTES as u64)
}

/// Takes one block, or as many as the record at its start is long. Returns where it ended.
fn scan_block(
    number: u32,
    segment: &[u8],
    start: usize,
    found: &mut impl FnMut(u64, Found),
) -> usize {
    let mut at = start;
    let mut end = segment.len().min(start + BLOCK_BYTES);
    while at < end && !is_zero(&segment[at..end]) {
        // Only a record at the start of a block may go on beyond it.
        let limit = if at == start { segment.len() } else { end };
        let bytes = &segment[at..limit.min(at + record::RECORD_BYTES_MAX)];
        match record::decode(bytes, at as u64) {
            Ok(record) => {
                let bytes_of_record = record.bytes;
                let next = (at + record.bytes).next_multiple_of(ALIGN_BYTES);
                if next > end {
                    end = segment.len().min(next.next_multiple_of(BLOCK_BYTES));
                }
                let stale = record.header.segment != number;
                found(
                    at as u64,
                    if stale {
                        Found::Stale
                    } else {
                        Found::Record(record)
                    },
                );
                let padding = at + bytes_of_record..next.min(segment.len());
                if !is_zero(&segment[padding.clone()]) {
                    found(padding.start as u64, Found::Garbage(Fault::Slack));
                }
                at = next;
            }
            Err(fault) => {
                let fault = if starts_with_length(bytes) {
                    fault
                } else {
                    Fault::Slack
                };
                found(at as u64, Found::Garbage(fault));
                break;
            }
        }
    }
    end
}

/// A record was meant to be here, as opposed to bytes where zeros should be.
fn starts_with_length(bytes: &[u8]) -> bool {
    !is_zero(&bytes[..bytes.len().min(8)])
}

fn is_zero(bytes: &[u8]) -> bool {
    // By words: recovery looks at every byte of the log.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, Header, encode_front, seal};
    use crate::seam::{Hlc, Payload};
    use proptest::prelude::*;

    fn entry(segment: u32, seq: u64, body_bytes: usize) -> Vec<u8> {
        let header = Header {
            segment,
            epoch: 1,
            seq,
            hlc: Hlc(seq),
            durable: 0,
        };
        let body = "x".repeat(body_bytes).into();
        let mut bytes = Vec::new();
        encode_front(
            &header,
            &Body::Said(Payload::Entry {
                topic: "t".into(),
                body,
            }),
            &mut bytes,
        );
        seal(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGN_BYTES), 0);
        bytes
    }

    fn names(segment: &[u8]) -> Vec<(u64, String)> {
        let mut names = Vec::new();
        scan(1, segment, |offset, found| {
            let name = match found {
                Found::Record(record) => format!("record {}", record.header.seq),
                Found::Stale => "stale".to_owned(),
                Found::Garbage(fault) => format!("garbage, {fault}"),
                Found::Zeros { bytes } => format!("{bytes} zeros"),
            };
            names.push((offset, name));
        });
        names
    }

    fn put(segment: &mut [u8], at: usize, bytes: &[u8]) -> usize {
        segment[at..at + bytes.len()].copy_from_slice(bytes);
        at + bytes.len()
    }

    #[test]
    fn a_segment_is_cut_into_what_is_in_it() {
        let mut segment = vec![0; 10 * 4096];
        let second = put(&mut segment, 4096, &entry(1, 1, 10));
        put(&mut segment, second, &entry(1, 2, 10));
        put(&mut segment, 3 * 4096, &entry(1, 3, 5000));
        put(&mut segment, 5 * 4096, &entry(9, 3, 10));
        put(&mut segment, 6 * 4096, b"something else");
        let slack = put(&mut segment, 7 * 4096, &entry(1, 4, 10));
        segment[slack + 100] = 1;
        let told: Vec<_> = names(&segment);
        let told: Vec<_> = told.iter().map(|(at, name)| (*at, name.as_str())).collect();
        assert_eq!(
            told,
            [
                (4096, "record 1"),
                (second as u64, "record 2"),
                (2 * 4096, "4096 zeros"),
                (3 * 4096, "record 3"),
                (5 * 4096, "stale"),
                (6 * 4096, "garbage, impossible length"),
                (7 * 4096, "record 4"),
                (slack as u64, "garbage, bytes after the last record"),
                (8 * 4096, "8192 zeros"),
            ]
        );
        assert_eq!(used_bytes(&segment), 8 * 4096);
        assert_eq!(used_bytes(&[]), 0);
    }

    #[test]
    fn a_record_cut_off_by_the_end_of_the_file_is_garbage() {
        let mut segment = vec![0; 4096];
        segment.extend_from_slice(&entry(1, 1, 200)[..100]);
        assert_eq!(
            names(&segment),
            [(4096, "garbage, impossible length".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_up(seed in any::<[u8; 32]>(), blocks in 0..6usize, odd in 0..4096usize) {
            use rand::{Rng, SeedableRng};
            let mut segment = vec![0; blocks * 4096 + odd];
            rand_chacha::ChaCha8Rng::from_seed(seed).fill_bytes(&mut segment);
            scan(1, &segment, |_, _| {});
        }
    }
}
