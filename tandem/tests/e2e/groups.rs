//! Groups and click to dial, on the built program with phones that the test works by hand.

use crate::calls::{assert_both_hear, assert_idle};
use crate::kit::node::Node;
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};

pub fn does(node: &Node, args: &[&str]) {
    let said = node.cli(args);
    assert_eq!(said.code, 0, "{}", said.err);
}

pub fn fails(node: &Node, args: &[&str]) -> String {
    let said = node.cli(args);
    assert_eq!(said.code, 1, "{}", said.err);
    said.err
}

pub fn phones<const N: usize>(node: &Node, extensions: [&str; N]) -> [Ua; N] {
    extensions.map(|extension| {
        let mut phone = Ua::of(node, extension);
        phone.register();
        phone
    })
}

#[test]
fn a_group_rings_all_its_members_and_the_first_to_answer_has_the_call() {
    let node = Node::demo();
    let [mut a, mut b, mut c, mut d] = phones(&node, ["101", "102", "103", "104"]);
    let mut ours = a.dial("600");
    a.answer_challenge(&mut ours);
    let calls = [b.wait_call(), c.wait_call(), d.wait_call()];
    b.ring(&calls[0]);
    c.ring(&calls[1]);
    a.wait_provisional(&mut ours, 180);
    let [at_b, mut at_c, at_d] = calls;
    c.answer(&mut at_c);
    assert_eq!(a.wait_final(&mut ours), 200);
    b.wait_cancel(&at_b);
    // The third had not said that it rings; it is told as soon as it does.
    d.ring(&at_d);
    d.wait_cancel(&at_d);
    assert_both_hear(&ours, &at_c);
    c.hang_up(&mut at_c);
    a.wait_hang_up(&ours);
    assert_idle(&node);
}

#[test]
fn nobody_of_the_group_is_there_so_all_its_members_have_the_message() {
    let node = Node::demo();
    let [mut a, mut b] = phones(&node, ["101", "102"]);
    b.subscribe_lamp("102", 600);
    let mut ours = a.dial("600");
    a.answer_challenge(&mut ours);
    let at_b = b.wait_call();
    b.refuse(&at_b, 486);
    assert_eq!(a.wait_final(&mut ours), 200);
    let from = ours.media.wait_phrase(0, "vm/intro", SOON);
    ours.media.wait_beep(from);
    ours.media.hum(500.0, -20.0);
    ours.media.speak_for(3);
    ours.media.press("#");
    ours.media.press("1");
    ours.media.wait_phrase(from, "vm/message-saved", SOON);
    a.hang_up_or_be_hung_up(&mut ours);
    b.wait_lamp("Voice-Message: 1/0 (0/0)");
    let listed = node.json(&["mailbox", "list", "600"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn groups_are_made_changed_listed_and_removed() {
    let node = Node::demo();
    does(
        &node,
        &["group", "add", "601", "Night", "members=103", "ring_s=10"],
    );
    does(
        &node,
        &["group", "set", "601", "strategy=in_order", "overflow=101"],
    );
    let groups = node.json(&["group", "list"]);
    let night = groups.as_array().unwrap().iter();
    let night = night.clone().find(|group| group["extension"] == "601");
    let night = night.unwrap_or_else(|| panic!("{groups}"));
    assert_eq!(night["strategy"], "in_order");
    assert_eq!(night["overflow"], "101");
    assert_eq!(night["members"][0]["extension"], "103");
    // Nobody of it is there: the call goes on, and is answered.
    let [mut a, mut b] = phones(&node, ["101", "102"]);
    let mut ours = b.dial("601");
    b.answer_challenge(&mut ours);
    let mut at_a = a.wait_call();
    a.answer(&mut at_a);
    assert_eq!(b.wait_final(&mut ours), 200);
    b.hang_up(&mut ours);
    a.wait_hang_up(&at_a);
    does(&node, &["group", "remove", "601"]);
    let error = fails(&node, &["group", "remove", "601"]);
    assert!(error.contains("no group has the extension 601"), "{error}");
    let error = fails(&node, &["group", "add", "602", "X", "members=199"]);
    assert!(error.contains("no user has the extension 199"), "{error}");
}

#[test]
fn click_to_dial_rings_the_phone_and_then_the_number() {
    let node = Node::demo();
    let [mut a, mut b] = phones(&node, ["101", "102"]);
    does(&node, &["dial", "101", "102"]);
    let mut at_a = a.wait_call();
    a.answer(&mut at_a);
    let mut at_b = b.wait_call();
    b.ring(&at_b);
    at_a.media.wait_tone(0, 425.0);
    b.answer(&mut at_b);
    assert_both_hear(&at_a, &at_b);
    a.hang_up(&mut at_a);
    b.wait_hang_up(&at_b);
    let error = fails(&node, &["dial", "101", "199"]);
    assert!(error.contains("nobody has the number 199"), "{error}");
    until("no call is left", SOON, || {
        let calls = node.json(&["calls"]);
        calls.as_array().unwrap().is_empty().then_some(())
    });
}

#[test]
fn a_busy_user_has_calls_go_elsewhere() {
    let node = Node::demo();
    let [mut a, mut b, mut c] = phones(&node, ["101", "102", "103"]);
    does(
        &node,
        &["user", "set", "102", "forward_busy=103", "blocked=104"],
    );
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let at_b = b.wait_call();
    b.refuse(&at_b, 486);
    let mut at_c = c.wait_call();
    c.answer(&mut at_c);
    assert_eq!(a.wait_final(&mut ours), 200);
    assert_both_hear(&ours, &at_c);
    a.hang_up(&mut ours);
    c.wait_hang_up(&at_c);
    let [mut d] = phones(&node, ["104"]);
    let mut unwanted = d.dial("102");
    assert_eq!(d.wait_final(&mut unwanted), 603);
}
