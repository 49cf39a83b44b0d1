//! What happens to datagrams on their way, each thing a small node: a path is a list of them.
//!
//! A node takes one datagram, as how late it is by then, and gives what comes out: nothing, it, or it
//! twice, each as late as it is behind the node.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_storage::time::Time;

/// A datagram that comes to a node of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    /// When it comes there.
    pub(super) at: Time,
    pub(super) bytes: usize,
}

/// One thing that happens on the way.
pub(super) trait Impairment: std::fmt::Debug {
    /// When it comes out behind the node: never, once, or more often.
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time>;
}

/// The way takes its time, each datagram another; so some overtake others.
#[derive(Debug)]
pub(super) struct Delay {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Impairment for Delay {
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time> {
        vec![passing.at + rng.random_range(self.from..self.to)]
    }
}

/// So many in a hundred are lost, each by itself.
#[derive(Debug)]
pub(super) struct Loss(pub(super) u8);

impl Impairment for Loss {
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time> {
        match happens(rng, self.0) {
            true => Vec::new(),
            false => vec![passing.at],
        }
    }
}

/// Now and then everything is lost for a while.
#[derive(Debug)]
pub(super) struct Outages {
    /// Of a hundred datagrams, so many are the first of an outage.
    pub(super) begin: u8,
    pub(super) last: Duration,
    over_at: Time,
}

impl Outages {
    pub(super) fn new(begin: u8, last: Duration) -> Outages {
        let over_at = Time(0);
        Outages {
            begin,
            last,
            over_at,
        }
    }
}

impl Impairment for Outages {
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time> {
        if passing.at >= self.over_at && happens(rng, self.begin) {
            self.over_at = passing.at + self.last;
        }
        match passing.at < self.over_at {
            true => Vec::new(),
            false => vec![passing.at],
        }
    }
}

/// So many in a hundred come twice.
#[derive(Debug)]
pub(super) struct Doubling(pub(super) u8);

impl Impairment for Doubling {
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time> {
        let copies = 1 + usize::from(happens(rng, self.0));
        vec![passing.at; copies]
    }
}

/// So many in a hundred are held up on the way, by up to so much.
#[derive(Debug)]
pub(super) struct Lateness {
    pub(super) percent: u8,
    pub(super) most: Duration,
}

impl Impairment for Lateness {
    fn pass(&mut self, passing: Passing, rng: &mut ChaCha8Rng) -> Vec<Time> {
        let late = match happens(rng, self.percent) {
            true => rng.random_range(Duration::ZERO..self.most),
            false => Duration::ZERO,
        };
        vec![passing.at + late]
    }
}

/// A narrow line with a short queue before it: what finds the queue full is lost.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bytes_per_s: u64,
    /// What waits longer than that is not taken.
    pub(super) queue: Duration,
    free_at: Time,
}

impl Line {
    pub(super) fn new(bytes_per_s: u64, queue: Duration) -> Line {
        let free_at = Time(0);
        Line {
            bytes_per_s,
            queue,
            free_at,
        }
    }
}

impl Impairment for Line {
    fn pass(&mut self, passing: Passing, _: &mut ChaCha8Rng) -> Vec<Time> {
        let begins = self.free_at.max(passing.at);
        if begins.since(passing.at) > self.queue {
            return Vec::new();
        }
        let takes_us = passing.bytes as u64 * 1_000_000 / self.bytes_per_s;
        self.free_at = begins + Duration::from_micros(takes_us);
        vec![self.free_at]
    }
}

fn happens(rng: &mut ChaCha8Rng, percent: u8) -> bool {
    rng.random_range(0..100) < percent
}
