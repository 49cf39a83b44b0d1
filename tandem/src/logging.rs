//! Log lines: structured, on standard error, one a line. `TANDEM_LOG` sets the level, as in
//! `TANDEM_LOG=debug` or `TANDEM_LOG=tandem_sip_shim=trace`.
//!
//! Invariant: caller numbers, PINs and sound never appear above debug level. That is kept where
//! lines are written; here only the SIP library, which knows nothing of it, is held to errors.

use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "info,rsipstack=error";

/// To be called once, by commands that run a node.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("TANDEM_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process would be a bug without consequence: the first one stays.
    lines.with_ansi(false).try_init().ok();
}
