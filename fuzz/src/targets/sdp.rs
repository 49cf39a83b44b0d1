//! Session descriptions: what is read is bounded, and can be written as it was; our answer to whatever can be answered is a
//! description itself, line for line, says nothing that was not offered, and is the same when the
//! offer is; what was agreed can be carried in RTP.

use std::net::{IpAddr, Ipv4Addr};

use tandem_engine::seam::Codec;
use tandem_sip_shim::offer_answer::{self, MediaNegotiation};
use tandem_sip_shim::sdp::{self, FORMATS_MAX, LINES_MAX, MEDIA_MAX, SDP_BYTES_MAX, Session};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PORT: u16 = 40_000;
/// Payload types are seven bits (RFC 3550 §5.1).
const PAYLOAD_TYPE_MAX: u8 = 127;

pub(super) fn run(bytes: &[u8]) {
    let Ok(offer) = sdp::parse(bytes) else {
        return;
    };
    assert!(offer.media.len() <= MEDIA_MAX);
    assert!(offer.media.iter().all(|m| m.payloads.len() <= FORMATS_MAX));
    check_lossless(&offer, bytes);
    answer(&offer, bytes.len());
    accept(&offer);
}

/// What was read, written and read again is the same, and no byte went but line ends and spaces.
fn check_lossless(offer: &Session, bytes: &[u8]) {
    assert!(offer.description.lines().count() <= LINES_MAX);
    let written = offer.description.write();
    assert!(written.len() <= SDP_BYTES_MAX);
    assert_eq!(sdp::parse(&written).as_ref(), Ok(offer));
    let solid = |bytes: &[u8]| -> Vec<u8> {
        let bytes = bytes.iter().copied();
        bytes.filter(|byte| !byte.is_ascii_whitespace()).collect()
    };
    assert_eq!(solid(&written), solid(bytes));
}

fn answer(offer: &Session, offer_bytes: usize) {
    let mut ours = MediaNegotiation::new(1, ADDRESS);
    ours.open(PORT);
    ours.note(offer);
    let Some(text) = ours.answer(offer, &[Codec::Pcma]) else {
        assert!(!offer_answer::is_usable(
            offer,
            &offer_answer::CODECS,
            ADDRESS
        ));
        return;
    };
    assert!(offer_answer::is_usable(
        offer,
        &offer_answer::CODECS,
        ADDRESS
    ));
    // Lossy reading may make three bytes of one.
    assert!(
        text.len() <= 3 * offer_bytes + 1000,
        "an answer out of all proportion"
    );
    let said = sdp::parse(text.as_bytes()).expect("our answer is a description");
    assert_eq!(said.description.write(), text.as_bytes());
    check_answer(offer, &said, &text);
    check_agreed(&ours);
    assert_eq!(
        ours.answer(offer, &[Codec::Pcma]).as_ref(),
        Some(&text),
        "the version rose"
    );
    assert_eq!(ours.again(), text);
}

/// RFC 3264 §6: as many lines as were offered, of the same kinds, one of them with media.
fn check_answer(offer: &Session, said: &Session, text: &str) {
    assert_eq!(offer.media.len(), said.media.len(), "{text}");
    let mut open = 0;
    for (asked, said) in offer.media.iter().zip(&said.media) {
        assert_eq!(
            (&asked.kind, &asked.protocol),
            (&said.kind, &said.protocol),
            "{text}"
        );
        if said.port != 0 {
            open += 1;
            assert_eq!(said.port, PORT);
            let offered = |p: &(u8, sdp::Payload)| asked.payloads.contains(p);
            assert!(said.payloads.iter().all(offered), "not offered: {text}");
        }
    }
    assert_eq!(open, 1, "{text}");
}

fn accept(answer: &Session) {
    let mut ours = MediaNegotiation::new(1, ADDRESS);
    ours.open(PORT);
    let offer = ours.offer(&[Codec::Pcma]);
    sdp::parse(offer.as_bytes()).expect("our offer is a description");
    if ours.accept(answer) {
        check_agreed(&ours);
    }
}

fn check_agreed(talk: &MediaNegotiation) {
    let agreed = talk.agreed.as_ref().expect("something was agreed");
    assert!(agreed.payload_type <= PAYLOAD_TYPE_MAX);
    assert!(
        agreed
            .dtmf_payload_type
            .is_none_or(|p| p <= PAYLOAD_TYPE_MAX)
    );
    assert!(agreed.dtmf_payload_type != Some(agreed.payload_type));
    assert!(
        agreed
            .remote_rtp
            .is_none_or(|a| !a.ip().is_unspecified() && a.port() != 0)
    );
}
