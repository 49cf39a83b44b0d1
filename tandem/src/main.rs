//! Tandem, the program: command line, configuration, threads and wiring. It holds no decisions of
//! its own; those are in `pbx`, `sip-shim`, `engine` and `storage`.
//!
//! Reading order: [`cli`] (what one can type), [`config`] (what one can set), [`node`] (what runs
//! and in which order it starts and stops), [`control`] (the one loop that ties the cores
//! together), [`admin`] (how commands speak to a running node).
#![forbid(unsafe_code)]

mod admin;
mod alarms;
mod backups;
mod cli;
mod cluster;
mod commands;
mod config;
mod control;
mod encryption_keys;
mod events;
mod logging;
mod membership;
mod metrics;
mod node;
mod office;
mod out;
mod pins;
mod secrets;
mod signals;
mod status;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
