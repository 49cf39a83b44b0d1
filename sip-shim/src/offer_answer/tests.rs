//! What is agreed on, offer by offer.

use super::*;
use crate::sdp::parse;

fn offer(lines: &str) -> Session {
    parse(format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{lines}").as_bytes()).unwrap()
}

fn talk() -> MediaNegotiation {
    let mut talk = MediaNegotiation::new(4, "10.0.0.9".parse().unwrap());
    talk.open(5000);
    talk
}

//= RFC 3264 §6.1 type=test
//# The media formats in the "m=" line MUST be listed in order of preference, with the first
//# format listed being preferred.
#[test]
fn the_preferred_common_codec_is_chosen() {
    let both = offer("m=audio 4000 RTP/AVP 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\n");
    let mut t = talk();
    let text = t.answer(&both, &[Codec::Pcma]).unwrap();
    assert!(text.contains("m=audio 5000 RTP/AVP 8 96\r\n"), "{text}");
    let agreed = t.agreed.clone().unwrap();
    assert_eq!(
        (agreed.codec, agreed.dtmf_payload_type),
        (Codec::Pcma, Some(96))
    );
    assert!(talk().answer(&both, &[]).unwrap().contains("RTP/AVP 0 96"));
    let alaw = offer("m=audio 4000 RTP/AVP 8\r\n");
    assert!(
        talk()
            .answer(&alaw, &[Codec::Pcmu])
            .unwrap()
            .contains("RTP/AVP 8\r\n")
    );
    assert_eq!(
        talk().answer(&offer("m=audio 4000 RTP/AVP 18\r\n"), &[]),
        None
    );
}

//= RFC 3264 §5.1 type=test
//# However, for sendonly and sendrecv streams, the answer might indicate different payload type
//# numbers for the same codecs, in which case, the offerer MUST send with the payload type
//# numbers from the answer.
//= RFC 3264 §6.1 type=test
//# Even if the same payload type number is used, the answer MUST contain rtpmap attributes to
//# define the payload type mappings for dynamic payload types, and SHOULD contain mappings for
//# static payload types.
//= RFC 3264 §6.1 type=test
//# The answerer MUST be prepared to receive media for recvonly or sendrecv streams using any
//# media formats listed for those streams in the answer, and it MAY send media immediately.
//= RFC 3264 §6.1 type=test
//# The answerer MUST send using a media format in the offer that is also listed in the answer,
//# and SHOULD send using the most preferred media format in the offer that is also listed in
//# the answer. In the case of RTP, it MUST use the payload type numbers from the offer, even if
//# they differ from those in the answer.
#[test]
fn opus_is_agreed_on_with_keys_at_its_own_clock_and_numbers_of_either_side() {
    let lines = "m=audio 4000 RTP/AVP 96 0 97 98\r\na=rtpmap:96 opus/48000/2\r\n\
        a=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000\r\na=ptime:45\r\n";
    let mut t = talk();
    let text = t.answer(&offer(lines), &[]).unwrap();
    assert!(
        text.contains("RTP/AVP 96 98\r\na=rtpmap:96 opus/48000/2\r\n"),
        "{text}"
    );
    let agreed = t.agreed.clone().unwrap();
    assert_eq!(agreed.payload_type, 96);
    let received = [(96, Receives::Sound(Codec::Opus)), (98, Receives::Keys)];
    assert_eq!(agreed.receives, received);
    assert_eq!(
        (agreed.dtmf_payload_type, agreed.dtmf_clock_hz),
        (Some(98), 48_000)
    );
    assert_eq!(agreed.ptime_ms, 40);

    let mut t = talk();
    t.offer(&[]);
    assert!(t.accept(&offer(lines)));
    let agreed = t.agreed.clone().unwrap();
    assert_eq!(
        (agreed.payload_type, agreed.dtmf_payload_type),
        (96, Some(98))
    );
    // Under our numbers, or its own.
    assert_eq!(
        agreed.receives,
        [
            (OPUS_NUMBER, Receives::Sound(Codec::Opus)),
            (0, Receives::Sound(Codec::Pcmu)),
            (101, Receives::Keys),
            (110, Receives::Keys),
            (96, Receives::Sound(Codec::Opus)),
            (97, Receives::Keys),
            (98, Receives::Keys),
        ]
    );
}

//= RFC 3264 §8 type=test
//# If an SDP is offered, which is different from the previous SDP, the new SDP MUST have a
//# matching media stream for each media stream in the previous SDP. In other words, if the
//# previous SDP had N "m=" lines, the new SDP MUST have at least N "m=" lines.
//= RFC 3264 §8 type=test
//# Deleted media streams from a previous SDP MUST NOT be removed in a new SDP; however,
//# attributes for these streams need not be present.
//= RFC 3264 §8.3.2 type=test
//# However, in the case of RTP, the mapping from a particular dynamic payload type number to a
//# particular codec within that media stream MUST NOT change for the duration of a session. For
//# example, if A generates an offer with G.711 assigned to dynamic payload type number 46,
//# payload type number 46 MUST refer to G.711 from that point forward in any offers or answers
//# for that media stream within the session.
#[test]
fn lines_and_numbers_hold_for_the_whole_session() {
    let mut t = talk();
    let lines = "m=video 4002 RTP/AVP 97\r\nm=audio 4000 RTP/AVP 111 0 101\r\n\
        a=rtpmap:111 telephone-event/8000\r\na=rtpmap:101 opus/48000/2\r\n";
    t.answer(&offer(lines), &[]).unwrap();
    let again = t.offer(&[]);
    let said: Vec<&str> = again.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        said,
        [
            "m=video 0 RTP/AVP 97",
            "m=audio 5000 RTP/AVP 101 9 0 8 111 110"
        ]
    );
    assert!(again.contains("a=rtpmap:101 opus/48000/2\r\n"), "{again}");
    let answer = "m=video 0 RTP/AVP 97\r\nm=audio 4000 RTP/AVP 8\r\n";
    assert!(t.accept(&offer(answer)));
    assert_eq!(t.agreed.as_ref().unwrap().codec, Codec::Pcma);
    // A number that another codec has is not used for ours.
    let mut t = talk();
    let lines = "m=audio 4000 RTP/AVP 0 111\r\na=rtpmap:111 telephone-event/8000\r\n";
    t.answer(&offer(lines), &[]).unwrap();
    assert!(t.offer(&[]).contains("RTP/AVP 96 9 0 8 111 110\r\n"));
}

