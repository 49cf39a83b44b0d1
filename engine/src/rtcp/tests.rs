use super::*;

const US: Ourselves = Ourselves {
    ssrc: 0x11,
    ntp: 0x1122_3344_5566_7788,
    timestamp: 9,
    packets: 3,
    octets: 480,
};

fn block() -> BlockFigures {
    BlockFigures {
        ssrc: 0x22,
        fraction_lost: 64,
        lost: -2,
        seq_ext_max: 0x1_0005,
        jitter: 4,
    }
}

//= RFC 3550 §6.1 type=test
//# Each RTCP packet begins with a fixed part similar to that of RTP data packets, followed by
//# structured elements that MAY be of variable length according to the packet type but MUST end
//# on a 32-bit boundary.
//= RFC 3550 §6.1 type=test
//# Reception statistics (in SR or RR) should be sent as often as bandwidth constraints will
//# allow to maximize the resolution of the statistics, therefore each periodically transmitted
//# compound RTCP packet MUST include a report packet.
//= RFC 3550 §6.1 type=test
//# New receivers need to receive the CNAME for a source as soon as possible to identify the
//# source and to begin associating media for purposes such as lip-sync, so each compound RTCP
//# packet MUST also include the SDES CNAME except when the compound RTCP packet is split for
//# partial encryption as described in Section 9.1.
//= RFC 3550 §6.1 type=test
//# Thus, all RTCP packets MUST be sent in a compound packet of at least two individual packets,
//# with the following format:
//= RFC 3550 §6.1 type=test
//# The first RTCP packet in the compound packet MUST always be a report packet to facilitate
//# header validation as described in Appendix A.2.
//= RFC 3550 §6.1 type=test
//# An SDES packet containing a CNAME item MUST be included in each compound RTCP packet, except
//# as noted in Section 9.1.
//= RFC 3550 §6.1 type=test
//# Note that each of the compound packets MUST begin with an SR or RR packet.
//= RFC 3550 §6.4.1 type=test
//# Thus, padding MUST only be added to the last individual packet, and if padding is added to
//# that packet, the padding bit MUST be set only on that packet.
//= RFC 3550 §6.5 type=test
//# The list of items in each chunk MUST be terminated by one or more null octets, the first of
//# which is interpreted as an item type of zero to denote the end of the list. No length octet
//# follows the null item type octet, but additional null octets MUST be included if needed to
//# pad until the next 32-bit boundary.
//= RFC 3550 §6.5.1 type=test
//# Because the randomly allocated SSRC identifier may change if a conflict is discovered or if
//# a program is restarted, the CNAME item MUST be included to provide the binding from the SSRC
//# identifier to an identifier for the source (sender or receiver) that remains constant.
#[test]
fn golden_sender_report() {
    let mut reporter = Reporter::new(Time(0), &mut Random::new(1));
    reporter.cname = "0123456789abcdef".into();
    reporter.their_report = Some((0xaabb_ccdd, Time(0)));
    let mut bytes = [0; COMPOUND_BYTES_MAX];
    let len = reporter.write(Time(500_000_000), &US, Some(block()), true, &mut bytes);
    #[rustfmt::skip]
    let expected: &[u8] = &[
        0x81, 200, 0, 12, 0, 0, 0, 0x11,
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
        0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 1, 0xe0,
        0, 0, 0, 0x22, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 5, 0, 0, 0, 4,
        0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0x80, 0,
        0x81, 202, 0, 6, 0, 0, 0, 0x11, 1, 16,
        b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9',
        b'a', b'b', b'c', b'd', b'e', b'f', 0, 0,
        0x81, 203, 0, 1, 0, 0, 0, 0x11,
    ];
    assert_eq!(&bytes[..len], expected);
}

