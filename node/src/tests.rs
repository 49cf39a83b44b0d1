//! What the node itself decides, on a log made of numbers; what cores do together, the simulated world
//! tries.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tandem_pbx::PbxConfig;
use tandem_pbx::office::{self, Account};
use tandem_pbx::seam::{AdminAsk, AdminRequest};
use tandem_sip_shim::ShimConfig;
use tandem_storage::cipher::{Keyring, MasterKey};
use tandem_storage::gate::GateConfig;
use tandem_storage::link::{CloseReason, LinkEvent, Position};
use tandem_storage::name::NodeName;
use tandem_storage::seam::LogEvent;
use tandem_storage::sim::{SimDisk, SimLog};
use tandem_storage::site::{Members, cert_register_key, value};
use tandem_storage::time::{Now, Time, WallTime};

use crate::{HA1, Input, Node, NodeConfig, Notice, Output};

/// A node on its log: what it writes is durable at once, what else it asks for is kept.
struct World {
    node: Node,
    log: SimLog,
    now: Now,
    epoch: u32,
    said: Vec<Output>,
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn config(members: Option<Members>) -> NodeConfig {
    NodeConfig {
        pbx: PbxConfig::default(),
        shim: ShimConfig::default(),
        seed: [1; 32],
        gate: GateConfig {
            node: name("a"),
            waits: members.is_some(),
            deadline: Duration::from_millis(250),
        },
        members,
        keys: Keyring::default(),
        stop_grace: Duration::from_secs(30),
    }
}

impl World {
    fn new(config: NodeConfig) -> World {
        let now = Now {
            mono: Time(1_000_000_000),
            wall: WallTime(1_790_000_000_000),
        };
        let opened = SimLog::open(SimDisk::new(1 << 20, 1 << 30), name("a"), now).unwrap();
        let epoch = opened.ids.epoch();
        let node = Node::new(config, opened.view, opened.ids, now);
        let (log, said) = (opened.log, Vec::new());
        World {
            node,
            log,
            now,
            epoch,
            said,
        }
    }

