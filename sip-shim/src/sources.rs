//! Who tries too often: an allowance of failed logins for each user at each source address, and for the
//! address as a whole one of failed logins, one of REGISTERs and one of challenges.
//!
//! Whoever has used up an allowance waits until it has grown back; nobody else notices: a phone with an
//! old password does not shut out the others behind its router. Two
//! generations of entries bound the table without ever being searched: when the young one is
//! full it becomes the old one, and what nobody asked for in the meantime is forgotten.

use std::net::IpAddr;
use std::time::Duration;

use tandem_storage::time::Time;

use crate::context::{ShimContext, TextMap};

/// The allowances of all sources.
#[derive(Debug)]
pub(crate) struct Sources {
    young: TextMap<Key, Source>,
    old: TextMap<Key, Source>,
}

/// An address, and a user that somebody there claims to be; empty: the address as a whole.
type Key = (IpAddr, Box<str>);

/// The longest name of a user that is told apart.
const USER_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Source {
    failures: Allowance,
    registers: Allowance,
    challenges: Allowance,
}

/// So many at once, and one more each interval.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    grown_at: Time,
}

impl Sources {
    pub(crate) fn new(cx: &ShimContext) -> Sources {
        Sources {
            young: TextMap::with_hasher(cx.keyed),
            old: TextMap::with_hasher(cx.keyed),
        }
    }

    /// A REGISTER came from there. `false`: one too many.
    pub(crate) fn take_register(&mut self, cx: &ShimContext, ip: IpAddr) -> bool {
        let interval = Duration::from_secs(1) / cx.config.registers_per_second.max(1);
        let most = cx.config.registers_burst_max;
        self.of(cx, ip, "")
            .registers
            .take(cx.now.mono, most, interval)
    }

    /// A challenge is to go there. `false`: one too many.
    pub(crate) fn take_challenge(&mut self, cx: &ShimContext, ip: IpAddr) -> bool {
        let interval = Duration::from_secs(1) / cx.config.challenges_per_second.max(1);
        let most = cx.config.challenges_burst_max;
        self.of(cx, ip, "")
            .challenges
            .take(cx.now.mono, most, interval)
    }

    /// A login of `user` from there was wrong.
    pub(crate) fn take_failure(&mut self, cx: &ShimContext, ip: IpAddr, user: &str) {
        for (user, (most, interval)) in [(user, failure_limits(cx)), ("", address_limits(cx))] {
            self.of(cx, ip, user)
                .failures
                .take(cx.now.mono, most, interval);
        }
    }

    /// May a login of `user` from there be tried? `is_known`: a phone of that user is there, so that
    /// what others at the address do does not matter.
    pub(crate) fn may_try(
        &mut self,
        cx: &ShimContext,
        ip: IpAddr,
        user: &str,
        is_known: bool,
    ) -> bool {
        let own = self.has_left(cx, ip, user, failure_limits(cx));
        own && (is_known || self.has_left(cx, ip, "", address_limits(cx)))
    }

    fn has_left(
        &mut self,
        cx: &ShimContext,
        ip: IpAddr,
        user: &str,
        limits: (u32, Duration),
    ) -> bool {
        let failures = &mut self.of(cx, ip, user).failures;
        failures.grow(cx.now.mono, limits.0, limits.1);
        failures.left > 0
    }

    fn of(&mut self, cx: &ShimContext, ip: IpAddr, user: &str) -> &mut Source {
        let user: Box<str> = user.chars().take(USER_BYTES_MAX).collect();
        let key = (block_of(ip), user);
        if !self.young.contains_key(&key) {
            if self.young.len() >= (cx.config.sources_max / 2).max(1) {
                self.old = std::mem::replace(&mut self.young, TextMap::with_hasher(cx.keyed));
            }
            let full = || Source::new(cx, key.1.is_empty());
            let source = self.old.remove(&key).unwrap_or_else(full);
            self.young.insert(key.clone(), source);
        }
        self.young
            .get_mut(&key)
            .expect("it was inserted above if it was missing")
    }
}

fn failure_limits(cx: &ShimContext) -> (u32, Duration) {
    let interval = Duration::from_secs(60) / cx.config.failures_per_minute.max(1);
    (cx.config.failures_burst_max, interval)
}

/// Of all users at one address together.
fn address_limits(cx: &ShimContext) -> (u32, Duration) {
    let interval = Duration::from_secs(60) / cx.config.address_failures_per_minute.max(1);
    (cx.config.address_failures_burst_max, interval)
}

/// Whoever has one IPv6 address has 2^64 of them.
pub(crate) fn block_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Source {
    fn new(cx: &ShimContext, is_address: bool) -> Source {
        let (failures, _) = match is_address {
            true => address_limits(cx),
            false => failure_limits(cx),
        };
        let full = |left| Allowance {
            left,
            grown_at: cx.now.mono,
        };
        Source {
            failures: full(failures),
            registers: full(cx.config.registers_burst_max),
            challenges: full(cx.config.challenges_burst_max),
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

    const AT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    /// Wrong logins of `user` until no more may be tried.
    fn wear_out(sources: &mut Sources, cx: &ShimContext, user: &str) -> usize {
        let mut tries = 0;
        while sources.may_try(cx, AT, user, false) {
            sources.take_failure(cx, AT, user);
            tries += 1;
        }
        tries
    }

    #[test]
    fn an_allowance_is_used_up_and_grows_back() {
        let mut cx = ShimContext::new(ShimConfig::default(), [1; 32]);
        let mut sources = Sources::new(&cx);
        assert_eq!(wear_out(&mut sources, &cx, "101"), 10);
        cx.now.mono = Time(10_000_000_000);
        assert_eq!(wear_out(&mut sources, &cx, "101"), 1);
    }

    #[test]
    fn an_old_password_shuts_out_nobody_else() {
        let cx = ShimContext::new(ShimConfig::default(), [1; 32]);
        let mut sources = Sources::new(&cx);
        wear_out(&mut sources, &cx, "101");
        assert!(sources.may_try(&cx, AT, "102", false));
        assert!(!sources.may_try(&cx, AT, "101", true), "known or not");
    }

    #[test]
    fn who_tries_many_users_is_slowed_and_known_phones_there_are_not() {
        let cx = ShimContext::new(ShimConfig::default(), [1; 32]);
        let mut sources = Sources::new(&cx);
        let tries: usize = (200..300)
            .map(|user| wear_out(&mut sources, &cx, &user.to_string()))
            .sum();
        assert_eq!(tries, 60);
        assert!(!sources.may_try(&cx, AT, "102", false));
        assert!(sources.may_try(&cx, AT, "102", true));
    }

    #[test]
    fn the_table_stays_bounded() {
        let cx = ShimContext::new(
            ShimConfig {
                sources_max: 100,
                ..ShimConfig::default()
            },
            [1; 32],
        );
        let mut sources = Sources::new(&cx);
        for n in 0..10_000u32 {
            sources.take_register(&cx, IpAddr::from(n.to_be_bytes()));
        }
        assert!(sources.young.len() + sources.old.len() <= 100);
    }
}
