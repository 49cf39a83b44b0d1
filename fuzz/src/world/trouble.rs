//! What goes wrong, and when: power cuts, full and failing disks, and a node that is told to stop.

use std::time::Duration;

use rand::RngExt;
use tandem_storage::writer::WriteFault;

use super::node::Node;
use super::summary::counted;
use super::{DISK_BYTES, Life, World};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    PowerCut,
    /// As soon as something is being written.
    PowerCutWhileWriting,
    DiskFull,
    DiskRoomAgain,
    WritesFail(WriteFault),
    WritesWork,
    Stop,
    /// It was asked to stop long ago.
    StopOverdue,
}

impl World {
    pub(super) fn plan_trouble(&mut self) {
        let rng = &mut self.rng;
        let trouble = match rng.random_range(0..12) {
            0..2 => Trouble::PowerCut,
            2..6 => Trouble::PowerCutWhileWriting,
            6..9 => Trouble::DiskFull,
            9 => Trouble::WritesFail(WriteFault::Full),
            10 => Trouble::WritesFail(WriteFault::Failed),
            _ => Trouble::Stop,
        };
        let wait = Duration::from_secs(rng.random_range(5..200));
        self.trouble = Some((self.now + wait, trouble));
    }

    pub(super) fn make(&mut self, trouble: Trouble) {
        let now = self.now;
        self.trace.say(now, || format!("{trouble:?}"));
        let soon = Duration::from_millis(self.rng.random_range(10..40_000));
        let Life::Up(node) = &mut self.life else {
            return self.plan_trouble();
        };
        match trouble {
            Trouble::PowerCut => self.cut_power(soon),
            Trouble::PowerCutWhileWriting if node.is_writing() => self.cut_power(soon),
            Trouble::PowerCutWhileWriting => {
                let next = now + Duration::from_millis(1 + soon.as_millis() as u64 % 40);
                self.trouble = Some((next, trouble));
                return;
            }
            Trouble::DiskFull => {
                node.disk_mut().capacity_bytes = 0;
                self.trouble = Some((now + soon, Trouble::DiskRoomAgain));
                return;
            }
            Trouble::DiskRoomAgain => node.disk_mut().capacity_bytes = DISK_BYTES,
            Trouble::WritesFail(fault) => {
                node.has_failed |= fault == WriteFault::Failed;
                node.disk_mut().fault = Some(fault);
                self.trouble = Some((now + soon / 8, Trouble::WritesWork));
                return;
            }
            Trouble::WritesWork => {
                let failed = node.disk_mut().fault.take();
                if failed == Some(WriteFault::Failed) {
                    self.trouble = Some((now + soon, Trouble::PowerCut));
                    return;
                }
            }
            Trouble::Stop => {
                node.stop(now, &mut self.oracle, &mut self.rng);
                self.trouble = Some((now + Duration::from_secs(60), Trouble::StopOverdue));
                return;
            }
            Trouble::StopOverdue => panic!("asked to stop a minute ago, and still here"),
        }
        self.plan_trouble();
    }

    /// A node that has stopped is started again after a while.
    pub(super) fn watch_node(&mut self) {
        let stopped =
            matches!(&self.life, Life::Up(node) if node.has_stopped && !node.is_writing());
        if stopped {
            self.trace.say(self.now, || "stopped".into());
            self.cut_power(Duration::from_secs(2));
            self.plan_trouble();
        }
    }

    pub(super) fn cut_power(&mut self, pause: Duration) {
        if let Life::Up(node) = std::mem::replace(&mut self.life, Life::Between) {
            self.seen = self.seen + counted(&node);
            // What it knew of calls is gone.
            self.up_since = self.now;
            let mut disk = node.crash(&mut self.rng);
            disk.fault = None;
            disk.capacity_bytes = DISK_BYTES;
            self.life = Life::Down(disk, self.now + pause);
        }
    }

    pub(super) fn start_node(&mut self) {
        if let Life::Down(disk, _) = std::mem::replace(&mut self.life, Life::Between) {
            self.trace.say(self.now, || "the node starts".into());
            let node = Node::start(
                self.now,
                disk,
                &self.people,
                &mut self.oracle,
                self.trace.clone(),
                &mut self.rng,
            );
            self.life = Life::Up(Box::new(node));
            self.up_since = self.now;
        }
    }
}
