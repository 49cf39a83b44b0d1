//! The same stories told by SIPp, whose SIP is not ours: `tests/sipp/*.xml`.

use std::time::Duration;

use crate::kit::node::Node;
use crate::kit::place;
use crate::kit::sipp::Sipp;
use crate::kit::until;
use crate::mailbox::wait_messages;

/// Arguments that make a scenario speak for `user`.
fn as_user(user: &str) -> [String; 6] {
    let password = format!("demo-{user}");
    ["-s", user, "-au", user, "-ap", &password].map(str::to_string)
}

fn run(node: &Node, name: &str, user: &str, more: &[&str]) -> Sipp {
    let mut arguments: Vec<String> = as_user(user).into();
    arguments.extend(more.iter().map(|s| s.to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
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
    run(&node, "register", "101", &[]).done();
    assert_eq!(node.json(&["phones"])[0]["extension"], "101");
    run(&node, "unregister_all", "101", &[]).done();
    assert!(node.json(&["phones"]).as_array().unwrap().is_empty());
}

#[test]
fn a_call_is_answered_and_the_caller_hangs_up() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer");
    run(&node, "uac_call", "101", &["-key", "to", "102"]).done();
    called.done();
}

#[test]
fn a_call_is_answered_and_the_called_hangs_up() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer_bye");
    run(&node, "uac_wait_bye", "101", &["-key", "to", "102"]).done();
    called.done();
}

#[test]
fn busy_is_answered_by_the_mailbox() {
    let node = Node::demo();
    let called = answering(&node, "uas_busy");
    run(&node, "uac_call", "101", &["-key", "to", "102"]).done();
    called.done();
}

#[test]
fn the_caller_cancels() {
    let node = Node::demo();
    let called = answering(&node, "uas_cancelled");
    run(&node, "uac_cancel", "101", &["-key", "to", "102"]).done();
    called.done();
}

#[test]
fn hold_and_resume_with_re_invites() {
    let node = Node::demo();
    let called = answering(&node, "uas_answer");
    run(&node, "uac_hold", "101", &["-key", "to", "102"]).done();
    called.done();
}

#[test]
fn an_offer_that_comes_late() {
    let node = Node::demo();
    run(&node, "uac_late_offer", "101", &["-key", "to", "*43"]).done();
}

#[test]
fn nobody_answers_a_message_is_left_and_retrieved_with_digits() {
    let node = Node::demo();
    let called = answering(&node, "uas_no_answer");
    run(&node, "uac_message", "101", &["-key", "to", "102"]).done();
    called.done();
    wait_messages(&node, 1);

    run(
        &node,
        "uac_retrieve",
        "102",
        &["-key", "to", "*97", "-key", "pin", "1102"],
    )
    .done();
    until(
        "the message was heard and deleted",
        Duration::from_secs(10),
        || {
            let list = node.json(&["mailbox", "list", "102"]);
            let gone = list
                .as_array()
                .unwrap()
                .iter()
                .all(|m| m["deleted"] == true);
            gone.then_some(())
        },
    );
}

#[test]
fn the_lamp_is_told_to_who_subscribes() {
    let node = Node::demo();
    run(&node, "subscribe_lamp", "102", &[]).done();
}
