//! The compaction of each node of a cluster. It carries out what the core asks for, as
//! `shell/compaction.rs` does.
//!
//! What was dead in a retired segment is no longer in the node's log, nor in what the node hands on.
//! [`super::Node::dropped`] remembers it, so that the oracle does not call it lost.

use std::time::Duration;

use super::{Cluster, Life, SEGMENT_BYTES, is_said};
use crate::compaction::ask::{Ask, Question};
use crate::compaction::{
    CompactionConfig, Compactor, Input, NEXT_BYTES, Output, PIECE_BYTES, SegmentStanding, Standing,
};
use crate::name::NodeName;
use crate::retired::Retired;
use crate::scan::{self, Found};
use crate::seam::Committed;
use crate::time::Now;

/// Destroyed sound is gone from every disk after this long, by the clock of its destroyer.
pub(super) const HIDDEN_FOR: Duration = Duration::from_secs(3600);
/// Longer than any story, with all its clocks.
const ENTRIES_FOR: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The compaction of a node that starts.
pub(super) fn compactor(node: NodeName, retired: Retired, now: Now) -> Compactor {
    let config = CompactionConfig {
        // Reading takes no time here, since what happens between two pieces is not what is tested.
        bytes_per_second: 1 << 60,
        hidden_for: HIDDEN_FOR,
        scrub_every: Duration::from_secs(20),
        entries_for: ENTRIES_FOR,
        look_every: Duration::from_millis(700),
        ..CompactionConfig::new(node)
    };
    Compactor::new(config, retired, now)
}

impl Cluster {
    /// Carries the next thing the compaction of a node asks for; `false`: there is none.
    pub(super) fn compact(&mut self, n: usize) -> bool {
        let now = self.mono_now(n);
        let Some(life) = &mut self.nodes[n].life else {
            return false;
        };
        for token in life.log.retired() {
            life.compactor.handle(now, Input::Answered(token, Ok(None)));
        }
        let Some(output) = life.compactor.poll() else {
            return false;
        };
        let input = match output {
            Output::Remove(segment) => {
                self.remove(n, segment);
                Some(Input::Removed)
            }
            other => life.carry_compaction(now, other),
        };
        if let (Some(life), Some(input)) = (&mut self.nodes[n].life, input) {
            life.compactor.handle(now, input);
        }
        true
    }

    fn remove(&mut self, n: usize, segment: u32) {
        let node = &mut self.nodes[n];
        let Some(life) = &mut node.life else { return };
        let bytes = life.log.disk_mut().segments.remove(&segment);
        let bytes = bytes.expect("a segment that is there");
        let said = said_in(node.name, segment, &bytes);
        let said = said
            .iter()
            .filter(|record| is_said(record))
            .map(|record| record.stamp);
        let was_there: Vec<_> = said.filter(|stamp| node.has.contains(stamp)).collect();
        self.dropped.extend(was_there.iter().copied());
        node.dropped.extend(was_there);
    }
}

impl Life {
    fn carry_compaction(&mut self, now: Now, output: Output) -> Option<Input> {
        let ask = match output {
            Output::LookAround => Ask::Standing(self.standing()),
            Output::AskLive(records) => Ask::Live(records),
            Output::AskLying(segment) => Ask::Lying(segment),
            Output::Read { segment, offset } => {
                let bytes = self.log.disk().segments.get(&segment)?;
                let from = bytes.len().min(offset as usize);
                let to = bytes.len().min(from + PIECE_BYTES as usize);
                return Some(Input::Piece(bytes[from..to].to_vec()));
            }
            Output::ReadNext(segment) => {
                let next = self.log.disk().segments.range(segment + 1..).next();
                let bytes = next.map_or(&[][..], |(_, bytes)| bytes);
                return Some(Input::Next(
                    bytes[..bytes.len().min(NEXT_BYTES as usize)].to_vec(),
                ));
            }
            Output::Append(token, append) => {
                self.log.submit(now, token, append);
                return None;
            }
            Output::Retire(token, retired) => {
                self.log.retire(now, token, retired);
                return None;
            }
            Output::Leave(segment) => {
                self.log.leave(now, segment);
                return None;
            }
            Output::Moved { .. } => return None,
            other => panic!("{other:?}"),
        };
        let entries_for = ENTRIES_FOR;
        let question = Question { ask, entries_for };
        Some(question.answer(&mut self.view, now.wall))
    }

    fn standing(&self) -> Standing {
        let (writing, writing_used) = self.log.position();
        let closed = self.log.disk().segments.range(..writing);
        let segment = |(number, bytes): (&u32, &Vec<u8>)| SegmentStanding {
            number: *number,
            bytes: bytes.len() as u64,
            live: 0,
            hides_since: None,
        };
        Standing {
            segments: closed.map(segment).collect(),
            writing,
            writing_used,
            writing_live: 0,
            writing_hides_since: None,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// What is whole in a segment, whether it counts or not.
fn said_in(node: NodeName, segment: u32, bytes: &[u8]) -> Vec<Committed> {
    let mut said = Vec::new();
    scan::scan(segment, bytes, |_, found| {
        if let Found::Record(record) = found {
            said.extend(record.said(node));
        }
    });
    said
}
