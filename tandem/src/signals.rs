//! SIGTERM and SIGINT ask a node to stop: the first lets calls end, the second does not wait.

use tokio::signal::unix::{SignalKind, signal};

use crate::control::ControlHandle;

/// Passes signals on until the process ends.
pub(crate) fn watch(control: ControlHandle) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            control.stop();
        }
    });
    Ok(())
}
