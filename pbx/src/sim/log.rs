//! The log of this world: the real one on a disk made of memory, which can be held, filled up, poisoned,
//! cut off; and a look at the promises that call control keeps towards it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_storage::View;
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::{Id, Ids, NodeName};
use tandem_storage::seam::{Append, LogEvent, Payload, Refusal, SealKind, Token};
use tandem_storage::sim::{SimDisk, SimLog, SimOpened};
use tandem_storage::time::Now;
use tandem_storage::writer::WriteFault;

const SEGMENT_BYTES: u64 = 1 << 20;
const DISK_BYTES: u64 = 1 << 28;

pub(super) struct WorldLog {
    /// Writes are not completed.
    pub(super) held: bool,
    /// No sound is taken.
    pub(super) full: bool,
    pub(super) faults: Vec<String>,
    /// The sound whose chunk was refused last.
    pub(super) refused_chunk: Option<Id>,
    log: SimLog,
    node: NodeName,
    /// What was refused at the door.
    refused: VecDeque<Token>,
    /// Sounds of which something was refused.
    holed: BTreeSet<Id>,
    /// The sounds of chunks that were not answered, in order.
    chunks: VecDeque<(Token, Id)>,
    /// How each sound that began was sealed.
    sounds: BTreeMap<Id, Option<SealKind>>,
}

/// Half a second of a sound.
pub(super) fn chunk(id: Id, index: u32) -> Append {
    let block = ChunkBlock::of_record(&[0xff; 4000]);
    Append::Chunk { id, index, block }
}

impl WorldLog {
    /// An empty one.
    pub(super) fn new(node: NodeName, now: Now) -> (WorldLog, View, Ids) {
        let opened = open(SimDisk::new(SEGMENT_BYTES, DISK_BYTES), node, now);
        let log = WorldLog {
            held: false,
            full: false,
            faults: Vec::new(),
            refused_chunk: None,
            log: opened.log,
            node,
            refused: VecDeque::new(),
            holed: BTreeSet::new(),
            chunks: VecDeque::new(),
            sounds: BTreeMap::new(),
        };
        (log, opened.view, opened.ids)
    }

    pub(super) fn submit(&mut self, now: Now, token: Token, append: Append) {
        if let Append::Replica { stamp, .. } = &append {
            self.faults
                .push(format!("call control restates nothing: {stamp:?}"));
        }
        let sound = match &append {
            Append::Begin { id, .. } => Some(*id),
            Append::Chunk { id, .. } => {
                self.chunks.push_back((token, *id));
                Some(*id)
            }
            _ => None,
        };
        match sound {
            // As in the log itself, a sound of which something was refused does not go on.
            Some(id) if self.full || self.holed.contains(&id) => {
                self.holed.insert(id);
                self.refused.push_back(token);
            }
            _ => self.log.submit(now, token, append),
        }
    }

    pub(super) fn answer(&mut self, now: Now) -> Option<LogEvent> {
        if self.held {
            return None;
        }
        loop {
            let why = Refusal::DiskFull;
            let event = match self.log.poll(now) {
                Some(event) => Some(event),
                None if self.log.is_writing() => {
                    self.log.complete_write(now);
                    continue;
                }
                None => (self.refused.pop_front()).map(|token| LogEvent::Refused { token, why }),
            };
            return event.inspect(|event| self.watch(event));
        }
    }

    /// The disk fails with the next write.
    pub(super) fn poison(&mut self) {
        self.log.disk_mut().fault = Some(WriteFault::Failed);
    }

    /// Holds what is durable against the promises about sounds.
    fn watch(&mut self, event: &LogEvent) {
        let record = match event {
            LogEvent::Committed { token, record } => {
                self.answered(*token);
                record
            }
            LogEvent::Refused { token, .. } => {
                self.refused_chunk = self.answered(*token);
                return;
            }
            LogEvent::Room { .. } => return,
        };
        let fault = match &record.what {
            Payload::Begin { id, .. } => {
                let before = self.sounds.insert(*id, None);
                before.map(|_| format!("{id} began twice"))
            }
            Payload::Chunk { id, .. } => match self.sounds.get(id) {
                Some(None) => None,
                Some(Some(_)) => Some(format!("a chunk of {id} after its seal")),
                None => Some(format!("a chunk of {id}, which never began")),
            },
            Payload::Seal { id, kind, .. } => match self.sounds.get_mut(id) {
                Some(seal @ None) => {
                    *seal = Some(*kind);
                    None
                }
                Some(Some(_)) => Some(format!("{id} was sealed twice")),
                None => Some(format!("a seal of {id}, which never began")),
            },
            Payload::Register { .. } | Payload::Entry { .. } => None,
        };
        self.faults.extend(fault);
    }

    /// The sound of the chunk that was answered, if it was one.
    fn answered(&mut self, token: Token) -> Option<Id> {
        let at = self.chunks.iter().position(|(chunk, _)| *chunk == token)?;
        self.chunks.remove(at).map(|(_, id)| id)
    }

    /// Sounds that began and were never sealed.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = Id> {
        self.sounds
            .iter()
            .filter(|(_, seal)| seal.is_none())
            .map(|(id, _)| *id)
    }

    /// What is not durable is lost; what is, comes back, open sounds sealed as cut short.
    pub(super) fn restart(&mut self, now: Now) -> (View, Ids) {
        let mut disk = self.log.disk().clone();
        disk.fault = None;
        let opened = open(disk, self.node, now);
        self.log = opened.log;
        self.held = false;
        self.refused.clear();
        self.holed.clear();
        self.chunks.clear();
        for id in self.unsealed().collect::<Vec<_>>() {
            let seal = opened.view.sound(id).and_then(|sound| sound.seal.as_ref());
            self.sounds.insert(id, seal.map(|(kind, _)| *kind));
        }
        (opened.view, opened.ids)
    }
}

fn open(disk: SimDisk, node: NodeName, now: Now) -> SimOpened {
    SimLog::open(disk, node, now).expect("a disk that only this node wrote to")
}
