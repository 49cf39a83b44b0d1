//! The network between phones and node: datagrams that take their time, are lost, come twice, or
//! overtake each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

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
    weather: Weather,
}

/// How bad it is, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    pub(super) lost: u8,
    pub(super) doubled: u8,
    pub(super) late: u8,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) const FAIR: Weather = Weather {
        lost: 0,
        doubled: 0,
        late: 0,
    };

    /// One in three days is fair.
    pub(super) fn of_the_day(rng: &mut ChaCha8Rng) -> Weather {
        match rng.random_range(0..3) {
            0 => Weather::FAIR,
            _ => Weather {
                lost: rng.random_range(0..12),
                doubled: rng.random_range(0..12),
                late: rng.random_range(0..20),
            },
        }
    }
}

impl Network {
    pub(super) fn new(weather: Weather) -> Network {
        Network {
            flying: BTreeMap::new(),
            sent: 0,
            weather,
        }
    }

    /// Nothing is lost or late.
    pub(super) fn is_fair(&self) -> bool {
        self.weather == Weather::FAIR
    }

    /// The weather changes.
    pub(super) fn clear_up(&mut self) {
        self.weather = Weather::FAIR;
    }

    /// Takes a datagram.
    pub(super) fn send(&mut self, now: Time, datagram: Datagram, rng: &mut ChaCha8Rng) {
        let happens = |rng: &mut ChaCha8Rng, percent: u8| rng.random_range(0..100) < percent;
        if happens(rng, self.weather.lost) {
            return;
        }
        let copies = 1 + u8::from(happens(rng, self.weather.doubled));
        for _ in 0..copies {
            let late = if happens(rng, self.weather.late) {
                400
            } else {
                0
            };
            let delay = Duration::from_micros(rng.random_range(200..8000))
                + Duration::from_millis(rng.random_range(0..=late));
            self.sent += 1;
            self.flying
                .insert((now + delay, self.sent), datagram.clone());
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
