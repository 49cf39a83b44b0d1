//! Lines to the world: the demo's own, and those of a provider, which is Kamailio.

use std::net::SocketAddr;

use crate::calls::{assert_both_hear, assert_idle};
use crate::kit::kamailio::{Kamailio, LOGIN};
use crate::kit::node::Node;
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};

fn phone(node: &Node, user: &str) -> Ua {
    let mut phone = Ua::of(node, user);
    phone.register();
    phone
}

/// A telephone of the world, behind the provider.
fn in_the_world(node: &Node) -> Ua {
    let mut ua = Ua::of(node, "0301234");
    ua.password.clear();
    ua
}

fn done(node: &Node, args: &[&str]) {
    let said = node.cli(args);
    assert_eq!(said.code, 0, "{args:?}: {}{}", said.out, said.err);
}

/// A trunk of this name at the provider, for the numbers behind an 8.
fn has_trunk(node: &Node, name: &str, at: SocketAddr) {
    let (user, password) = LOGIN;
    let (host, user) = (format!("host={at}"), format!("username={user}"));
    let password = format!("password={password}");
    let numbers = "numbers=+49301:101,+49302:102";
    let (number, calls) = ("number=+49300", "calls_max=2");
    done(
        node,
        &[
            "trunk", "add", name, &host, &user, &password, number, numbers, calls,
        ],
    );
}

/// Dials, shows its password if it is asked for, and waits for the one who is called.
fn reach(a: &mut Ua, b: &mut Ua, number: &str) -> (Call, Call) {
    let mut ours = a.dial(number);
    a.answer_challenge(&mut ours);
    let theirs = b.wait_call();
    (ours, theirs)
}

#[test]
fn what_the_demo_dials_behind_a_nine_comes_back_from_its_trunk() {
    let node = Node::demo();
    let (mut a, mut b) = (phone(&node, "101"), phone(&node, "103"));
    let (mut ours, mut theirs) = reach(&mut a, &mut b, "9555");
    let invite = theirs.invite();
    assert!(
        invite.header("From").contains("sip:+4930555@"),
        "{}",
        b.text()
    );
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200, "{}", a.text());
    assert_both_hear(&ours, &theirs);
    let trunks = node.json(&["trunk", "list"]);
    assert_eq!(
        (&trunks[0]["name"], &trunks[0]["calls"]),
        (&"loop".into(), &2.into())
    );
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    ours.media.mute();
    assert_idle(&node);
    // From a gateway nobody gets outside.
    let mut gate = Ua::gateway(&node, "555");
    let mut call = gate.dial("9555");
    assert_eq!(gate.wait_final(&mut call), 403);
}

#[test]
fn a_call_goes_out_over_a_provider_and_one_comes_in() {
    let mut node = Node::demo();
    let mut world = in_the_world(&node);
    let provider = Kamailio::provider(&node, world.local);
    world.calls_by(provider.at);
    has_trunk(&node, "carrier", provider.at);
    done(&node, &["route", "add", "8.", "trunks=carrier", "strip=1"]);
    // What was set is there after the power was cut.
    node.kill();
    node.start();
    let mut a = phone(&node, "101");
    let (mut ours, mut theirs) = reach(&mut a, &mut world, "80301234");
    let invite = theirs.invite();
    assert!(invite.start.starts_with("INVITE sip:0301234@"));
    let said = invite.header("P-Asserted-Identity");
    assert!(said.contains("sip:+49301@"), "{said}");
    let from = invite.header("From");
    assert!(from.contains("sip:+49301@"), "{from}");
    world.answer(&mut theirs);
    assert_eq!(
        a.wait_final(&mut ours),
        200,
        "{}\n{}",
        a.text(),
        provider.output()
    );
    assert_both_hear(&ours, &theirs);
    world.hang_up(&mut theirs);
    a.wait_hang_up(&ours);
    ours.media.mute();
    assert_idle(&node);
    // And in, by the number of 102.
    let mut b = phone(&node, "102");
    let mut call = world.dial("+49302");
    let mut at_b = b.wait_call();
    b.answer(&mut at_b);
    assert_eq!(world.wait_final(&mut call), 200, "{}", world.text());
    assert_both_hear(&call, &at_b);
    b.hang_up(&mut at_b);
    world.wait_hang_up(&call);
    // A number that is nobody's, and what strangers may not have.
    for number in ["+49309", "*97", "80301234"] {
        let mut call = world.dial(number);
        assert_eq!(world.wait_final(&mut call), 404, "{number}");
    }
    assert_idle(&node);
    let records = node.json(&["calls", "log"]);
    let records = records.as_array().unwrap();
    let out = records
        .iter()
        .find(|record| record["direction"] == "out" && record["trunk"] == "carrier");
    assert_eq!(
        out.expect("the leg outside")["outcome"],
        "answered",
        "{records:?}"
    );
}

