//! What happens, as it happens: events over the command socket, on the command line and with a token.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::Value;

use crate::calls::{pair, ring_through};
use crate::kit::SOON;
use crate::kit::node::Node;

/// Somebody who reads events.
struct Reader(BufReader<UnixStream>);

impl Reader {
    /// From now on, or from behind an event.
    fn of(node: &Node, last: Option<&str>) -> Reader {
        let mut stream = UnixStream::connect(node.data().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let asked = format!("GET /api/v1/events HTTP/1.1\r\nHost: node\r\n{last}\r\n");
        stream.write_all(asked.as_bytes()).unwrap();
        let mut reader = Reader(BufReader::new(stream));
        assert!(reader.line().starts_with("HTTP/1.1 200"));
        // A comment says that it reads.
        while reader.line() != ":" {}
        reader
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self
            .0
            .read_line(&mut line)
            .expect("something comes in time");
        assert!(length > 0, "the stream does not end");
        line.trim_end().to_owned()
    }

    /// The next event of this type; those before it are passed over.
    fn wait(&mut self, kind: &str) -> Value {
        let end = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < end, "no {kind} comes");
            let line = self.line();
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn a_reader_sees_a_call_ring_answered_held_and_ended_and_goes_on_where_it_was() {
    let node = Node::demo();
    let (mut a, mut b) = pair(&node);
    let mut reader = Reader::of(&node, None);
    let mut ours = a.dial("102");
    let mut theirs = ring_through(&mut a, &mut b, &mut ours);
    let begun = reader.wait("leg.begin");
    assert_eq!(
        (&begun["body"]["from"], &begun["body"]["to"]),
        (&"101".into(), &"102".into())
    );
    let rings = reader.wait("leg.ring");
    assert_eq!(
        (&rings["body"]["number"], &rings["body"]["direction"]),
        (&"102".into(), &"out".into())
    );
    assert_eq!(rings["body"]["call"], begun["body"]["leg"]);
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200);
    let answered = reader.wait("leg.answer");
    assert_eq!(answered["body"]["place"], "talking");
    assert_eq!(a.reinvite(&mut ours, "sendonly"), 200);
    let held = reader.wait("leg.hold");
    assert_eq!(
        (&held["body"]["number"], &held["body"]["holds"]),
        (&"101".into(), &true.into())
    );
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    let ended = [reader.wait("leg.end"), reader.wait("leg.end")];
    for event in &ended {
        assert_eq!(
            (&event["body"]["outcome"], &event["body"]["cause"]),
            (&"answered".into(), &"normal".into())
        );
    }
    // Who comes back hears what it missed, and no more.
    let mut again = Reader::of(&node, answered["id"].as_str());
    assert_eq!(again.wait("leg.hold"), held);
    assert_eq!([again.wait("leg.end"), again.wait("leg.end")], ended);
    let said = node.cli(&["user", "set", "102", "dnd=on", "pin=824193"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let set: Vec<Value> = (0..2).map(|_| again.wait("user.changed")).collect();
    let what: Vec<&Value> = set.iter().map(|event| &event["body"]["set"]).collect();
    assert!(what.contains(&&"dnd".into()), "{set:?}");
    let all = Value::from(set).to_string();
    assert!(!all.contains("824193") && !all.contains("argon2"), "{all}");
    assert_eq!(node.metric("tandem_events_lost_total"), 0.0);
}

#[test]
fn phones_that_come_and_go_and_messages_are_told() {
    let node = Node::demo();
    let mut reader = Reader::of(&node, None);
    let (mut a, mut b) = pair(&node);
    let came = [
        reader.wait("phone.registered"),
        reader.wait("phone.registered"),
    ];
    let extensions: Vec<&Value> = came
        .iter()
        .map(|event| &event["body"]["extension"])
        .collect();
    assert_eq!(extensions, ["101", "102"]);
    b.register_for(0);
    assert_eq!(reader.wait("phone.gone")["body"]["extension"], "102");
    let mut ours = a.call("*102");
    let from = ours.media.wait_phrase(0, "vm/intro", SOON);
    ours.media.wait_beep(from);
    ours.media.hum(500.0, -20.0);
    ours.media.speak_for(3);
    a.hang_up(&mut ours);
    let new = reader.wait("message.new");
    assert_eq!(new["body"]["mailbox"], "102");
    assert_eq!(new["body"]["from"]["number"], "101");
    let listed = node.json(&["mailbox", "list", "102"]);
    assert_eq!(listed[0]["id"], new["body"]["id"]);
}
