//! How far long work is, on a terminal; silent elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tandem_storage::BackupProgress;

/// Not more often than this.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// One line that is written over and over.
pub(crate) struct Progress {
    doing: &'static str,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(doing: &'static str) -> Progress {
        Progress {
            doing,
            is_terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    pub(crate) fn show(&mut self, progress: BackupProgress) {
        let is_early = self.shown.is_some_and(|at| at.elapsed() < SHOW_EVERY);
        if !self.is_terminal || is_early {
            return;
        }
        self.shown = Some(Instant::now());
        let BackupProgress { done, of, bytes } = progress;
        let percent = (done * 100).checked_div(of).unwrap_or(0);
        let mut terminal = std::io::stderr();
        // A terminal that went away needs no progress.
        write!(
            terminal,
            "\r{}: {percent:>3} %, {} MiB\x1b[K",
            self.doing,
            bytes >> 20
        )
        .ok();
        terminal.flush().ok();
    }

    /// Clears the line.
    pub(crate) fn end(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
