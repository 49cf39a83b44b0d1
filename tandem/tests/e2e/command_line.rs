//! What administrators type, and what comes back.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::kit::SOON;
use crate::kit::node::{Node, tandem};
use crate::kit::ua::Ua;

#[test]
fn a_first_start_takes_little_more_than_what_it_writes() {
    // The witness does beside each start what a first start must do: write its segments through.
    let took: Vec<(Duration, Duration)> = (0..3)
        .map(|_| {
            let node = Node::prepared().start();
            let began = Instant::now();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![1; 64 << 20]).unwrap();
            file.sync_all().unwrap();
            (node, began.elapsed())
        })
        .collect();
    let is_quick =
        |(node, witness): &(Duration, Duration)| *node < Duration::from_secs(1) + 5 * *witness;
    // A start also waits for a processor that others have, which the witness does not see: what it costs
    // is seen in the quickest.
    assert!(took.iter().any(is_quick), "start and witness: {took:?}");
}

#[test]
fn one_screen_of_status_for_people_and_for_programs() {
    let node = Node::demo();
    let mut phone = Ua::of(&node, "101");
    phone.register();
    let said = node.cli(&["status"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.lines().count() > 5, "{}", said.out);
    assert!(node.json(&["status"]).is_object());
    let phones = node.json(&["phones"]);
    assert_eq!(phones[0]["extension"], "101", "{phones}");
    let said = node.cli(&["phones"]);
    assert!(said.out.contains("101") && said.out.contains(&node.setup.ip.to_string()));
    let mut call = phone.call("*43");
    let calls = node.json(&["calls"]);
    assert!(calls[0].to_string().contains("*43"), "{calls}");
    assert!(node.cli(&["calls"]).out.contains("*43"));
    phone.hang_up(&mut call);
}

#[test]
fn the_log_is_verified_while_it_is_written_and_when_it_is_not() {
    let mut node = Node::demo();
    let said = node.cli(&["log", "verify"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(node.cli(&["log", "show"]).code, 0);
    node.ask_to_end();
    assert!(node.ended(SOON).success());
    assert_eq!(node.cli(&["log", "verify"]).code, 0);
    // Nobody to ask any more: said clearly.
    let said = node.cli(&["status"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no node is running"), "{}", said.err);
}

#[test]
fn wrong_usage_is_2() {
    assert_eq!(tandem(&["dance"]).code, 2);
    assert_eq!(tandem(&["mailbox", "list"]).code, 2);
    assert_eq!(tandem(&["recording", "verify"]).code, 2);
}

#[test]
fn questions_about_what_is_not_there() {
    let node = Node::demo();
    let said = node.cli(&["mailbox", "list", "999"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("999"), "{}", said.err);
    let said = node.cli(&["mailbox", "export", "102", "demo.1.99", "/tmp/never.wav"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let said = node.cli(&["mailbox", "import", "102", "/etc/hostname"]);
    assert_eq!(said.code, 1, "{}", said.err);
}

#[test]
fn a_configuration_is_checked_with_line_and_mend() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tandem.toml");
    let path = file.display().to_string();
    std::fs::write(&file, "[node]\nname = \"a\"\n\n[sip]\nprot = 5060\n").unwrap();
    let said = tandem(&["check", "--config", &path]);
    assert_eq!(said.code, 1);
    let text = format!("{}{}", said.out, said.err);
    assert!(
        text.contains("tandem.toml") && text.contains('5') && text.contains("prot"),
        "{text}"
    );
    std::fs::write(&file, "[sip]\nadvertise = \"192.0.2.1\"\n").unwrap();
    let said = tandem(&["check", "--config", &path]);
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn health_readiness_and_figures_over_http() {
    let node = Node::demo();
    assert_eq!(node.http("/healthz").0, 200);
    assert_eq!(node.http("/readyz").0, 200);
    let (status, page) = node.http("/metrics");
    assert_eq!(status, 200);
    let figures = page
        .lines()
        .filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let foreign: Vec<&str> = figures
        .clone()
        .filter(|l| !l.starts_with("tandem_"))
        .collect();
    assert!(figures.count() > 10 && foreign.is_empty(), "{page}");
    assert_eq!(node.http("/nowhere").0, 404);
}
