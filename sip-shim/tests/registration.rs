//! Registration and passwords as transcripts.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_sip_shim::{Flow, ShimConfig, Transport};
use tandem_sip_shim::{ShimInput, WireIn};

const URI: &str = "sip:10.0.0.9";

fn challenged(w: &mut World, number: u64, at: &str) -> Vec<String> {
    w.receive(at, &register_text(number, at, 1, ""));
    let text = w.last_like("SIP/2.0 401");
    text.lines()
        .filter_map(|l| l.strip_prefix("WWW-Authenticate: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_phone_that_fails_at_an_unknown_hash_is_offered_the_one_it_knows() {
    let mut w = World::new();
    let agent = "User-Agent: baresip v1.0.0 (x86_64/linux)\n";
    w.receive(DESK, &register_text(101, DESK, 1, agent));
    let text = w.last().to_owned();
    assert!(text.contains("algorithm=MD5"), "{text}");
    assert!(!text.contains("SHA-256"), "{text}");
}

#[test]
fn a_phone_registers_with_either_hash() {
    for which in [0, 1] {
        let mut w = World::new();
        let challenges = challenged(&mut w, 101, DESK);
        assert!(
            challenges[1].contains("algorithm=SHA-256"),
            "{challenges:?}"
        );
        assert!(challenges[0].contains("algorithm=MD5"), "{challenges:?}");
        let proof = w.answer(&challenges[which], "REGISTER", URI, 101, "demo-101", 1);
        w.receive(DESK, &register_text(101, DESK, 2, &proof));
        w.expect(&[
            "10.0.0.1:5060: 401 (1 REGISTER)",
            "10.0.0.1:5060: 200 (2 REGISTER)",
            "pbx: PhoneCame 101",
        ]);
        assert_eq!(
            header(w.last(), "Contact"),
            "<sip:101@10.0.0.1:5060>;expires=300"
        );
        let phones = w.shim.phones(w.now);
        assert_eq!(
            (phones.len(), &*phones[0].extension, phones[0].expires_s),
            (1, "101", 300)
        );
    }
}

#[test]
fn a_nonce_serves_many_requests_each_count_once() {
    let mut w = World::new();
    let challenge = challenged(&mut w, 101, DESK).remove(0);
    for count in 1..=20 {
        let proof = w.answer(&challenge, "REGISTER", URI, 101, "demo-101", count);
        w.receive(DESK, &register_text(101, DESK, 1 + count, &proof));
        assert!(
            w.last().starts_with("SIP/2.0 200"),
            "count {count}: {}",
            w.last()
        );
    }
    let proof = w.answer(&challenge, "REGISTER", URI, 101, "demo-101", 20);
    w.receive(DESK, &register_text(101, DESK, 30, &proof));
    assert!(w.last().starts_with("SIP/2.0 401") && w.last().contains("stale=true"));
    assert_eq!(w.shim.counters().nonces_replayed, 1);
}

#[test]
fn an_old_nonce_is_stale_but_no_failure() {
    let mut w = World::new();
    let challenge = challenged(&mut w, 101, DESK).remove(0);
    w.pass_ms(302_000);
    let proof = w.answer(&challenge, "REGISTER", URI, 101, "demo-101", 1);
    w.receive(DESK, &register_text(101, DESK, 2, &proof));
    assert!(w.last().starts_with("SIP/2.0 401") && w.last().contains("stale=true"));
    assert_eq!(
        (
            w.shim.counters().nonces_stale,
            w.shim.counters().login_failures
        ),
        (1, 0)
    );
    let proof = w.proof("REGISTER", URI, 101);
    w.receive(DESK, &register_text(101, DESK, 3, &proof));
    assert!(w.last_like("SIP/2.0").starts_with("SIP/2.0 200"));
}

#[test]
fn a_nonce_belongs_to_the_address_it_was_given_to() {
    let mut w = World::new();
    let challenge = challenged(&mut w, 101, DESK).remove(0);
    let proof = w.answer(&challenge, "REGISTER", URI, 101, "demo-101", 1);
    w.receive(HOME, &register_text(101, HOME, 2, &proof));
    assert!(w.last().starts_with("SIP/2.0 401"));
}

/// Without tags and nonces, which differ in every answer.
fn shape(text: &str) -> String {
    let mask = |l: &str| match l.split(';').next().unwrap_or_default() {
        l if l.starts_with("To: ") || l.starts_with("Via") || l.starts_with("Call-ID") => "",
        l if l.starts_with("From: ") => "",
        l if l.starts_with("WWW-Auth") => "challenge",
        _ => "other",
    };
    text.lines().map(mask).collect::<Vec<_>>().join("\n")
}

#[test]
fn wrong_passwords_and_unknown_users_look_alike() {
    let mut w = World::new();
    let mut answers = Vec::new();
    for (number, at) in [(101, "10.0.0.3:5060"), (999, "10.0.0.4:5060")] {
        let challenge = challenged(&mut w, number, at).remove(0);
        let proof = w.answer(&challenge, "REGISTER", URI, number, "guess", 1);
        w.receive(at, &register_text(number, at, 2, &proof));
        assert!(w.last().starts_with("SIP/2.0 401") && !w.last().contains("stale"));
        answers.push(shape(w.last()));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(w.shim.counters().login_failures, 2);
}

#[test]
fn who_guesses_is_slowed_and_others_are_not() {
    let mut w = World::new();
    w.register(101, DESK);
    let guesser = "10.0.0.1:9999";
    for n in 1..=12 {
        w.receive(guesser, &register_text(102, guesser, n * 2, ""));
        if w.last().starts_with("SIP/2.0 503") {
            assert!(n > 10, "slowed at {n}");
            continue;
        }
        let challenge = header(&w.last_like("SIP/2.0 401"), "WWW-Authenticate");
        let proof = w.answer(&challenge, "REGISTER", URI, 102, "guess", 1);
        w.receive(guesser, &register_text(102, guesser, n * 2 + 1, &proof));
    }
    assert!(w.last().starts_with("SIP/2.0 503") && !header(w.last(), "Retry-After").is_empty());
    assert_eq!(
        (w.shim.counters().login_failures, w.shim.counters().slowed),
        (10, 2)
    );
    // A phone at the same address that is registered already, and one elsewhere.
    w.receive(DESK, &register_text(101, DESK, 5000, ""));
    let proof = w.proof("REGISTER", URI, 101);
    w.receive(DESK, &register_text(101, DESK, 5001, &proof));
    assert!(
        w.last_like("SIP/2.0").starts_with("SIP/2.0 200"),
        "{}",
        w.last()
    );
    w.register(103, "10.0.0.3:5060");
    // And the guesser may come again after a while.
    w.pass_ms(10_000);
    w.register(102, guesser);
}

#[test]
fn a_flood_from_one_address_is_slowed() {
    let mut w = World::new();
    for n in 0..600 {
        w.receive(DESK, &register_text(101, DESK, n, ""));
    }
    assert_eq!(w.shim.counters().slowed, 100);
    w.register(102, HOME);
    w.pass_ms(1000);
    w.register(101, DESK);
}

#[test]
fn several_phones_expire_one_by_one() {
    let mut w = World::new();
    w.register(101, DESK);
    w.pass_ms(100_000);
    w.register(101, HOME);
    let contacts = w.last_like("SIP/2.0 200").matches("Contact: ").count();
    assert_eq!((contacts, w.shim.phones(w.now).len()), (2, 2));
    w.pass_ms(201_000);
    assert_eq!(w.shim.phones(w.now).len(), 1);
    assert_eq!(w.shim.phones(w.now)[0].source.to_string(), HOME);
    w.pass_ms(100_000);
    assert!(w.shim.phones(w.now).is_empty());
    assert_eq!(w.shim.counters().bindings_expired, 2);
}

fn reregister(w: &mut World, cseq: u32, headers: &str) -> String {
    w.receive(DESK, &register_text(101, DESK, cseq, headers));
    let proof = w.proof("REGISTER", URI, 101);
    w.receive(
        DESK,
        &register_text(101, DESK, cseq + 1, &format!("{headers}{proof}")),
    );
    w.out();
    w.last_like("SIP/2.0")
}

#[test]
fn times_are_kept_within_bounds() {
    let mut w = World::new();
    let text = reregister(&mut w, 1, "Expires: 59\n");
    assert!(
        text.starts_with("SIP/2.0 423") && header(&text, "Min-Expires") == "60",
        "{text}"
    );
    let text = reregister(&mut w, 3, "Expires: 999999\n");
    assert_eq!(
        header(&text, "Contact"),
        "<sip:101@10.0.0.1:5060>;expires=3600"
    );
    let text = reregister(
        &mut w,
        5,
        "Contact: <sip:101@10.0.0.1:5060>;expires=120\nExpires: 600\n",
    );
    assert_eq!(
        header(&text, "Contact"),
        "<sip:101@10.0.0.1:5060>;expires=120"
    );
}

#[test]
fn phones_unregister() {
    let mut w = World::new();
    w.register(101, HOME);
    w.register(101, DESK);
    let text = reregister(&mut w, 5010, "Contact: <sip:101@10.0.0.1:5060>;expires=0\n");
    assert_eq!(
        header(&text, "Contact"),
        "<sip:101@10.0.0.2:5060>;expires=300"
    );
    let text = reregister(&mut w, 5012, "Contact: *\nExpires: 0\n");
    assert!(
        text.starts_with("SIP/2.0 200") && header(&text, "Contact").is_empty(),
        "{text}"
    );
    assert!(w.shim.phones(w.now).is_empty());
    let text = reregister(&mut w, 5014, "Contact: *\n");
    assert!(text.starts_with("SIP/2.0 400"), "{text}");
    let text = reregister(&mut w, 5016, "Contact: <mailto:a@b>\n");
    assert!(text.starts_with("SIP/2.0 400"), "{text}");
}

#[test]
fn an_older_register_changes_nothing() {
    let mut w = World::new();
    w.register(101, DESK);
    w.receive(DESK, &register_text(101, DESK, 3, ""));
    let proof = w.proof("REGISTER", URI, 101);
    w.receive(
        DESK,
        &register_text(101, DESK, 2, &format!("Expires: 0\n{proof}")),
    );
    assert!(w.last().starts_with("SIP/2.0 500"), "{}", w.last());
    assert_eq!(w.shim.phones(w.now).len(), 1);
}

#[test]
fn a_phone_that_starts_anew_takes_its_own_place() {
    let mut w = World::new();
    let instance =
        |port| format!("Contact: <sip:101@10.0.0.1:{port}>;+sip.instance=\"<urn:uuid:1>\"\n");
    reregister(&mut w, 1, &instance(5060));
    let text = reregister(&mut w, 3, &instance(5070));
    assert_eq!(text.matches("Contact: ").count(), 1, "{text}");
    assert!(header(&text, "Contact").starts_with("<sip:101@10.0.0.1:5070>"));
}

#[test]
fn the_table_of_one_user_is_bounded() {
    let mut w = World::new();
    for n in 1..=12 {
        w.pass_ms(1000);
        w.register(101, &format!("10.0.1.{n}:5060"));
    }
    let phones = w.shim.phones(w.now);
    assert_eq!(phones.len(), 10);
    assert!(
        !phones
            .iter()
            .any(|p| p.source.to_string() == "10.0.1.1:5060")
    );
}

#[test]
fn a_phone_behind_a_nat_is_called_where_it_came_from() {
    let mut w = World::new();
    let inside = "192.168.1.7:5060";
    let text = register_text(102, inside, 1, "");
    w.receive("10.0.0.5:61000", &text);
    let via = header(w.last(), "Via");
    assert!(
        via.contains("rport=61000") && via.contains("received=10.0.0.5"),
        "{via}"
    );
    let proof = w.proof("REGISTER", URI, 102);
    w.receive("10.0.0.5:61000", &register_text(102, inside, 2, &proof));
    w.out();
    w.call(2);
    w.expect(&["10.0.0.5:61000: INVITE sip:102@192.168.1.7:5060"]);
}

#[test]
fn without_rport_answers_go_to_the_port_in_via() {
    let mut w = World::new();
    w.receive(
        "10.0.0.5:61000",
        &register_text(102, "10.0.0.5:5070", 1, "").replace(";rport", ""),
    );
    w.expect(&["10.0.0.5:5070: 401 (1 REGISTER)"]);
}

#[test]
fn a_phone_over_tcp_is_called_over_its_connection() {
    let mut w = World::new();
    let flow = Flow {
        transport: Transport::Tcp,
        peer: "10.0.0.6:40000".parse().unwrap(),
        connection: 3,
    };
    let text = |cseq, proof: &str| {
        register_text(102, "10.0.0.6:40000", cseq, proof).replace("SIP/2.0/UDP", "SIP/2.0/TCP")
    };
    w.receive_on(flow, &text(1, ""));
    let proof = w.proof("REGISTER", URI, 102);
    w.receive_on(flow, &text(2, &proof));
    w.out();
    w.call(2);
    w.expect(&["10.0.0.6:40000 by tcp: INVITE sip:102@10.0.0.6:40000"]);
    assert_eq!(w.sent.last().unwrap().0.connection, 3);
    // The connection breaks: the call fails at once, the phone is called anew where it listens.
    w.input(ShimInput::Wire(WireIn::Closed { flow }));
    w.expect(&["media: Close 2", "pbx: Ended 2 NoAnswer"]);
    w.call(4);
    assert_eq!(w.sent.last().unwrap().0.connection, 0);
}

#[test]
fn a_changed_password_ends_registrations() {
    let mut w = World::new();
    w.register(101, DESK);
    let mut changed = user(101);
    changed.name = "Anna".into();
    w.input(ShimInput::User {
        id: id(101),
        user: Some(changed.clone()),
    });
    assert_eq!(w.shim.phones(w.now).len(), 1);
    changed.ha1_sha256 = "0".repeat(64).into();
    w.input(ShimInput::User {
        id: id(101),
        user: Some(changed),
    });
    assert!(w.shim.phones(w.now).is_empty());
    w.input(ShimInput::User {
        id: id(101),
        user: None,
    });
    w.receive(DESK, &register_text(101, DESK, 9, ""));
    w.expect(&["10.0.0.1:5060: 401 (9 REGISTER)"]);
}

#[test]
fn swapped_extensions_keep_their_owners() {
    let mut w = World::new();
    let (mut a, mut b) = (user(101), user(102));
    std::mem::swap(&mut a.extension, &mut b.extension);
    w.input(ShimInput::User {
        id: id(101),
        user: Some(a),
    });
    w.input(ShimInput::User {
        id: id(102),
        user: Some(b),
    });
    let config = ShimConfig::default();
    assert_eq!(config.realm, "tandem");
    // Whoever now is 102 is the user with id 101; its HA1 was made for 101, so it must be asked.
    w.receive(DESK, &register_text(102, DESK, 1, ""));
    w.expect(&["10.0.0.1:5060: 401 (1 REGISTER)"]);
}
