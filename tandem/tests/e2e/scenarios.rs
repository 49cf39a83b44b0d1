//! The same stories told by SIPp, whose SIP is not ours: `tests/sipp/*.xml`.

use crate::kit::node::Node;
use crate::kit::place;
use crate::kit::sipp::Sipp;
use crate::mailbox::wait_messages;

/// Arguments that make a scenario speak for `user`.
fn as_user(user: &str) -> [String; 6] {
    let password = format!("demo-{user}");
    ["-s", user, "-au", user, "-ap", &password].map(str::to_string)
}

/// A scenario that needs nothing but who it is.
fn as_is(node: &Node, name: &str, user: &str) {
    let arguments = as_user(user);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Sipp::start(node, name, &arguments).done();
}

/// `user` dials `to` as the scenario says.
fn run(node: &Node, name: &str, user: &str, to: &str, more: &[&str]) {
    begin(node, name, user, to, more).done();
}

/// Starts a scenario in which `user` dials `to`.
pub fn begin(node: &Node, name: &str, user: &str, to: &str, more: &[&str]) -> Sipp {
    let arguments = as_user(user);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // SIPp shows its password for the address of the node, unless told what it dials.
    let target = format!("{to}@{}", node.sip());
    arguments.extend(["-key", "to", to, "-auth_uri", &target]);
    arguments.extend(more);
    Sipp::start(node, name, &arguments)
}

/// Registers 102 at an address and then answers there as the scenario says.
fn answering(node: &Node, name: &str) -> Sipp {
    let at = place::at(node.setup.ip, place::free_port(node.setup.ip));
    let arguments = as_user("102");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Sipp::start_from(node, "register", at, &arguments).done();
    Sipp::start_from(node, name, at, &arguments)
}

#[test]
fn register_and_unregister() {
    let node = Node::demo();
    as_is(&node, "register", "101");
    assert_eq!(node.json(&["phones"])[0]["extension"], "101");
    as_is(&node, "unregister_all", "101");
    assert!(node.json(&["phones"]).as_array().unwrap().is_empty());
}

#[test]
fn a_call_is_answered_and_the_caller_hangs_up() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer");
    run(&node, "uac_call", "101", "102", &[]);
    called.done();
}

#[test]
fn a_call_is_answered_and_the_called_hangs_up() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer_bye");
    run(&node, "uac_wait_bye", "101", "102", &[]);
    called.done();
}

#[test]
fn busy_is_answered_by_the_mailbox() {
    let node = Node::demo();
    let called = answering(&node, "uas_busy");
    run(&node, "uac_call", "101", "102", &[]);
    called.done();
}

#[test]
fn the_caller_cancels() {
    let node = Node::demo();
    let called = answering(&node, "uas_cancelled");
    run(&node, "uac_cancel", "101", "102", &[]);
    called.done();
}

#[test]
fn hold_and_resume_with_re_invites() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer");
    run(&node, "uac_hold", "101", "102", &[]);
    called.done();
}

#[test]
fn an_offer_that_comes_late() {
    let node = Node::demo();
    run(&node, "uac_late_offer", "101", "*43", &[]);
}

#[test]
fn nobody_answers_a_message_is_left_and_retrieved_with_digits() {
    let node = Node::demo();
    let called = answering(&node, "uas_no_answer");
    run(&node, "uac_message", "101", "102", &["-d", "20000"]);
    called.done();
    wait_messages(&node, 1);
    let pin = ["-key", "pin", "1102"];
    run(&node, "uac_retrieve", "102", "*97", &pin);
    // Deleted: it is not listed any more.
    wait_messages(&node, 0);
}

#[test]
fn the_lamp_is_told_to_who_subscribes() {
    let node = Node::demo();
    run(&node, "subscribe_lamp", "102", "102", &[]);
}
