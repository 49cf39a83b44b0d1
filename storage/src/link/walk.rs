//! The records in a piece of a log, read from the disk to be handed on.
//!
//! Unlike recovery, which asks what a log means, this only cuts: whoever calls knows from the opening of
//! the log which numbers count. What is no record is passed over block by block.

use crate::block::BLOCK_BYTES;
use crate::record::{self, ALIGN_BYTES, RECORD_BYTES_MAX, Record};

/// Hands each record of a piece to `take`, with its bytes. The piece is of the segment with this
/// number and begins at a block. Returns how much of it is done with, in whole blocks: a record that
/// goes on behind the piece is left for the next one, unless `is_last`: there is none.
pub(super) fn walk(
    segment: u32,
    piece: &[u8],
    is_last: bool,
    mut take: impl FnMut(Record, &[u8]),
) -> usize {
    let mut block = 0;
    while block < piece.len() {
        let end = piece.len().min(block + BLOCK_BYTES);
        let mut at = block;
        while at < end {
            // Only a record at the start of a block may go on beyond it.
            let limit = if at == block { piece.len() } else { end };
            let bytes = &piece[at..limit.min(at + RECORD_BYTES_MAX)];
            let Ok(record) = record::decode(bytes, 0) else {
                let is_cut = at == block && piece.len() - at < RECORD_BYTES_MAX;
                if is_cut && !is_last && goes_on(bytes) {
                    return block;
                }
                break;
            };
            // An earlier life of the file left it.
            if record.header.segment != segment {
                break;
            }
            let length = record.bytes;
            take(record, &bytes[..length]);
            at = (at + length).next_multiple_of(ALIGN_BYTES);
        }
        block = at.max(block + 1).next_multiple_of(BLOCK_BYTES);
    }
    block.min(piece.len())
}

/// It could be the beginning of a record that is longer than this.
fn goes_on(bytes: &[u8]) -> bool {
    let length = bytes
        .get(4..8)
        .and_then(|field| Some(u32::from_le_bytes(field.try_into().ok()?)));
    length.is_some_and(|length| (bytes.len()..=RECORD_BYTES_MAX).contains(&(length as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Body, Header, encode_front, seal};
    use crate::seam::{Hlc, Payload};
    use proptest::prelude::*;

    fn register(seq: u64, value_len: usize) -> Vec<u8> {
        let header = Header {
            segment: 3,
            epoch: 1,
            seq,
            hlc: Hlc(seq),
            durable: 0,
        };
        let value = Some("v".repeat(value_len).into());
        let key = "k".into();
        let mut bytes = Vec::new();
        let body = Body::Said(Payload::Register { key, value });
        encode_front(&header, &body, &mut bytes);
        seal(&mut bytes);
        bytes
    }

    fn seqs(segment: u32, piece: &[u8], is_last: bool) -> (Vec<u64>, usize) {
        let mut seqs = Vec::new();
        let done = walk(segment, piece, is_last, |r, _| seqs.push(r.header.seq));
        (seqs, done)
    }

    #[test]
    fn a_record_that_goes_on_behind_the_piece_waits_for_the_next() {
        let mut piece = register(1, 10);
        piece.resize(piece.len().next_multiple_of(8), 0);
        piece.extend_from_slice(&register(2, 10));
        piece.resize(BLOCK_BYTES, 0);
        piece.extend_from_slice(&register(3, 9000));
        assert_eq!(
            seqs(3, &piece[..3 * BLOCK_BYTES], false),
            (vec![1, 2], BLOCK_BYTES)
        );
        piece.resize(4 * BLOCK_BYTES, 0);
        assert_eq!(seqs(3, &piece, false), (vec![1, 2, 3], 4 * BLOCK_BYTES));
    }

    #[test]
    fn garbage_and_other_lives_are_passed_over() {
        let mut piece = vec![0xa5; BLOCK_BYTES];
        piece.extend_from_slice(&register(2, 10));
        piece.resize(2 * BLOCK_BYTES, 0);
        assert_eq!(seqs(3, &piece, true), (vec![2], 2 * BLOCK_BYTES));
        assert_eq!(seqs(4, &piece, true), (vec![], 2 * BLOCK_BYTES));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_their_end(piece in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            prop_assert_eq!(walk(1, &piece, true, |_, _| ()), piece.len());
        }
    }
}
