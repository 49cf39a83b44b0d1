//! RTP headers: what is read lies inside the packet, and reads the same once it was written anew.

use tandem_engine::rtp::{self, HEADER_BYTES};

pub(super) fn run(bytes: &[u8]) {
    let Ok(parsed) = rtp::parse(bytes) else {
        return;
    };
    assert!(parsed.payload.start >= HEADER_BYTES && parsed.payload.end <= bytes.len());
    let samples = bytes[parsed.payload.clone()].to_vec();
    let mut relayed = bytes.to_vec();
    let sent = rtp::rewrite(&mut relayed, &parsed.header, parsed.payload);
    let again = rtp::parse(&relayed[sent.clone()]).expect("what we send is RTP");
    assert_eq!(again.header, parsed.header);
    assert_eq!(relayed[sent][again.payload], samples);
}
