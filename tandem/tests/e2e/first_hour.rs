//! An administrator's first hour: a node without users, the first of them, and what goes wrong by the way.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::kit::node::{Node, tandem};
use crate::kit::sound::{sine, write_wav};
use crate::kit::ua::Ua;
use crate::mailbox::messages;

/// `tandem run` with nobody in it.
fn empty() -> Node {
    let mut node = Node::prepared();
    node.write_config("office", "");
    node.start();
    node
}

fn done(node: &Node, args: &[&str]) -> String {
    let said = node.cli(args);
    assert_eq!(said.code, 0, "{args:?}: {}", said.err);
    said.out
}

fn refused(node: &Node, args: &[&str]) -> String {
    let said = node.cli(args);
    assert_eq!(said.code, 1, "{args:?}: {}", said.out);
    said.err
}

#[test]
fn two_users_of_ones_own_call_each_other() {
    let mut node = empty();
    assert!(done(&node, &["user", "list"]).contains("user add"));
    done(
        &node,
        &[
            "user",
            "add",
            "201",
            "Anna",
            "--password",
            "demo-201",
            "--pin",
            "7301",
        ],
    );
    let made = node.json(&["user", "add", "202", "Bert"]);
    let password = made["password"].as_str().unwrap();
    assert!(
        password.len() >= 12 && made["pin"].as_str().unwrap().len() == 6,
        "{made}"
    );
    done(
        &node,
        &["user", "set", "202", "password=demo-202", "name=Bert B."],
    );
    // What was said is kept over a pulled plug.
    node.kill();
    node.start();
    let (mut anna, mut bert) = (Ua::of(&node, "201"), Ua::of(&node, "202"));
    anna.register();
    bert.register();
    let mut call = anna.dial("202");
    anna.answer_challenge(&mut call);
    let mut called = bert.wait_call();
    bert.answer(&mut called);
    assert_eq!(anna.wait_final(&mut call), 200);
    anna.hang_up(&mut call);
    let users = node.json(&["user", "list"]);
    assert_eq!(users[1]["name"], "Bert B.", "{users}");
}

#[test]
fn a_user_is_changed_and_removed() {
    let node = Node::demo();
    let said = refused(&node, &["user", "set", "102", "extension=205"]);
    assert!(said.contains("password"), "{said}");
    done(
        &node,
        &["user", "set", "102", "extension=205", "password=demo-205"],
    );
    Ua::of(&node, "205").register();
    let refusal = Ua::of(&node, "102").register_for(60);
    assert_ne!(refusal.status(), Some(200));
    done(&node, &["user", "set", "205", "dnd=on", "forward=103"]);
    let users = node.json(&["user", "list"]);
    let user = users
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["extension"] == "205")
        .unwrap();
    assert!(user["dnd"] == true && user["forward"] == "103", "{user}");
    done(&node, &["user", "set", "205", "forward="]);
    done(&node, &["user", "remove", "205"]);
    let refusal = Ua::of(&node, "205").register_for(60);
    assert_ne!(refusal.status(), Some(200));
    assert!(
        node.json(&["phones"])
            .as_array()
            .unwrap()
            .iter()
            .all(|p| p["extension"] != "205")
    );
    assert!(refused(&node, &["user", "remove", "205"]).contains("no user has the extension 205"));
}

#[test]
fn what_cannot_be_a_user_is_refused_and_nothing_is_written() {
    let node = Node::demo();
    let before = node.json(&["user", "list"]);
    for (args, word) in [
        (
            vec!["user", "add", "101", "Twice"],
            "Reception has the extension 101",
        ),
        (vec!["user", "add", "1", "Short"], "2 to 10 digits"),
        (vec!["user", "add", "20x", "Letters"], "2 to 10 digits"),
        (vec!["user", "add", "201", ""], "not a name"),
        (vec!["user", "add", "201", "Bad\u{1b}[2J"], "not a name"),
        (
            vec!["user", "add", "201", "A", "--pin", "1234"],
            "everybody tries first",
        ),
        (vec!["user", "add", "201", "A", "--password", "x"], "8 to"),
        (vec!["user", "set", "101", "colour=red"], "cannot be set"),
        (
            vec!["user", "set", "101", "forward=101"],
            "where they come from",
        ),
        (
            vec!["user", "set", "101", "forward=899"],
            "no user has the extension 899",
        ),
        (
            vec![
                "user",
                "set",
                "101",
                "name=A",
                "extension=102",
                "password=12qwas34",
            ],
            "Sales has",
        ),
    ] {
        let said = refused(&node, &args);
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert_eq!(node.json(&["user", "list"]), before);
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tandem.toml");
    let text = "[node]\ndata = \"\"\nnmae = \"a\"\n[sip]\nport = 10500\n[rtp]\nprompts = \"/nowhere\"\n\
                [portal]\nport = 7650\nbind = \"0.0.0.0\"\n";
    std::fs::write(&file, text).unwrap();
    let said = tandem(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    for line in [2, 3, 5, 7] {
        assert!(
            said.err.contains(&format!("tandem.toml:{line}:")),
            "{line}: {}",
            said.err
        );
    }
    assert!(said.err.contains("7650 is portal.port's"), "{}", said.err);
}

#[test]
fn who_has_no_prompts_is_not_ready_and_who_finds_a_port_taken_is_told_where_to_change_it() {
    let other = Node::demo();
    let mut node = Node::prepared();
    node.setup.ip = other.setup.ip;
    node.setup.sip_port = other.setup.sip_port;
    node.write_config("office", "");
    let said = node.try_start().unwrap_err();
    assert!(
        said.err.contains("[sip] port in") && said.err.contains("tandem.toml"),
        "{}",
        said.err
    );
    let mut node = Node::prepared();
    let empty = tempfile::tempdir().unwrap();
    let prompts = format!("[rtp]\nprompts = \"{}\"\n", empty.path().display());
    node.write_config("office", &prompts);
    node.start();
    let (status, page) = node.http("/readyz");
    assert!(status == 503 && page.contains("prompts"), "{status} {page}");
}

#[test]
fn who_reads_only_the_beginning_of_a_list_is_not_shouted_at() {
    let node = Node::demo();
    let mut show = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["log", "show", "--data", node.data().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, show.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = show.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_message_is_written_over_no_file_unless_that_is_said() {
    let node = Node::demo();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("message.wav");
    write_wav(&file, &sine(440.0, -20.0, 16_000));
    let path = file.to_str().unwrap();
    let id = done(&node, &["mailbox", "import", "102", path]);
    assert_eq!(messages(&node).len(), 1);
    let said = refused(&node, &["mailbox", "export", "102", id.trim(), path]);
    assert!(said.contains("there already"), "{said}");
    done(
        &node,
        &["mailbox", "export", "102", id.trim(), path, "--overwrite"],
    );
}
