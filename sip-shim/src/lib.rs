//! The SIP shim: turns SIP into pbx events and pbx commands into SIP.
//!
//! ```text
//!   sockets ─► shell ─► sanity ─► shim ─► server ─► access, incoming, within, lamp ─► pbx
//!   sockets ◄─ shell ◄─ draft ◄── client ◄── outgoing, refresh, lamp ◄── pbx
//! ```
//!
//! Everything but `shell` is pure. In reading order: [`message`], [`sanity`], [`uri`], [`sdp`]
//! (what comes); `server`, `client` (transactions); [`dialog`], [`agree`], [`session`] (what a
//! call must remember); [`shim`] (whose an input is) and its further parts.
#![forbid(unsafe_code)]

pub mod agree;
pub mod config;
pub mod counters;
pub mod dialog;
pub mod digest;
pub mod message;
pub mod sanity;
pub mod sdp;
pub mod session;
pub mod shell;
pub mod shim;
pub mod uri;
pub mod wire;

mod access;
mod body;
mod call;
mod client;
mod draft;
mod incoming;
mod kit;
mod lamp;
mod outgoing;
mod refresh;
mod registrar;
mod server;
mod within;

mod sources;

pub use config::{Net, NetError, ShimConfig, Trusted};
pub use counters::ShimCounters;
pub use shell::{BindError, ShellFigures, ShellStats, SipShell, SipShellConfig};
pub use shim::{Phone, Shim, ShimInput, ShimOutput};
pub use wire::{Flow, Transport, WireIn, WireOut};
