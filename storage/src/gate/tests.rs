use std::sync::Arc;

use super::*;
use crate::seam::{Committed, Hlc, Payload, Stamp, Token};

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn event(seq: u64) -> LogEvent {
    said(node("office"), 1, seq)
}

fn said(node: NodeName, epoch: u32, seq: u64) -> LogEvent {
    let stamp = Stamp {
        hlc: Hlc(seq),
        node,
        epoch,
        seq,
    };
    let what = Payload::Entry {
        topic: Arc::from("call"),
        body: Arc::from(""),
    };
    LogEvent::Committed {
        token: Token::call_control(seq),
        record: Committed {
            stamp,
            segment: 1,
            what,
        },
    }
}

fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

struct Story(Gate);

impl Story {
    fn new(waits: bool) -> Story {
        Story(Gate::new(GateConfig {
            node: node("office"),
            waits,
            deadline: Duration::from_millis(250),
        }))
    }

    /// Which numbers come out.
    fn check(&mut self, ms: u64, input: GateInput, expected: &[u64]) {
        self.0.handle(at(ms), input);
        let out: Vec<u64> = std::iter::from_fn(|| self.0.poll())
            .map(|event| match event {
                LogEvent::Committed { token, .. } => token.number,
                _ => 0,
            })
            .collect();
        assert_eq!(out, expected, "at {ms} ms");
    }

    fn backup(&mut self, ms: u64, name: &str, is_up: bool, expected: &[u64]) {
        let peer = node(name);
        self.check(ms, GateInput::Backup { peer, is_up }, expected);
    }

    fn acked(&mut self, ms: u64, name: &str, seq: u64, expected: &[u64]) {
        let position = Position { epoch: 1, seq };
        let peer = node(name);
        self.check(ms, GateInput::Acked { peer, position }, expected);
    }
}

#[test]
fn what_is_durable_here_waits_for_one_backup_in_order() {
    let mut story = Story::new(true);
    story.backup(0, "shop", true, &[]);
    story.backup(0, "store", true, &[]);
    story.check(1, GateInput::Event(event(1)), &[]);
    story.check(1, GateInput::Event(event(2)), &[]);
    story.check(
        1,
        GateInput::Event(LogEvent::Room { can_record: true }),
        &[],
    );
    story.check(1, GateInput::Event(event(3)), &[]);
    story.acked(2, "store", 1, &[1]);
    story.acked(3, "shop", 2, &[2, 0]);
    story.acked(4, "stranger", 3, &[]);
    story.acked(5, "shop", 3, &[3]);
    assert_eq!(story.0.status().copied, 3);
    assert_eq!(story.0.deadline(), None);
}

#[test]
fn a_backup_that_misses_the_deadline_is_waited_for_no_more_until_it_has_caught_up() {
    let mut story = Story::new(true);
    story.backup(0, "shop", true, &[]);
    story.check(10, GateInput::Event(event(1)), &[]);
    story.check(100, GateInput::Event(event(2)), &[]);
    assert_eq!(story.0.deadline(), Some(at(260)));
    story.check(259, GateInput::Tick, &[]);
    story.check(260, GateInput::Tick, &[1, 2]);
    assert_eq!(
        (story.0.status().alone_late, story.0.status().alone),
        (1, 1)
    );
    assert_eq!(story.0.status().behind, 1);
    story.check(300, GateInput::Event(event(3)), &[3]);
    story.acked(400, "shop", 2, &[]);
    story.check(500, GateInput::Event(event(4)), &[4]);
    story.acked(600, "shop", 4, &[]);
    story.check(700, GateInput::Event(event(5)), &[]);
    story.acked(701, "shop", 5, &[5]);
}

#[test]
fn nothing_waits_without_a_backup_or_for_what_others_said_or_was_said_before() {
    let mut story = Story::new(true);
    story.check(0, GateInput::Event(event(1)), &[1]);
    story.backup(1, "shop", true, &[]);
    story.acked(1, "shop", 1, &[]);
    story.check(2, GateInput::Event(said(node("shop"), 9, 9)), &[9]);
    story.check(2, GateInput::Event(event(1)), &[1]);
    story.check(2, GateInput::Event(event(7)), &[]);
    story.backup(3, "shop", false, &[7]);
    let mut story = Story::new(false);
    story.backup(0, "shop", true, &[]);
    story.check(1, GateInput::Event(event(1)), &[1]);
}

#[test]
fn what_is_held_has_a_most() {
    let mut story = Story::new(true);
    story.backup(0, "shop", true, &[]);
    (1..=HELD_MAX as u64).for_each(|seq| story.check(1, GateInput::Event(event(seq)), &[]));
    let all: Vec<u64> = (1..=HELD_MAX as u64 + 1).collect();
    story.check(1, GateInput::Event(event(HELD_MAX as u64 + 1)), &all);
}
