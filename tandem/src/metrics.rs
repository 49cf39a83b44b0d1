//! The node's figures for `/metrics`, in the Prometheus text format.
//!
//! ```text
//!  call control ──► board ──┐
//!  shared counters ─────────┼─► figures ──► page (names, help, kinds) ──► text
//!  (SIP transports, media,  │
//!   log, link, backups) ────┘
//! ```
//!
//! A scrape runs on a thread of the portal's. What several threads can read is read there and then; what
//! only call control knows it puts on the [`Board`] when it is asked to, which costs it a few
//! microseconds. A scrape never waits long for that: if call control is busy, its figures are those it gave
//! last, and `tandem_control_figures_age_seconds` tells how old they are.
//!
//! Names are `tandem_<part>_<what>`; what only grows ends in `_total` (openmetrics.io). What each means is
//! said in [`help`].

mod board;
#[cfg(test)]
mod check;
mod figures;
mod help;
mod page;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_engine::WorkerFigures;
use tandem_sip_shim::ShellFigures;
use tandem_storage::Log;
use tandem_storage::recovery::Ending;

use crate::backups::Noted;
use crate::cluster::Cluster;
use crate::control::{Clock, ControlHandle, Parts};
use crate::events::EventCounts;
use figures::{EventFigures, Figures, LinkFigures};

pub(crate) use board::{Board, Counted};

/// Where figures are read from.
pub(crate) struct Metrics {
    /// The node's name.
    node: String,
    control: ControlHandle,
    board: Arc<Board>,
    sip: ShellFigures,
    media: WorkerFigures,
    log: Log,
    log_found: Ending,
    pins_overflow: Arc<AtomicU64>,
    backups: Noted,
    cluster: Option<Cluster>,
    events: Arc<EventCounts>,
    clock: Clock,
}

impl Metrics {
    /// Of a node made of `parts`.
    pub(crate) fn of(parts: &Parts, control: &ControlHandle) -> Metrics {
        Metrics {
            node: parts.name.clone(),
            control: control.clone(),
            board: parts.board.clone(),
            sip: parts.sip.figures(),
            media: parts.engine.worker_figures(),
            log: parts.log.clone(),
            log_found: parts.log_found,
            pins_overflow: parts.pins.overflow(),
            backups: parts.backups.noted(),
            cluster: parts.cluster.clone(),
            events: parts.events.counts(),
            clock: parts.clock,
        }
    }

    /// All figures as text. `refused`: connections the portal had no room for. May wait for a moment.
    pub(crate) fn scrape(&self, refused: u64) -> Result<String, String> {
        let Some(posted) = self.board.look(|| self.control.count()) else {
            return Err("call control does not answer".into());
        };
        let mut counted = posted.counted.clone();
        // Newer than what call control saw of it.
        counted.media.total = self.media.total();
        let link = self.cluster.as_ref().map(|cluster| LinkFigures {
            status: cluster.link(),
            stats: cluster.link_stats(),
        });
        let figures = Figures {
            node: self.node.clone(),
            counted,
            counted_age: posted.at.elapsed(),
            control_waiting: self.control.waiting(),
            control_overflow: self.control.overflow(),
            pins_overflow: self.pins_overflow.load(Ordering::Relaxed),
            sip: self.sip.stats(),
            log: self.log.stats(),
            log_found: self.log_found,
            log_encrypts: self.log.keyring().writes_with().is_some(),
            commit_times: self.log.commit_times(),
            backups: self.backups.get(),
            link,
            portal_refused: refused,
            events: EventFigures {
                readers: self.events.readers.load(Ordering::Relaxed),
                refused: self.events.refused.load(Ordering::Relaxed),
                lost: self.events.lost.load(Ordering::Relaxed),
                cut_off: self.events.cut_off.load(Ordering::Relaxed),
            },
            wall_ms: self.clock.now().wall.0,
        };
        figures.page().text().map_err(|e| e.to_string())
    }
}
