//! The node's side of the command socket.
//!
//! Only the user who runs the node can reach it, from the moment at which it has its name. So many are
//! served at once, others wait; who is slow to ask, or to take the answer, is let go. A connection carries
//! one question, so that a place is never held by somebody who thinks.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};

use super::events::Endless;
use super::fault::{ASKED_WITHIN, SOUND_WITHIN};
use super::{Answerer, open, socket_path};

/// Served at once; the kernel lets others wait.
const ASKERS_MAX: usize = 32;
/// The longest head of a question, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After nobody could be let in: descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The node's side of the socket.
pub(crate) struct AdminServer {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl AdminServer {
    /// Listens in `data`. The data directory's lock is held, so an old socket is nobody's.
    pub(crate) fn start(data: &Path, answerer: Answerer) -> std::io::Result<AdminServer> {
        let path = socket_path(data);
        let listener = bind_private(data, &path)?;
        let task = tokio::spawn(accept(listener, open(answerer)));
        Ok(AdminServer { path, task })
    }

    pub(crate) fn close(self) {
        self.task.abort();
        std::fs::remove_file(&self.path).ok();
    }
}

/// A socket gets the rights that the process gives to new files, and only then others: so it is made in a
/// folder that nobody else can enter.
fn bind_private(data: &Path, path: &Path) -> std::io::Result<UnixListener> {
    let folder = data.join("control.new");
    std::fs::remove_dir_all(&folder).or_else(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })?;
    DirBuilder::new().mode(0o700).create(&folder)?;
    let inside = folder.join("sock");
    let listener = UnixListener::bind(&inside)?;
    std::fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
    std::fs::rename(&inside, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, app: Router) {
    let places = Arc::new(Semaphore::new(ASKERS_MAX));
    let mut is_told = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                is_told = false;
                let served = serve(stream, app.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(e) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("nobody can ask this node for now: {e}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The head has its time by hyper, the body by whoever reads it, and the way of the answer here.
pub(super) async fn serve(stream: UnixStream, app: Router) {
    let answered = Arc::new(Notify::new());
    let app = TowerToHyperService::new(app);
    let service = service_fn(|request| {
        let (answer, answered) = (app.call(request), answered.clone());
        async move {
            let answer = answer.await;
            // One without an end is taken for as long as somebody reads.
            if !answer
                .as_ref()
                .is_ok_and(|a| a.extensions().get::<Endless>().is_some())
            {
                answered.notify_one();
            }
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(ASKED_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let too_slow = async {
        answered.notified().await;
        tokio::time::sleep(SOUND_WITHIN).await;
    };
    tokio::select! {
        // An asker who has gone needs no answer.
        _ = served => {}
        () = too_slow => tracing::debug!("somebody did not take an answer in time"),
    }
}