#[test]
fn what_we_write_we_read_and_a_round_trip_comes_out() {
    let (mut a, mut b) = (
        Reporter::new(Time(0), &mut Random::new(1)),
        Reporter::new(Time(0), &mut Random::new(2)),
    );
    let mut bytes = [0; COMPOUND_BYTES_MAX];
    let len = a.write(Time(0), &US, None, false, &mut bytes);
    let heard = parse(&bytes[..len], 0x99).unwrap();
    assert_eq!(heard.sender_ntp_mid, Some(0x3344_5566));
    b.on_report(Time(1_000_000_000), 0, &heard);

    let them = Ourselves {
        ssrc: 0x22,
        packets: 0,
        ..US
    };
    let figures = BlockFigures {
        ssrc: 0x11,
        ..block()
    };
    let len = b.write(Time(1_500_000_000), &them, Some(figures), false, &mut bytes);
    assert_eq!(bytes[1], ReceiverReport::PACKET_TYPE);
    let heard = parse(&bytes[..len], 0x11).unwrap();
    assert_eq!(heard.about_us.unwrap().fraction_lost, 64);
    // Half a second at the other side, a quarter on the way.
    let mid_now = 0x3344_5566 + (3 << 14);
    assert_eq!(a.on_report(Time(0), mid_now, &heard), Some(250_000));
}

//= RFC 3550 §6.1 type=test
//# This is true even if no data has been sent or received, in which case an empty RR MUST be
//# sent, and even if the only other RTCP packet in the compound packet is a BYE.
//= RFC 3550 §6.4.2 type=test
//# An empty RR packet (RC = 0) MUST be put at the head of a compound RTCP packet when there is
//# no data transmission or reception to report.
#[test]
fn nothing_sent_or_heard_is_an_empty_receiver_report() {
    let mut reporter = Reporter::new(Time(0), &mut Random::new(1));
    let mut bytes = [0; COMPOUND_BYTES_MAX];
    let silent = Ourselves { packets: 0, ..US };
    let len = reporter.write(Time(0), &silent, None, true, &mut bytes);
    assert_eq!(bytes[..8], [0x80, 201, 0, 1, 0, 0, 0, 0x11]);
    assert_eq!(bytes[8..10], [0x81, 202]);
    assert_eq!(bytes[len - 8..len], [0x81, 203, 0, 1, 0, 0, 0, 0x11]);
}

#[test]
fn what_is_not_rtcp_is_refused() {
    let receiver_report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    assert_eq!(parse(&receiver_report, 1), Ok(PartyReport::default()));
    assert_eq!(parse(&[], 1), Err(Malformed));
    assert_eq!(parse(&receiver_report[..7], 1), Err(Malformed), "short");
    assert_eq!(
        parse(&[0x80, 200, 0, 1, 0, 0, 0, 1], 1),
        Err(Malformed),
        "no sender info"
    );
    assert_eq!(
        parse(&[0x81, 201, 0, 1, 0, 0, 0, 1], 1),
        Err(Malformed),
        "no block"
    );
    assert_eq!(
        parse(&[0x81, 203, 0, 1, 0, 0, 0, 1], 1),
        Err(Malformed),
        "begins with BYE"
    );
    assert_eq!(
        parse(&[0x40, 201, 0, 1, 0, 0, 0, 1], 1),
        Err(Malformed),
        "version 1"
    );
    let mut garbage_behind = receiver_report.to_vec();
    garbage_behind.push(0x80);
    assert_eq!(parse(&garbage_behind, 1), Err(Malformed));
}

#[test]
fn what_stands_behind_a_report_does_not_take_it_back() {
    let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    #[rustfmt::skip]
    let behind: [(&str, &[u8]); 6] = [
        ("names of two, one's SSRC begins with zero",
            &[0x82, 202, 0, 4, 1, 2, 3, 4, 1, 1, b'a', 0, 0, 0, 0, 17, 1, 1, b'b', 0]),
        ("a name, filled up", &[0xa1, 202, 0, 3, 1, 2, 3, 4, 1, 1, b'a', 0, 0, 0, 0, 4]),
        ("a block of extended reports cut short", &[0x80, 207, 0, 2, 0, 0, 0, 1, 7, 0, 0, 8]),
        ("nothing of an application", &[0x80, 204, 0, 0]),
        ("a report, filled up, and another", &[
            0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 1,
        ]),
        ("a reason longer than its packet", &[0x81, 203, 0, 2, 0, 0, 0, 1, 9, b'a', b'b', 0]),
    ];
    for (what, packet) in behind {
        let compound = [&report[..], packet].concat();
        assert_eq!(parse(&compound, 1), Ok(PartyReport::default()), "{what}");
    }
    let leaves = [&report[..], &[0x81, 203, 0, 1, 0, 0, 0, 1]].concat();
    assert!(parse(&leaves, 1).unwrap().bye);
}