#[test]
fn an_address_that_cannot_be_reached_is_not_talked_to() {
    let named = "v=0\r\nc=IN IP4 phone.example\r\nm=audio 4000 RTP/AVP 0\r\n";
    let six = "v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n";
    let lies = "v=0\r\nc=IN IP4 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n";
    for text in [named, six, lies] {
        let offer = parse(text.as_bytes()).unwrap();
        assert_eq!(talk().answer(&offer, &[]), None, "{text}");
        let mut t = talk();
        t.offer(&[]);
        assert!(!t.accept(&offer), "{text}");
    }
    let held = "v=0\r\nc=IN IP4 void.invalid\r\nm=audio 4000 RTP/AVP 0\r\n";
    let mut t = talk();
    t.answer(&parse(held.as_bytes()).unwrap(), &[]).unwrap();
    assert!(t.held);
}

//= RFC 3264 §8.3.4 type=test
//# Generally, an agent MUST send media (if the directionality of the stream allows) using the
//# new parameters once the SDP with the change is received.
#[test]
fn a_packet_is_no_longer_than_the_party_takes() {
    let lines = "m=audio 4000 RTP/AVP 0\r\na=ptime:60\r\na=maxptime:40\r\n";
    let mut t = talk();
    let text = t.answer(&offer(lines), &[]).unwrap();
    assert!(text.contains("a=maxptime:150\r\n"), "{text}");
    assert_eq!(t.agreed.unwrap().ptime_ms, 40);
}

#[test]
fn codecs_that_are_not_allowed_are_neither_offered_nor_taken() {
    let ours: Arc<[Codec]> = [Codec::Pcma].into();
    let mut t = talk().speaking(&ours);
    assert!(t.offer(&[Codec::Opus]).contains("RTP/AVP 8 101\r\n"));
    let both = offer("m=audio 4000 RTP/AVP 0 8\r\n");
    assert!(t.answer(&both, &[]).unwrap().contains("RTP/AVP 8\r\n"));
    assert_eq!(t.answer(&offer("m=audio 4000 RTP/AVP 0 9\r\n"), &[]), None);
}

