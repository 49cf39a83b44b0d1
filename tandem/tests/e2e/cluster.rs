//! Three nodes on their worst day: under load, one of them killed every few seconds, links cut.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bad_days::Dice;
use crate::kit::node::Node;
use crate::kit::proxy::Proxy;
use crate::kit::sipp::Sipp;
use crate::kit::sound::counted_frames;
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};
use crate::mailbox::{messages, sound_of};
use crate::pulled_plug::{all_speaking, is_whole, keep, number_of};
use crate::scenarios::begin;
use crate::site::{join, token, wait_whole, with_link};

/// How long it goes on; `CLUSTER_SECONDS` says otherwise.
const LASTS: Duration = Duration::from_secs(60);
/// How much of a message may be lost when its node is killed, since it is not durable yet. Three
/// nodes, SIPp and the test share the disk and processor here.
const LAST: Duration = Duration::from_secs(2);

/// A node, and the line by which the others reach it.
struct Site {
    node: Node,
    line: Proxy,
}

/// Three nodes that reach each other through lines that can be cut.
fn three() -> Vec<Site> {
    let mut first = Node::demo();
    first.ask_to_end();
    first.ended(SOON);
    assert_eq!(first.cli(&["site", "init"]).code, 0);
    let mut sites = vec![started(first, "demo")];
    for name in ["b", "c"] {
        let node = Node::prepared();
        let said = join(&node, &token(&sites[0].node, name));
        assert_eq!(said.code, 0, "{}", said.err);
        sites.push(started(node, name));
    }
    let nodes: Vec<&Node> = sites.iter().map(|site| &site.node).collect();
    wait_whole(&nodes);
    sites
}

fn started(mut node: Node, name: &str) -> Site {
    let link = with_link(&mut node, name, "");
    let line = Proxy::to(link, node.setup.ip);
    let config = node.setup.config.clone().expect("it was written");
    let text = std::fs::read_to_string(&config).unwrap();
    let told = format!("[link]\naddress = \"{}\"", line.at());
    std::fs::write(&config, text.replace("[link]", &told)).unwrap();
    node.start();
    Site { node, line }
}

/// What a node says of 102's messages: by name, who left it, and what is in it.
fn all(node: &Node) -> BTreeMap<String, (String, bool, Vec<i16>)> {
    let all = messages(node).into_iter().map(|message: Value| {
        let id = message["id"].as_str().expect("an id").to_owned();
        let cut_short = message["cut_short"] == true;
        (
            id,
            (number_of(&message), cut_short, sound_of(node, &message)),
        )
    });
    all.collect()
}

#[test]
fn three_nodes_lose_nothing_that_was_saved_however_often_one_is_killed() {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(u64::from(std::process::id()) | 1 << 40);
    let lasts = std::env::var("CLUSTER_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let lasts = lasts.map_or(LASTS, Duration::from_secs);
    let mut dice = Dice(seed);
    let mut sites = three();
    let began = Instant::now();
    let (mut saved, mut cut) = (BTreeMap::new(), BTreeMap::new());
    let (mut kills, mut cuts, mut calls) = (0, 0, 0);
    while began.elapsed() < lasts {
        let place = format!("seed {seed}, kill {kills}");
        let victim = dice.below(3) as usize;
        let load: Vec<Sipp> = (0..3)
            .filter(|n| *n != victim)
            .map(|n| {
                begin(
                    &sites[n].node,
                    "uac_deposit",
                    "101",
                    "*102",
                    &["-d", "5000"],
                )
            })
            .collect();
        calls += load.len();
        // Two speak at each node.
        let mut callers: Vec<Ua> = (0..6)
            .map(|n| Ua::gateway(&sites[n % 3].node, &format!("07{kills:02}{n}")))
            .collect();
        let mut speaking = all_speaking(&mut callers, &mut dice);
        if dice.below(2) == 0 {
            cuts += 1;
            sites[dice.below(3) as usize].line.cut();
        }
        // One at the victim is told that it is saved, and then the plug is pulled.
        let told = victim;
        let kept = keep(&sites[victim].node, &mut callers[told], &mut speaking[told]);
        assert!(is_whole(&kept), "{place}: {kept:?}");
        saved.insert(callers[told].user.clone(), kept.len());
        std::thread::sleep(Duration::from_millis(dice.below(700)));
        let pulled = Instant::now();
        sites[victim].node.kill();
        kills += 1;
        let call = &speaking[victim + 3];
        cut.insert(
            callers[victim + 3].user.clone(),
            call.media.counted_by(pulled - LAST),
        );

        for n in (0..6).filter(|n| n % 3 != victim) {
            let kept = keep(&sites[n % 3].node, &mut callers[n], &mut speaking[n]);
            assert!(is_whole(&kept), "{place}: {kept:?}");
            saved.insert(callers[n].user.clone(), kept.len());
        }
        load.into_iter().for_each(Sipp::done);
        sites.iter().for_each(|site| site.line.mend());
        sites[victim].node.start();
    }
    let nodes: Vec<&Node> = sites.iter().map(|site| &site.node).collect();
    wait_whole(&nodes);
    let first = all(nodes[0]);
    for node in &nodes[1..] {
        until("all nodes say the same", SOON, || {
            (all(node) == first).then_some(())
        });
    }
    let by_number: BTreeMap<&str, (bool, usize)> = first
        .values()
        .map(|(number, cut_short, sound)| {
            (number.as_str(), (*cut_short, counted_frames(sound).len()))
        })
        .collect();
    for (number, frames) in &saved {
        let there = by_number.get(number.as_str());
        assert_eq!(
            there,
            Some(&(false, *frames)),
            "seed {seed}: what {number} saved"
        );
    }
    for (number, least) in &cut {
        let there = by_number.get(number.as_str());
        assert!(
            there.is_some_and(|(_, frames)| frames >= least),
            "seed {seed}: {number} had said {least}, there is {there:?}"
        );
    }
    // What SIPp left bears no counted frames; each of its calls left one message.
    assert_eq!(first.len(), saved.len() + cut.len() + calls, "seed {seed}");
    println!(
        "{kills} kills, {cuts} cuts, {} saved, {} cut short, {calls} by SIPp: the same at all nodes",
        saved.len(),
        cut.len()
    );
}
