//! Offer and answer (RFC 3264) from outside: what our descriptions say in unusual cases.
#![allow(clippy::unwrap_used)]

use tandem_sip_shim::offer_answer::MediaNegotiation;
use tandem_sip_shim::sdp::{Session, parse};

fn offer(lines: &str) -> Session {
    parse(format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{lines}").as_bytes()).unwrap()
}

fn talk(session_id: u64) -> MediaNegotiation {
    let mut talk = MediaNegotiation::new(session_id, "10.0.0.9".parse().unwrap());
    talk.open(5000);
    talk
}

//= RFC 3264 §5 type=test
//# The numeric value of the session id and version in the o line MUST be representable with a 64
//# bit signed integer.
#[test]
fn a_session_id_fits_63_bits() {
    let text = talk(u64::MAX).offer(&[]);
    let origin = text.lines().find(|l| l.starts_with("o=")).unwrap();
    let numbers = origin.split(' ').skip(1).take(2);
    let numbers: Vec<i64> = numbers.map(|n| n.parse().unwrap()).collect();
    assert!(numbers.iter().all(|n| *n > 0), "{origin}");
}

//= RFC 3264 §5.1 type=test
//# A port number of zero in the offer indicates that the stream is offered but MUST NOT be used.
//= RFC 3264 §8.2 type=test
//# A stream that is offered with a port of zero MUST be marked with port zero in the answer.
#[test]
fn a_stream_that_was_offered_without_a_port_is_refused() {
    let gone = "m=audio 0 RTP/AVP 0\r\n";
    let both = offer(&format!("{gone}m=audio 4000 RTP/AVP 8\r\n"));
    let mut talk = talk(1);
    let text = talk.answer(&both, &[]).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(lines, ["m=audio 0 RTP/AVP 0", "m=audio 5000 RTP/AVP 8"]);
    let agreed = talk.agreed.unwrap();
    assert_eq!(agreed.remote_rtp, Some("10.0.0.1:4000".parse().unwrap()));
    assert_eq!(self::talk(1).answer(&offer(gone), &[]), None);
}
