//! The log every node writes, and what can be read from it.
//!
//! Reading order: `seam` (what goes in and comes out), `record` and `segment` (its bytes), `writer`
//! and `batch` (how it gets there), `scan` and `recovery` (what a disk may show, and what it means), `view` (what
//! the log says), `snapshot` (that, written down), `shell` (files and threads). All but `shell` is pure: no clock, no file.
#![deny(unsafe_code)]

pub mod backup;
pub mod batch;
pub mod block;
pub mod cipher;
pub mod clock;
pub mod compaction;
pub mod g711;
pub mod gate;
pub mod histogram;
mod holes;
pub mod link;
pub mod live_bytes;
pub mod name;
pub mod reading;
pub mod record;
pub mod recovery;
pub mod resample;
pub mod retired;
mod riff;
pub mod scan;
pub mod seam;
pub mod secret;
pub mod segment;
mod shell;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod snapshot;
pub mod time;
pub mod tracks;
pub mod view;
pub mod wav;
pub mod writer;

#[cfg(feature = "bench")]
pub use shell::BarePath;
pub use shell::link as site;
pub use shell::{
    Backup, BackupError, BackupJob, BackupProgress, BackupReport, LastBackup, RestoreJob,
    RestoreReport, StoreError, backup, last_backup, restore, verify_backup,
};
pub use shell::{
    Compaction, CompactionHelp, CompactionStart, Log, LogConfig, LogStats, OpenError, Opened,
    QUEUE_MAX, ReadError, RecoveryReport, ShownRecord, Snapshots, SoundReader, Tap, VerifyReport,
    log_owner, open, show, verify,
};
pub use view::{Sound, View};
