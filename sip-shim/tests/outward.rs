//! Calls to a number behind a host: where they go, whom they name, how its challenges are answered.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use std::sync::Arc;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{
    AddressTarget, AddressTransport, CallHistory, Caller, Cause, ClassOfService, Login, SipCommand,
    SipEvent, Target, TrunkHost,
};
use tandem_sip_shim::{Flow, Transport};

const PROVIDER: &str = "192.0.2.20:5080";
const INVITE: &str = "192.0.2.20:5080: INVITE sip:0301234@192.0.2.20:5080";
const ACK: &str = "192.0.2.20:5080: ACK sip:0301234@192.0.2.20:5080";

fn target() -> AddressTarget {
    AddressTarget {
        peer: PROVIDER.parse().unwrap(),
        transport: AddressTransport::Udp,
        number: "0301234".into(),
        identity: Some("+49305550".into()),
        login: Some(Login {
            user: "acme".into(),
            password: "pepper".into(),
        }),
    }
}

fn call(w: &mut World, target: AddressTarget, is_withheld: bool) {
    let hidden = |text: &str| Arc::from(if is_withheld { "" } else { text });
    w.pbx(SipCommand::Call {
        leg: LegId(2),
        target: Target::Address(Arc::new(target)),
        caller: Caller {
            user: Some(id(101)),
            number: hidden("101"),
            name: hidden("User 101"),
            is_withheld,
            class: ClassOfService::Internal,
        },
        like: None,
        auto_answer: false,
        history: CallHistory::default(),
    });
}

fn challenge(name: &str, algorithm: &str, nonce: &str, more: &str) -> String {
    format!("{name}: Digest realm=\"carrier\", nonce=\"{nonce}\", qop=\"auth\"{algorithm}{more}\n")
}

/// Is the header what somebody who knows the password would say to this challenge?
fn is_right(header: &str, challenge: &str) -> bool {
    let field = |name: &str| {
        let at = header.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        let value = header[at..].split(',').next().unwrap();
        value.trim_matches('"').to_owned()
    };
    let nc = u32::from_str_radix(&field("nc"), 16).unwrap();
    let value = challenge.split_once(": ").unwrap().1.trim();
    let uri = "sip:0301234@192.0.2.20:5080";
    let expected =
        tandem_sip_shim::digest::answer(value, "INVITE", uri, "acme", "pepper", nc).unwrap();
    // The answer is made with a cnonce of its own, so both are made again with that of the header.
    let sha256 = value.contains("SHA-256");
    let (md5, sha) = tandem_sip_shim::digest::ha1("acme", "carrier", "pepper");
    let ha1 = if sha256 { sha } else { md5 };
    let hash = |text: &str| {
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (md5, sha) = tandem_sip_shim::digest::ha1(parts[0], parts[1], parts[2]);
        if sha256 { sha } else { md5 }
    };
    let ha2 = {
        let text = format!("INVITE:{uri}");
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        hash(&parts.join(":"))
    };
    let (nonce, count, cnonce) = (field("nonce"), field("nc"), field("cnonce"));
    let wanted = hash(&format!("{ha1}:{nonce}:{count}:{cnonce}:auth:{ha2}"));
    expected.contains(&format!("nonce=\"{nonce}\"")) && field("response") == wanted
}

#[test]
fn a_challenge_is_answered_and_the_call_is_up() {
    for (status, asks, proves, algorithm) in [
        ("401 Unauthorized", "WWW-Authenticate", "Authorization", ""),
        (
            "407 Proxy Authentication Required",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            ", algorithm=SHA-256",
        ),
    ] {
        let mut w = World::new();
        call(&mut w, target(), false);
        w.expect(&[INVITE]);
        let first = w.last_like("INVITE");
        let from = header(&first, "From");
        assert!(
            from.starts_with("<sip:+49305550@10.0.0.9:5060>;tag="),
            "{from}"
        );
        assert_eq!(
            header(&first, "P-Asserted-Identity"),
            "<sip:+49305550@10.0.0.9:5060>"
        );
        assert_eq!(header(&first, "To"), "<sip:0301234@192.0.2.20:5080>");
        assert!(!first.contains("uthorization"));
        let asked = challenge(asks, algorithm, "n1", ", opaque=\"o1\"");
        w.respond(PROVIDER, "INVITE", status, &asked, "");
        w.expect(&[ACK, INVITE]);
        let second = w.last_like("INVITE");
        for same in ["Call-ID", "From", "To"] {
            assert_eq!(header(&first, same), header(&second, same));
        }
        assert_eq!(header(&second, "CSeq"), "2 INVITE");
        assert_ne!(header(&first, "Via"), header(&second, "Via"));
        let proof = header(&second, proves);
        assert!(is_right(&proof, &asked), "{proof}");
        assert!(proof.contains("opaque=\"o1\"") && !second.contains("pepper"));
        w.respond(
            PROVIDER,
            "INVITE",
            "200 OK",
            "",
            &answer_sdp("192.0.2.20", "8"),
        );
        w.expect(&[
            ACK,
            "media: Set 2 Pcma 192.0.2.20:4200 both",
            "pbx: Answered 2",
        ]);
        // The ACK repeats the credentials (RFC 3261 §22.1).
        assert_eq!(header(&w.last_like("ACK"), proves), proof);
        assert_eq!(w.shim.counters().challenges_answered, 1);
    }
}

