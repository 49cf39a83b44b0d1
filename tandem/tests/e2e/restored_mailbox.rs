//! One mailbox, out of a backup, back into a running node.

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::node::{Node, tandem};
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};
use crate::mailbox::at_the_beep;
use crate::retention::{
    MOMENT_DAYS, SWEPT, delete_by_phone, done, exported, hear_first, import, names,
};

/// The messages of 102 without their names.
fn shown(node: &Node) -> Vec<Value> {
    let mut messages = node.json(&["mailbox", "list", "102"]);
    let messages = messages.as_array_mut().unwrap();
    for message in messages.iter_mut() {
        message.as_object_mut().unwrap().remove("id");
    }
    std::mem::take(messages)
}

/// Has what was heard deleted, and destroyed.
fn destroy_heard(node: &Node, id: &str) {
    done(node, &["mailbox", "keep-heard", "102", MOMENT_DAYS]);
    until("it is not there any more", SWEPT, || {
        let is_in = |list| names(node, list, "102").iter().any(|name| name == id);
        (!is_in("list") && !is_in("deleted")).then_some(())
    });
    done(node, &["mailbox", "keep-heard", "102", "0"]);
}

#[test]
fn what_is_gone_of_a_mailbox_comes_back_once_and_the_rest_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup").display().to_string();
    let mut node = Node::demo();
    node.configure(&format!("[voicemail]\nundelete_days = {MOMENT_DAYS}\n"));
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(5);
    caller.hang_up(&mut call);
    until("the message is there", SOON, || {
        (names(&node, "list", "102").len() == 1).then_some(())
    });
    let heard = names(&node, "list", "102").remove(0);
    hear_first(&node, "102");
    let new = import(&node, "102", 700.0);
    let others = import(&node, "103", 800.0);
    let before = shown(&node);
    let sound = exported(&node, "102", &heard);
    assert_eq!(before[0]["from"]["number"], "0123456");
    let first = node.json(&["backup", &place]);
    let late = import(&node, "102", 900.0);
    let all = shown(&node);
    node.json(&["backup", &place]);

    destroy_heard(&node, &heard);
    assert_eq!(names(&node, "list", "102"), [new.clone(), late.clone()]);
    let restore = |node: &Node| node.json(&["restore", &place, "--mailbox", "102"]);
    let report = restore(&node);
    assert_eq!(
        (&report["messages"], &report["there"]),
        (&3.into(), &2.into())
    );
    let back = report["restored"][0].as_str().unwrap().to_owned();
    assert_ne!(back, heard);
    assert_eq!(
        names(&node, "list", "102"),
        [back.clone(), new.clone(), late]
    );
    assert_eq!(
        shown(&node),
        all,
        "with date, caller, and heard or new as they were"
    );
    assert_eq!(exported(&node, "102", &back), sound);
    assert_eq!(names(&node, "list", "103"), [others]);

    // Once more changes nothing, a restart later neither.
    assert_eq!(restore(&node)["restored"], Value::Array(vec![]));
    node.kill();
    node.start();
    assert_eq!(restore(&node)["restored"], Value::Array(vec![]));
    assert_eq!(shown(&node), all);

    // Nor into a node that is stopped; what is gone comes back into that, too.
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    assert_eq!(restore(&node)["restored"], Value::Array(vec![]));
    node.start();
    destroy_heard(&node, &back);
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    let report = restore(&node);
    let back = report["restored"][0].as_str().unwrap().to_owned();
    node.start();
    assert_eq!(shown(&node), all);
    assert_eq!(exported(&node, "102", &back), sound);

    // What was put back and is in no backup can be had from the old one again.
    destroy_heard(&node, &back);
    let made = first["made"].as_i64().unwrap();
    let as_of = jiff::Timestamp::from_millisecond(made).unwrap().to_string();
    let said = node.cli(&["restore", &place, "--mailbox", "102", "--as-of", &as_of]);
    assert_eq!(said.code, 0, "{}", said.err);
    let line = "2 messages of 102; 1 are there, 1 were put back";
    assert!(
        said.out.starts_with("backup 1 of demo") && said.out.contains(line),
        "{}",
        said.out
    );
    assert_eq!(shown(&node), all);

    // What is deleted is there: it can be had back otherwise.
    done(&node, &["mailbox", "hold", "102", "on"]);
    delete_by_phone(&node, "102");
    assert_eq!(names(&node, "deleted", "102"), [new]);
    let report = restore(&node);
    assert_eq!(
        (&report["there"], &report["restored"]),
        (&3.into(), &Value::Array(vec![]))
    );
}

#[test]
fn what_cannot_be_restored_to_a_mailbox_is_said() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup").display().to_string();
    let mut node = Node::demo();
    import(&node, "102", 620.0);
    node.json(&["backup", &place]);
    let refused = |node: &Node, args: &[&str], words: &str| {
        let mut all = vec!["restore", &place];
        all.extend(args);
        let said = node.cli(&all);
        assert_eq!(said.code, 1, "{args:?}: {}", said.out);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    };
    refused(
        &node,
        &["--mailbox", "199"],
        "no user has the extension 199",
    );
    let old = ["--mailbox", "102", "--as-of", "2020-01-01"];
    refused(&node, &old, "of node demo that is as old");
    refused(
        &node,
        &["--mailbox", "102", "--number", "7"],
        "with the number 7",
    );
    node.kill();
    let nowhere = dir.path().join("nowhere").display().to_string();
    let said = tandem(&["restore", &place, "--mailbox", "102", "--data", &nowhere]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no node is running on"), "{}", said.err);
    for wrong in [
        &["--as-of", "soon"][..],
        &["--as-of", "2026-11-22", "--number", "1"],
    ] {
        let mut all = vec!["restore", &place, "--mailbox", "102"];
        all.extend(wrong);
        assert_eq!(node.cli(&all).code, 2, "{wrong:?}");
    }
}
