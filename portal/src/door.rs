//! The portal's door: who is let in, how many at once, and how long one may take to ask.
//!
//! Bounds: [`CONNECTIONS_MAX`] in all and [`PER_ADDRESS_MAX`] from one address; more are closed at once and
//! counted. A request's head must come within [`HEAD_WITHIN`], and so must the next one on a connection
//! that is kept. So a browser that hangs, or somebody who means harm, takes no descriptors from calls.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

/// Served at once.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Of these, from one address.
pub(crate) const PER_ADDRESS_MAX: usize = 64;
/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// The longest head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After nobody could be let in: descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who is inside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
    refused: AtomicU64,
}

/// Somebody's place; given back when it is dropped.
#[derive(Debug)]
struct Place {
    door: Door,
    address: IpAddr,
}

impl Door {
    /// Serves whoever comes, until this is dropped.
    pub(crate) async fn serve(self, listener: TcpListener, app: Router) {
        let mut is_told = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    is_told = false;
                    if let Some(place) = self.place(peer.ip()) {
                        tokio::spawn(serve_one(stream, app.clone(), place));
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the portal lets nobody in for now");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Connections that were closed at once.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut inside = self.lock();
        let all: usize = inside.values().sum();
        let of_address = inside.get(&address).copied().unwrap_or(0);
        if all >= CONNECTIONS_MAX || of_address >= PER_ADDRESS_MAX {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        inside.insert(address, of_address + 1);
        let door = self.clone();
        Some(Place { door, address })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        let inside = self.0.by_address.lock();
        inside.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        match inside.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(inside.remove(&self.address)),
        }
    }
}

async fn serve_one(stream: TcpStream, app: Router, place: Place) {
    let service = TowerToHyperService::new(app);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the portal ended early");
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let door = Door::default();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let mut taken: Vec<_> = (0..PER_ADDRESS_MAX)
            .map(|_| door.place(one).unwrap())
            .collect();
        assert!(door.place(one).is_none());
        assert!(door.place(other).is_some());
        taken.pop();
        taken.push(door.place(one).unwrap());
        assert_eq!(door.refused(), 1);
        let ips = (0..).map(|n| IpAddr::from([127, 1, 0, n]));
        for ip in ips.take((CONNECTIONS_MAX - taken.len()) / PER_ADDRESS_MAX) {
            taken.extend((0..PER_ADDRESS_MAX).map(|_| door.place(ip).unwrap()));
        }
        assert!(door.place(other).is_none(), "all are taken");
        drop(taken);
        assert!(door.place(other).is_some());
    }
}
