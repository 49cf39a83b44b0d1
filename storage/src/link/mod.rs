//! The words of the link, on which a node hands its log on to its peers and takes theirs.
//!
//! [`Link`] takes connections, frames, what became durable and the time, and gives frames, appends
//! to the own log, and events: `seam.rs` has both sides of it, `frame.rs` its bytes. Nothing here touches
//! a socket or a file, so that a cluster of nodes runs in one thread.

mod budget;
mod copies;
mod core;
mod feed;
mod follow;
pub mod frame;
mod kept;
mod pack;
mod peers;
mod seam;
mod walk;
mod want;

pub use self::core::Link;

pub use self::frame::Frame;
pub use self::seam::{
    CloseReason, ConnId, LinkConfig, LinkEvent, LinkInput, LinkOutput, LinkStatus, LogFound,
    LogPiece, PEERS_MAX, PeerConfig, PeerStatus, Position, READ_BYTES_MAX,
};
