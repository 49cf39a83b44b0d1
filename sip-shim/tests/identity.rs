//! Who calls: withheld numbers, gateways and what is believed of them, passwords of neighbours.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{CallHistory, Caller, ClassOfService, SipCommand, Target};
use tandem_sip_shim::{ShimConfig, Trusted};

const SECRET: &str = "+4366412345678";
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=g1";

/// An INVITE of the gateway with this From and these headers.
fn invite_from(cseq: u32, from: &str, headers: &str) -> String {
    invite(cseq, headers).replace("\"Gate\" <sip:555@10.7.0.1>;tag=g1", from)
}

#[test]
fn a_withheld_number_is_told_to_nobody() {
    let asserted = format!("P-Asserted-Identity: <sip:{SECRET}@carrier.example>\n");
    let named = format!("\"Jane\" <sip:{SECRET}@carrier.example>;tag=g1");
    for (from, headers) in [
        (ANONYMOUS, format!("{asserted}Privacy: id\n")),
        (ANONYMOUS, asserted.clone()),
        (&*named, "Privacy: user;id;critical\n".to_owned()),
    ] {
        let mut w = World::new();
        w.receive(GATE, &invite_from(1, from, &headers));
        w.expect(&[
            "10.7.0.1:5060: 100 (1 INVITE)",
            "pbx: Incoming 1:  \"\" -> 102",
        ]);
    }
    // "none" is the wish to be known.
    let mut w = World::new();
    w.receive(GATE, &invite_from(1, &named, "Privacy: none\n"));
    assert!(w.out()[1].contains(SECRET));
}

#[test]
fn a_phone_of_ours_that_hides_its_number_is_let_in_and_hidden() {
    let mut w = World::new();
    w.register(101, DESK);
    let text = |cseq, proof: &str| {
        let text = invite_from(cseq, ANONYMOUS, &format!("Privacy: id\n{proof}"));
        text.replace("10.7.0.1:5060", DESK)
    };
    w.receive(DESK, &text(1, ""));
    let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
    w.out();
    w.receive(DESK, &text(2, &proof));
    w.expect(&[
        "10.0.0.1:5060: 100 (2 INVITE)",
        "pbx: Incoming 1:  \"\" [101] -> 102",
    ]);
}

#[test]
fn the_called_phone_is_told_that_a_number_is_withheld() {
    let mut w = World::new();
    w.register(102, HOME);
    let caller = Caller {
        user: Some(id(101)),
        number: "".into(),
        name: "".into(),
        is_withheld: true,
        class: ClassOfService::Internal,
    };
    w.pbx(SipCommand::Call {
        leg: LegId(2),
        target: Target::User(id(102)),
        caller,
        like: None,
        auto_answer: false,
        history: CallHistory::default(),
    });
    let invite = w.last_like("INVITE");
    assert!(header(&invite, "From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>"));
    assert_eq!(header(&invite, "Privacy"), "id");
    assert_eq!(header(&invite, "P-Asserted-Identity"), "");
}

fn gateway(change: impl FnOnce(&mut Trusted)) -> World {
    let mut gate = Trusted::gateway("10.7.0.1".parse().unwrap());
    change(&mut gate);
    World::with(ShimConfig {
        trusted: vec![gate],
        ..config()
    })
}

#[test]
fn a_gateway_is_believed_as_far_as_its_record_says() {
    let mut w = gateway(|gate| gate.asserts_identity = false);
    w.receive(GATE, &invite(1, ""));
    assert_eq!(w.out()[1], "pbx: Incoming 1:  \"\" -> 102");
    let mut w = gateway(|gate| gate.transport = Some(tandem_sip_shim::Transport::Tcp));
    w.receive(GATE, &invite(1, ""));
    assert_eq!(w.out()[0], "10.7.0.1:5060: 401 (1 INVITE)");
}

#[test]
fn who_comes_through_a_trusted_host_is_not_trusted_for_it() {
    let passed_on = |cseq| {
        let hops = "Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bKother\n\
            Record-Route: <sip:10.7.0.1;lr>\n";
        invite(cseq, hops)
    };
    let mut w = gateway(|_| {});
    w.receive(GATE, &passed_on(1));
    assert_eq!(w.out()[0], "10.7.0.1:5060: 401 (1 INVITE)");
    let mut w = gateway(|gate| gate.is_proxy = true);
    w.receive(GATE, &passed_on(1));
    assert_eq!(w.out()[1], "pbx: Incoming 1: 555 \"Gate\" -> 102");
    // A gateway may have hops inside.
    let mut w = gateway(|_| {});
    let inside = passed_on(1).replace("Record-Route: <sip:10.7.0.1;lr>\n", "");
    w.receive(GATE, &inside);
    assert_eq!(w.out()[1], "pbx: Incoming 1: 555 \"Gate\" -> 102");
}

#[test]
fn an_old_password_shuts_out_no_neighbour() {
    let mut w = World::new();
    let wrong = |w: &mut World, cseq| {
        w.receive(DESK, &register_text(101, DESK, cseq, ""));
        if w.last().starts_with("SIP/2.0 401") {
            let challenge = header(&w.last_like("SIP/2.0 401"), "WWW-Authenticate");
            let proof = w.answer(&challenge, "REGISTER", "sip:10.0.0.9", 101, "old", 1);
            w.receive(DESK, &register_text(101, DESK, cseq + 1, &proof));
        }
        w.last().split(' ').nth(1).unwrap().to_owned()
    };
    let answers: Vec<String> = (0..40).map(|n| wrong(&mut w, 10 + 2 * n)).collect();
    assert_eq!((&*answers[0], &*answers[39]), ("401", "503"));
    w.out();
    // Behind the same address, on another port.
    w.register(102, "10.0.0.1:6000");
    assert_eq!(w.shim.phones(w.now).len(), 1);
}

#[test]
fn a_challenge_may_be_answered_in_the_form_of_rfc_2069_once() {
    let mut w = World::new();
    w.receive(DESK, &register_text(101, DESK, 1, ""));
    let proof = w.proof("REGISTER", "sip:10.0.0.9", 101);
    // The cx's answers have a qop: one without is made by hand.
    let nonce = proof
        .split("nonce=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let md5 = |text: &str| {
        let hash = <md5::Md5 as md5::Digest>::digest(text.as_bytes());
        hash.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let (ha1, ha2) = (md5("101:tandem:demo-101"), md5("REGISTER:sip:10.0.0.9"));
    let response = md5(&format!("{ha1}:{nonce}:{ha2}"));
    let old = format!(
        "Authorization: Digest username=\"101\", realm=\"tandem\", nonce=\"{nonce}\", \
         uri=\"sip:10.0.0.9\", response=\"{response}\"\n"
    );
    w.receive(DESK, &register_text(101, DESK, 2, &old));
    assert!(w.last().starts_with("SIP/2.0 200"), "{}", w.last());
    w.receive(DESK, &register_text(101, DESK, 3, &old));
    assert!(w.last().contains("stale=true"), "{}", w.last());
}
