//! What an administrator can ask about schedules.

use std::sync::Arc;

use crate::office::schedule::Override;

/// What is to be different about a schedule; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct ScheduleChange {
    /// What it is called.
    pub name: Option<Arc<str>>,
    /// What is dialled behind the code that switches it.
    pub number: Option<u16>,
    /// All its hours, as in `mon-fri 09:00-12:00 13:00-17:00`.
    pub hours: Option<Vec<Arc<str>>>,
    /// All its holidays, `2026-12-25` or `12-25`.
    pub holidays: Option<Vec<Arc<str>>>,
    /// Where its clock hangs; `Some(None)`: where the node's does.
    pub time_zone: Option<Option<Arc<str>>>,
    /// Who says whether it is open.
    pub switched: Option<Override>,
}

/// What an administrator can ask about schedules. Changes are answered when they are durable.
#[derive(Clone, Debug)]
pub enum ScheduleAsk {
    /// Schedules, and whether each is open now, as JSON.
    List,
    /// Make one.
    Add {
        name: Arc<str>,
        /// All that is not as for any new schedule.
        change: ScheduleChange,
    },
    /// Change one.
    Set {
        name: Arc<str>,
        change: ScheduleChange,
    },
    /// Remove one that no group goes by.
    Remove { name: Arc<str> },
}
