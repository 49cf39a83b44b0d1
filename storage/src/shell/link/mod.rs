//! The link on real machines: who belongs to the cluster, and TLS connections between nodes.
//!
//! Reading order: `ca` and `site` (certificates and keys), `members` (who belongs), `invite` and
//! `join` (how a machine becomes a node), `tls`, `door` (who is let in), `wires` (connections), `pieces`
//! (what is read of the log), `thread` (what carries out what the link's core asks for).

mod ca;
mod door;
mod invite;
mod join;
mod members;
mod pieces;
mod site;
mod thread;
mod tls;
mod wires;

pub use door::{Arrival, Door, DoorStats, dial};
pub use invite::{Invitation, LIFE_MS};
pub use join::{Joined, WriteRegisters, join};
pub use members::{
    MEMBERS_MAX, Member, Members, address_register_key, backups_register_key, cert_register_key,
    epoch_register_key, value,
};
pub use site::{Site, SiteError};
pub use thread::{LinkHelp, LinkParts, LinkSeat, LinkStats, Linker, Linking, link};