    fn input(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            while let Some(output) = self.node.poll(self.now) {
                match output {
                    Output::Log { token, append } => self.log.submit(self.now, token, append),
                    other => self.said.push(other),
                }
            }
            match self.log.poll(self.now) {
                Some(event) => self.node.handle(self.now, Input::Log(event)),
                None if self.log.is_writing() => self.log.complete_write(self.now),
                None => return,
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while self.node.deadline().min(self.log.deadline()) <= until {
            let next = self.node.deadline().min(self.log.deadline());
            self.now.mono = self.now.mono.max(next);
            if self.node.deadline() <= self.now.mono {
                self.node.tick(self.now);
            }
            self.settle();
        }
        self.now.mono = until;
    }

    fn notices(&mut self) -> Vec<Notice> {
        let all = std::mem::take(&mut self.said).into_iter();
        all.filter_map(|output| match output {
            Output::Notice(notice) => Some(notice),
            _ => None,
        })
        .collect()
    }

    fn position(&self, seq: u64) -> Position {
        let epoch = self.epoch;
        Position { epoch, seq }
    }
}

fn write(asker: u64, keys: &[&str]) -> Input {
    let registers = keys.iter().map(|key| ((*key).into(), Some("1".into())));
    Input::Write {
        asker,
        registers: registers.collect(),
    }
}

#[test]
fn who_writes_is_told_when_the_last_of_it_is_durable() {
    let mut w = World::new(config(None));
    w.node.handle(w.now, write(7, &["x/1", "x/2"]));
    w.node.handle(w.now, write(8, &[]));
    w.node.handle(w.now, write(9, &["x/3"]));
    w.settle();
    let askers: Vec<u64> = w
        .said
        .iter()
        .filter_map(|output| match output {
            Output::Written { asker, result } => {
                assert_eq!(*result, Ok(()));
                Some(*asker)
            }
            _ => None,
        })
        .collect();
    assert_eq!(askers, [8, 7, 9], "nothing to write is written at once");
    assert_eq!(w.node.view().register("x/2"), Some("1"));
}

#[test]
fn a_register_of_the_shells_is_told_before_its_writer_is_answered() {
    let mut w = World::new(config(None));
    w.input(write(7, &["api-token/crm"]));
    w.input(Input::Write {
        asker: 8,
        registers: vec![("api-token/crm".into(), None)],
    });
    let told: Vec<String> = w
        .said
        .iter()
        .map(|output| match output {
            Output::ShellRegister { key, value } => format!("{key} {value:?}"),
            Output::Written { asker, .. } => format!("answer {asker}"),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "api-token/crm Some(\"1\")",
        "answer 7",
        "api-token/crm None",
        "answer 8",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_write_of_which_a_part_is_refused_is_refused() {
    let mut w = World::new(config(None));
    let long = "x".repeat(100_000);
    let registers = vec![("x/1".into(), Some(long)), ("x/2".into(), Some("1".into()))];
    w.input(Input::Write {
        asker: 7,
        registers,
    });
    let refused = |output: &Output| matches!(output, Output::Written { asker: 7, result: Err(why) } if why.contains("too long"));
    assert!(w.said.iter().any(refused), "{:?}", w.said);
}

#[test]
fn saved_is_said_when_another_node_has_it_and_that_it_is_here_alone_is_said_too() {
    let mut w = World::new(config(Some(Members::default())));
    w.input(Input::Link(LinkEvent::Up { peer: name("b") }));
    w.input(Input::Link(LinkEvent::Backup {
        peer: name("b"),
        is_up: true,
    }));
    let all = w.position(1000);
    w.input(Input::Link(LinkEvent::Acked {
        peer: name("b"),
        position: w.position(10),
    }));
    assert_eq!(w.notices(), [Notice::Up(name("b")), Notice::Copied]);
    // Beyond what the other has acknowledged.
    w.input(write(
        1,
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
    ));
    assert_eq!(w.said.len(), 0, "it is durable here alone");
    w.input(Input::Link(LinkEvent::Acked {
        peer: name("b"),
        position: all,
    }));
    assert!(matches!(w.said[..], [Output::Written { asker: 1, .. }]));
    w.said.clear();
    // One that does not answer costs a deadline, once.
    let far: Vec<String> = (0..1000).map(|n| format!("far/{n}")).collect();
    let far: Vec<&str> = far.iter().map(String::as_str).collect();
    w.input(write(2, &far));
    w.pass(Duration::from_millis(200));
    assert!(w.said.is_empty(), "{:?}", w.said);
    w.pass(Duration::from_millis(100));
    assert!(matches!(
        w.said[..],
        [
            Output::Notice(Notice::Alone { behind: 1 }),
            Output::Written { asker: 2, .. }
        ] | [
            Output::Written { asker: 2, .. },
            Output::Notice(Notice::Alone { behind: 1 })
        ]
    ));
}

#[test]
fn a_node_is_told_of_members_as_the_log_has_them() {
    let mut w = World::new(config(Some(Members::default())));
    w.input(Input::Write {
        asker: 1,
        registers: vec![(cert_register_key(name("b")), Some(value(&"a".repeat(64))))],
    });
    let told = w.said.iter().find_map(|output| match output {
        Output::Members(members) => Some(members.clone()),
        _ => None,
    });
    let names: Vec<NodeName> = told.unwrap().iter().map(|(name, _)| name).collect();
    assert_eq!(names, [name("b")]);
}

#[test]
fn a_user_whose_digests_are_locked_is_none_for_the_phones_until_they_are_not() {
    let key = MasterKey::new([7; 32]);
    let keys = Keyring::new(Some(key), Vec::new(), [0; 16]);
    let mut w = World::new(config(None));
    let locked = keys.lock(HA1, [0; 12], "0123");
    let account = Account {
        extension: "101".into(),
        name: "N".into(),
        ha1_md5: locked.as_str().into(),
        ha1_sha256: locked.into(),
    };
    let id = "a.1.99".parse().unwrap();
    let registers = office::new_user(id, &account, "hash").into_iter();
    w.input(Input::Write {
        asker: 1,
        registers: registers
            .map(|(key, value)| (key.to_string(), Some(value.to_string())))
            .collect(),
    });
    assert!(matches!(w.notices()[..], [Notice::UserLocked(user, _)] if user == id));
    assert_eq!(w.node.users_locked(), 1);
    w.input(Input::Admin(AdminRequest {
        asker: 2,
        ask: AdminAsk::RemoveUser {
            extension: "101".into(),
        },
    }));
    assert_eq!(w.node.users_locked(), 0);
}

#[test]
fn a_node_without_calls_stops_at_once_and_says_so() {
    let mut w = World::new(config(None));
    w.input(Input::Stop);
    assert!(w.node.is_stopping());
    w.pass(Duration::ZERO);
    assert!(matches!(
        w.said[..],
        [
            Output::Notice(Notice::Stopping { calls: 0, .. }),
            Output::Stopped
        ]
    ));
}

#[test]
fn what_happens_to_disks_and_others_is_told() {
    let mut w = World::new(config(Some(Members::default())));
    let (peer, why) = (name("b"), CloseReason::Ended);
    w.input(Input::Link(LinkEvent::Away { peer, why }));
    w.input(Input::Log(LogEvent::Room { can_record: false }));
    w.input(Input::Link(LinkEvent::Contradiction { peer, epoch: 9 }));
    assert_eq!(
        w.notices(),
        [
            Notice::Away(peer, why),
            Notice::Room(false),
            Notice::Contradiction { peer, epoch: 9 }
        ]
    );
}
