//! The cleaner of each node of a company: carries what it asks for, as `shell/clean.rs` does.
//!
//! What was dead in a segment that is given up is no longer in the log of the node, nor in what it
//! hands on; [`super::Node::dropped`] keeps in mind what that was, so that the oracle does not call it lost.

use std::time::Duration;

use super::{Company, Life, SEGMENT_BYTES, is_said};
use crate::clean::ask::{Ask, Question};
use crate::clean::{
    Cleaner, CleanerConfig, Input, NEXT_BYTES, Output, PIECE_BYTES, SegmentStanding, Standing,
};
use crate::given_up::GivenUp;
use crate::name::NodeName;
use crate::scan::{self, Found};
use crate::seam::Committed;
use crate::time::Now;

/// Destroyed sound is gone from every disk after this long, by the clock of who destroyed it.
pub(super) const HIDDEN_FOR: Duration = Duration::from_secs(3600);
/// Longer than any story, with all its clocks.
const ENTRIES_FOR: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The cleaner of a node that starts.
pub(super) fn cleaner(node: NodeName, given_up: GivenUp, now: Now) -> Cleaner {
    let config = CleanerConfig {
        // Reading takes no time: what is asked for between two pieces is not what is tried here.
        bytes_per_second: 1 << 60,
        hidden_for: HIDDEN_FOR,
        scrub_every: Duration::from_secs(20),
        entries_for: ENTRIES_FOR,
        look_every: Duration::from_millis(700),
        ..CleanerConfig::new(node)
    };
    Cleaner::new(config, given_up, now)
}

impl Company {
    /// Carries the next thing the cleaner of a node asks for; `false`: there is none.
    pub(super) fn clean(&mut self, n: usize) -> bool {
        let now = self.mono_now(n);
        let Some(life) = &mut self.nodes[n].life else {
            return false;
        };
        for token in life.log.gave_up() {
            life.cleaner.handle(now, Input::Answered(token, Ok(None)));
        }
        let Some(output) = life.cleaner.poll() else {
            return false;
        };
        let input = match output {
            Output::Remove(segment) => {
                self.remove(n, segment);
                Some(Input::Removed)
            }
            other => life.carry_cleaning(now, other),
        };
        if let (Some(life), Some(input)) = (&mut self.nodes[n].life, input) {
            life.cleaner.handle(now, input);
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
    fn carry_cleaning(&mut self, now: Now, output: Output) -> Option<Input> {
        let ask = match output {
            Output::LookAround => Ask::Standing(self.standing()),
            Output::AskAlive(records) => Ask::Alive(records),
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
            Output::GiveUp(token, given_up) => {
                self.log.give_up(now, token, given_up);
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
            alive: 0,
            hides_since: None,
        };
        Standing {
            segments: closed.map(segment).collect(),
            writing,
            writing_used,
            writing_alive: 0,
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
