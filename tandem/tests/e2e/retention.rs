//! What is deleted, had back, held, and gone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::kit::node::Node;
use crate::kit::sound::{self, RATE};
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};

/// The program looks for what is due every ten seconds.
pub const SWEPT: Duration = Duration::from_secs(45);
/// A window of three seconds, in days.
pub const MOMENT_DAYS: &str = "0.000035";

/// Puts a tone into a mailbox; gives the message's name.
pub fn import(node: &Node, extension: &str, hz: f64) -> String {
    let file = node.data().with_extension("import.wav");
    sound::write_wav(&file, &sound::sine(hz, -20.0, 4 * RATE));
    let said = node.cli(&["mailbox", "import", extension, file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.trim().to_owned()
}

/// The names in a list: `list` or `deleted`.
pub fn names(node: &Node, list: &str, extension: &str) -> Vec<String> {
    let messages = node.json(&["mailbox", list, extension]);
    let messages = messages.as_array().unwrap().iter();
    messages
        .map(|m| m["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A message's sound, as it is exported.
pub fn exported(node: &Node, extension: &str, id: &str) -> Vec<u8> {
    let file: PathBuf = node.data().with_extension("export.wav");
    let said = node.cli(&[
        "mailbox",
        "export",
        extension,
        id,
        path(&file),
        "--overwrite",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    std::fs::read(file).unwrap()
}

pub fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

pub fn done(node: &Node, args: &[&str]) {
    let said = node.cli(args);
    assert_eq!(said.code, 0, "{args:?}: {}", said.err);
}

/// A phone of this extension, with its owner at the menu of their mailbox.
pub fn logged_in(node: &Node, extension: &str) -> (Ua, Call) {
    let mut phone = Ua::of(node, extension);
    phone.register();
    let call = phone.call("*97");
    call.media.hush();
    call.media.wait_phrase(0, "vm/enter-pin", SOON);
    call.media.press(&format!("1{extension}#"));
    call.media.wait_phrase(0, "vm/main-menu", SOON);
    (phone, call)
}

/// The owner deletes the first message.
pub fn delete_by_phone(node: &Node, extension: &str) {
    let (mut phone, mut call) = logged_in(node, extension);
    let from = call.media.mark();
    call.media.press("1");
    call.media.press("7");
    call.media.wait_phrase(from, "vm/deleted", SOON);
    phone.hang_up(&mut call);
}

/// The owner hears the first message to its end.
pub fn hear_first(node: &Node, extension: &str) {
    let (mut phone, mut call) = logged_in(node, extension);
    call.media.press("1");
    until("it is heard", 2 * SOON, || {
        let list = node.json(&["mailbox", "list", extension]);
        (list[0]["heard"] == Value::Bool(true)).then_some(())
    });
    phone.hang_up(&mut call);
}

pub fn wait_gone(node: &Node, list: &str, extension: &str) {
    until(&format!("{extension}: {list} is empty"), SWEPT, || {
        names(node, list, extension).is_empty().then_some(())
    });
}

#[test]
fn what_was_deleted_by_phone_can_be_had_back_byte_for_byte() {
    let node = Node::demo();
    let id = import(&node, "102", 620.0);
    let whole = exported(&node, "102", &id);
    delete_by_phone(&node, "102");
    assert!(names(&node, "list", "102").is_empty());
    assert_eq!(names(&node, "deleted", "102"), [id.as_str()]);
    let shown = node.cli(&["mailbox", "deleted", "102"]);
    assert!(shown.out.contains(&id), "{}", shown.out);

    done(&node, &["mailbox", "undelete", "102", &id]);
    assert!(names(&node, "deleted", "102").is_empty());
    assert_eq!(names(&node, "list", "102"), [id.as_str()]);
    assert_eq!(exported(&node, "102", &id), whole);
    let (mut phone, mut call) = logged_in(&node, "102");
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_tone(from, 620.0);
    phone.hang_up(&mut call);
}

#[test]
fn a_legal_hold_keeps_what_was_deleted_beyond_its_window_and_over_a_restart() {
    let mut node = Node::demo();
    let held = import(&node, "102", 620.0);
    import(&node, "103", 700.0);
    let whole = exported(&node, "102", &held);
    done(&node, &["mailbox", "hold", "102", "on"]);
    delete_by_phone(&node, "102");
    delete_by_phone(&node, "103");
    node.configure(&format!("[voicemail]\nundelete_days = {MOMENT_DAYS}\n"));
    // Both windows are over once the later one's is.
    wait_gone(&node, "deleted", "103");
    assert_eq!(names(&node, "deleted", "102"), [held.as_str()]);
    assert_eq!(exported(&node, "102", &held), whole);
    assert_eq!(node.metric("tandem_pbx_messages_destroyed_total"), 1.0);

    done(&node, &["mailbox", "hold", "102", "off"]);
    wait_gone(&node, "deleted", "102");
    let said = node.cli(&["mailbox", "undelete", "102", &held]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("no deleted message"), "{}", said.err);
}

#[test]
fn heard_messages_go_when_the_mailbox_says_so_and_new_ones_stay() {
    let node = Node::demo();
    let heard = import(&node, "102", 620.0);
    hear_first(&node, "102");
    let new = import(&node, "102", 700.0);
    done(&node, &["mailbox", "keep-heard", "102", MOMENT_DAYS]);
    until("the heard one is deleted", SWEPT, || {
        (names(&node, "deleted", "102") == [heard.as_str()]).then_some(())
    });
    assert_eq!(names(&node, "list", "102"), [new.as_str()]);

    // For ever again: what is had back stays.
    done(&node, &["mailbox", "keep-heard", "102", "0"]);
    done(&node, &["mailbox", "undelete", "102", &heard]);
    assert_eq!(names(&node, "list", "102"), [heard, new]);
}

#[test]
fn what_there_is_not_is_named_and_how_to_find_it() {
    let node = Node::demo();
    let id = import(&node, "102", 620.0);
    let refused = |args: &[&str], words: &str| {
        let said = node.cli(args);
        assert_eq!(said.code, 1, "{args:?}: {}", said.out);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    };
    for command in ["list", "deleted"] {
        refused(
            &["mailbox", command, "199"],
            "no user has the extension 199",
        );
    }
    refused(
        &["mailbox", "undelete", "199", &id],
        "no user has the extension 199",
    );
    refused(
        &["mailbox", "hold", "199", "on"],
        "no user has the extension 199",
    );
    refused(
        &["mailbox", "keep-heard", "199", "7"],
        "no user has the extension 199",
    );
    // Not deleted; another's; none at all; no name.
    let where_to_look = "tandem mailbox deleted 102 lists them";
    refused(&["mailbox", "undelete", "102", &id], where_to_look);
    refused(&["mailbox", "undelete", "103", &id], "103 has no deleted");
    refused(&["mailbox", "undelete", "102", "demo.9.9"], where_to_look);
    refused(&["mailbox", "undelete", "102", "x"], "'x'");
    for wrong in [
        ["mailbox", "hold", "102", "maybe"],
        ["mailbox", "keep-heard", "102", "long"],
        ["mailbox", "keep-heard", "102", "-1"],
        ["mailbox", "keep-heard", "102", "nan"],
    ] {
        assert_eq!(node.cli(&wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn who_has_little_room_is_told_at_login_and_a_full_mailbox_takes_no_more() {
    let mut node = Node::demo();
    node.configure("[voicemail]\nmessages_max = 5\n");
    for _ in 0..3 {
        import(&node, "102", 620.0);
    }
    let quota = |node: &Node| node.json(&["mailbox", "quota", "102"]);
    assert_eq!(quota(&node)["percent"], 60);
    let mails = |node: &Node| {
        let said = node.cli(&["log", "show"]);
        let lines = said.out.lines();
        lines
            .filter(|line| line.contains(" entry    mail "))
            .count()
    };
    assert_eq!(mails(&node), 0);
    import(&node, "102", 620.0);
    assert_eq!(quota(&node)["percent"], 80);
    let login = |node: &Node, word: &str| {
        let mut phone = Ua::of(node, "102");
        let mut call = crate::mailbox::logged_in(&mut phone);
        call.media.wait_phrase(0, word, SOON);
        call.media.wait_phrase(0, "vm/you-have", SOON);
        phone.hang_up(&mut call);
    };
    login(&node, "vm/own-mailbox-nearly-full");

    import(&node, "102", 620.0);
    login(&node, "vm/own-mailbox-full");
    let mut caller = Ua::gateway(&node, "0123456");
    let mut call = caller.call("*102");
    call.media.hush();
    call.media.wait_phrase(0, "vm/mailbox-full", SOON);
    caller.hang_up_or_be_hung_up(&mut call);
    assert_eq!(node.metric("tandem_pbx_quota_warnings_total"), 1.0);
    until("one mail was asked for", SOON, || {
        (mails(&node) == 1).then_some(())
    });

    // More for this one: 20 seconds of sound count as a minute begun.
    let said = node.cli(&[
        "mailbox",
        "quota",
        "102",
        "--messages",
        "50",
        "--minutes",
        "1",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("messages  5 of 50\nminutes   1 of 1\n"),
        "{}",
        said.out
    );
    assert_eq!(quota(&node)["percent"], 33);
    import(&node, "102", 620.0);
    done(&node, &["mailbox", "quota", "102", "--messages", "0"]);
    assert_eq!(quota(&node)["percent"], 120);
    let said = node.cli(&["mailbox", "quota", "199"]);
    assert!(
        said.err.contains("no user has the extension 199"),
        "{}",
        said.err
    );
}
