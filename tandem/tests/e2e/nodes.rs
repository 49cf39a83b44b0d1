//! The cluster's nodes on bad days of their own: one is replaced again and again, one is removed and a
//! survivor's log is damaged, all move to other addresses, a disk is damaged.

use std::fs;
use std::path::Path;

use crate::kit::node::Node;
use crate::kit::sound::{self, RATE};
use crate::kit::{SOON, until};
use crate::mailbox::{messages, wait_messages};
use crate::site::{JOINED, first, join, joined, rot, token, wait_whole, with_link};

/// Puts a message into 102's mailbox at this node.
fn leave(node: &Node) {
    until("its users are there", SOON, || {
        let users = node.json(&["user", "list"]);
        let mut users = users.as_array()?.iter();
        users.any(|user| user["extension"] == "102").then_some(())
    });
    let wav = node.data().with_extension("message.wav");
    sound::write_wav(&wav, &sound::sine(440.0, -20.0, 2 * RATE));
    let said = node.cli(&["mailbox", "import", "102", &wav.display().to_string()]);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// How often; `NODES_ROUNDS` says otherwise.
fn rounds(few: usize) -> usize {
    let given = std::env::var("NODES_ROUNDS").ok();
    given.map_or(few, |rounds| rounds.parse().expect("a number"))
}

/// Ends a node, and takes all it had.
fn replaced(node: &mut Node, by: &Node, name: &str) {
    node.kill();
    fs::remove_dir_all(node.data()).unwrap();
    let said = join(node, &token(by, name));
    assert_eq!(said.code, 0, "{}", said.err);
    node.start();
}

fn state(of: &Node, name: &str) -> String {
    let list = of.json(&["site", "list"]);
    let row = list
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == name);
    row.map_or("none".into(), |row| {
        format!("{} {}", row["state"], row["away_why"])
    })
}

#[test]
fn however_often_nodes_are_replaced_a_third_one_meets_them_all() {
    let mut a = first("");
    let mut b = joined(&a, "b", "");
    let mut left = 0;
    for round in 0..rounds(3) {
        leave(&a);
        leave(&b);
        left += 2;
        wait_whole(&[&a, &b]);
        wait_messages(&a, left);
        wait_messages(&b, left);
        match round % 2 {
            0 => replaced(&mut b, &a, "b"),
            _ => replaced(&mut a, &b, "demo"),
        }
        wait_whole(&[&a, &b]);
    }
    let c = joined(&a, "c", "");
    wait_whole(&[&a, &b, &c]);
    leave(&c);
    for node in [&a, &b, &c] {
        wait_messages(node, left + 1);
    }
}

#[test]
fn a_removed_node_gets_nothing_though_the_survivors_logs_are_damaged() {
    let mut a = first("");
    let mut b = joined(&a, "b", "");
    let c = joined(&a, "c", "");
    wait_whole(&[&a, &b, &c]);
    leave(&a);
    wait_messages(&c, 1);
    assert_eq!(a.cli(&["site", "remove", "c"]).code, 0);
    until("b knows it", SOON, || {
        (state(&b, "c") == "none").then_some(())
    });
    // What is damaged is the record of the removal itself, wherever it lies.
    for round in 0..rounds(3) {
        let (node, survivor) = match round % 2 {
            0 => (&mut a, &mut b),
            _ => (&mut b, &mut a),
        };
        // One of both has the record whole, or it would be nowhere.
        until("the other has it, again", JOINED, || {
            let shown = survivor.cli(&["log", "show"]).out;
            shown.contains("node/c/cert").then_some(())
        });
        node.kill();
        spoil(node.data(), b"node/c/cert");
        node.start();
        wait_whole(&[&*node, &*survivor]);
        assert_eq!(state(node, "c"), "none", "{round}");
        leave(node);
    }
    wait_messages(&a, 1 + rounds(3));
    wait_messages(&b, 1 + rounds(3));
    assert_eq!(
        messages(&c).len(),
        1,
        "nothing came to the one that was removed"
    );
    // It knows why.
    until("it is told why", JOINED, || {
        state(&c, "demo")
            .contains("removed from the cluster")
            .then_some(())
    });
}

/// Turns a bit in each record of the log that says this.
fn spoil(data: &Path, word: &[u8]) {
    let mut spoilt = 0;
    for entry in fs::read_dir(data.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "log") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(word.len()).enumerate();
        let found: Vec<usize> = found
            .filter(|(_, w)| *w == word)
            .map(|(at, _)| at)
            .collect();
        for at in &found {
            bytes[*at + 5] ^= 0x20;
        }
        spoilt += found.len();
        if !found.is_empty() {
            fs::write(&path, bytes).unwrap();
        }
    }
    assert!(spoilt > 0, "there was such a record in {}", data.display());
}