//= RFC 3264 §6 type=test
//# For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer. The
//# answer MUST contain exactly the same number of "m=" lines as the offer.
//= RFC 3264 §6 type=test
//# If a stream is rejected, the offerer and answerer MUST NOT generate media (or RTCP packets)
//# for that stream. To reject an offered stream, the port number in the corresponding stream in
//# the answer MUST be set to zero.
//= RFC 3264 §6 type=test
//# At least one MUST be present, as specified by SDP.
//= RFC 3264 §6.1 type=test
//# The media type of the stream in the answer MUST match that of the offer.
//= RFC 3264 §6.1 type=test
//# If the answerer has no media formats in common for a particular offered stream, the answerer
//# MUST reject that media stream by setting the port to zero.
#[test]
fn other_media_are_refused_line_by_line() {
    let mixed = offer(
        "m=video 4002 RTP/AVP 97 98\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 4004 RTP/SAVP 0\r\n",
    );
    let text = talk().answer(&mixed, &[]).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 97 98",
            "m=audio 5000 RTP/AVP 0",
            "m=audio 0 RTP/SAVP 0"
        ]
    );
}

//= RFC 3264 §6.1 type=test
//# If a stream is offered as sendonly, the corresponding stream MUST be marked as recvonly or
//# inactive in the answer. If a media stream is listed as recvonly in the offer, the answer
//# MUST be marked as sendonly or inactive in the answer.
//= RFC 3264 §6.1 type=test
//# If an offered media stream is listed as inactive, it MUST be marked as inactive in the
//# answer. For streams marked as recvonly in the answer, the "m=" line MUST contain at least
//# one media format the answerer is willing to receive with from amongst those listed in the
//# offer.
//= RFC 3264 §6.1 type=test
//# For streams marked as sendonly in the answer, the "m=" line MUST contain at least one media
//# format the answerer is willing to send from amongst those listed in the offer. For streams
//# marked as sendrecv in the answer, the "m=" line MUST contain at least one codec the answerer
//# is willing to both send and receive, from amongst those listed in the offer.
//= RFC 3264 §6.1 type=test
//# This address and port MUST be present even for sendonly streams; in the case of RTP, the
//# port one higher is still used to receive RTCP.
//= RFC 3264 §8.4 type=test
//# An agent MUST be capable of receiving SDP with a connection address of 0.0.0.0, in which
//# case it means that neither RTP nor RTCP should be sent to the peer.
#[test]
fn hold_has_many_forms() {
    let check = |lines: &str, answered: &str, send: bool, receive: bool| {
        let mut t = talk();
        let text = t.answer(&offer(lines), &[]).unwrap();
        assert!(text.contains(answered), "{lines:?}: {text}");
        assert!(text.contains("m=audio 5000 RTP/AVP 0\r\n"), "{text}");
        let p = t.agreed.clone().unwrap();
        assert_eq!(
            (p.send, p.receive, t.held),
            (send, receive, !send),
            "{lines:?}"
        );
    };
    check("m=audio 4 RTP/AVP 0\r\n", "a=sendrecv", true, true);
    check(
        "m=audio 4 RTP/AVP 0\r\na=sendonly\r\n",
        "a=recvonly",
        false,
        true,
    );
    check(
        "m=audio 4 RTP/AVP 0\r\na=inactive\r\n",
        "a=inactive",
        false,
        false,
    );
    check(
        "m=audio 4 RTP/AVP 0\r\na=recvonly\r\n",
        "a=sendonly",
        true,
        false,
    );
    check(
        "m=audio 4 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
        "a=sendrecv",
        false,
        true,
    );
}

//= RFC 3264 §5.1 type=test
//# In all cases, the formats in the "m=" line MUST be listed in order of preference, with the
//# first format listed being preferred.
//= RFC 3264 §8 type=test
//# If the version in the origin line does not increment, the SDP MUST be identical to the SDP
//# with that version number.
#[test]
fn an_offer_names_the_wanted_codec_first() {
    let mut t = talk();
    assert!(
        t.offer(&[Codec::Pcma])
            .contains("m=audio 5000 RTP/AVP 8 111 9 0 101 110\r\n")
    );
    let again = t.again();
    assert_eq!(t.offer(&[Codec::Pcma]), again);
    assert!(t.accept(&offer("m=audio 4000 RTP/AVP 8 101\r\n")));
    assert_eq!(t.preference(), [Codec::Pcma]);
    assert!(!t.accept(&offer("m=audio 0 RTP/AVP 8\r\n")));
}
