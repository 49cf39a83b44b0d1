//! What goes wrong, and when: power cuts, full and failing disks, a node that is told to stop; cuts of the
//! link, clocks that are set, disks that are lost.

use std::time::Duration;

use rand::RngExt;
use tandem_storage::sim::SimDisk;
use tandem_storage::site::cert_register_key;
use tandem_storage::writer::WriteFault;

use super::node::Node;
use super::start::{Place, Start, name};
use super::summary::counted;
use super::{DISK_BYTES, Life, SEGMENT_BYTES, World};

/// A clock that is set wrong is wrong by at most so much.
const CLOCK_OFF_MS: u64 = 3_600_000;

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
    /// Nothing gets from it to another, or back, or both.
    LinkCut,
    LinkHeals,
    LinkBreaks,
    ClockSet,
    /// The machine burns, and another one takes its place with an empty disk.
    DiskLost,
    /// The same, and an old copy of the disk is put in.
    DiskOld,
    /// It belongs to the cluster no longer.
    Removed,
}

impl World {
    pub(super) fn plan_trouble(&mut self) {
        let rng = &mut self.rng;
        let among = if self.sites.len() > 1 { 20 } else { 12 };
        let trouble = match rng.random_range(0..among) {
            0..2 => Trouble::PowerCut,
            2..6 => Trouble::PowerCutWhileWriting,
            6..9 => Trouble::DiskFull,
            9 => Trouble::WritesFail(WriteFault::Full),
            10 => Trouble::WritesFail(WriteFault::Failed),
            11 => Trouble::Stop,
            12..15 => Trouble::LinkCut,
            15 => Trouble::LinkBreaks,
            16 => Trouble::ClockSet,
            17 if self.sites.len() > 2 => Trouble::Removed,
            17 | 18 => Trouble::DiskOld,
            _ => Trouble::DiskLost,
        };
        let wait = Duration::from_secs(rng.random_range(5..200));
        let n = rng.random_range(0..self.sites.len());
        self.trouble = Some((self.now + wait, n, trouble));
    }

    pub(super) fn make(&mut self, n: usize, trouble: Trouble) {
        let now = self.now;
        self.trace.say(now, || format!("node {n}: {trouble:?}"));
        let soon = Duration::from_millis(self.rng.random_range(10..40_000));
        let takes_one_away = [Trouble::DiskLost, Trouble::DiskOld, Trouble::Removed];
        if takes_one_away.contains(&trouble) && !self.others_have_all(n) {
            // Two copies outlast the loss of one.
            return self.plan_trouble();
        }
        let Life::Up(node) = &mut self.sites[n].life else {
            return self.plan_trouble();
        };
        match trouble {
            Trouble::LinkCut => {
                let other = (n + 1) % self.sites.len();
                let how = self.rng.random_range(0..3);
                if how < 2 {
                    self.wires.cut(n, other);
                }
                if how > 0 {
                    self.wires.cut(other, n);
                }
                self.trouble = Some((now + soon, n, Trouble::LinkHeals));
                return;
            }
            Trouble::LinkHeals => self.wires.heal(),
            Trouble::LinkBreaks => self.wires.break_one(now, &mut self.rng),
            Trouble::ClockSet => {
                let off = self.rng.random_range(0..2 * CLOCK_OFF_MS);
                node.wall_ms = (node.wall_ms + off).saturating_sub(CLOCK_OFF_MS);
                self.sites[n].wall_ms = node.wall_ms;
            }
            Trouble::DiskLost => {
                self.lose_disk(n, SimDisk::new(SEGMENT_BYTES, DISK_BYTES), soon);
            }
            Trouble::DiskOld => self.use_old_disk(n, soon),
            Trouble::Removed => self.remove(n),
            Trouble::PowerCut => self.cut_power(n, soon),
            Trouble::PowerCutWhileWriting if node.is_writing() => self.cut_power(n, soon),
            Trouble::PowerCutWhileWriting => {
                let next = now + Duration::from_millis(1 + soon.as_millis() as u64 % 40);
                self.trouble = Some((next, n, trouble));
                return;
            }
            Trouble::DiskFull => {
                node.disk_mut().capacity_bytes = 0;
                self.trouble = Some((now + soon, n, Trouble::DiskRoomAgain));
                return;
            }
            Trouble::DiskRoomAgain => node.disk_mut().capacity_bytes = DISK_BYTES,
            Trouble::WritesFail(fault) => {
                node.has_failed |= fault == WriteFault::Failed;
                node.disk_mut().fault = Some(fault);
                self.trouble = Some((now + soon / 8, n, Trouble::WritesWork));
                return;
            }
            Trouble::WritesWork => {
                let failed = node.disk_mut().fault.take();
                if failed == Some(WriteFault::Failed) {
                    self.trouble = Some((now + soon, n, Trouble::PowerCut));
                    return;
                }
            }
            Trouble::Stop => {
                node.stop(now, &mut self.oracle, &mut self.rng);
                self.trouble = Some((now + Duration::from_secs(60), n, Trouble::StopOverdue));
                return;
            }
            Trouble::StopOverdue => panic!("asked to stop a minute ago, and still here"),
        }
        self.plan_trouble();
    }

