//! Transactions of RFC 3261 §17 as transcripts: what is sent again, how long, and what is forgotten.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};
use tandem_sip_shim::{Flow, Transport};

const INVITED: &str = "10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060";
const CONFIRMED: &str = "10.0.0.2:5060: ACK sip:102@10.0.0.2:5060";
const HUNG_UP: &str = "10.7.0.1:5060: BYE sip:555@10.7.0.1:5060";

/// At how many milliseconds from now this is sent, until `end_ms`.
fn times(w: &mut World, what: &str, end_ms: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for ms in (100..=end_ms).step_by(100) {
        w.pass_ms(100);
        found.extend(w.out().iter().filter(|l| *l == what).map(|_| ms));
    }
    found
}

//= RFC 3261 §17.1.1.2 type=test
//# If an unreliable transport is being used, the client transaction MUST start timer A with a value
//# of T1.
//= RFC 3261 §17.1.1.2 type=test
//# For any transport, the client transaction MUST start timer B with a value of 64*T1 seconds
//# (Timer B controls transaction timeouts). When timer A fires, the client transaction MUST
//# retransmit the request by passing it to the transport layer, and MUST reset the timer with a
//# value of 2*T1.
//= RFC 3261 §17.1.1.2 type=test
//# When timer A fires 2*T1 seconds later, the request MUST be retransmitted again (assuming the
//# client transaction is still in this state). This process MUST continue so that the request is
//# retransmitted with intervals that double after each transmission.
//= RFC 3261 §17.1.1.2 type=test
//# Whatever the value of T1, the exponential backoffs on retransmissions described in this section
//# MUST be used.
//= RFC 3261 §17.1.1.2 type=test
//# The client transaction MUST NOT generate an ACK.
//= RFC 3261 §9.1 type=test
//# If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the
//# client MUST wait for the arrival of a provisional response before sending the request.
#[test]
fn an_invite_that_nobody_answers_is_sent_ever_less_often_and_forgotten() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    let again = times(&mut w, INVITED, 70_000);
    assert_eq!(again, [500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(!w.sent.iter().any(|(_, t)| t.starts_with("ACK")));
    assert!(!w.sent.iter().any(|(_, t)| t.starts_with("CANCEL")));
    w.respond_to(HOME, &invite, "180 Ringing", "", "");
    w.expect(&[]);
    assert_eq!(w.shim.counters().strays, 1);
}

//= RFC 3261 §17.1.1.2 type=test
//# When in either the "Calling" or "Proceeding" states, reception of a response with status code
//# from 300-699 MUST cause the client transaction to transition to "Completed". The client
//# transaction MUST pass the received response up to the TU, and the client transaction MUST
//# generate an ACK request, even if the transport is reliable (guidelines for constructing the ACK
//# from the response are given in Section 17.1.1.3) and then pass the ACK to the transport layer
//# for transmission. The ACK MUST be sent to the same address, port, and transport to which the
//# original request was sent.
//= RFC 3261 §17.1.1.2 type=test
//# Any retransmissions of the final response that are received while in the "Completed" state MUST
//# cause the ACK to be re-passed to the transport layer for retransmission, but the newly received
//# response MUST NOT be passed up to the TU.
//= RFC 3261 §17.1.1.2 type=test
//# If timer D fires while the client transaction is in the "Completed" state, the client
//# transaction MUST move to the terminated state.
//= RFC 3261 §17.1.1.2 type=test
//# The client transaction MUST be destroyed the instant it enters the "Terminated" state.
//= RFC 3261 §17.1.1.3 type=test
//# The ACK request constructed by the client transaction MUST contain values for the Call-ID, From,
//# and Request-URI that are equal to the values of those header fields in the request passed to the
//# transport by the client transaction (call this the "original request"). The To header field in
//# the ACK MUST equal the To header field in the response being acknowledged, and therefore will
//# usually differ from the To header field in the original request by the addition of the tag
//# parameter. The ACK MUST contain a single Via header field, and this MUST be equal to the top Via
//# header field of the original request. The CSeq header field in the ACK MUST contain the same
//# value for the sequence number as was present in the original request, but the method parameter
//# MUST be equal to "ACK".
#[test]
fn a_refusal_is_confirmed_each_time_it_comes_and_told_once() {
    let mut w = World::new();
    w.outgoing();
    let invite = w.last_like("INVITE");
    w.respond_to(HOME, &invite, "486 Busy Here", "", "");
    w.expect(&[CONFIRMED, "media: Close 2", "pbx: Ended 2 Busy"]);
    let ack = w.last_like("ACK");
    for same in ["Call-ID", "From", "Via"] {
        assert_eq!(header(&ack, same), header(&invite, same));
    }
    assert_eq!(ack.matches("\r\nVia: ").count(), 1);
    assert_eq!(header(&ack, "To"), header(&invite, "To") + ";tag=phone5060");
    let number = header(&invite, "CSeq").replace("INVITE", "ACK");
    assert_eq!(header(&ack, "CSeq"), number);
    w.pass_ms(31_900);
    w.respond_to(HOME, &invite, "486 Busy Here", "", "");
    w.expect(&[CONFIRMED]);
    w.pass_ms(200);
    w.respond_to(HOME, &invite, "486 Busy Here", "", "");
    w.expect(&[]);
    assert_eq!(w.shim.counters().strays, 1);
}

//= RFC 3261 §17.1.1.3 type=test
//# The ACK request constructed by the client transaction MUST contain values for the Call-ID, From,
//# and Request-URI that are equal to the values of those header fields in the request passed to the
//# transport by the client transaction (call this the "original request").
//= RFC 3261 §17.1.1.3 type=test
//# If the INVITE request whose response is being acknowledged had Route header fields, those header
//# fields MUST appear in the ACK.
//= RFC 3261 §9.1 type=test
//# The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the CANCEL
//# request MUST be identical to those in the request being cancelled, including tags. A CANCEL
//# constructed by a client MUST have only a single Via header field value matching the top Via
//# value in the request being cancelled.
//= RFC 3261 §9.1 type=test
//# However, the method part of the CSeq header field MUST have a value of CANCEL.
//= RFC 3261 §9.1 type=test
//# If the request being cancelled contains a Route header field, the CANCEL request MUST include
//# that Route header field's values.
//= RFC 3261 §9.1 type=test
//# The CANCEL request MUST NOT contain any Require or Proxy-Require header fields.
#[test]
fn an_ack_and_a_cancel_go_the_way_of_their_invite() {
    let mut w = World::new();
    let proxy = "10.0.0.50:5060";
    let contact = "Contact: <sip:102@192.0.2.55:5060>\nPath: <sip:10.0.0.50;lr;ob>\n";
    let text = |cseq, proof: &str| {
        let text = register_text(102, proxy, cseq, proof);
        let own = text.lines().find(|l| l.starts_with("Contact:")).unwrap();
        text.replace(&format!("{own}\n"), contact)
    };
    w.receive(proxy, &text(1, ""));
    let proof = w.proof("REGISTER", "sip:10.0.0.9", 102);
    w.receive(proxy, &text(2, &proof));
    w.call(2);
    let invite = w.last_like("INVITE");
    assert_eq!(header(&invite, "Route"), "<sip:10.0.0.50;lr;ob>");
    w.respond_to(proxy, &invite, "180 Ringing", "", "");
    let cause = Cause::Normal;
    w.pbx(SipCommand::End {
        leg: LegId(2),
        cause,
    });
    w.respond_to(proxy, &invite, "487 Request Terminated", "", "");
    for derived in ["CANCEL", "ACK"] {
        let of_it = w.last_like(derived);
        assert_eq!(header(&of_it, "Route"), header(&invite, "Route"));
        let line = invite.lines().next().unwrap().replace("INVITE", derived);
        assert_eq!(of_it.lines().next(), Some(&*line));
    }
    let cancel = w.last_like("CANCEL");
    for same in ["Call-ID", "From", "To", "Via"] {
        assert_eq!(header(&cancel, same), header(&invite, same));
    }
    assert_eq!(cancel.matches("\r\nVia: ").count(), 1);
    let number = header(&invite, "CSeq").replace("INVITE", "CANCEL");
    assert_eq!(header(&cancel, "CSeq"), number);
    assert!(!cancel.contains("Require:"));
}

//= RFC 3261 §17.1.2.2 type=test
//# The request MUST be passed to the transport layer for transmission. If an unreliable transport
//# is in use, the client transaction MUST set timer E to fire in T1 seconds.
//= RFC 3261 §17.1.2.2 type=test
//# Once the client transaction enters the "Completed" state, it MUST set Timer K to fire in T4
//# seconds for unreliable transports, and zero seconds for reliable transports.
//= RFC 3261 §17.1.2.2 type=test
//# If Timer K fires while in this state, the client transaction MUST transition to the "Terminated"
//# state. Once the transaction is in the terminated state, it MUST be destroyed immediately.
#[test]
fn a_request_is_sent_again_until_its_answer_which_may_come_again() {
    let mut w = World::new();
    w.talking();
    let (leg, cause) = (LegId(1), Cause::Normal);
    w.pbx(SipCommand::End { leg, cause });
    w.expect(&["media: Close 1", HUNG_UP]);
    assert_eq!(times(&mut w, HUNG_UP, 8_000), [500, 1500, 3500, 7500]);
    let bye = w.last_like("BYE");
    w.respond_to(GATE, &bye, "100 Trying", "", "");
    w.respond_to(GATE, &bye, "200 OK", "", "");
    w.pass_ms(4_900);
    w.respond_to(GATE, &bye, "200 OK", "", "");
    w.expect(&[]);
    assert_eq!(w.shim.counters().strays, 0);
    w.pass_ms(200);
    w.respond_to(GATE, &bye, "200 OK", "", "");
    w.expect(&[]);
    assert_eq!(w.shim.counters().strays, 1);
}

//= RFC 3261 §17.1.2.2 type=test
//# If Timer E fires while in the "Proceeding" state, the request MUST be passed to the transport
//# layer for retransmission, and Timer E MUST be reset with a value of T2 seconds.
#[test]
fn a_request_that_is_being_dealt_with_is_sent_again_every_four_seconds() {
    let mut w = World::new();
    w.talking();
    let (leg, cause) = (LegId(1), Cause::Normal);
    w.pbx(SipCommand::End { leg, cause });
    let bye = w.last_like("BYE");
    w.respond_to(GATE, &bye, "100 Trying", "", "");
    w.out();
    let again = times(&mut w, HUNG_UP, 70_000);
    assert_eq!(
        again,
        [500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500]
    );
    w.respond_to(GATE, &bye, "200 OK", "", "");
    assert_eq!(w.shim.counters().strays, 1);
}

//= RFC 3261 §17.1.2.2 type=test
//# If timer F fires while in the "Proceeding" state, the TU MUST be informed of a timeout, and the
//# client transaction MUST transition to the terminated state.
#[test]
fn who_asked_is_told_that_no_answer_came() {
    let mut w = World::new();
    w.register(101, DESK);
    let light = |w: &mut World, new| {
        let (user, lamp) = (id(101), lamp(new, 0));
        w.pbx(SipCommand::MessageSummary { user, lamp });
    };
    light(&mut w, 1);
    w.respond(DESK, "NOTIFY", "100 Trying", "", "");
    w.pass_ms(31_900);
    w.out();
    light(&mut w, 2);
    w.expect(&[]);
    w.pass_ms(200);
    light(&mut w, 3);
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
}

//= RFC 3261 §17.1.2.2 type=test
//# If a final response (status codes 200-699) is received while in the "Proceeding" state, the
//# response MUST be passed to the TU, and the client transaction MUST transition to the
//# "Completed" state.
#[test]
fn an_answer_after_a_provisional_one_counts() {
    let mut w = World::new();
    w.register(101, DESK);
    let light = |w: &mut World, new| {
        let (user, lamp) = (id(101), lamp(new, 0));
        w.pbx(SipCommand::MessageSummary { user, lamp });
    };
    light(&mut w, 1);
    w.respond(DESK, "NOTIFY", "100 Trying", "", "");
    light(&mut w, 2);
    w.out();
    w.respond(DESK, "NOTIFY", "200 OK", "", "");
    w.expect(&["10.0.0.1:5060: NOTIFY sip:101@10.0.0.1:5060"]);
    assert!(w.last().contains("Voice-Message: 2/0"));
}

//= RFC 3261 §17.2.1 type=test
//# While in the "Proceeding" state, if the TU passes a response with status code from 300 to 699 to
//# the server transaction, the response MUST be passed to the transport layer for transmission, and
//# the state machine MUST enter the "Completed" state.
//= RFC 3261 §17.2.1 type=test
//# When the "Completed" state is entered, timer H MUST be set to fire in 64*T1 seconds for all
//# transports.
//= RFC 3261 §17.2.1 type=test
//# If an ACK is received while the server transaction is in the "Completed" state, the server
//# transaction MUST transition to the "Confirmed" state.
//= RFC 3261 §17.2.1 type=test
//# Once timer I fires, the server MUST transition to the "Terminated" state. Once the transaction
//# is in the "Terminated" state, it MUST be destroyed immediately.
#[test]
fn a_refusal_of_ours_is_repeated_until_its_ack_and_the_call_may_come_anew() {
    let refused = "10.7.0.1:5060: 486 (1 INVITE)";
    let begin = || {
        let mut w = World::new();
        w.incoming();
        let (leg, cause) = (LegId(1), Cause::Busy);
        w.pbx(SipCommand::End { leg, cause });
        w.expect(&[refused]);
        w
    };
    let mut w = begin();
    let again = times(&mut w, refused, 70_000);
    assert_eq!(
        again,
        [
            500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(w.shim.deadline(), None);
    let mut w = begin();
    let to = header(w.last(), "To");
    let ack = invite(1, "").replace("INVITE", "ACK");
    w.receive(GATE, &ack.replace("<sip:102@10.0.0.9>", &to));
    w.pass_ms(4_900);
    w.receive(GATE, &invite(1, ""));
    w.expect(&[]);
    w.pass_ms(200);
    assert_eq!(w.shim.deadline(), None);
    w.receive(GATE, &invite(1, ""));
    assert_eq!(w.out()[0], "10.7.0.1:5060: 100 (1 INVITE)");
}

//= RFC 3261 §17.2.2 type=test
//# When the server transaction enters the "Completed" state, it MUST set Timer J to fire in 64*T1
//# seconds for unreliable transports, and zero seconds for reliable transports. While in the
//# "Completed" state, the server transaction MUST pass the final response to the transport layer
//# for retransmission whenever a retransmission of the request is received.
//= RFC 3261 §17.2.2 type=test
//# The server transaction remains in this state until Timer J fires, at which point it MUST
//# transition to the "Terminated" state. The server transaction MUST be destroyed the instant it
//# enters the "Terminated" state.
#[test]
fn an_answer_is_given_again_for_half_a_minute_and_on_streams_never() {
    let mut w = World::new();
    w.talking();
    let bye = w.within("BYE", 2, "", "");
    w.receive(GATE, &bye);
    let first = w.last().to_owned();
    w.pass_ms(31_900);
    w.out();
    w.receive(GATE, &bye);
    w.expect(&["10.7.0.1:5060: 200 (2 BYE)"]);
    assert_eq!(w.last(), first);
    w.pass_ms(200);
    w.receive(GATE, &bye);
    w.expect(&["10.7.0.1:5060: 481 (2 BYE)"]);
    let mut w = World::new();
    let flow = Flow {
        transport: Transport::Tcp,
        ..Flow::udp(GATE.parse().unwrap())
    };
    let options = "OPTIONS sip:10.0.0.9 SIP/2.0\nVia: SIP/2.0/TCP 10.7.0.1;branch=z9hG4bKo1\n\
        From: <sip:a@b>;tag=1\nTo: <sip:10.0.0.9>\nCall-ID: o1\nCSeq: 1 OPTIONS\n\
        Max-Forwards: 70\nContent-Length: 0\n\n";
    w.receive_on(flow, options);
    w.expect(&["10.7.0.1:5060 by tcp: 200 (1 OPTIONS)"]);
    let first = w.last().to_owned();
    w.receive_on(flow, options);
    w.expect(&["10.7.0.1:5060 by tcp: 200 (1 OPTIONS)"]);
    assert_ne!(w.last(), first, "served anew");
}
