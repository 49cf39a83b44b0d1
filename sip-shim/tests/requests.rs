//! Requests that are no calls, floods, and the torture messages of RFC 4475.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_sip_shim::validate::read_datagram;
use tandem_sip_shim::{Flow, Shim, ShimConfig, ShimInput, WireIn};
use tandem_storage::time::{Now, Time};

fn request(method: &str, uri: &str, headers: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{method}{};rport\n\
         Max-Forwards: 70\nFrom: <sip:x@y>;tag=1\nTo: <sip:a@b>\nCall-ID: c\nCSeq: 1 {method}\n\
         {headers}Content-Length: 0\n\n",
        headers.len()
    )
}

#[test]
fn options_tell_what_we_can() {
    let mut w = World::new();
    w.receive(DESK, &request("OPTIONS", "sip:10.0.0.9", ""));
    w.expect(&["10.0.0.1:5060: 200 (1 OPTIONS)"]);
    for name in [
        "Allow",
        "Accept",
        "Supported",
        "Accept-Encoding",
        "Allow-Events",
    ] {
        assert!(!header(w.last(), name).is_empty(), "{name}");
    }
}

#[test]
fn other_methods_are_refused() {
    let mut w = World::new();
    for (method, status) in [
        ("FOO", 501),
        ("invite", 501),
        ("MESSAGE", 401),
        ("PUBLISH", 405),
        ("REFER", 481),
        ("NOTIFY", 405),
        ("PRACK", 481),
        ("BYE", 481),
        ("INFO", 481),
        ("UPDATE", 481),
        ("CANCEL", 481),
    ] {
        w.receive(DESK, &request(method, "sip:a@10.0.0.9", ""));
        w.expect(&[&format!("10.0.0.1:5060: {status} (1 {method})")]);
        if matches!(status, 405 | 501) {
            assert!(!header(w.last(), "Allow").is_empty());
        }
    }
    assert_eq!(w.shim.counters().methods_refused, 4);
}

#[test]
fn faults_are_named() {
    let mut w = World::new();
    let good = request("OPTIONS", "sip:a@10.0.0.9", "");
    for (from, to, status) in [
        ("SIP/2.0\nVia", "SIP/7.0\nVia", 505),
        ("1 OPTIONS", "1 INVITE", 400),
        ("Content-Length: 0", "Content-Length: 12", 400),
        ("Call-ID: c\n", "", 400),
        ("sip:a@10.0.0.9 SIP", "ftp:a SIP", 416),
    ] {
        w.receive(DESK, &good.replace(from, to));
        let cseq = header(w.last(), "CSeq");
        w.expect(&[&format!("10.0.0.1:5060: {status} ({cseq})")]);
    }
    assert_eq!((w.shim.counters().malformed, w.shim.waiting()), (5, 0));
}

#[test]
fn a_response_without_a_request_is_a_stray() {
    let mut w = World::new();
    w.receive(
        DESK,
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK12\nFrom: <sip:a@b>\n\
        To: <sip:a@b>\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 0\n\n",
    );
    w.receive(DESK, &request("ACK", "sip:a@10.0.0.9", ""));
    w.expect(&[]);
    assert_eq!(w.shim.counters().strays, 2);
}

#[test]
fn too_many_waiting_requests_are_refused_and_running_calls_are_not() {
    let mut w = World::with(ShimConfig {
        transactions_max: 3,
        ..config()
    });
    w.talking();
    for n in 2..=4 {
        w.receive(GATE, &invite(n, "").replace("gate-1", &format!("gate-{n}")));
    }
    w.out();
    w.receive(GATE, &invite(9, "").replace("gate-1", "gate-9"));
    w.expect(&["10.7.0.1:5060: 503 (9 INVITE)"]);
    assert!(!header(w.last(), "Retry-After").is_empty());
    assert_eq!((w.shim.counters().overload, w.shim.waiting()), (1, 3));
    w.receive(
        GATE,
        &w.within("BYE", 2, "", "").replace("gate-9", "gate-1"),
    );
    w.expect(&[
        "10.7.0.1:5060: 200 (2 BYE)",
        "media: Close 1",
        "pbx: Ended 1 Normal",
    ]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut w = World::with(ShimConfig {
        finished_max: 10,
        ..config()
    });
    for n in 0..100 {
        let text =
            request("OPTIONS", "sip:10.0.0.9", "").replace("OPTIONS0;", &format!("OPTIONS{n};"));
        w.receive(GATE, &text);
    }
    assert_eq!((w.sent.len(), w.shim.waiting()), (100, 0));
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let run = || {
        let mut w = World::new();
        w.register(101, DESK);
        w.talking();
        w.sent
    };
    assert_eq!(run(), run());
}

/// Lower-case hex of the torture messages' folder, from the environment or beside the workspace.
fn vectors() -> Option<std::path::PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
    let folder = std::env::var("TANDEM_VECTORS").unwrap_or(beside.to_owned());
    let folder = std::path::Path::new(&folder).join("rfc4475");
    folder.is_dir().then_some(folder)
}