#[test]
fn a_second_refusal_is_the_end() {
    let mut w = World::new();
    call(&mut w, target(), false);
    let asked = challenge("WWW-Authenticate", "", "n1", "");
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked, "");
    w.out();
    let again = challenge("WWW-Authenticate", "", "n2", "");
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &again, "");
    w.expect(&[ACK, "media: Close 2", "pbx: Ended 2 Forbidden"]);
    assert_eq!(w.shim.counters().logins_refused, 1);
}

#[test]
fn an_old_nonce_is_renewed_once() {
    let mut w = World::new();
    call(&mut w, target(), false);
    let asked = |nonce| challenge("WWW-Authenticate", "", nonce, ", stale=true");
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked("n1"), "");
    w.expect(&[INVITE, ACK, INVITE]);
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked("n2"), "");
    w.expect(&[ACK, INVITE]);
    let proof = header(&w.last_like("INVITE"), "Authorization");
    assert!(is_right(&proof, &asked("n2")) && proof.contains("nonce=\"n2\""));
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked("n3"), "");
    w.expect(&[ACK, "media: Close 2", "pbx: Ended 2 Forbidden"]);
}

#[test]
fn a_proxy_and_its_server_are_both_answered_and_counts_rise() {
    let mut w = World::new();
    call(&mut w, target(), false);
    let proxy = challenge("Proxy-Authenticate", "", "p1", "");
    let status = "407 Proxy Authentication Required";
    w.respond(PROVIDER, "INVITE", status, &proxy, "");
    let server = challenge("WWW-Authenticate", "", "s1", "");
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &server, "");
    let third = w.last_like("INVITE");
    let (by_proxy, by_server) = (
        header(&third, "Proxy-Authorization"),
        header(&third, "Authorization"),
    );
    assert!(is_right(&by_proxy, &proxy) && by_proxy.contains("nc=00000002"));
    assert!(is_right(&by_server, &server) && by_server.contains("nc=00000001"));
    // A wish for longer sessions costs no more than one further attempt, with all of it.
    let longer = "422 Session Interval Too Small";
    w.respond(PROVIDER, "INVITE", longer, "Min-SE: 1900\n", "");
    let fourth = w.last_like("INVITE");
    assert_eq!(header(&fourth, "CSeq"), "4 INVITE");
    assert_eq!(header(&fourth, "Min-SE"), "1900");
    assert!(header(&fourth, "Proxy-Authorization").contains("nc=00000003"));
}

#[test]
fn without_a_password_a_challenge_ends_the_call() {
    for (login, asked) in [
        (None, challenge("WWW-Authenticate", "", "n1", "")),
        (
            target().login,
            challenge("WWW-Authenticate", ", algorithm=SHA-512-256", "n1", ""),
        ),
        (target().login, String::new()),
    ] {
        let mut w = World::new();
        call(&mut w, AddressTarget { login, ..target() }, false);
        w.out();
        w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked, "");
        w.expect(&[ACK, "media: Close 2", "pbx: Ended 2 Forbidden"]);
    }
}

#[test]
fn of_several_challenges_the_topmost_that_is_known_is_answered() {
    let mut w = World::new();
    call(&mut w, target(), false);
    let name = "WWW-Authenticate";
    let known = challenge(name, ", algorithm=SHA-256", "n2", "");
    let asked = format!(
        "{}{known}{}",
        challenge(name, ", algorithm=SHA-512-256", "n1", ""),
        challenge(name, ", algorithm=MD5", "n3", "")
    );
    w.respond(PROVIDER, "INVITE", "401 Unauthorized", &asked, "");
    let proof = header(&w.last_like("INVITE"), "Authorization");
    assert!(is_right(&proof, &known), "{proof}");
}

#[test]
fn a_withheld_caller_is_named_to_the_host_alone() {
    let mut w = World::new();
    call(&mut w, target(), true);
    let invite = w.last_like("INVITE");
    assert!(header(&invite, "From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>"));
    assert_eq!(header(&invite, "Privacy"), "id");
    assert_eq!(
        header(&invite, "P-Asserted-Identity"),
        "<sip:+49305550@10.0.0.9:5060>"
    );
    assert!(!invite.contains("sip:101"), "{invite}");
}

