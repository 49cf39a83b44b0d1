//! When the office is open and whose calls are wanted, on the built program with phones that the test
//! works by hand.

use std::time::Duration;

use serde_json::Value;

use crate::calls::{assert_both_hear, assert_idle};
use crate::groups::{does, fails, phones};
use crate::kit::node::Node;
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};

/// Long enough for a call that would come.
const MOMENT: Duration = Duration::from_millis(500);

fn schedule(node: &Node) -> Value {
    node.json(&["schedule", "list"])[0].clone()
}

#[test]
fn a_closed_group_rings_nobody_and_a_code_opens_it_beyond_a_restart() {
    let mut node = Node::demo();
    let [mut a, mut b, mut c] = phones(&node, ["101", "102", "103"]);
    let hours = "hours=mon-fri 09:00-12:00 13:00-17:00; sat 10:00-14:00";
    does(&node, &["schedule", "add", "day", hours, "override=closed"]);
    does(&node, &["group", "set", "600", "schedule=day", "night=101"]);
    let group = &node.json(&["group", "list"])[0];
    assert_eq!(
        (&group["schedule"], &group["open"]),
        (&"day".into(), &false.into())
    );

    let mut ours = c.dial("600");
    c.answer_challenge(&mut ours);
    let mut at_a = a.wait_call();
    a.answer(&mut at_a);
    assert_eq!(c.wait_final(&mut ours), 200);
    assert!(!b.is_called_within(MOMENT), "the group is closed");
    assert_both_hear(&ours, &at_a);
    c.hang_up(&mut ours);
    a.wait_hang_up(&at_a);

    let mut code = a.call("*281");
    code.media.wait_phrase(0, "codes/office-open", SOON);
    a.hang_up_or_be_hung_up(&mut code);
    assert_eq!(schedule(&node)["override"], "open");
    node.kill();
    node.start();
    let day = schedule(&node);
    assert_eq!(
        (&day["override"], &day["open"]),
        (&"open".into(), &true.into())
    );
    assert_eq!(
        (&day["number"], &day["groups"][0]),
        (&1.into(), &"600".into())
    );
    let [mut a, mut b] = phones(&node, ["101", "102"]);
    let mut ours = a.dial("600");
    a.answer_challenge(&mut ours);
    let at_b = b.wait_call();
    b.ring(&at_b);
    a.wait_provisional(&mut ours, 180);
    a.cancel(&mut ours);
    b.wait_cancel(&at_b);

    let error = fails(&node, &["schedule", "remove", "day"]);
    assert!(
        error.contains("group 600 goes by the schedule day"),
        "{error}"
    );
    does(&node, &["group", "set", "600", "schedule="]);
    does(&node, &["schedule", "remove", "day"]);
    let error = fails(&node, &["schedule", "set", "day", "override=open"]);
    assert!(error.contains("no schedule is called day"), "{error}");
    let error = fails(&node, &["schedule", "add", "x", "hours=mon 9-17"]);
    assert!(error.contains("'mon 9-17' are no hours"), "{error}");
    assert_idle(&node);
}

#[test]
fn who_is_an_exception_rings_and_who_is_not_wanted_is_refused() {
    let node = Node::demo();
    let [mut a, mut b, mut c] = phones(&node, ["101", "102", "103"]);
    does(&node, &["user", "set", "102", "dnd=on", "dnd_except=103"]);
    let mut ours = a.call("102");
    assert!(!b.is_called_within(MOMENT), "102 wants no calls");
    a.hang_up(&mut ours);
    let mut ours = c.dial("102");
    c.answer_challenge(&mut ours);
    let mut at_b = b.wait_call();
    b.answer(&mut at_b);
    assert_eq!(c.wait_final(&mut ours), 200);
    assert_both_hear(&ours, &at_b);
    c.hang_up(&mut ours);
    b.wait_hang_up(&at_b);

    does(&node, &["user", "set", "102", "dnd=off", "blocked=101"]);
    let mut code = b.call("*77");
    code.media.wait_phrase(0, "codes/anonymous-rejected", SOON);
    b.hang_up_or_be_hung_up(&mut code);
    let mut hidden = c.dial_withheld("102");
    assert_eq!(c.wait_final(&mut hidden), 433);
    let mut blocked = a.dial("102");
    assert_eq!(a.wait_final(&mut blocked), 603);
    does(&node, &["user", "set", "102", "blocked_to_mailbox=on"]);
    let mut ours = a.call("102");
    ours.media.wait_phrase(0, "vm/intro", SOON);
    a.hang_up_or_be_hung_up(&mut ours);

    does(&node, &["block", "add", "0123456"]);
    let mut caller = Ua::gateway(&node, "0123456");
    let mut refused = caller.dial("101");
    assert_eq!(caller.wait_final(&mut refused), 603);
    assert!(
        !a.is_called_within(MOMENT),
        "the company wants no calls from there"
    );
    assert_eq!(node.json(&["block", "list"]), Value::from(vec!["0123456"]));
    does(&node, &["block", "remove", "0123456"]);
    let error = fails(&node, &["block", "remove", "0123456"]);
    assert!(error.contains("nobody has blocked 0123456"), "{error}");
    let mut let_in = caller.dial("101");
    let at_a = a.wait_call();
    a.ring(&at_a);
    caller.wait_provisional(&mut let_in, 180);
    caller.cancel(&mut let_in);
    a.wait_cancel(&at_a);

    let causes = until("the call log says why", SOON, || {
        let records = node.json(&["calls", "log"]);
        let causes = records.as_array()?.iter().map(|record| {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            (text("cause"), text("outcome"))
        });
        let causes: Vec<(String, String)> = causes.collect();
        let blocked = causes.iter().filter(|(cause, _)| cause == "blocked");
        (blocked.count() == 2).then_some(causes)
    });
    let refused = ("anonymity_disallowed".to_owned(), "refused".to_owned());
    assert!(causes.contains(&refused), "{causes:?}");
    assert_idle(&node);
}

