//! A node, pure: what ties the SIP shim, call control and the promise of two copies together.
//!
//! ```text
//!            SIP          media engine
//!             │ ▲            │ ▲
//!             ▼ │            ▼ │
//!           ┌ shim ◄──────► pbx ┐ ──► PINs to check
//!           │                ▲  │ ──► appends to the log
//!           │                │  │ ──► sounds to fetch
//!           │   log ──► gate ┘  │ ──► members of the cluster
//!           │   link ──► ▲      │
//!           └───────────────────┘
//! ```
//!
//! [`Node`] is the whole of it: inputs in, outputs out, time handed in; no clock, thread, socket or
//! file. The program `tandem` runs it on real ones, and the simulated world (`fuzz/src/world`) on ones
//! made of numbers.
#![forbid(unsafe_code)]

mod node;
mod seam;
#[cfg(test)]
mod tests;
mod users;

pub use node::Node;
pub use seam::{Input, NodeConfig, Notice, Output, SHELL_REGISTERS};
pub use users::{HA1, TRUNK_PASSWORD};
