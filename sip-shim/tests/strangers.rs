//! What those get who have shown no password: one answer, a bounded number of challenges, a bounded
//! part of the tables, and nothing of theirs reaches a terminal as it is.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipCommand};
use tandem_sip_shim::{
    Flow, ShimConfig, SipShell, SipShellConfig, Transport, Trusted, WireIn, WireOut,
};

const URI: &str = "sip:10.0.0.9";
const VICTIM: &str = "203.0.113.9:5060";

fn stream(peer: &str, connection: u64) -> Flow {
    Flow {
        transport: Transport::Tcp,
        peer: peer.parse().unwrap(),
        connection,
    }
}

/// An INVITE of a user's phone at an address, in a call of its own.
fn invite_at(at: &str, user: u32, cseq: u32, headers: &str) -> String {
    invite(cseq, headers)
        .replace("10.7.0.1:5060", at)
        .replace("sip:555@10.7.0.1>", &format!("sip:{user}@10.0.0.9>"))
        .replace("gate-1", &format!("{user}-{at}-{cseq}"))
        .replace("z9hG4bKi", &format!("z9hG4bK{user}-{at}-"))
}

#[test]
fn a_stranger_gets_one_answer() {
    let mut w = World::new();
    let plain = invite_at(VICTIM, 101, 1, "");
    let hopless = invite_at(VICTIM, 101, 2, "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    let lost = invite_at(VICTIM, 101, 3, "").replace("<sip:102@10.0.0.9>", "<sip:a@b>;tag=1");
    for (text, status) in [(plain, "401"), (hopless, "483"), (lost, "481")] {
        w.receive(VICTIM, &text);
        let out = w.out();
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(out[0].starts_with(&format!("{VICTIM}: {status} ")));
        w.pass_ms(100_000);
        w.expect(&[]);
    }
}

#[test]
fn a_call_that_waits_is_told_so_once_the_password_is_shown() {
    let mut w = World::new();
    w.receive(DESK, &invite_at(DESK, 101, 1, ""));
    w.expect(&["10.0.0.1:5060: 401 (1 INVITE)"]);
    let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
    let again = invite_at(DESK, 101, 2, &proof);
    w.receive(DESK, &again);
    assert_eq!(w.out()[0], "10.0.0.1:5060: 100 (2 INVITE)");
    w.receive(DESK, &again);
    w.expect(&["10.0.0.1:5060: 100 (2 INVITE)"]);
    // And its refusal is repeated until it is confirmed.
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Busy,
    });
    w.pass_ms(2_000);
    let refusals = w.out();
    let busy = refusals.iter().filter(|l| l.contains(": 486 ")).count();
    assert_eq!(busy, 3, "{refusals:?}");
}

/// Messages sent to an address since the last time.
fn sent_to(w: &mut World, at: &str) -> usize {
    let out = w.out();
    out.iter().filter(|l| l.starts_with(at)).count()
}

#[test]
fn challenges_to_one_address_are_bounded() {
    let mut w = World::new();
    w.register(102, HOME);
    // The same one again and again, which is answered again as long as it may be.
    for _ in 0..500 {
        w.receive(VICTIM, &register_text(101, VICTIM, 1, ""));
    }
    assert_eq!(sent_to(&mut w, "203.0.113.9"), 500);
    // Other users, other ports.
    for n in 0..500 {
        let port = 1024 + n;
        let at = format!("203.0.113.9:{port}");
        w.receive(&at, &invite_at(&at, 200 + n, n, ""));
    }
    assert_eq!(sent_to(&mut w, "203.0.113.9"), 0);
    assert_eq!(w.shim.counters().challenges_suppressed, 500);
    assert_eq!(w.shim.waiting(), 0);
    // Others, and streams from there, do not notice.
    w.register(103, "203.0.113.10:5060");
    let flow = stream(VICTIM, 1);
    w.receive_on(flow, &invite_at(VICTIM, 101, 900, ""));
    w.expect(&["203.0.113.9:5060 by tcp: 401 (900 INVITE)"]);
    // It grows back.
    w.pass_ms(1_000);
    for n in 0..100 {
        w.receive(VICTIM, &invite_at(VICTIM, 101, 1_000 + n, ""));
    }
    assert_eq!(sent_to(&mut w, VICTIM), 50);
}

