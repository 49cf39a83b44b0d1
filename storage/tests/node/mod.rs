//! A log on real files for tests, and a view that hears all that is confirmed.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tandem_storage::name::Id;
use tandem_storage::seam::{Append, Committed, LogEvent, SealKind, SoundCodec, Token};
use tandem_storage::time::WallTime;
use tandem_storage::{Log, LogConfig, Opened, open};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) opened: Opened,
    pub(crate) events: Receiver<LogEvent>,
    token: u64,
}

pub(crate) fn config(dir: &Path) -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        snapshot_every_bytes: 2 << 20,
        ..LogConfig::new(dir, "office".parse().unwrap())
    }
}

pub(crate) fn start(dir: &Path) -> Node {
    start_with(config(dir))
}

pub(crate) fn start_with(config: LogConfig) -> Node {
    let (sender, events) = channel();
    let dir = config.dir.clone();
    let opened = open(config, move |event| drop(sender.send(event))).unwrap();
    Node {
        dir,
        opened,
        events,
        token: 0,
    }
}

impl Node {
    pub(crate) fn log(&self) -> &Log {
        &self.opened.log
    }

    pub(crate) fn submit(&mut self, append: Append) {
        self.token += 1;
        self.log()
            .submit(Token::call_control(self.token), append)
            .unwrap();
    }

    pub(crate) fn committed(&mut self) -> Committed {
        loop {
            match self.events.recv_timeout(PATIENCE).unwrap() {
                LogEvent::Committed { record, .. } => {
                    self.opened.view.apply(&record);
                    return record;
                }
                LogEvent::Refused { why, .. } => panic!("refused: {why}"),
                LogEvent::Room { .. } => {}
            }
        }
    }

    pub(crate) fn write(&mut self, append: Append) -> Committed {
        self.submit(append);
        self.committed()
    }

    pub(crate) fn begin(&mut self, about: &str) -> Id {
        let id = self.opened.ids.next_id();
        let (codec, at) = (SoundCodec::Pcmu, WallTime(1000));
        self.write(Append::Begin {
            id,
            codec,
            at,
            about: about.into(),
        });
        id
    }

    pub(crate) fn speak(&mut self, id: Id, index: u32, samples: usize) {
        let mut block = self.log().chunk();
        block.push(&vec![(index % 250) as u8 + 1; samples]);
        self.write(Append::Chunk { id, index, block });
    }

    pub(crate) fn seal(&mut self, id: Id) {
        self.write(Append::Seal {
            id,
            kind: SealKind::Whole,
            about: "".into(),
        });
    }

    pub(crate) fn samples(&self, id: Id) -> Vec<u8> {
        let mut samples = Vec::new();
        for place in &self.opened.view.sound(id).unwrap().chunks {
            self.log().reader().read(place, &mut samples).unwrap();
        }
        samples
    }
}

pub(crate) fn register(key: &str, value: &str) -> Append {
    Append::Register {
        key: key.into(),
        value: Some(value.into()),
    }
}

impl Node {
    /// Makes a snapshot.
    pub(crate) fn snapshot(&mut self) {
        let file = self.dir.join("snapshot");
        let began = std::time::Instant::now();
        while !file.exists() {
            self.opened.snapshots.turn(&self.opened.view);
            std::thread::yield_now();
            assert!(began.elapsed() < PATIENCE, "no snapshot was written");
        }
    }

    /// All that the view says.
    pub(crate) fn told(&self) -> String {
        let view = &self.opened.view;
        let sounds: Vec<_> = view.sounds().collect();
        let registers: Vec<_> = view.registers("").collect();
        let entries: Vec<_> = view.entries("call", usize::MAX).collect();
        format!("{sounds:?}\n{registers:?}\n{entries:?}")
    }
}
