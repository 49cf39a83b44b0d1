//! A cluster of several nodes: made, joined, split, and what one node knows the others do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::node::{Node, Said, tandem};
use crate::kit::place;
use crate::kit::proxy::Proxy;
use crate::kit::rtp::{Packet, hear};
use crate::kit::sound::{self, RATE, counted_frames};
use crate::kit::ua::Ua;
use crate::kit::{SOON, until};
use crate::mailbox::{at_the_beep, logged_in, messages, registered, sound_of, wait_messages};

/// Long enough for a connection, a catch-up and a busy machine.
pub const JOINED: Duration = Duration::from_secs(30);

/// `[link]` for a node, and whatever else; where it listens.
pub fn with_link(node: &mut Node, name: &str, more: &str) -> SocketAddr {
    let ip = node.setup.ip;
    let port = place::free_port(ip);
    let link = format!("[link]\nbind = \"{ip}\"\nport = {port}\n{more}");
    node.write_config(name, &link);
    place::at(ip, port)
}

/// The first node: a demo office, made a cluster.
pub fn first(more: &str) -> Node {
    let mut node = Node::demo();
    node.ask_to_end();
    node.ended(SOON);
    let said = node.cli(&["site", "init"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("node demo of a new cluster"),
        "{}",
        said.out
    );
    with_link(&mut node, "demo", more);
    node.start();
    node
}

/// What `site token` printed to be typed on the new machine.
pub fn token(node: &Node, name: &str) -> String {
    let said = node.cli(&["site", "token", name]);
    assert_eq!(said.code, 0, "{}", said.err);
    let token = said.out.trim().strip_prefix("tandem site join ");
    token.expect("the command to type").to_owned()
}

pub fn join(node: &Node, token: &str) -> Said {
    let data = node.data().display().to_string();
    tandem(&["site", "join", token, "--data", &data])
}

/// Another node, joined by a token of `of`.
pub fn joined(of: &Node, name: &str, more: &str) -> Node {
    let mut node = Node::prepared();
    let said = join(&node, &token(of, name));
    assert_eq!(said.code, 0, "{}", said.err);
    with_link(&mut node, name, more);
    node.start();
    node
}

/// Waits until every node sees every other, and lacks nothing of it.
pub fn wait_whole(nodes: &[&Node]) {
    for node in nodes {
        until("every node is up and has all", JOINED, || {
            let list = node.json(&["site", "list"]);
            let rows = list.as_array().expect("rows");
            let others: Vec<&Value> = rows
                .iter()
                .filter(|row| row["state"] != "this node")
                .collect();
            let whole = |row: &&Value| {
                row["state"] == "up"
                    && row["we_have_all_of_theirs"] == true
                    && row["lacks_of_ours_bytes"] == 0
            };
            (others.len() + 1 == nodes.len() && others.iter().all(whole)).then_some(())
        });
    }
}

fn cluster(node: &Node, what: &str) -> Value {
    node.json(&["status"])["company"][what].clone()
}

#[test]
fn what_is_left_at_one_node_is_heard_flagged_and_deleted_at_any_other() {
    let a = first("");
    let b = joined(&a, "b", "");
    let c = joined(&a, "c", "");
    wait_whole(&[&a, &b, &c]);

    // The users of the first node register at the others, and all have their lamp.
    let mut phones = [registered(&a), registered(&b), registered(&c)];
    for phone in &mut phones {
        phone.wait_lamp("Messages-Waiting: no");
    }
    let mut caller = Ua::of(&b, "101");
    caller.register();
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(4);
    caller.hang_up(&mut call);

    // Within a second of the first lamp, all are lit.
    let [first, rest @ ..] = &mut phones;
    first.wait_lamp("Messages-Waiting: yes");
    let lit = Instant::now();
    for phone in rest {
        phone.wait_lamp("Messages-Waiting: yes");
    }
    assert!(
        lit.elapsed() < Duration::from_secs(1),
        "{:?}",
        lit.elapsed()
    );
    let whole = sound_of(&b, &wait_messages(&b, 1)[0]);
    assert!(counted_frames(&whole).len() >= 190);
    for node in [&a, &c] {
        let message = wait_messages(node, 1).remove(0);
        until("its sound is there", SOON, || {
            (sound_of(node, &message) == whole).then_some(())
        });
    }

    // Heard at C: no lamp is lit any more. Deleted there: gone from all.
    let [_, _, phone] = &mut phones;
    let mut call = logged_in(phone);
    call.media.wait_phrase(0, "vm/you-have", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_counted(from, 190);
    let from = call.media.mark();
    call.media.press("7");
    call.media.wait_phrase(from, "vm/deleted", SOON);
    phone.hang_up(&mut call);
    for phone in &mut phones {
        phone.wait_lamp("Messages-Waiting: no");
    }
    for node in [&a, &b, &c] {
        wait_messages(node, 0);
    }
}

#[test]
fn a_node_that_dies_while_a_message_is_spoken_leaves_what_was_said() {
    let mut a = first("");
    let b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    let mut caller = Ua::of(&a, "101");
    caller.register();
    let call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(6);
    a.kill();
    let message = wait_messages(&b, 1).remove(0);
    assert_eq!(message["cut_short"], true, "{message}");
    let heard = counted_frames(&sound_of(&b, &message)).len();
    assert!(heard >= 200, "of 6 s only {heard} frames of 20 ms");

    // It comes back and says the same.
    a.start();
    wait_whole(&[&a, &b]);
    let again = wait_messages(&a, 1).remove(0);
    assert_eq!(again["id"], message["id"]);
    assert_eq!(sound_of(&a, &again), sound_of(&b, &message));
}

#[test]
fn an_empty_disk_gets_its_own_log_back_from_the_others() {
    let a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    let mut caller = Ua::of(&b, "101");
    caller.register();
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(3);
    caller.hang_up(&mut call);
    let message = wait_messages(&a, 1).remove(0);
    let whole = sound_of(&b, &wait_messages(&b, 1)[0]);
    until("the copy is whole", SOON, || {
        (sound_of(&a, &message) == whole).then_some(())
    });

    b.kill();
    std::fs::remove_dir_all(b.data().join("log")).unwrap();
    b.start();
    wait_whole(&[&a, &b]);
    let back = wait_messages(&b, 1).remove(0);
    assert_eq!(back["id"], message["id"]);
    until("its sound is back", SOON, || {
        (sound_of(&b, &back) == whole).then_some(())
    });
    // And it records again, under names that were never given.
    let mut caller = Ua::of(&b, "101");
    caller.register();
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(2);
    caller.hang_up(&mut call);
    let both = wait_messages(&a, 2);
    assert_ne!(both[0]["id"], both[1]["id"]);
}

#[test]
fn saved_waits_for_a_copy_and_goes_on_alone_when_the_backup_sleeps() {
    // So long that the sleeper is not taken to be away.
    let patient = "away_after_ms = 60000\n";
    let a = first(patient);
    let b = joined(&a, "b", patient);
    wait_whole(&[&a, &b]);
    assert_eq!(cluster(&a, "copies_now"), 2);
    let leave = || {
        let mut caller = Ua::of(&a, "101");
        caller.register();
        let mut call = at_the_beep(&mut caller);
        call.media.count_up();
        call.media.speak_for(2);
        caller.hang_up(&mut call);
    };
    leave();
    wait_messages(&a, 1);
    let copied = cluster(&a, "saved_with_copy").as_u64().unwrap();
    assert!(copied > 0);
    let late = cluster(&a, "saved_alone_late").as_u64().unwrap();

    b.signal(libc::SIGSTOP);
    leave();
    wait_messages(&a, 2);
    assert!(cluster(&a, "saved_alone_late").as_u64().unwrap() > late);
    assert_eq!(cluster(&a, "copies_now"), 1);
    b.signal(libc::SIGCONT);
    until("the backup has caught up", JOINED, || {
        (cluster(&a, "copies_now") == 2).then_some(())
    });
    wait_messages(&b, 2);
}

#[test]
fn who_is_not_invited_or_was_removed_stays_outside() {
    let a = first("");
    let used = token(&a, "b");
    let mut b = Node::prepared();
    assert_eq!(join(&b, &used).code, 0);
    with_link(&mut b, "b", "");
    b.start();
    wait_whole(&[&a, &b]);

    // A token is good once, and only as it was printed.
    let stranger = Node::prepared();
    let said = join(&stranger, &used);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("used up"), "{}", said.err);
    let said = join(&stranger, &used[..used.len() - 9]);
    assert_eq!(said.code, 1);
    let said = join(&b, &token(&a, "d"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("stop it first"), "{}", said.err);

    let said = a.cli(&["site", "remove", "b"]);
    assert_eq!(said.code, 0, "{}", said.err);
    until("the removed node is shut out", SOON, || {
        let list = b.json(&["site", "list"]);
        let rows = list.as_array().expect("rows");
        let up = rows.iter().any(|row| row["state"] == "up");
        (!up).then_some(())
    });
    assert_eq!(a.json(&["site", "list"]).as_array().map(Vec::len), Some(1));
    let said = a.cli(&["site", "remove", "b"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no node b"), "{}", said.err);
    until("it knocks, and is counted", SOON, || {
        (a.metric("tandem_link_door_strangers_total") > 0.0).then_some(())
    });
    let said = a.cli(&["site", "remove", "demo"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("at another one"), "{}", said.err);
}

#[test]
fn what_a_node_lacks_that_is_away_is_told() {
    let a = first("");
    let mut b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    let status = a.cli(&["status"]).out;
    assert!(status.contains("nodes up              b\n"), "{status}");
    assert!(
        status.contains("missing               nothing\n"),
        "{status}"
    );
    b.kill();
    let mut caller = Ua::of(&a, "101");
    caller.register();
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(3);
    caller.hang_up(&mut call);
    wait_messages(&a, 1);
    // Three seconds of sound, at 8 kB each.
    let lacks = || {
        let missing = cluster(&a, "missing");
        missing[0]["bytes"]
            .as_u64()
            .filter(|_| missing[0]["at"] == "b")
    };
    let bytes = until("it is told", SOON, || lacks().filter(|b| *b >= 24_000));
    assert!(bytes < 200_000, "{bytes}");
    let status = a.cli(&["status"]).out;
    assert!(status.contains("missing               b: "), "{status}");
    assert!(status.contains("nodes away            b\n"), "{status}");
    let list = a.cli(&["site", "list"]).out;
    assert!(list.contains("away: "), "{list}");
    b.start();
    wait_whole(&[&a, &b]);
    assert_eq!(cluster(&a, "missing"), Value::Array(vec![]));
}

#[test]
fn sound_that_a_node_does_not_keep_is_fetched_when_it_is_heard() {
    let a = first("");
    let b = joined(&a, "b", "");
    wait_whole(&[&a, &b]);
    // Nobody but the first node itself keeps what it records.
    keeps(&a, "demo", "demo", &[&b]);
    let mut caller = Ua::of(&a, "101");
    caller.register();
    let mut call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(4);
    caller.hang_up(&mut call);
    let message = wait_messages(&b, 1).remove(0);
    let at_a = &messages(&a)[0];
    assert_eq!(
        message["length_ms"], at_a["length_ms"],
        "its length is known: {message}"
    );
    assert!(at_a["length_ms"].as_u64() > Some(0), "{at_a}");
    assert_eq!(
        message["incomplete"], false,
        "its sound lies elsewhere: {message}"
    );

    let mut phone = registered(&b);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/you-have", SOON);
    let from = call.media.mark();
    call.media.press("1");
    call.media.wait_counted(from, 190);
    phone.hang_up(&mut call);
    assert_eq!(messages(&b).len(), 1);
}

/// A message is played from its start while most of it is still on its way.
#[test]
fn a_long_message_is_heard_at_once_over_a_narrow_line() {
    // A megabit a second, a tenth of a second there and back.
    let (mut a, a_line) = at_the_end_of(Node::demo(), true, "demo");
    a.start();
    let b = Node::prepared();
    let said = join(&b, &token(&a, "b"));
    assert_eq!(said.code, 0, "{}", said.err);
    let (mut b, b_line) = at_the_end_of(b, false, "b");
    b.start();
    wait_whole(&[&a, &b]);
    keeps(&a, "demo", "demo", &[&a, &b]);
    let wav = a.data().with_extension("import.wav");
    let length_s = 150;
    sound::write_wav(&wav, &sound::sine(440.0, -20.0, length_s * RATE));
    let said = a.cli(&["mailbox", "import", "102", &wav.display().to_string()]);
    assert_eq!(said.code, 0, "{}", said.err);
    wait_messages(&b, 1);

    let mut phone = registered(&b);
    let mut call = logged_in(&mut phone);
    call.media.wait_phrase(0, "vm/you-have", SOON);
    let carried = || a_line.carried() + b_line.carried();
    let (from, before, asked) = (call.media.mark(), carried(), Instant::now());
    // What precedes the message is skipped.
    phone.press_info(&mut call, '1');
    phone.press_info(&mut call, '#');
    let is_loud =
        |packet: &Packet| sound::level_db(&hear(std::slice::from_ref(packet)).samples) > -30.0;
    let is_tone = |packet: &Packet| {
        sound::tone_db(&hear(std::slice::from_ref(packet)).samples, 440.0) > -26.0
    };
    let first = until("the message is heard", SOON, || {
        let heard = call.media.heard(from);
        heard.into_iter().find(|p| is_loud(p) && is_tone(p))
    });
    let (took, came) = (first.at - asked, carried() - before);
    println!("the first sound after {took:?}, when {came} bytes had come");
    // How little had come, not how soon it was heard: that is also a matter of the machine.
    assert!(came < (length_s * RATE / 8) as u64, "{came} bytes had come");
    // It goes on as it comes.
    let from = call.media.mark();
    let heard = call.media.wait_packets(from, 250);
    let silent = heard.iter().filter(|packet| !is_loud(packet)).count();
    assert!(
        silent <= heard.len() / 5,
        "{silent} packets of {}",
        heard.len()
    );
    println!(
        "{} sounds came late",
        b.metric("tandem_media_sounds_late_total")
    );
    phone.hang_up(&mut call);
}

/// A node that is reached through a long and narrow line; not started yet.
fn at_the_end_of(mut node: Node, is_first: bool, name: &str) -> (Node, Proxy) {
    if is_first {
        node.ask_to_end();
        node.ended(SOON);
        assert_eq!(node.cli(&["site", "init"]).code, 0);
    }
    let link = with_link(&mut node, name, "");
    let line = Proxy::narrow(link, node.setup.ip, Duration::from_millis(50), 125_000);
    let config = node.setup.config.clone().expect("it was written");
    let text = std::fs::read_to_string(&config).unwrap();
    let told = format!("[link]\naddress = \"{}\"", line.at());
    std::fs::write(&config, text.replace("[link]", &told)).unwrap();
    (node, line)
}

/// Says which nodes keep what `whose` records, and waits until all know.
fn keeps(of: &Node, whose: &str, by: &str, nodes: &[&Node]) {
    let said = of.cli(&["site", "keeps", whose, by]);
    assert_eq!(said.code, 0, "{}", said.err);
    for node in nodes {
        until("all know who keeps it", SOON, || {
            let list = node.json(&["site", "list"]);
            let rows = list.as_array().expect("rows").clone();
            let is_told = |row: &Value| row["name"] == whose && row["sound_kept_by"] == by;
            rows.iter().any(is_told).then_some(())
        });
    }
}

#[test]
fn a_piece_that_rots_on_one_disk_is_found_and_had_back_from_another() {
    let small = "[storage]\nsegment_mib = 4\nscrub_every_days = 1\n";
    let a = first(small);
    let b = joined(&a, "b", small);
    wait_whole(&[&a, &b]);
    // More than a segment of messages; what rots lies in one that is closed.
    let wav = a.data().with_extension("import.wav");
    sound::write_wav(&wav, &sound::sine(440.0, -20.0, 170 * RATE));
    for _ in 0..5 {
        let said = a.cli(&["mailbox", "import", "102", &wav.display().to_string()]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    wait_whole(&[&a, &b]);
    let whole = sound_of(&a, &wait_messages(&a, 5)[0]);
    // What cannot be read is not served: the export fails.
    let is_whole = |id: &str| {
        let file = b.data().with_extension("wav").display().to_string();
        let said = b.cli(&["mailbox", "export", "102", id, &file, "--overwrite"]);
        said.code == 0 && sound::read_wav(std::path::Path::new(&file)) == whole
    };
    let damaged = || -> usize {
        let messages = wait_messages(&b, 5);
        let ids = messages.iter().filter_map(|message| message["id"].as_str());
        ids.filter(|id| !is_whole(id)).count()
    };
    until("the copies are whole", SOON, || {
        (damaged() == 0).then_some(())
    });

    rot(&b);
    assert_eq!(damaged(), 1, "the damage can be heard");
    until("the damage was found", JOINED * 2, || {
        (b.metric("tandem_log_scrub_damages_total") > 0.0).then_some(())
    });
    until("the sound is whole again", JOINED, || {
        (damaged() == 0).then_some(())
    });
}

/// Turns a bit of a chunk in the first segment.
pub fn rot(node: &Node) {
    use std::os::unix::fs::FileExt;
    let log = node.data().join("log");
    let mut segments: Vec<_> = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg" || e == "log"))
        .collect();
    segments.sort();
    let segment = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segments[0])
        .unwrap();
    // A chunk fills its block, so the middle of the file is sound.
    let (at, mut byte) = (1_500_000, [0]);
    segment.read_exact_at(&mut byte, at).unwrap();
    segment.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    segment.sync_all().unwrap();
}