/// RFC 4475: what each message must come to. 0: dropped. Where we are asked for a password the
/// message itself was understood.
#[test]
fn torture() {
    let Some(folder) = vectors() else {
        println!("skipped: no torture messages; TANDEM_VECTORS names the folder that has rfc4475/");
        return;
    };
    let expected: &[(&str, &[u16])] = &[
        ("wsinv", &[481]),
        ("intmeth", &[501, 400]),
        ("esc01", &[401]),
        ("escnull", &[401]),
        ("esc02", &[501]),
        ("lwsdisp", &[200]),
        ("longreq", &[401]),
        ("dblreq", &[401]),
        ("semiuri", &[200]),
        ("transports", &[200]),
        ("mpart01", &[401]),
        ("unreason", &[0]),
        ("noreason", &[0]),
        ("badinv01", &[400]),
        ("clerr", &[400]),
        ("ncl", &[400]),
        ("scalar02", &[400]),
        ("scalarlg", &[0]),
        ("quotbal", &[400]),
        ("ltgtruri", &[400]),
        ("lwsruri", &[400]),
        ("lwsstart", &[400]),
        ("trws", &[200]),
        ("escruri", &[400, 401]),
        ("baddate", &[401]),
        ("regbadct", &[401]),
        ("badaspec", &[200, 400]),
        ("baddn", &[200, 400]),
        ("badvers", &[505]),
        ("mismatch01", &[400]),
        ("mismatch02", &[400]),
        ("bigcode", &[0]),
        ("badbranch", &[200]),
        ("insuf", &[400]),
        ("unkscm", &[416]),
        ("novelsc", &[416]),
        ("unksm2", &[401]),
        ("bext01", &[420]),
        ("invut", &[415, 401]),
        ("regaut01", &[401]),
        ("multi01", &[400]),
        ("mcl01", &[400]),
        ("bcast", &[0]),
        ("zeromf", &[483]),
        ("cparam01", &[401]),
        ("cparam02", &[401]),
        ("regescrt", &[401]),
        ("sdp01", &[401]),
        ("inv2543", &[401]),
    ];
    let mut wrong = Vec::new();
    for (name, statuses) in expected {
        let bytes = std::fs::read(folder.join(format!("{name}.dat"))).unwrap();
        let got = answer_to(&bytes);
        if !statuses.contains(&got) {
            wrong.push(format!("{name}: {got}, not {statuses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn answer_to(bytes: &[u8]) -> u16 {
    let Ok(message) = read_datagram(bytes) else {
        return 0;
    };
    let mut shim = Shim::new(ShimConfig::default(), [1; 32]);
    let flow = Flow::udp("10.0.0.1:5060".parse().unwrap());
    shim.handle(
        Now::default(),
        ShimInput::Wire(WireIn::Message { flow, message }),
    );
    let mut status = 0;
    while let Some(output) = shim.poll() {
        if let tandem_sip_shim::ShimOutput::Wire(tandem_sip_shim::WireOut::Send { bytes, .. }) =
            output
        {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            status = text[8..11].parse().unwrap();
        }
    }
    status
}

/// Bent messages never bring the core down, and it still serves afterwards.
#[test]
fn bent_messages() {
    let mut samples: Vec<Vec<u8>> = vec![
        mended(&invite(1, "Supported: timer\nSession-Expires: 300\n")).into_bytes(),
        mended(&register_text(
            101,
            DESK,
            1,
            "Contact: <sip:1@2>;expires=9\n",
        ))
        .into_bytes(),
    ];
    if let Some(folder) = vectors() {
        for entry in std::fs::read_dir(folder).unwrap() {
            samples.push(std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
    let mut shim = Shim::new(config(), [1; 32]);
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for round in 0..20_000_u64 {
        let mut bytes = samples[next() % samples.len()].clone();
        for _ in 0..=next() % 4 {
            let at = next() % bytes.len().max(1);
            match next() % 4 {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = next() as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b",;<>\"@: \r\n%"[next() % 11]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let Ok(message) = read_datagram(&bytes) else {
            continue;
        };
        let flow = Flow::udp(GATE.parse().unwrap());
        let now = Now {
            mono: Time(round * 10_000_000),
            ..Now::default()
        };
        shim.handle(now, ShimInput::Wire(WireIn::Message { flow, message }));
        while let Some(output) = shim.poll() {
            let incoming = match output {
                tandem_sip_shim::ShimOutput::Pbx(tandem_pbx::seam::SipEvent::Incoming {
                    leg,
                    ..
                }) => Some(leg),
                _ => None,
            };
            if let Some(leg) = incoming {
                let cause = tandem_pbx::seam::Cause::Busy;
                shim.handle(
                    now,
                    ShimInput::Pbx(tandem_pbx::seam::SipCommand::End { leg, cause }),
                );
            }
        }
        shim.tick(now);
    }
    assert!(shim.counters().malformed > 0 && shim.counters().calls_in > 0);
    assert_eq!(shim.dialogs(), 0);
}
