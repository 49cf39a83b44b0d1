//! Backups: what a log says, in a place that has no node.
//!
//! A *backup* is a manifest that names packs; a *pack* is an immutable file of records, byte for
//! byte as they lie in the log, named by the SHA-256 of its content. The next backup names the
//! same packs and the few it adds. Below the destination each node has a folder of its own:
//!
//! ```text
//! office/packs/SHA-256.pack                 records
//! office/catalogs/SHA-256.json              which records the packs hold, to tell what is new
//! office/backups/00000012-SHA-256.json      the manifest: written last, so that it is there or not
//! ```
//!
//! ```text
//! segments ─▶ Survey (which records count) ─▶ Gather (which are new) ─▶ packs ─▶ catalog ─▶ manifest
//! manifest ─▶ packs ─▶ Unpacking (every hash, every checksum) ─▶ Append::Replica ─▶ a fresh log
//! ```
//!
//! A restored record keeps the stamp it was said with, so a restored node contradicts nobody.
//!
//! **Destroyed sound.** Once a log says that a sound is discarded, no later backup has it: the packs
//! that hold any of it are written anew without it. The old packs leave the store with the last
//! backup that names them, so after `keep` further backups. Register values that were overwritten
//! stay, as they do in a log that was not compacted.
//!
//! All of this is pure; `shell/backup.rs` reads segments, `shell/backup_restore.rs` writes a log and
//! `shell/backup_store.rs` is a directory or an S3 bucket. What comes from a store is taken for
//! hostile: sizes are bounded before anything is read, and every error names the file.

mod catalog;
mod gather;
mod hash;
mod manifest;
mod pack;
mod survey;
mod unpack;

pub use catalog::{CATALOG_BYTES_MAX, Catalog};
pub use gather::{Gather, Gathered};
pub use hash::Hash;
pub use manifest::{FORMAT, MANIFEST_BYTES_MAX, Manifest, ManifestFault, ManifestName, Position};
pub use pack::{PACK_BYTES_MAX, Pack, PackFault, PackInfo, PackKind, PackRecord, records};
pub use survey::{Extent, NotTheSame, SETTLES_AFTER, Survey};
pub use unpack::{Unpacking, restated};

#[cfg(test)]
mod tests;
