//! One file per family of commands. A command that fails says what, where and what to do; its
//! `String` is printed behind `tandem: ` and the exit status is 1.

pub(crate) mod backup;
pub(crate) mod calls;
pub(crate) mod code;
pub(crate) mod events;
pub(crate) mod group;
pub(crate) mod lists;
pub(crate) mod log;
pub(crate) mod mailbox;
pub(crate) mod office;
pub(crate) mod progress;
pub(crate) mod recording;
pub(crate) mod restore;
pub(crate) mod restore_mailbox;
pub(crate) mod room;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod site;
pub(crate) mod stopped;
pub(crate) mod storage;
pub(crate) mod token;
pub(crate) mod trunk;
pub(crate) mod user;

use std::path::{Path, PathBuf};

use crate::cli::WhichNode;

/// Where the demo keeps its data: `tandem-demo` in the user's data directory.
pub(crate) fn demo_data() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/share"));
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("."))
        .join("tandem-demo")
}

impl WhichNode {
    /// The data directory meant: as given, else a running demo's, else the installed node's.
    pub(crate) fn data(&self) -> PathBuf {
        let installed = Path::new("/var/lib/tandem");
        let demo = demo_data();
        match &self.data {
            Some(given) => given.clone(),
            None if demo.exists() || !installed.exists() => demo,
            None => installed.into(),
        }
    }
}