    /// A node that has stopped is started again after a while.
    pub(super) fn watch_nodes(&mut self) {
        for n in 0..self.sites.len() {
            let life = &self.sites[n].life;
            let stopped = matches!(life, Life::Up(node) if node.has_stopped && !node.is_writing());
            if stopped {
                self.trace.say(self.now, || format!("node {n} has stopped"));
                self.cut_power(n, Duration::from_secs(2));
                if self.trouble.is_some_and(|(_, m, _)| m == n) {
                    self.plan_trouble();
                }
            }
        }
    }

    pub(super) fn cut_power(&mut self, n: usize, pause: Duration) {
        if let Life::Up(node) = std::mem::replace(&mut self.sites[n].life, Life::Between) {
            self.seen = self.seen + counted(&node);
            // What it knew of calls is gone.
            self.sites[n].up_since = self.now;
            let mut disk = node.crash(&mut self.rng);
            disk.fault = None;
            disk.capacity_bytes = DISK_BYTES;
            self.sites[n].life = Life::Down(disk, self.now + pause);
            self.wires.end_all_of(self.now, n, &mut self.rng);
        }
    }

    /// Every other node is there and lacks nothing of what others have.
    fn others_have_all(&self, n: usize) -> bool {
        if self.sites[n].is_removed {
            return false;
        }
        let mut others = (0..self.sites.len()).filter(|m| *m != n && !self.sites[*m].is_removed);
        others.all(|m| match &self.sites[m].life {
            Life::Up(node) => node.is_whole(self.now),
            _ => false,
        })
    }

    /// Its disk is lost with all that was there alone; another machine takes its place.
    fn lose_disk(&mut self, n: usize, disk: SimDisk, pause: Duration) {
        self.cut_power(n, pause);
        // It was true when it was sent; but what it says is gone.
        self.wires.forget_under_way(n);
        self.oracle.on_disk_lost(n);
        self.seen.disks_lost += 1;
        self.sites[n].is_disk_lost = true;
        self.sites[n].life = Life::Down(disk, self.now + pause);
    }

    /// The copy in the drawer is put in; if there is none, one is made.
    fn use_old_disk(&mut self, n: usize, pause: Duration) {
        if let Some(disk) = self.sites[n].old_disk.take() {
            return self.lose_disk(n, disk, pause);
        }
        if let Life::Up(node) = &self.sites[n].life {
            let copy = SimDisk {
                fault: None,
                capacity_bytes: DISK_BYTES,
                ..node.disk().clone()
            };
            self.sites[n].old_disk = Some(copy);
        }
    }

    /// Another node's administrator removes it. It goes on for its phones, alone.
    fn remove(&mut self, n: usize) {
        if self.sites.iter().any(|site| site.is_removed) {
            return;
        }
        self.sites[n].is_removed = true;
        self.seen.removed += 1;
        self.oracle.on_removed(n);
        let other = (n + 1) % self.sites.len();
        if let Life::Up(node) = &mut self.sites[other].life {
            let registers = vec![(cert_register_key(name(n)), None)];
            node.write_registers(self.now, registers, &mut self.oracle, &mut self.rng);
        }
    }

    pub(super) fn start_node(&mut self, n: usize) {
        let count = self.sites.len();
        let site = &mut self.sites[n];
        let Life::Down(disk, _) = std::mem::replace(&mut site.life, Life::Between) else {
            return;
        };
        self.trace.say(self.now, || format!("node {n} starts"));
        site.epochs += 1;
        let place = Place {
            n,
            count,
            epoch_min: site.epochs,
            writes_office: n == 0 && !site.is_disk_lost,
            people: &self.people,
            wall_ms: site.wall_ms,
        };
        let start = Start::on(self.now, disk, &place, &mut self.oracle, &mut self.rng);
        let trace = self.trace.clone();
        let node = Node::new(self.now, start, &mut self.oracle, trace, &mut self.rng);
        site.life = Life::Up(Box::new(node));
        site.up_since = self.now;
    }
}
