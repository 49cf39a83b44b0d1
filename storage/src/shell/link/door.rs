//! The link's door: listens, shakes hands, and lets in whom the log says to be a member.
//!
//! Whoever comes to join is served here (`join.rs`). Members are handed on as [`Arrival`]s; others are
//! counted and hear nothing but the end of the connection.
//!
//! Bounds: [`HANDSHAKES_MAX`] at once, each of [`HANDSHAKE_MAX`]; beyond that a connection is ended
//! as it comes, and counted. [`ARRIVALS_MAX`] members may wait to be taken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::{client, server};

use super::ca::Fingerprint;
use super::join::{self, WriteRegisters};
use super::members::Members;
use super::site::{Site, SiteError};
use super::tls::{self, Accepted, Tls};
use crate::link::frame::{self, FRAME_BYTES_MAX, Message, Sorry};
use crate::name::NodeName;
use crate::time::WallTime;

/// Handshakes and joinings at once.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// The longest that one may take.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Members that may wait to be taken.
pub(super) const ARRIVALS_MAX: usize = 64;

/// How long the door stays shut when the machine has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(100);

/// A member that is connected.
#[derive(Debug)]
pub struct Arrival {
    /// Who.
    pub peer: NodeName,
    /// With which certificate: the connection ends when it is no longer the member's.
    pub cert: Fingerprint,
    /// The connection.
    pub stream: Box<server::TlsStream<TcpStream>>,
}

/// A listening door. Shut when this goes.
#[derive(Debug)]
pub struct Door {
    local: SocketAddr,
    inside: Arc<Inside>,
    task: JoinHandle<()>,
}

/// What has been seen at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorStats {
    /// Members let in.
    pub admitted: u64,
    /// Certificates of the cluster that are no member's.
    pub strangers: u64,
    /// Handshakes that failed: no certificate, one of another cluster, or no TLS at all.
    pub failed: u64,
    /// Connections ended because too many came at once.
    pub full: u64,
}

struct Inside {
    tls: Tls,
    site: Arc<Site>,
    members: watch::Receiver<Members>,
    write: WriteRegisters,
    arrivals: mpsc::Sender<Arrival>,
    room: Arc<Semaphore>,
    admitted: AtomicU64,
    strangers: AtomicU64,
    failed: AtomicU64,
    full: AtomicU64,
}

impl Door {
    /// Listens at `at`; members come out behind it. Inside a tokio runtime.
    pub async fn open(
        at: SocketAddr,
        site: Arc<Site>,
        members: watch::Receiver<Members>,
        write: WriteRegisters,
    ) -> Result<(Door, mpsc::Receiver<Arrival>), SiteError> {
        let network = |e: io::Error| SiteError::Network(at.to_string(), e.to_string());
        let listener = TcpListener::bind(at).await.map_err(network)?;
        let local = listener.local_addr().map_err(network)?;
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let inside = Arc::new(Inside {
            tls: Tls::new(&site)?,
            site,
            members,
            write,
            arrivals,
            room: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            admitted: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            full: AtomicU64::new(0),
        });
        let task = tokio::spawn(listen(inside.clone(), listener));
        let door = Door {
            local,
            inside,
            task,
        };
        Ok((door, arrived))
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What has been seen so far.
    pub fn stats(&self) -> DoorStats {
        let inside = &self.inside;
        DoorStats {
            admitted: inside.admitted.load(Ordering::Relaxed),
            strangers: inside.strangers.load(Ordering::Relaxed),
            failed: inside.failed.load(Ordering::Relaxed),
            full: inside.full.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(inside: Arc<Inside>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = inside.room.clone().try_acquire_owned() else {
            inside.full.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let inside = inside.clone();
        tokio::spawn(async move {
            let met = tokio::time::timeout(HANDSHAKE_MAX, inside.meet(stream)).await;
            if !matches!(met, Ok(Ok(()))) {
                inside.failed.fetch_add(1, Ordering::Relaxed);
            }
            drop(place);
        });
    }
}

impl Inside {
    async fn meet(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match self.tls.accept(stream).await? {
            Accepted::Join(stream) => {
                let members = self.members.borrow().clone();
                join::admit(stream, &self.site, &members, &self.write, wall()).await
            }
            Accepted::Link(stream, cert) => {
                let peer = self.members.borrow().by_cert(&cert);
                let Some(peer) = peer else {
                    self.strangers.fetch_add(1, Ordering::Relaxed);
                    let why = self.why_not(&stream);
                    tracing::debug!(cert, ?why, "the link is refused to who is no member");
                    return sorry(*stream, why).await;
                };
                self.admitted.fetch_add(1, Ordering::Relaxed);
                let arrival = Arrival { peer, cert, stream };
                self.arrivals.send(arrival).await.map_err(io::Error::other)
            }
        }
    }
}

impl Inside {
    /// Why somebody is no member who has a certificate of the cluster.
    fn why_not(&self, stream: &server::TlsStream<TcpStream>) -> Sorry {
        let members = self.members.borrow();
        let mut names = members.ever();
        match names.find(|(node, _)| tls::is_named(stream, *node)) {
            Some((_, Some(_))) => Sorry::Replaced,
            Some((_, None)) => Sorry::Removed,
            None => Sorry::Unknown,
        }
    }
}

/// Tells why, in the one frame that needs no hello before it.
async fn sorry(mut stream: server::TlsStream<TcpStream>, why: Sorry) -> io::Result<()> {
    let frame = frame::encode(&Message::Sorry { why });
    stream.write_u32_le(frame.len() as u32).await?;
    for part in frame.parts() {
        stream.write_all(part).await?;
    }
    stream.shutdown().await?;
    // Closed with something unread, the connection would take the answer with it.
    tokio::io::copy(
        &mut stream.take(FRAME_BYTES_MAX as u64),
        &mut tokio::io::sink(),
    )
    .await
    .map(drop)
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

/// Connects to `node` at `address`; only the member who has this certificate will do.
pub async fn dial(
    site: &Site,
    node: NodeName,
    address: &str,
    cert: &str,
) -> Result<Box<client::TlsStream<TcpStream>>, SiteError> {
    let tls = Tls::new(site)?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        tls.dial(stream, node).await
    };
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let connected = tokio::time::timeout(HANDSHAKE_MAX, connecting).await;
    let connected = connected.map_err(late).and_then(|inner| inner);
    let (stream, shown) =
        connected.map_err(|e| SiteError::Network(address.to_owned(), e.to_string()))?;
    if shown == cert {
        return Ok(Box::new(stream));
    }
    let why = format!("the certificate shown is not the one {node} has now");
    Err(SiteError::Refused(address.to_owned(), why))
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since.unwrap_or_default().as_millis() as u64)
}

#[cfg(test)]
mod tests;
