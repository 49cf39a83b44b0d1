//! The whole office as one file, out of a running node and back.

use std::path::PathBuf;

use crate::kit::node::{Node, Said};
use crate::kit::ua::Ua;

fn write(node: &Node, name: &str, text: &str) -> PathBuf {
    let file = node.data().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn apply(node: &Node, file: &std::path::Path, more: &[&str]) -> Said {
    let file = file.display().to_string();
    let mut args = vec!["office", "apply", file.as_str()];
    args.extend(more);
    node.cli(&args)
}

fn exported(node: &Node) -> String {
    let said = node.cli(&["office", "export"]);
    assert_eq!(said.code, 0, "{}", said.err);
    said.out
}

#[test]
fn an_exported_office_changes_nothing_and_an_edited_one_what_was_edited() {
    let node = Node::demo();
    let text = exported(&node);
    for secret in ["demo-101", "1101"] {
        assert!(!text.contains(secret), "a secret is in it: {text}");
    }
    let same = write(&node, "same.toml", &text);
    let said = apply(&node, &same, &[]);
    assert_eq!(
        (said.code, said.out.trim()),
        (0, "nothing changes"),
        "{}",
        said.err
    );
    // The one at 104 is called otherwise and has its calls go to 101; and a fifth comes.
    let edited = text.replace(
        "name = \"Warehouse\"",
        "name = \"Store\"\nforward = \"101\"",
    ) + "\n[[user]]\nextension = \"105\"\nname = \"Night\"\npassword = \"as long as it takes\"\n";
    let edited = write(&node, "edited.toml", &edited);
    let said = apply(&node, &edited, &["--dry-run"]);
    let lines = [
        "~ user 104: name Warehouse -> Store, forward none -> 101",
        "+ user 105 Night",
    ];
    assert_eq!(said.out.lines().collect::<Vec<_>>(), lines, "{}", said.err);
    assert!(!exported(&node).contains("105"), "a dry run wrote");
    let said = apply(&node, &edited, &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    // It counts from the next call on: 101 rings for 104, and the new phone can register.
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::of(&node, "102"));
    a.register();
    b.register();
    let mut night = Ua::of(&node, "105");
    night.password = "as long as it takes".into();
    night.register();
    let mut ours = b.dial("104");
    b.answer_challenge(&mut ours);
    let mut theirs = a.wait_call();
    a.answer(&mut theirs);
    assert_eq!(b.wait_final(&mut ours), 200);
    b.hang_up(&mut ours);
    a.wait_hang_up(&theirs);
}

#[test]
fn who_is_not_in_the_file_is_removed_with_its_place_in_the_group() {
    let node = Node::demo();
    let text = exported(&node);
    let start = text.find("[[user]]\nid = ").unwrap();
    let at = text.find("extension = \"104\"").unwrap();
    let entry = text[..at].rfind("[[user]]").unwrap();
    let end = text[at..].find("[[").map_or(text.len(), |end| at + end);
    let without = format!("{}{}", &text[..entry], &text[end..]);
    assert!(start <= entry);
    // 600 names it still.
    let file = write(&node, "half.toml", &without);
    let said = apply(&node, &file, &[]);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("no user has the extension 104"),
        "{}",
        said.err
    );
    let without = without
        .replace(", \"104\"", "")
        .replace("    \"104\",\n", "");
    let file = write(&node, "without.toml", &without);
    let said = apply(&node, &file, &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("- user 104 Warehouse"), "{}", said.out);
    let users = node.json(&["user", "list"]);
    assert_eq!(users.as_array().unwrap().len(), 3, "{users}");
}

#[test]
fn a_file_with_faults_is_refused_with_each_of_their_lines() {
    let node = Node::demo();
    let file = "[[user]]\nextension = \"1\"\nname = \"\"\nforward = \"999\"\n\n\
                [[group]]\nextension = \"600\"\nname = \"G\"\nmembers = [\"102\"]\nring_s = 1\n";
    let file = write(&node, "faults.toml", file);
    let said = apply(&node, &file, &[]);
    assert_eq!(said.code, 1);
    let lines: Vec<&str> = said.err.lines().collect();
    let shown = file.display().to_string();
    for line in [2, 3, 4, 9, 10] {
        let begins = format!("{shown}:{line}: ");
        let named = lines
            .iter()
            .any(|l| l.trim_start_matches("tandem: ").starts_with(&begins));
        assert!(named, "line {line} is not named:\n{}", said.err);
    }
    let broken = write(
        &node,
        "broken.toml",
        "[[user]]\nextension = \"101\"\nname = \"half",
    );
    let said = apply(&node, &broken, &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("broken.toml:3"), "{}", said.err);
    assert_eq!(node.json(&["user", "list"]).as_array().unwrap().len(), 4);
}
