//! A record's bytes: whatever is read can be written and read again to the same meaning. The
//! input is also put behind a right checksum, so that what the checksum protects is reached.

use tandem_storage::block::CHUNK_HEADER_BYTES;
use tandem_storage::record::{self, Body, HEADER_BYTES, RECORD_BYTES_MAX};
use tandem_storage::seam::Payload;

pub(super) fn run(bytes: &[u8]) {
    check(bytes);
    if (HEADER_BYTES..=RECORD_BYTES_MAX).contains(&bytes.len()) {
        let mut summed = bytes.to_vec();
        summed[41] &= 1;
        summed[42..48].fill(0);
        record::seal(&mut summed);
        check(&summed);
    }
}

fn check(bytes: &[u8]) {
    let Ok(read) = record::decode(bytes, 4096) else {
        return;
    };
    assert!((HEADER_BYTES..=bytes.len()).contains(&read.bytes));
    let mut written = Vec::new();
    record::encode_front(&read.header, &read.body, &mut written);
    assert_eq!(written.len(), record::front_bytes(&read.body));
    if let Body::Said(Payload::Chunk { id, .. }) | Body::Replica(_, Payload::Chunk { id, .. }) =
        &read.body
    {
        let (whose, samples) = record::decode_samples(bytes).expect("it is a chunk");
        assert_eq!(
            (whose, samples),
            (*id, &bytes[CHUNK_HEADER_BYTES..read.bytes])
        );
        written.extend_from_slice(samples);
    }
    record::seal(&mut written);
    assert_eq!(record::decode(&written, 4096).as_ref(), Ok(&read));
}
