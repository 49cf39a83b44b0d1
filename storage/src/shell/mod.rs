//! The log on real files: opening it, appending to it from any thread, closing it, reading it.
//!
//! What happens is decided in `writer.rs` and `recovery.rs`; here it is carried to the disk and back.

mod backup;
mod backup_restore;
mod backup_store;
#[cfg(feature = "bench")]
mod bare;
mod compaction;
mod files;
mod handover;
mod inspect;
pub mod link;
mod log;
mod open;
mod queue;
mod reader;
mod snapshot;
mod sys;
mod thread;

pub use backup::{
    BackupError, BackupJob, BackupProgress, BackupReport, LastBackup, backup, last_backup,
    verify_backup,
};
pub use backup_restore::{Backup, RestoreJob, RestoreReport, restore};
pub use backup_store::StoreError;
#[cfg(feature = "bench")]
pub use bare::BarePath;
pub use compaction::{Compaction, CompactionHelp, CompactionStart};
pub use inspect::{ShownRecord, VerifyReport, log_owner, show, verify};
pub use log::{Log, LogStats, QUEUE_MAX};
pub use open::{LogConfig, OpenError, Opened, RecoveryReport, Tap, open};
pub use reader::{ReadError, SoundReader};
pub use snapshot::Snapshots;