#[test]
fn nodes_that_all_moved_meet_again_with_one_token() {
    let mut a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    leave(&a);
    wait_messages(&b, 1);
    for node in [&mut a, &mut b] {
        node.ask_to_end();
        node.ended(SOON);
    }
    // Other addresses for both.
    with_link(&mut a, "demo", "");
    with_link(&mut b, "b", "");
    a.start();
    let token = token(&a, "b");
    let said = join(&b, &token);
    assert!(
        said.code == 0 && said.out.contains("knows now where demo is"),
        "{said:?}"
    );
    b.start();
    wait_whole(&[&a, &b]);
    leave(&b);
    wait_messages(&a, 2);
}

#[test]
fn a_member_that_joins_by_mistake_loses_nothing() {
    let a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    let token_of_b = token(&a, "b");
    b.ask_to_end();
    b.ended(SOON);
    let torn = &token_of_b[..token_of_b.len() - 2];
    let said = join(&b, torn);
    assert!(
        said.code == 1 && said.err.contains("not a whole token"),
        "{said:?}"
    );
    let other = first("");
    let said = join(&b, &token(&other, "b"));
    assert!(
        said.code == 1 && said.err.contains("belongs to a cluster already"),
        "{said:?}"
    );
    b.start();
    wait_whole(&[&a, &b]);
    leave(&b);
    wait_messages(&a, 1);
}

#[test]
fn one_damaged_byte_is_mended_once_and_the_log_is_whole_again() {
    let small = "[storage]\nsegment_mib = 4\n";
    let a = first(small);
    let mut b = joined(&a, "b", small);
    wait_whole(&[&a, &b]);
    let wav = a.data().with_extension("import.wav");
    sound::write_wav(&wav, &sound::sine(440.0, -20.0, 170 * RATE));
    for _ in 0..5 {
        let said = a.cli(&["mailbox", "import", "102", &wav.display().to_string()]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    wait_whole(&[&a, &b]);
    wait_messages(&b, 5);
    b.kill();
    rot(&b);
    b.start();
    wait_whole(&[&a, &b]);
    // Asked of the other, put where it is whole, and the damaged place is gone.
    until("every record is whole", JOINED * 2, || {
        (b.cli(&["log", "verify"]).code == 0).then_some(())
    });
    b.ask_to_end();
    b.ended(SOON);
    b.start();
    wait_whole(&[&a, &b]);
    wait_messages(&b, 5);
    let stored = b.metric("tandem_link_records_stored_total");
    assert!(stored < 20.0, "{stored} records came again");
}

#[test]
fn a_second_machine_in_a_nodes_name_is_told_and_nothing_is_lost() {
    let a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    b.ask_to_end();
    b.ended(SOON);
    let mut clone = Node::prepared();
    copy(b.data(), clone.data());
    with_link(&mut clone, "b", "");
    b.start();
    wait_whole(&[&a, &b]);
    leave(&b);
    wait_messages(&a, 1);
    clone.start();
    leave(&clone);
    // One of both is told, by chance, that it is the old copy. It says so, and goes on for its phones.
    let is_told = |node: &Node| {
        let alarms = node.json(&["status"])["alarms"].to_string();
        alarms.contains("second machine")
    };
    let is_clone = until("one of both is told", JOINED, || {
        let told = [&b, &clone].map(is_told);
        (told[0] != told[1]).then_some(told[1])
    });
    let (mut other, mut told) = match is_clone {
        true => (b, clone),
        false => (clone, b),
    };
    leave(&told);
    wait_whole(&[&a, &other]);
    for node in [&mut other, &mut told] {
        node.ask_to_end();
        node.ended(SOON);
    }
    told.start();
    wait_whole(&[&a, &told]);
    wait_messages(&a, 3);
    wait_messages(&told, 3);
}

/// A disk is copied, files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

#[test]
fn what_lost_in_a_merge_is_listed_at_every_node() {
    let mut a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    leave(&b);
    let named = |node: &Node, name: &str| {
        let said = node.cli(&["user", "set", "102", &format!("name={name}")]);
        assert_eq!(said.code, 0, "{}", said.err);
    };
    // Each sets the same thing while the other is away.
    stop(&mut b);
    named(&a, "Set first");
    stop(&mut a);
    b.start();
    named(&b, "Set last");
    assert_eq!(b.json(&["conflicts"]), serde_json::json!([]));
    a.start();
    wait_whole(&[&a, &b]);
    for node in [&a, &b] {
        let listed = until("it is listed", SOON, || {
            let conflicts = node.json(&["conflicts"]);
            (conflicts.as_array()?.len() == 1).then_some(conflicts)
        });
        assert_eq!(listed[0]["kept_of"], "b", "{listed}");
        assert_eq!(listed[0]["lost_of"], "demo", "{listed}");
        let what = listed[0]["what"].as_str().unwrap();
        assert!(what.contains("name") && what.contains("102"), "{listed}");
        let users = node.json(&["user", "list"]).to_string();
        assert!(
            users.contains("Set last") && !users.contains("Set first"),
            "{users}"
        );
    }
}

fn stop(node: &mut Node) {
    node.ask_to_end();
    node.ended(SOON);
}