#[test]
fn phones_that_are_registered_and_trusted_hosts_get_every_challenge() {
    let mut w = World::with(ShimConfig {
        challenges_burst_max: 3,
        ..config()
    });
    w.register(102, HOME);
    for n in 0..50 {
        let text = invite_at(HOME, 102, n, "");
        w.receive(HOME, &text);
        // What a front end passes on from others is challenged, and all comes from one address.
        let hops = "Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bKother\n\
            Record-Route: <sip:10.7.0.1;lr>\n";
        w.receive(GATE, &invite_at(GATE, 101, n, hops));
    }
    assert_eq!(w.out().iter().filter(|l| l.contains(": 401 ")).count(), 100);
    assert_eq!(w.shim.counters().challenges_suppressed, 0);
    // Not so a neighbour of the phone's that says it is the same user.
    let neighbour = "10.0.0.2:7000";
    for n in 0..50 {
        w.receive(neighbour, &invite_at(neighbour, 102, n, ""));
    }
    assert!(w.shim.counters().challenges_suppressed >= 47);
}

#[test]
fn an_office_behind_one_address_starts_at_once() {
    let mut w = World::new();
    let numbers = 1001..1201;
    for number in numbers.clone() {
        let user = Some(user(number));
        w.input(tandem_sip_shim::ShimInput::User {
            id: id(number),
            user,
        });
    }
    let at = |number: u64| format!("198.51.100.7:{}", 40_000 + number);
    let mut challenges = Vec::new();
    for number in numbers.clone() {
        w.receive(&at(number), &register_text(number, &at(number), 1, ""));
        challenges.push(header(w.last(), "WWW-Authenticate"));
    }
    for (number, challenge) in numbers.zip(challenges) {
        let password = format!("demo-{number}");
        let proof = w.answer(&challenge, "REGISTER", URI, number, &password, 1);
        w.receive(&at(number), &register_text(number, &at(number), 2, &proof));
    }
    let counters = w.shim.counters();
    let refused = counters.slowed + counters.challenges_suppressed;
    assert_eq!((counters.registers, refused), (200, 0));
    assert_eq!(w.shim.phones(w.now).len(), 200);
}

#[test]
fn one_source_cannot_have_all_transactions() {
    let mut w = World::with(ShimConfig {
        transactions_per_source_max: 3,
        ..config()
    });
    let call = |w: &mut World, at: &str, user: u32, cseq: u32| {
        w.receive(at, &invite_at(at, user, cseq, ""));
        if w.last().starts_with("SIP/2.0 401") {
            let proof = w.proof("INVITE", "sip:102@10.0.0.9", u64::from(user));
            w.receive(at, &invite_at(at, user, cseq + 1, &proof));
        }
        w.out();
        w.last().split(' ').nth(1).unwrap().to_owned()
    };
    for n in 0..3 {
        assert_eq!(call(&mut w, DESK, 101, 10 + 2 * n), "100");
    }
    // Whoever else is at the same address.
    assert_eq!(call(&mut w, "10.0.0.1:7000", 103, 20), "503");
    assert!(!header(w.last(), "Retry-After").is_empty());
    assert_eq!(w.shim.counters().overload_source, 1);
    assert_eq!(w.shim.counters().overload, 0);
    assert_eq!(call(&mut w, HOME, 103, 30), "100");
    for n in 40..50 {
        w.receive(GATE, &invite(n, "").replace("gate-1", &format!("gate-{n}")));
        assert!(w.last().starts_with("SIP/2.0 100"), "{}", w.last());
    }
    // One that is answered makes room for another.
    w.pbx(SipCommand::End {
        leg: LegId(1),
        cause: Cause::Busy,
    });
    assert_eq!(call(&mut w, DESK, 101, 60), "100");
    assert_eq!(call(&mut w, DESK, 101, 70), "503");
}

#[test]
fn of_one_source_so_many_answers_are_remembered_and_no_more() {
    let mut w = World::with(ShimConfig {
        finished_per_source_max: 2,
        ..config()
    });
    w.receive(DESK, &register_text(101, DESK, 1, ""));
    let challenge = header(w.last(), "WWW-Authenticate");
    let texts: Vec<String> = (2..5)
        .map(|cseq| {
            let proof = w.answer(&challenge, "REGISTER", URI, 101, "demo-101", cseq);
            register_text(101, DESK, cseq, &proof)
        })
        .collect();
    for text in &texts {
        w.receive(DESK, text);
        assert!(w.last().starts_with("SIP/2.0 200"), "{}", w.last());
    }
    // What comes again is answered again. The last was not remembered: it is looked at anew.
    w.receive(DESK, &texts[0]);
    w.receive(DESK, &texts[1]);
    assert_eq!(w.shim.counters().nonces_replayed, 0);
    w.receive(DESK, &texts[2]);
    assert_eq!(w.shim.counters().nonces_replayed, 1);
    // Elsewhere there is room.
    w.receive(HOME, &register_text(102, HOME, 1, ""));
    let challenge = header(w.last(), "WWW-Authenticate");
    let proof = w.answer(&challenge, "REGISTER", URI, 102, "demo-102", 1);
    for _ in 0..2 {
        w.receive(HOME, &register_text(102, HOME, 2, &proof));
    }
    assert_eq!(w.shim.counters().nonces_replayed, 1);
}