#[test]
fn a_provider_that_is_gone_is_passed_over() {
    let node = Node::demo();
    let mut world = in_the_world(&node);
    let mut first = Kamailio::provider(&node, world.local);
    let second = Kamailio::provider(&node, world.local);
    world.calls_by(second.at);
    has_trunk(&node, "first", first.at);
    has_trunk(&node, "second", second.at);
    done(
        &node,
        &["route", "add", "8.", "trunks=first,second", "strip=1"],
    );
    first.kill();
    let mut a = phone(&node, "101");
    let (mut ours, mut theirs) = reach(&mut a, &mut world, "80301234");
    let via = theirs.invite().header("Via").to_owned();
    assert!(via.contains(&second.at.to_string()), "{via}");
    world.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200, "{}", a.text());
    a.hang_up(&mut ours);
    world.wait_hang_up(&theirs);
    // Who is busy is not called again by the other.
    second_is_not_tried(&node, &mut a, &mut world);
}

fn second_is_not_tried(node: &Node, a: &mut Ua, world: &mut Ua) {
    done(node, &["route", "set", "8.", "trunks=second,first"]);
    let (mut ours, theirs) = reach(a, world, "80301234");
    world.refuse(&theirs, 486);
    assert_eq!(a.wait_final(&mut ours), 486, "{}", a.text());
    assert_idle(node);
}

#[test]
fn a_user_who_works_at_home_is_rung_there_and_dials_from_there() {
    let node = Node::demo();
    let mut world = in_the_world(&node);
    let provider = Kamailio::provider(&node, world.local);
    world.calls_by(provider.at);
    has_trunk(&node, "carrier", provider.at);
    done(&node, &["route", "add", "8.", "trunks=carrier", "strip=1"]);
    done(&node, &["user", "set", "102", "works_at=80301234"]);
    let mut a = phone(&node, "101");
    let (mut ours, mut theirs) = reach(&mut a, &mut world, "102");
    world.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200);
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    world.wait_hang_up(&theirs);
    // Rung there first, then the number is called.
    done(&node, &["dial", "102", "101"]);
    let mut theirs = world.wait_call();
    world.answer(&mut theirs);
    let mut at_a = a.wait_call();
    let from = at_a.invite().header("From").to_owned();
    assert!(from.contains("sip:102@"), "{from}");
    a.answer(&mut at_a);
    assert_both_hear(&at_a, &theirs);
    world.hang_up(&mut theirs);
    a.wait_hang_up(&at_a);
    assert_idle(&node);
}

#[test]
fn who_calls_outside_too_often_is_stopped_and_seen() {
    let mut node = Node::demo();
    node.configure("[calls]\noutside_an_hour = 1\n");
    let (mut a, mut b) = (phone(&node, "101"), phone(&node, "103"));
    let (mut ours, theirs) = reach(&mut a, &mut b, "91");
    b.ring(&theirs);
    a.cancel(&mut ours);
    b.wait_cancel(&theirs);
    let mut call = a.dial("92");
    a.answer_challenge(&mut call);
    assert_eq!(a.wait_final(&mut call), 403, "{}", a.text());
    let alarms = until("an alarm", SOON, || {
        let alarms = node.json(&["status"])["alarms"].clone();
        (!alarms.as_array()?.is_empty()).then_some(alarms)
    });
    let told = alarms[0].as_str().unwrap();
    assert!(
        told.starts_with("extension 101 calls outside more"),
        "{told}"
    );
    assert!(node.metric("tandem_pbx_calls_outward_refused_total") >= 1.0);
}
