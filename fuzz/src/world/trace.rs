//! The last things that happened, for whoever must find out why a promise was broken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use tandem_storage::time::Time;

/// What happened last, for whoever must find out why.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Rc<RefCell<VecDeque<String>>>>);

/// Lines kept.
const TRACE_MAX: usize = 400;

impl Trace {
    /// Keeps the last lines.
    pub fn kept() -> Trace {
        Trace(Some(Rc::default()))
    }

    pub(super) fn say(&self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let mut lines = lines.borrow_mut();
            if lines.len() == TRACE_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>9.3} {}", now.0 as f64 / 1e9, line()));
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(lines) = &self.0 else { return Ok(()) };
        lines
            .borrow()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
