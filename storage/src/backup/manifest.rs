//! A manifest: one backup, written last.
//!
//! JSON, so that an administrator can read it. Its file is named by its number and the SHA-256 of its content,
//! so one that is cut off or changed is not taken for a backup.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash::Hash;
use super::pack::{PACK_BYTES_MAX, PackInfo};
use crate::name::NodeName;
use crate::record::{EPOCH_MAX, SEQ_MAX};
use crate::seam::Hlc;
use crate::time::WallTime;

/// The format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// A longer manifest is not read: it would name more packs than a disk can hold.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// The packs a manifest names at most: 2 TiB.
const PACKS_MAX: usize = 256 * 1024;

/// One backup of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// The version of the program that made it.
    pub tandem: String,
    /// Whose log it is.
    #[serde(with = "node_text")]
    pub node: NodeName,
    /// Counted from 1.
    pub number: u64,
    /// When it was made.
    pub made: WallTime,
    /// How far it reads the log; `None`: that is empty.
    pub position: Option<Position>,
    /// Everything it holds.
    pub packs: Vec<PackInfo>,
    /// Which records these are.
    pub catalog: Hash,
}

/// A record of the node's log, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch.
    pub epoch: u32,
    /// Its number in that.
    pub seq: u64,
    /// Its clock: two logs of the same name differ in it.
    pub hlc: u64,
}

/// The name of a manifest's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestName {
    /// The backup's number.
    pub number: u64,
    /// Of the file.
    pub hash: Hash,
}

/// Why bytes are not the manifest they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// Changed, or cut off.
    #[error("its content does not have the hash in its name: it was changed or cut off")]
    Hash,
    /// Written by a newer version.
    #[error("it was made by a newer tandem (backup format {0}); use that one")]
    Newer(u32),
    /// The hash is right but it makes no sense.
    #[error("it cannot be read: {0}")]
    Content(String),
}

impl Manifest {
    /// Reads the file of that name.
    pub fn parse(name: &ManifestName, bytes: &[u8]) -> Result<Manifest, ManifestFault> {
        if Hash::of(bytes) != name.hash {
            return Err(ManifestFault::Hash);
        }
        let content = |e: serde_json::Error| ManifestFault::Content(e.to_string());
        let value: Value = serde_json::from_slice(bytes).map_err(content)?;
        match value["format"].as_u64().map(u32::try_from) {
            Some(Ok(format)) if format > FORMAT => return Err(ManifestFault::Newer(format)),
            Some(Err(_)) => return Err(ManifestFault::Newer(u32::MAX)),
            _ => {}
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(content)?;
        match manifest.impossible() {
            Some(what) => Err(ManifestFault::Content(what.into())),
            None => Ok(manifest),
        }
    }

    /// The bytes of its file, and the name of that.
    pub fn to_file(&self) -> (ManifestName, Vec<u8>) {
        // Strings, numbers and structs of them have no failing form.
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        let name = ManifestName {
            number: self.number,
            hash: Hash::of(&bytes),
        };
        (name, bytes)
    }

    /// The bytes of all packs.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.bytes).sum()
    }

    /// The records in all packs.
    pub fn records(&self) -> u64 {
        let counts = self.packs.iter().map(|pack| pack.records);
        counts.fold(0, u64::saturating_add)
    }

    fn impossible(&self) -> Option<&'static str> {
        if self.format != FORMAT {
            return Some("unknown format");
        }
        let in_range =
            |p: Position| (1..=EPOCH_MAX).contains(&p.epoch) && (1..=SEQ_MAX).contains(&p.seq);
        if !self.position.is_none_or(in_range) {
            return Some("impossible position");
        }
        if self.packs.len() > PACKS_MAX {
            return Some("too many packs");
        }
        let too_long = self.packs.iter().any(|pack| pack.bytes > PACK_BYTES_MAX);
        too_long.then_some("a pack is longer than packs are")
    }
}

impl Position {
    /// Its place, for comparing.
    pub fn place(&self) -> (u32, u64) {
        (self.epoch, self.seq)
    }

    /// Its clock.
    pub fn hlc(&self) -> Hlc {
        Hlc(self.hlc)
    }
}

impl fmt::Display for ManifestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}-{}.json", self.number, self.hash)
    }
}

impl FromStr for ManifestName {
    type Err = ();
    fn from_str(name: &str) -> Result<ManifestName, ()> {
        let (number, rest) = name.split_once('-').ok_or(())?;
        let hash = rest.strip_suffix(".json").ok_or(())?;
        let name = ManifestName {
            number: number.parse().map_err(|_| ())?,
            hash: hash.parse().map_err(|_| ())?,
        };
        Ok(name)
    }
}

/// Node names as text.
pub(super) mod node_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::name::NodeName;

    pub(crate) fn serialize<S: Serializer>(node: &NodeName, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(node.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NodeName, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
