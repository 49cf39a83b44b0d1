//! The network between phones and node: a path of impairments, and datagrams in flight.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

use super::impairments::{Delay, Doubling, Impairment, Lateness, Line, Loss, Outages, Passing};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Arc<[u8]>,
}

/// See the chapter above.
#[derive(Debug)]
pub(super) struct Network {
    flying: BTreeMap<(Time, u64), Datagram>,
    sent: u64,
    path: Vec<Box<dyn Impairment>>,
    is_fair: bool,
}

impl Network {
    /// As it is on some day: one in three is fair.
    pub(super) fn of_the_day(rng: &mut ChaCha8Rng) -> Network {
        let mut network = Network {
            flying: BTreeMap::new(),
            sent: 0,
            path: fair(),
            is_fair: true,
        };
        let ms = Duration::from_millis;
        let foul: Vec<Box<dyn Impairment>> = match rng.random_range(0..6) {
            0 | 1 => return network,
            2 => vec![
                Box::new(Outages::new(1, ms(rng.random_range(50..1500)))),
                Box::new(Doubling(rng.random_range(0..12))),
            ],
            3 => vec![
                Box::new(Line::new(rng.random_range(20_000..200_000), ms(300))),
                Box::new(Loss(rng.random_range(0..3))),
            ],
            _ => vec![
                Box::new(Loss(rng.random_range(0..12))),
                Box::new(Doubling(rng.random_range(0..12))),
                Box::new(Lateness {
                    percent: rng.random_range(0..20),
                    most: ms(400),
                }),
            ],
        };
        network.path.extend(foul);
        network.is_fair = false;
        network
    }

    /// Nothing is lost or late.
    pub(super) fn is_fair(&self) -> bool {
        self.is_fair
    }

    /// From here on nothing is.
    pub(super) fn clear_up(&mut self) {
        (self.path, self.is_fair) = (fair(), true);
    }

    /// Takes a datagram.
    pub(super) fn send(&mut self, now: Time, datagram: Datagram, rng: &mut ChaCha8Rng) {
        let bytes = datagram.bytes.len();
        let mut copies = vec![now];
        for node in &mut self.path {
            let passing = copies.into_iter().map(|at| Passing { at, bytes });
            copies = passing
                .flat_map(|passing| node.pass(passing, rng))
                .collect();
        }
        for at in copies {
            self.sent += 1;
            self.flying.insert((at, self.sent), datagram.clone());
        }
    }

    /// When the next one arrives.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// What has arrived by now.
    pub(super) fn poll(&mut self, now: Time) -> Option<Datagram> {
        let first = self.flying.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// How many were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

/// What every way does.
fn fair() -> Vec<Box<dyn Impairment>> {
    vec![Box::new(Delay {
        from: Duration::from_micros(200),
        to: Duration::from_micros(8000),
    })]
}
