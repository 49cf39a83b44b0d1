//! The SIP shim: turns SIP into pbx events and pbx commands into SIP.
//!
//! ```text
//!   sockets ─► shell ─► validate ─► shim ─► server_transactions ─► access, incoming, in_dialog, mwi ─► pbx
//!   sockets ◄─ shell ◄─ message_builder ◄── client_transactions ◄── outgoing, refresh, mwi ◄── pbx
//! ```
//!
//! Everything but `shell` is pure. In reading order: [`message`], [`validate`], [`uri`], [`sdp`]
//! (what comes); `server_transactions`, `client_transactions` (transactions); [`dialog`], [`offer_answer`], [`session`] (what a
//! call must remember); [`shim`] (whose an input is) and its further parts.
#![forbid(unsafe_code)]

pub mod config;
pub mod counters;
pub mod dialog;
pub mod digest;
pub mod message;
pub mod offer_answer;
pub mod sdp;
pub mod session;
pub mod shell;
pub mod shim;
pub mod uri;
pub mod validate;
pub mod wire;

mod access;
mod body;
mod call;
mod caller;
mod client_digest;
mod client_transactions;
mod context;
mod dialog_info;
mod history;
mod in_dialog;
mod incoming;
mod message_builder;
mod mwi;
mod outgoing;
mod refer;
mod refresh;
mod registrar;
mod reliable;
mod server_transactions;
mod subscriptions;
mod texts;

mod sources;

pub use config::{Net, NetError, ShimConfig, Trusted};
pub use counters::ShimCounters;
pub use shell::{BindError, ShellFigures, ShellStats, SipShell, SipShellConfig};
pub use shim::{Phone, Shim, ShimInput, ShimOutput};
pub use wire::{Flow, Transport, WireIn, WireOut};
