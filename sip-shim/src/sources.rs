//! Who tries too often: one allowance of failed logins and one of REGISTERs per source address.
//!
//! Whoever has used up an allowance waits until it has grown back; nobody else notices. Two
//! generations of entries bound the table without ever being searched: when the young one is
//! full it becomes the old one, and what nobody asked for in the meantime is forgotten.

use std::net::IpAddr;
use std::time::Duration;

use tandem_storage::time::Time;

use crate::kit::{Kit, TextMap};

/// The allowances of all sources.
#[derive(Debug)]
pub(crate) struct Sources {
    young: TextMap<IpAddr, Source>,
    old: TextMap<IpAddr, Source>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    failures: Allowance,
    registers: Allowance,
}

/// So many at once, and one more each interval.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    grown_at: Time,
}

impl Sources {
    pub(crate) fn new(kit: &Kit) -> Sources {
        Sources {
            young: TextMap::with_hasher(kit.keyed),
            old: TextMap::with_hasher(kit.keyed),
        }
    }

    /// A REGISTER came from there. `false`: one too many.
    pub(crate) fn take_register(&mut self, kit: &Kit, ip: IpAddr) -> bool {
        let interval = Duration::from_secs(1) / kit.config.registers_per_second.max(1);
        let most = kit.config.registers_burst_max;
        self.of(kit, ip)
            .registers
            .take(kit.now.mono, most, interval)
    }

    /// A login from there was wrong.
    pub(crate) fn take_failure(&mut self, kit: &Kit, ip: IpAddr) {
        let (most, interval) = failure_limits(kit);
        self.of(kit, ip).failures.take(kit.now.mono, most, interval);
    }

    /// May a login from there be tried?
    pub(crate) fn may_try(&mut self, kit: &Kit, ip: IpAddr) -> bool {
        let (most, interval) = failure_limits(kit);
        let failures = &mut self.of(kit, ip).failures;
        failures.grow(kit.now.mono, most, interval);
        failures.left > 0
    }

    fn of(&mut self, kit: &Kit, ip: IpAddr) -> &mut Source {
        let ip = block_of(ip);
        if !self.young.contains_key(&ip) {
            if self.young.len() >= (kit.config.sources_max / 2).max(1) {
                self.old = std::mem::replace(&mut self.young, TextMap::with_hasher(kit.keyed));
            }
            let source = self.old.remove(&ip).unwrap_or_else(|| Source::new(kit));
            self.young.insert(ip, source);
        }
        self.young
            .get_mut(&ip)
            .expect("it was inserted above if it was missing")
    }
}

fn failure_limits(kit: &Kit) -> (u32, Duration) {
    let interval = Duration::from_secs(60) / kit.config.failures_per_minute.max(1);
    (kit.config.failures_burst_max, interval)
}

/// Whoever has one IPv6 address has 2^64 of them.
fn block_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Source {
    fn new(kit: &Kit) -> Source {
        let full = |left| Allowance {
            left,
            grown_at: kit.now.mono,
        };
        Source {
            failures: full(kit.config.failures_burst_max),
            registers: full(kit.config.registers_burst_max),
        }
    }
}

impl Allowance {
    fn take(&mut self, now: Time, most: u32, interval: Duration) -> bool {
        self.grow(now, most, interval);
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }

    fn grow(&mut self, now: Time, most: u32, interval: Duration) {
        let steps = now.since(self.grown_at).as_nanos() / interval.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(steps).min(most);
        self.grown_at = match self.left == most {
            true => now,
            false => self.grown_at + interval * steps,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ShimConfig;

    #[test]
    fn an_allowance_is_used_up_and_grows_back() {
        let mut kit = Kit::new(ShimConfig::default(), 1);
        let mut sources = Sources::new(&kit);
        let (bad, good) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..10 {
            assert!(sources.may_try(&kit, bad));
            sources.take_failure(&kit, bad);
        }
        assert!(!sources.may_try(&kit, bad));
        assert!(sources.may_try(&kit, good));
        kit.now.mono = Time(10_000_000_000);
        assert!(sources.may_try(&kit, bad));
        sources.take_failure(&kit, bad);
        assert!(!sources.may_try(&kit, bad));
    }

    #[test]
    fn the_table_stays_bounded() {
        let kit = Kit::new(
            ShimConfig {
                sources_max: 100,
                ..ShimConfig::default()
            },
            1,
        );
        let mut sources = Sources::new(&kit);
        for n in 0..10_000u32 {
            sources.take_register(&kit, IpAddr::from(n.to_be_bytes()));
        }
        assert!(sources.young.len() + sources.old.len() <= 100);
    }
}