#[test]
fn schedules_and_blocked_numbers_are_in_the_office_file() {
    let node = Node::demo();
    does(
        &node,
        &["schedule", "add", "day", "hours=daily 08:00-18:00"],
    );
    does(
        &node,
        &["group", "set", "600", "schedule=day", "night=busy"],
    );
    does(&node, &["block", "add", "+4930555"]);
    let exported = node.cli(&["office", "export"]);
    let file = node.data().with_extension("office.toml");
    let file = file.to_str().unwrap();
    for part in ["[[schedule]]", "schedule = \"day\"", "+4930555"] {
        assert!(exported.out.contains(part), "{part} in {}", exported.out);
    }
    std::fs::write(file, &exported.out).unwrap();
    let said = node.cli(&["office", "apply", file]);
    assert_eq!(
        (said.code, said.out.trim()),
        (0, "nothing changes"),
        "{}",
        said.err
    );
    let edited = exported.out.replace("daily 08:00-18:00", "daily 8-18");
    std::fs::write(file, &edited).unwrap();
    let line = 1 + edited
        .lines()
        .position(|line| line.contains("daily 8-18"))
        .unwrap();
    let error = fails(&node, &["office", "apply", file]);
    assert!(
        error.contains(&format!(":{line}: 'daily 8-18' are no hours")),
        "{error}"
    );
    let edited = exported.out.replace("+4930555", "+4930556");
    std::fs::write(file, edited).unwrap();
    let said = node.cli(&["office", "apply", file]);
    for part in ["+ blocked +4930556", "- blocked +4930555"] {
        assert!(said.out.contains(part), "{}", said.out);
    }
    assert_eq!(node.json(&["block", "list"]), Value::from(vec!["+4930556"]));
}

#[test]
fn who_was_busy_is_called_when_free_and_a_speed_dial_stands_for_a_number() {
    let node = Node::demo();
    let [mut a, mut b, mut c] = phones(&node, ["101", "102", "103"]);
    let mut theirs = c.dial("102");
    c.answer_challenge(&mut theirs);
    let mut at_b = b.wait_call();
    b.answer(&mut at_b);
    assert_eq!(c.wait_final(&mut theirs), 200);
    let mut missed = a.dial("102");
    a.answer_challenge(&mut missed);
    let second = b.wait_call();
    b.refuse(&second, 486);
    assert_eq!(a.wait_final(&mut missed), 200);
    a.hang_up(&mut missed);
    let mut code = a.call("*66");
    code.media.wait_phrase(0, "codes/call-when-free", SOON);
    a.hang_up_or_be_hung_up(&mut code);
    c.hang_up(&mut theirs);
    b.wait_hang_up(&at_b);
    let mut at_a = a.wait_call();
    a.answer(&mut at_a);
    let mut at_b = b.wait_call();
    b.answer(&mut at_b);
    assert_both_hear(&at_a, &at_b);
    a.hang_up(&mut at_a);
    b.wait_hang_up(&at_b);

    does(&node, &["speed", "set", "01", "102", "Sales"]);
    let mut ours = a.dial("*001");
    a.answer_challenge(&mut ours);
    let at_b = b.wait_call();
    b.ring(&at_b);
    a.wait_provisional(&mut ours, 180);
    a.cancel(&mut ours);
    b.wait_cancel(&at_b);
    assert_eq!(node.json(&["speed", "list"])[0]["name"], "Sales");
    does(&node, &["speed", "remove", "01"]);
    let error = fails(&node, &["speed", "remove", "01"]);
    assert!(error.contains("no speed dial has the digits 01"), "{error}");
    assert_idle(&node);
}
