//! What the cleaner asks of the view, and its answers: so that a view can be asked where it is.

use std::time::Duration;

use super::{Input, Standing};
use crate::alive;
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
    /// Fill in what is alive, and forget segments that are gone. What is there, less the alive.
    Standing(Standing),
    /// Which of these are alive?
    Alive(Vec<Committed>),
    /// What lies in this segment?
    Lying(u32),
}

impl Question {
    /// The answer, for the cleaner.
    pub fn answer(self, view: &mut View, now: WallTime) -> Input {
        match self.ask {
            Ask::Standing(mut standing) => {
                let from = alive::entries_from(now, self.entries_for);
                let closed = standing.segments.iter().map(|s| s.number);
                let there: Vec<u32> = closed.chain([standing.writing]).collect();
                view.alive_mut().retain(&there);
                let alive = view.alive();
                for segment in &mut standing.segments {
                    segment.alive = alive.bytes(segment.number, from);
                    segment.hides_since = alive.hides_since(segment.number);
                }
                standing.writing_alive = alive.bytes(standing.writing, from);
                standing.writing_hides_since = alive.hides_since(standing.writing);
                Input::Standing(standing)
            }
            Ask::Alive(records) => {
                let is_alive = |record: &Committed| view.is_alive(record, now, self.entries_for);
                Input::Alive(records.iter().map(is_alive).collect())
            }
            Ask::Lying(segment) => Input::Lying(view.lying_in(segment)),
        }
    }
}
