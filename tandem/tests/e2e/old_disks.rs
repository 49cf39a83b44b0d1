//! Disks that come back to a cluster: out of a drawer, out of a backup, and one that was thought to have
//! burned.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::backup::{back_up, import, mailbox, restore};
use crate::kit::node::Node;
use crate::kit::{SOON, until};
use crate::site::{first, join, joined, token, wait_whole, with_link};

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

/// Both have the same so many messages of 102, with the same sound.
fn wait_same(a: &Node, b: &Node, dir: &Path, count: usize) {
    let ids = |node: &Node| -> Vec<String> {
        let list = node.json(&["mailbox", "list", "102"]);
        let rows = list.as_array().unwrap().iter();
        let mut ids: Vec<String> = rows.map(|row| row["id"].to_string()).collect();
        ids.sort();
        ids
    };
    until("both list the same", SOON, || {
        (ids(a).len() == count && ids(a) == ids(b)).then_some(())
    });
    until("both play the same", SOON, || {
        let sounds = |node| mailbox(node, dir).into_iter().map(|(_, sound)| sound);
        sounds(a).eq(sounds(b)).then_some(())
    });
}

#[test]
fn an_old_disk_that_is_put_back_contradicts_nobody() {
    let dir = TempDir::new().unwrap();
    let a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    import(&b, dir.path(), 1);
    wait_whole(&[&a, &b]);
    b.ask_to_end();
    b.ended(SOON);
    let (log, drawer) = (b.data().join("log"), dir.path().join("drawer"));
    copy(&log, &drawer);

    b.start();
    import(&b, dir.path(), 2);
    wait_same(&a, &b, dir.path(), 2);
    b.kill();
    std::fs::remove_dir_all(&log).unwrap();
    copy(&drawer, &log);
    b.start();
    import(&b, dir.path(), 3);
    wait_whole(&[&a, &b]);
    wait_same(&a, &b, dir.path(), 3);
    for node in [&a, &b] {
        let said = node.log_text();
        assert!(!said.contains("contradict"), "{said}");
    }
}

#[test]
fn a_new_machine_takes_the_place_of_one_that_burned_and_of_that_when_it_comes_back() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("backup").display().to_string();
    let a = first("");
    let mut burned = joined(&a, "b", "");
    wait_whole(&[&a, &burned]);
    import(&burned, dir.path(), 1);
    back_up(&burned, &place, &["--verify"]);
    import(&burned, dir.path(), 2);
    wait_whole(&[&a, &burned]);
    wait_same(&a, &burned, dir.path(), 2);
    burned.kill();

    // What the backup does not have comes from the other node.
    let mut new = Node::prepared();
    let said = restore(&place, new.data(), &["--node", "b"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = join(&new, &token(&a, "b"));
    assert_eq!(said.code, 0, "{}", said.err);
    with_link(&mut new, "b", "");
    new.start();
    wait_whole(&[&a, &new]);
    wait_same(&a, &new, dir.path(), 2);
    import(&new, dir.path(), 3);
    wait_same(&a, &new, dir.path(), 3);

    // It did not burn: with its old certificate it stays outside, and disturbs nobody.
    let before = a.metric("tandem_link_door_strangers_total");
    burned.start();
    until("it knocks in vain", SOON, || {
        (a.metric("tandem_link_door_strangers_total") > before).then_some(())
    });
    import(&burned, dir.path(), 4);
    import(&new, dir.path(), 5);
    wait_whole(&[&a, &new]);
    wait_same(&a, &new, dir.path(), 4);
}
