use super::*;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 9 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:20\r\n\
    a=sendonly\r\na=rtcp:4100\r\nm=video 4002 RTP/AVP 97\r\nc=IN IP6 ::1\r\n";

#[test]
fn an_offer_is_read() {
    let s = parse(OFFER.as_bytes()).unwrap();
    let audio = &s.media[0];
    assert_eq!(
        audio.codecs().collect::<Vec<_>>(),
        [Codec::G722, Codec::Pcma, Codec::Pcmu]
    );
    assert_eq!(audio.events_for(Codec::Opus), Some((96, 8000)));
    assert_eq!(audio.rtp(), Some("10.0.0.1:4000".parse().unwrap()));
    assert_eq!(audio.rtcp(), Some("10.0.0.1:4100".parse().unwrap()));
    assert_eq!(audio.direction, Direction::SendOnly);
    assert_eq!(audio.ptime_ms, Some(20));
    assert!(!s.media[1].is_usable());
    assert_eq!(s.media[1].rtp(), Some("[::1]:4002".parse().unwrap()));
}

#[test]
fn a_payload_type_has_seven_bits() {
    let offer = OFFER
        .replace("AVP 9 8 0 96", "AVP 200 0")
        .replace("a=rtpmap:96 telephone-event", "a=rtpmap:200 PCMA");
    let s = parse(offer.as_bytes()).unwrap();
    assert_eq!(s.media[0].codecs().collect::<Vec<_>>(), [Codec::Pcmu]);
}

#[test]
fn held_addresses_are_none() {
    let s = parse(
        OFFER
            .replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0")
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(s.media[0].rtp(), None);
}

#[test]
fn bad_descriptions_are_refused() {
    for bad in [
        "",
        "v=1\r\n",
        "v=0\r\nm=audio\r\n",
        "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
        "v=0\r\nx\r\n",
        "v=0\r\nc=IN IP4\r\n",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(MEDIA_MAX + 1));
    assert_eq!(parse(many.as_bytes()), Err(SdpError::TooLarge));
    let long = "v=0\r\n".to_owned() + &"a=x\r\n".repeat(SDP_BYTES_MAX);
    assert_eq!(parse(long.as_bytes()), Err(SdpError::TooLarge));
}

#[test]
fn a_number_listed_twice_means_what_its_rtpmap_says() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0 8 0\r\na=rtpmap:0 telephone-event/8000\r\n";
    let media = &parse(text.as_bytes()).unwrap().media[0];
    let keys = Payload::TelephoneEvent { clock_hz: 8000 };
    assert_eq!(
        media.payloads,
        [(0, keys), (8, Payload::Sound(Codec::Pcma))]
    );
}