#[test]
fn a_redirection_is_not_followed() {
    let mut w = World::new();
    call(&mut w, target(), false);
    w.out();
    let contact = "Contact: <sip:0900666@203.0.113.9>\n";
    w.respond(PROVIDER, "INVITE", "302 Moved Temporarily", contact, "");
    w.expect(&[ACK, "media: Close 2", "pbx: Ended 2 Failed"]);
}

#[test]
fn a_refusal_says_why() {
    for (status, cause) in [
        ("486 Busy Here", Cause::Busy),
        ("404 Not Found", Cause::NoSuchNumber),
        ("403 Forbidden", Cause::Forbidden),
        ("480 Temporarily Unavailable", Cause::NoAnswer),
        ("503 Service Unavailable", Cause::Congestion),
        ("500 Server Internal Error", Cause::Failed),
    ] {
        let mut w = World::new();
        call(&mut w, target(), false);
        w.out();
        w.respond(PROVIDER, "INVITE", status, "", "");
        let ended = format!("pbx: Ended 2 {cause:?}");
        w.expect(&[ACK, "media: Close 2", &ended]);
    }
}

#[test]
fn a_host_that_says_nothing_is_given_up_in_seconds() {
    let mut w = World::new();
    call(&mut w, target(), false);
    w.pass_ms(10_000);
    let out = w.out();
    // The INVITE still goes out for a while: should the host wake up, it is told that it is too late.
    assert!(
        out.iter().any(|line| line == "pbx: Ended 2 Failed"),
        "{out:?}"
    );
}

#[test]
fn a_host_may_be_spoken_to_by_tcp() {
    let mut w = World::new();
    let transport = AddressTransport::Tcp;
    call(
        &mut w,
        AddressTarget {
            transport,
            ..target()
        },
        false,
    );
    w.expect(&["192.0.2.20:5080 by tcp: INVITE sip:0301234@192.0.2.20:5080;transport=tcp"]);
    let flow = w.sent.last().unwrap().0;
    let expected = Flow {
        transport: Transport::Tcp,
        peer: PROVIDER.parse().unwrap(),
        connection: 0,
    };
    assert_eq!(flow, expected);
}

fn trunk(w: &mut World, number: u64, peer: &str, is_any_port: bool) {
    let host = TrunkHost {
        peer: peer.parse().unwrap(),
        transport: AddressTransport::Udp,
        is_any_port,
    };
    w.pbx(SipCommand::Trunk {
        id: id(number),
        host: Some(host),
    });
}

/// A call from this address; how it is answered, or told.
fn comes(w: &mut World, from: &str) -> String {
    w.out();
    w.receive(from, &invite(1, "").replace("10.7.0.1:5060", from));
    w.out().pop().unwrap()
}

#[test]
fn a_call_from_a_trunks_host_comes_by_the_trunk_and_may_do_what_strangers_may() {
    let mut w = World::new();
    trunk(&mut w, 7, PROVIDER, false);
    assert_eq!(
        comes(&mut w, PROVIDER),
        "pbx: Incoming 1: 555 \"Gate\" -> 102 by 7"
    );
    let event = w.events.last().unwrap();
    let SipEvent::Incoming { caller, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(caller.class, ClassOfService::Public);
    // Providers send from other ports, too; not those of which a port was given.
    let elsewhere = "192.0.2.20:40000";
    let mut w = World::new();
    trunk(&mut w, 7, PROVIDER, true);
    assert!(comes(&mut w, elsewhere).ends_with("by 7"));
    let mut w = World::new();
    trunk(&mut w, 7, PROVIDER, false);
    assert!(comes(&mut w, elsewhere).contains("401"));
}

#[test]
fn a_trunk_that_is_gone_is_a_stranger() {
    let mut w = World::new();
    trunk(&mut w, 7, PROVIDER, false);
    w.pbx(SipCommand::Trunk {
        id: id(7),
        host: None,
    });
    assert_eq!(comes(&mut w, PROVIDER), "192.0.2.20:5080: 401 (1 INVITE)");
    let mut w = World::new();
    trunk(&mut w, 7, PROVIDER, false);
    let other = "192.0.2.21:5080";
    assert_eq!(comes(&mut w, other), "192.0.2.21:5080: 401 (1 INVITE)");
}

#[test]
fn beside_a_gateway_only_the_trunks_very_address_is_the_trunk() {
    let there = "10.7.0.3:5090";
    let mut w = World::new();
    trunk(&mut w, 7, there, true);
    assert!(comes(&mut w, there).ends_with("by 7"));
    let mut w = World::new();
    trunk(&mut w, 7, there, true);
    assert!(comes(&mut w, "10.7.0.3:5060").ends_with("-> 102"));
}
