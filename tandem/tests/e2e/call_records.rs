//! The call log: what calls leave behind, on the command line and over HTTP.

use serde_json::Value;

use crate::calls::{assert_both_hear, assert_idle, connected, pair};
use crate::kit::node::Node;
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};

/// The records of legs that have ended, newest first, once there are so many.
fn records(node: &Node, count: usize) -> Vec<Value> {
    until("every leg has left its record", SOON, || {
        let records = node.json(&["calls", "log"]);
        let records = records.as_array().unwrap().clone();
        (records.len() == count).then_some(records)
    })
}

fn of<'a>(records: &'a [Value], user: &str) -> &'a Value {
    let record = records.iter().find(|record| record["user"] == user);
    record.unwrap_or_else(|| panic!("nothing of {user} in {records:?}"))
}

#[test]
fn a_call_leaves_a_record_for_each_leg_with_its_figures() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let (mut ours, theirs) = connected(&mut a, &mut b);
    assert_both_hear(&ours, &theirs);
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    assert_idle(&node);
    let records = records(&node, 2);
    let (caller, called) = (of(&records, "101"), of(&records, "102"));
    assert_eq!(
        (&caller["direction"], &called["direction"]),
        (&"in".into(), &"out".into())
    );
    assert_eq!(caller["call"], caller["leg"]);
    assert_eq!(called["call"], caller["leg"]);
    assert_eq!(called["from"]["number"], "101");
    assert_eq!(caller["with"]["number"], "102");
    for record in [caller, called] {
        assert_eq!(record["to"], "102");
        assert_eq!(
            (&record["outcome"], &record["cause"]),
            (&"answered".into(), &"normal".into())
        );
        assert_eq!(record["codec"], "PCMU");
        let at = |name: &str| record[name].as_u64().unwrap();
        assert!(at("started") <= at("answered") && at("answered") < at("ended"));
        // Each has heard a second of the other, and said as much.
        assert!(at("talked_s") >= 1, "{record}");
        let quality = &record["quality"];
        assert!(
            quality["packets_received"].as_u64().unwrap() >= 50,
            "{record}"
        );
        assert!(quality["packets_sent"].as_u64().unwrap() >= 50, "{record}");
        assert_eq!(quality["packets_lost"], 0, "{record}");
    }
    let said = node.cli(&["calls", "log"]);
    assert!(
        said.out.contains("answered") && said.out.contains("from 101"),
        "{}",
        said.out
    );
}

#[test]
fn the_log_is_one_users_or_since_a_time_or_a_table_and_lasts() {
    let mut node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let at_b = b.wait_call();
    b.ring(&at_b);
    a.cancel(&mut ours);
    b.wait_cancel(&at_b);
    let mut other = Ua::of(&node, "103");
    other.register();
    let mut unknown = other.dial("199");
    assert_eq!(other.wait_final(&mut unknown), 404);
    let all = records(&node, 3);
    assert_eq!(of(&all, "101")["outcome"], "cancelled");
    assert_eq!(of(&all, "103")["outcome"], "no_such_number");

    let mine = node.json(&["calls", "log", "--user", "102"]);
    assert_eq!(mine, Value::from(vec![of(&all, "102").clone()]));
    let nobody = node.cli(&["calls", "log", "--user", "999"]);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.contains("no user has the extension 999"),
        "{}",
        nobody.err
    );
    assert_eq!(
        node.json(&["calls", "log", "--since", "1h"])
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let future = node.json(&["calls", "log", "--since", "2999-01-01"]);
    assert_eq!(future.as_array().unwrap().len(), 0);
    assert_eq!(node.json(&["calls", "log", "--limit", "1"])[0], all[0]);

    let table = node.cli(&["calls", "log", "--csv"]).out;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(
        lines[0].starts_with("leg,call,joined,direction,user,"),
        "{table}"
    );
    let leg = all[0]["leg"].as_str().unwrap();
    assert!(lines[1].starts_with(leg), "{table}");

    // A power cut takes none of it.
    node.kill();
    node.start();
    assert_eq!(node.json(&["calls", "log"]), Value::from(all));
}