#[test]
fn what_a_phone_says_of_itself_reaches_no_terminal_as_it_is() {
    let mut w = World::new();
    w.receive(DESK, &register_text(101, DESK, 1, ""));
    let proof = w.proof("REGISTER", URI, 101);
    let headers = format!(
        "{proof}Contact: <sip:101@10.0.0.1:5060;x=\u{9b}2J>\n\
         User-Agent: Phone\u{1b}]0;title\u{7} \u{9b}31m 1.0\n"
    );
    w.receive(DESK, &register_text(101, DESK, 2, &headers));
    let phones = w.shim.phones(w.now);
    let shown = format!("{}{}", phones[0].contact, phones[0].user_agent);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(phones[0].contact, "sip:101@10.0.0.1:5060;x=\u{fffd}2J");
    assert!(
        shown.contains("Phone") && shown.contains("1.0"),
        "{shown:?}"
    );
    // Nor does what is dialled.
    let dialled = invite(1, "").replace("INVITE sip:102@", "INVITE sip:%1b%5b2J@");
    w.receive(GATE, &dialled);
    w.out();
    assert!(w.last().starts_with("SIP/2.0 404"), "{}", w.last());
}

#[test]
fn a_stream_is_kept_for_those_who_have_shown_who_they_are() {
    let mut w = World::new();
    let flow = stream(DESK, 7);
    w.receive_on(flow, &register_text(101, DESK, 1, ""));
    let challenge = header(w.last(), "WWW-Authenticate");
    let wrong = w.answer(&challenge, "REGISTER", URI, 101, "guess", 1);
    w.receive_on(flow, &register_text(101, DESK, 2, &wrong));
    assert!(w.last().starts_with("SIP/2.0 401"), "{}", w.last());
    assert_eq!(w.kept, []);
    let right = w.proof("REGISTER", URI, 101);
    w.receive_on(flow, &register_text(101, DESK, 3, &right));
    assert_eq!(w.kept, [flow]);
    // A trusted host need only speak.
    let mut w = World::with(ShimConfig {
        trusted: vec![Trusted::gateway("10.7.0.1".parse().unwrap())],
        ..config()
    });
    let gate = stream(GATE, 8);
    w.receive_on(gate, &invite(1, "").replace("INVITE", "OPTIONS"));
    assert_eq!(w.kept, [gate]);
    // Datagrams hold nothing open.
    w.receive(GATE, &invite(2, ""));
    w.register(101, DESK);
    assert_eq!(w.kept, [gate]);
}

/// The same on real sockets: of two streams the one the core wants to keep stays.
#[test]
fn the_sockets_close_streams_of_strangers() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (sender, came) = channel();
    let config = SipShellConfig {
        stranger_s: 3,
        ..SipShellConfig::new(
            "127.0.0.1:0".parse().unwrap(),
            Some("127.0.0.1:0".parse().unwrap()),
        )
    };
    let bound = SipShell::bind(config, move |wire| sender.send(wire).is_ok());
    let shell = runtime.block_on(bound).unwrap();
    let connect = || {
        let stream = TcpStream::connect(shell.tcp_address().unwrap()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    };
    let (mut phone, mut stranger) = (connect(), connect());
    let text = mended(&register_text(101, DESK, 1, ""));
    std::io::Write::write_all(&mut phone, text.as_bytes()).unwrap();
    let Ok(WireIn::Message { flow, .. }) = came.recv() else {
        panic!("no message");
    };
    shell.send(WireOut::Keep { flow });
    assert_eq!(stranger.read(&mut [0; 16]).unwrap(), 0);
    let Ok(WireIn::Closed { flow: closed }) = came.recv() else {
        panic!("not the stranger's end");
    };
    assert_eq!(closed.peer, stranger.local_addr().unwrap());
    // The other one is as old, and is still served.
    std::io::Write::write_all(&mut phone, b"\r\n\r\n").unwrap();
    assert_eq!(phone.read(&mut [0; 16]).unwrap(), 2);
    let stats = shell.stats();
    assert_eq!((stats.streams_unknown, stats.connections), (1, 1));
    runtime.block_on(shell.close());
}
