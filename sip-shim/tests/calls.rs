//! Calls as transcripts, both ways.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};

#[test]
fn a_call_comes_in_rings_is_answered_and_ends() {
    let mut w = World::new();
    w.incoming();
    w.pbx(SipCommand::Ring { leg: LegId(1) });
    w.expect(&["10.7.0.1:5060: 180 (1 INVITE)"]);
    assert!(header(w.last(), "Contact").starts_with("<sip:10.0.0.9:5060>"));
    w.pbx(SipCommand::Answer {
        leg: LegId(1),
        like: None,
    });
    w.expect(&[
        "10.7.0.1:5060: 200 (1 INVITE)",
        "media: Set 1 Pcmu 10.7.0.1:4000 both",
    ]);
    assert!(
        w.last().contains("m=audio 10000 RTP/AVP 0 101\r\n"),
        "{}",
        w.last()
    );
    w.receive(GATE, &w.within("ACK", 1, "", ""));
    w.expect(&["pbx: Confirmed 1"]);
    w.receive(GATE, &w.within("BYE", 2, "", ""));
    w.expect(&[
        "10.7.0.1:5060: 200 (2 BYE)",
        "media: Close 1",
        "pbx: Ended 1 Normal",
    ]);
    w.pass_ms(100_000);
    w.expect(&[]);
    assert_eq!(
        (w.shim.dialogs(), w.shim.waiting(), w.shim.deadline()),
        (0, 0, None)
    );
}

#[test]
fn we_hang_up() {
    let mut w = World::new();
    w.talking();
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 1", "10.7.0.1:5060: BYE sip:555@10.7.0.1:5060"]);
    w.respond(GATE, "BYE", "200 OK", "", "");
    w.pass_ms(100_000);
    w.expect(&[]);
}

#[test]
fn a_call_goes_out_and_is_answered() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    assert!(
        invite.contains("m=audio 10000 RTP/AVP 0 8 101\r\n"),
        "{invite}"
    );
    assert!(header(&invite, "From").starts_with("\"Gate\" <sip:555@10.0.0.9:5060>;tag="));
    w.respond(HOME, "INVITE", "100 Trying", "", "");
    w.expect(&[]);
    w.respond(HOME, "INVITE", "180 Ringing", "", "");
    w.respond(HOME, "INVITE", "180 Ringing", "", "");
    w.expect(&["pbx: Ringing 2"]);
    let contact = "Contact: <sip:102@10.0.0.2:5060>\n";
    w.respond(
        HOME,
        "INVITE",
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "8 101"),
    );
    w.expect(&[
        "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060",
        "media: Set 2 Pcma 10.0.0.2:4200 both",
        "pbx: Answered 2",
    ]);
    w.respond_to(
        HOME,
        &invite,
        "200 OK",
        contact,
        &answer_sdp("10.0.0.2", "8 101"),
    );
    w.expect(&["10.0.0.2:5060: ACK sip:102@10.0.0.2:5060"]);
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause: Cause::Normal,
    });
    w.expect(&["media: Close 2", "10.0.0.2:5060: BYE sip:102@10.0.0.2:5060"]);
}
