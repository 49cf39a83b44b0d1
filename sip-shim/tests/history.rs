//! Where a call has been, as transcripts: Diversion, History-Info and Referred-By.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{CallHistory, Diversion, DiversionReason, Referrer, SipCommand, SipEvent};

fn diversion(number: &str, reason: DiversionReason) -> Diversion {
    Diversion {
        number: number.into(),
        name: "".into(),
        is_withheld: number.is_empty(),
        reason,
    }
}

/// The headers of one name, top to bottom.
fn all(text: &str, name: &str) -> Vec<String> {
    let start = format!("{name}: ");
    let found = text.lines().filter_map(|line| line.strip_prefix(&start));
    found.map(str::to_owned).collect()
}

/// The INVITE of a call to 102 with this history.
fn called(history: CallHistory) -> String {
    let mut w = World::new();
    w.register(102, HOME);
    w.call_with(2, history);
    w.last_like("INVITE")
}

/// What call control is told of a call that comes from a gateway with these headers.
fn told(headers: &str) -> Vec<(String, DiversionReason, bool)> {
    told_by(GATE, headers)
}

fn told_by(from: &str, headers: &str) -> Vec<(String, DiversionReason, bool)> {
    let mut w = World::new();
    w.register(101, DESK);
    let text = invite(1, headers).replace(GATE, from);
    w.receive(from, &text);
    if w.last().starts_with("SIP/2.0 401") {
        let proof = w.proof("INVITE", "sip:102@10.0.0.9", 101);
        let text = invite(2, &format!("{proof}{headers}")).replace(GATE, from);
        w.receive(from, &text);
    }
    let diversions = w.events.iter().find_map(|event| match event {
        SipEvent::Incoming { diversions, .. } => Some(diversions.clone()),
        _ => None,
    });
    let told = diversions.unwrap();
    let line = |d: &Diversion| (d.number.to_string(), d.reason, d.is_withheld);
    told.iter().map(line).collect()
}

#[test]
fn a_call_that_was_sent_on_says_from_where_and_why() {
    let diversions = [
        diversion("101", DiversionReason::Unconditional),
        diversion("103", DiversionReason::NoAnswer),
    ];
    let invite = called(CallHistory {
        diversions: diversions.into(),
        referred_by: None,
    });
    assert_eq!(
        all(&invite, "Diversion"),
        [
            "<sip:103@10.0.0.9:5060>;reason=no-answer",
            "<sip:101@10.0.0.9:5060>;reason=unconditional",
        ]
    );
    assert_eq!(
        all(&invite, "History-Info"),
        [
            "<sip:101@10.0.0.9:5060>;index=1",
            "<sip:103@10.0.0.9:5060;cause=302>;index=1.1;mp=1",
            "<sip:102@10.0.0.9:5060;cause=408>;index=1.1.1;mp=1.1",
        ]
    );
}

#[test]
fn who_is_not_to_be_known_is_not_named() {
    let diversions = [diversion("", DiversionReason::Busy)];
    let invite = called(CallHistory {
        diversions: diversions.into(),
        referred_by: None,
    });
    assert_eq!(
        all(&invite, "Diversion"),
        ["<sip:anonymous@anonymous.invalid>;privacy=full;reason=user-busy"]
    );
    assert_eq!(
        all(&invite, "History-Info")[0],
        "<sip:anonymous@anonymous.invalid?Privacy=history>;index=1"
    );
}

#[test]
fn a_line_that_is_closed_says_so() {
    let diversions = [diversion("600", DiversionReason::TimeOfDay)];
    let invite = called(CallHistory {
        diversions: diversions.into(),
        referred_by: None,
    });
    assert_eq!(
        all(&invite, "Diversion"),
        ["<sip:600@10.0.0.9:5060>;reason=time-of-day"]
    );
    assert_eq!(
        all(&invite, "History-Info")[1],
        "<sip:102@10.0.0.9:5060;cause=404>;index=1.1;mp=1"
    );
}

#[test]
fn a_call_that_went_straight_has_no_history() {
    let invite = called(CallHistory::default());
    for name in ["Diversion", "History-Info", "Referred-By"] {
        assert!(all(&invite, name).is_empty(), "{name}");
    }
}

#[test]
fn who_transferred_a_call_is_named() {
    let referred_by = Some(Referrer {
        number: "103".into(),
        name: "Ann".into(),
    });
    let invite = called(CallHistory {
        referred_by,
        ..CallHistory::default()
    });
    let named = all(&invite, "Referred-By");
    assert_eq!(named, ["\"Ann\" <sip:103@10.0.0.9:5060>"]);
}

#[test]
fn what_a_gateway_says_of_a_call_is_read() {
    use DiversionReason as Why;
    let owned = |number: &str, why, hidden| (number.to_owned(), why, hidden);
    assert_eq!(
        told("Diversion: <sip:300@x>;reason=user-busy, \"A\" <tel:+4930-1>;reason=no-answer\n"),
        [
            owned("+49301", Why::NoAnswer, false),
            owned("300", Why::Busy, false),
        ]
    );
    assert_eq!(
        told("Diversion: <sip:300@x>;privacy=full;reason=follow-me\n"),
        [owned("", Why::Other, true)]
    );
    assert_eq!(
        told(
            "History-Info: <sip:300@x>;index=1, <sip:301@x;cause=302>;index=1.1;mp=1\n\
             History-Info: <sip:301@y?Reason=SIP%3Bcause%3D486>;index=1.1.1;rc=1.1\n\
             History-Info: <sip:102@x>;index=1.2;mp=1.1\n"
        ),
        [
            owned("300", Why::Unconditional, false),
            owned("301", Why::Busy, false),
        ]
    );
    // The caller wants none of it known.
    assert_eq!(
        told("Privacy: history\nDiversion: <sip:300@x>;reason=user-busy\n"),
        [owned("", Why::Busy, true)]
    );
    assert_eq!(told("Diversion: nonsense <\nHistory-Info: ;;,\n"), []);
    let many: String = (0..40)
        .map(|n| format!("Diversion: <sip:{n}@x>\n"))
        .collect();
    let many = told(&many);
    assert_eq!(many.len(), 10);
    assert_eq!(many.last(), Some(&owned("0", Why::Other, false)));
}

#[test]
fn what_a_phone_says_of_a_call_is_not_believed() {
    assert_eq!(
        told_by(DESK, "Diversion: <sip:300@x>;reason=user-busy\n"),
        []
    );
}

#[test]
fn a_refer_tells_who_sent_it() {
    for (header, said) in [
        (
            "Referred-By: \"Ann\" <sip:555@10.7.0.1>\n",
            Some(("555", "Ann")),
        ),
        ("Referred-By: <sip:anonymous@anonymous.invalid>\n", None),
        ("Referred-By: <<>>\n", None),
        ("", None),
    ] {
        let mut w = World::new();
        w.talking();
        let headers = format!("Refer-To: <sip:103@10.0.0.9>\n{header}");
        w.receive(GATE, &w.within("REFER", 2, &headers, ""));
        let told = w.events.iter().find_map(|event| match event {
            SipEvent::Refer {
                leg, referred_by, ..
            } => Some((*leg, referred_by.clone())),
            _ => None,
        });
        let (leg, told) = told.unwrap();
        let told = told.as_ref().map(|who| (&*who.number, &*who.name));
        assert_eq!((leg, told), (LegId(1), said), "{header}");
        w.pbx(SipCommand::ReferResult { leg, refused: None });
    }
}
