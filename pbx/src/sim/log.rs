//! A log made of numbers: answers in order, can be held, filled up, poisoned, cut off.

use std::collections::{BTreeMap, VecDeque};

use tandem_storage::View;
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::{
    Append, ChunkPlace, Committed, Hlc, LogEvent, Refusal, SealKind, Stamp, Token,
};

pub(super) struct SimLog {
    pub(super) held: bool,
    pub(super) full: bool,
    pub(super) poisoned: bool,
    pub(super) faults: Vec<String>,
    /// The sound whose chunk was refused last.
    pub(super) refused_chunk: Option<Id>,
    pending: VecDeque<(Token, Append)>,
    durable: Vec<Committed>,
    /// How each sound that began was sealed.
    sounds: BTreeMap<Id, Option<SealKind>>,
}

/// Half a second of a sound.
pub(super) fn chunk(id: Id, index: u32) -> Append {
    let block = ChunkBlock::of_record(&[0xff; 4000]);
    Append::Chunk { id, index, block }
}

impl SimLog {
    pub(super) fn new() -> SimLog {
        SimLog {
            held: false,
            full: false,
            poisoned: false,
            faults: Vec::new(),
            refused_chunk: None,
            pending: VecDeque::new(),
            durable: Vec::new(),
            sounds: BTreeMap::new(),
        }
    }

    pub(super) fn submit(&mut self, token: Token, append: Append) {
        self.pending.push_back((token, append));
    }

    pub(super) fn answer(&mut self) -> Option<LogEvent> {
        if self.held {
            return None;
        }
        let (token, append) = self.pending.pop_front()?;
        let sound = matches!(append, Append::Begin { .. } | Append::Chunk { .. });
        if self.poisoned || (self.full && sound) {
            let why = if self.poisoned {
                Refusal::Poisoned
            } else {
                Refusal::DiskFull
            };
            if let Append::Chunk { id, .. } = append {
                self.refused_chunk = Some(id);
            }
            return Some(LogEvent::Refused { token, why });
        }
        self.watch(&append);
        let record = self.commit(append);
        Some(LogEvent::Committed { token, record })
    }

    fn commit(&mut self, append: Append) -> Committed {
        let seq = self.durable.len() as u64 + 1;
        let node = "a".parse().expect("a constant that is a node name");
        let stamp = Stamp {
            hlc: Hlc(seq),
            node,
            epoch: 1,
            seq,
        };
        let (what, _) = append.into_what(|samples| ChunkPlace {
            segment: 1,
            offset: seq * 4096,
            samples,
        });
        let record = Committed {
            stamp,
            segment: 1,
            what,
        };
        self.durable.push(record.clone());
        record
    }

    /// Holds what is written against the promises about sounds.
    fn watch(&mut self, append: &Append) {
        match append {
            Append::Begin { id, .. } => {
                if self.sounds.insert(*id, None).is_some() {
                    self.faults.push(format!("{id} began twice"));
                }
            }
            Append::Chunk { id, .. } => match self.sounds.get(id) {
                Some(None) => {}
                Some(Some(_)) => self.faults.push(format!("a chunk of {id} after its seal")),
                None => self
                    .faults
                    .push(format!("a chunk of {id}, which never began")),
            },
            Append::Seal { id, kind, .. } => match self.sounds.get_mut(id) {
                Some(seal @ None) => *seal = Some(*kind),
                Some(Some(_)) => self.faults.push(format!("{id} was sealed twice")),
                None => self
                    .faults
                    .push(format!("a seal of {id}, which never began")),
            },
            Append::Register { .. } | Append::Entry { .. } => {}
            Append::Replica { stamp, .. } => {
                self.faults
                    .push(format!("call control restates nothing: {stamp:?}"));
            }
        }
    }

    /// Sounds that began and were never sealed.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = Id> {
        self.sounds
            .iter()
            .filter(|(_, seal)| seal.is_none())
            .map(|(id, _)| *id)
    }

    /// What is not durable is lost; what is, comes back, open sounds sealed as cut short.
    pub(super) fn restart(&mut self) -> View {
        self.pending.clear();
        (self.held, self.poisoned) = (false, false);
        for id in self.unsealed().collect::<Vec<_>>() {
            let append = Append::Seal {
                id,
                kind: SealKind::CutShort,
                about: "".into(),
            };
            self.watch(&append);
            self.commit(append);
        }
        let mut view = View::new();
        for record in &self.durable {
            view.apply(record);
        }
        view
    }
}
