//! SIGTERM and SIGINT ask a node to stop: the first lets calls end, the second does not wait.
//! SIGHUP asks it to read its configuration again: what can change while running does, and what
//! cannot is said.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::control::ControlHandle;

/// Where the configuration came from, and what of it is in force.
pub(crate) struct Source {
    /// None: there is no file (the demo).
    pub(crate) file: Option<PathBuf>,
    pub(crate) config: Config,
}

/// Passes signals on until the process ends.
pub(crate) fn watch(control: ControlHandle, source: Source) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => control.stop(),
                _ = int.recv() => control.stop(),
                _ = hup.recv() => read_again(&control, &source),
            }
        }
    });
    Ok(())
}

fn read_again(control: &ControlHandle, source: &Source) {
    let Some(file) = &source.file else {
        tracing::info!("there is no configuration file to read again");
        return;
    };
    match Config::read(file) {
        Ok(new) => {
            for section in source.config.needs_restart(&new) {
                tracing::warn!(section, "what was changed in this section needs a restart");
            }
            control.configure(&new);
            tracing::info!("the configuration was read again");
        }
        Err(faults) => {
            for fault in faults {
                tracing::error!(%fault, "the configuration is wrong; the old one stays in force");
            }
        }
    }
}
