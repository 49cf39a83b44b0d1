//! A segment: its file's name and its first block.
//!
//! The log is files `segment-00000001.log`, `segment-00000002.log` … of a fixed length, written
//! through with zeros before they are used: a commit into a merely allocated file is up to six
//! times slower, because every first touch of an extent needs the file system's journal. Their
//! first block, written together with the first records, says whose they are:
//!
//! ```text
//!  0  8 bytes   "TANDEMLG"
//!  8  u32       CRC-32C of bytes 12 .. 64
//! 12  u32       version of the format: 2 (1 had no restated records)
//! 16  16 bytes  the node's name, zero-padded
//! 32  u32       the segment's number, as in the file's name
//! 36  u32       epoch of the first record
//! 40  u64       sequence number of the first record
//! 48  16×0, and so on to the end of the block
//! ```

use crate::block::{BLOCK_BYTES, Block};
use crate::name::NodeName;
use crate::record::EPOCH_MAX;

/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 2;
/// The shortest segment: the header, and the longest record several times.
pub const SEGMENT_BYTES_MIN: u64 = 64 * BLOCK_BYTES as u64;
/// The longest segment. Recovery holds one in memory.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

const MAGIC: [u8; 8] = *b"TANDEMLG";
const SUMMED: std::ops::Range<usize> = 12..64;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log.
    pub node: NodeName,
    /// Its number.
    pub number: u32,
    /// Epoch of its first record.
    pub epoch: u32,
    /// Sequence number of its first record.
    pub seq: u64,
}

/// What a segment's first block can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBlock {
    /// As it should be.
    Header(SegmentHeader),
    /// Zero: never used, or lost.
    Zero,
    /// Of a newer version of the program.
    Newer(u32),
    /// Anything else.
    Garbled,
}

/// The name of a segment's file.
pub fn file_name(number: u32) -> String {
    format!("segment-{number:08}.log")
}

/// The number in a segment's file name; `None`: it is not one.
pub fn number_of(file_name: &str) -> Option<u32> {
    let digits = file_name.strip_prefix("segment-")?.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (digits.len() >= 8 && number != 0).then_some(number)
}

/// Writes the first block.
pub fn encode(header: &SegmentHeader, block: &mut Block) {
    let bytes = &mut block.0;
    bytes.fill(0);
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(&header.node.to_bytes());
    bytes[32..36].copy_from_slice(&header.number.to_le_bytes());
    bytes[36..40].copy_from_slice(&header.epoch.to_le_bytes());
    bytes[40..48].copy_from_slice(&header.seq.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[SUMMED]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the first block; `bytes` may be short or anything.
pub fn decode(bytes: &[u8]) -> FirstBlock {
    let bytes = &bytes[..bytes.len().min(BLOCK_BYTES)];
    if bytes.iter().all(|b| *b == 0) {
        return FirstBlock::Zero;
    }
    match bytes.first_chunk::<64>() {
        Some(front) if bytes[64..].iter().all(|b| *b == 0) => decode_front(front),
        _ => FirstBlock::Garbled,
    }
}

fn decode_front(front: &[u8; 64]) -> FirstBlock {
    let u32_at =
        |at: usize| u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]]);
    if front[..8] != MAGIC || crc_fast::crc32_iscsi(&front[SUMMED]) != u32_at(8) {
        return FirstBlock::Garbled;
    }
    if u32_at(12) > VERSION {
        return FirstBlock::Newer(u32_at(12));
    }
    let mut name = [0; NodeName::LEN_MAX];
    name.copy_from_slice(&front[16..32]);
    let seq = u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32;
    match NodeName::from_bytes(name) {
        Ok(node) if u32_at(36) <= EPOCH_MAX => FirstBlock::Header(SegmentHeader {
            node,
            number: u32_at(32),
            epoch: u32_at(36),
            seq,
        }),
        _ => FirstBlock::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_read_back() {
        assert_eq!(file_name(7), "segment-00000007.log");
        for number in [1, 99_999_999, u32::MAX] {
            assert_eq!(number_of(&file_name(number)), Some(number));
        }
        for other in [
            "segment-7.log",
            "segment-00000000.log",
            "segment-00000007.log.new",
            "lock",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let node = "main-office".parse().unwrap();
        let header = SegmentHeader {
            node,
            number: 3,
            epoch: 9,
            seq: 1 << 40,
        };
        let mut block = Block([0; BLOCK_BYTES]);
        encode(&header, &mut block);
        assert_eq!(decode(&block.0), FirstBlock::Header(header));
        for bit in 0..BLOCK_BYTES * 8 {
            block.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&block.0), FirstBlock::Garbled, "bit {bit}");
            block.0[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(decode(&[]), FirstBlock::Zero);
        assert_eq!(decode(b"TANDEMLG"), FirstBlock::Garbled);
    }
}
