//! Rooms: one extension at which people meet.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `room/ID` | [`Room`] |
//! | `room/ID/pin` | string: Argon2 hash of the PIN that lets in, PHC form |
//! | `room/ID/host_pin` | string: Argon2 hash of the PIN that lets in as a host, PHC form |
//!
//! A room without a host PIN has every user of the office as a host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

/// The most who can be in one room.
pub const MEMBERS_MAX: u16 = 1000;

/// Where people meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// What one dials.
    pub extension: Arc<str>,
    /// For display.
    pub name: Arc<str>,
    /// So many can be in it at once.
    pub members_max: u16,
    /// Only hosts are heard, until one of them lets the others speak.
    pub is_lecture: bool,
}

impl Room {
    /// A room as it is made when nothing else is said.
    pub fn new(extension: Arc<str>) -> Room {
        Room {
            name: format!("Room {extension}").into(),
            extension,
            members_max: 100,
            is_lecture: false,
        }
    }
}

/// The register that holds a room.
pub fn room_key(id: Id) -> Arc<str> {
    format!("room/{id}").into()
}

/// The register that holds the hash of a room's PIN.
pub(crate) fn room_pin_key(id: Id) -> Arc<str> {
    format!("room/{id}/pin").into()
}

/// The register that holds the hash of the PIN of its hosts.
pub(crate) fn host_pin_key(id: Id) -> Arc<str> {
    format!("room/{id}/host_pin").into()
}
