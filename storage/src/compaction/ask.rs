//! What compaction asks of the view, and the answers. A question is data, so that it can be sent to
//! the thread that owns the view.

use std::time::Duration;

use super::{Input, Standing};
use crate::live_bytes;
use crate::seam::Committed;
use crate::time::WallTime;
use crate::view::View;

/// A question to the view.
#[derive(Debug)]
pub struct Question {
    pub(crate) ask: Ask,
    pub(crate) entries_for: Duration,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Fill in how much of each segment is live, and forget segments that are gone.
    Standing(Standing),
    /// Which of these are live?
    Live(Vec<Committed>),
    /// What lies in this segment?
    Lying(u32),
}

impl Question {
    /// Answers compaction.
    pub fn answer(self, view: &mut View, now: WallTime) -> Input {
        match self.ask {
            Ask::Standing(mut standing) => {
                let from = live_bytes::entries_from(now, self.entries_for);
                let closed = standing.segments.iter().map(|s| s.number);
                let there: Vec<u32> = closed.chain([standing.writing]).collect();
                view.live_bytes_mut().retain(&there);
                let live = view.live_bytes();
                for segment in &mut standing.segments {
                    segment.live = live.bytes(segment.number, from);
                    segment.hides_since = live.hides_since(segment.number);
                }
                standing.writing_live = live.bytes(standing.writing, from);
                standing.writing_hides_since = live.hides_since(standing.writing);
                Input::Standing(standing)
            }
            Ask::Live(records) => {
                let is_live = |record: &Committed| view.is_live(record, now, self.entries_for);
                Input::Live(records.iter().map(is_live).collect())
            }
            Ask::Lying(segment) => Input::Lying(view.lying_in(segment)),
        }
    }
}
