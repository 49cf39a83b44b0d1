//! The SIP shim: turns SIP into pbx events and pbx commands into SIP.
#![forbid(unsafe_code)]

pub mod config;
pub mod counters;
pub mod message;
pub mod shell;
pub mod shim;
pub mod wire;

pub use config::{Net, ShimConfig};
pub use counters::ShimCounters;
pub use shell::{BindError, ShellStats, SipShell, SipShellConfig};
pub use shim::{Phone, Shim, ShimInput, ShimOutput};
pub use wire::{Flow, Transport, WireIn, WireOut};
