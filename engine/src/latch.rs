//! Whose packets are these? Learns a party's address once, and keeps strangers out.
//!
//! A phone behind a router announces an address that means nothing here; its packets come from
//! somewhere else, and that is where ours must go (symmetric RTP). Learning is open for one second
//! from the first packet. Within it, a source nearer to what was signalled replaces one farther
//! off; then only signalling moves the address. A stranger who floods the port afterwards is
//! neither heard nor sent to ("RTP bleed").
//!
//! The leg asks about each packet whose sender it was told; once [`Latch::settled`], the shell
//! connects the socket and the kernel keeps strangers out.
//!
//! Sources: RFC 4961; RFC 7362 §4 (latching and its dangers).

use std::net::SocketAddr;
use std::time::Duration;

use tandem_storage::time::Time;

/// How long after the first packet the address may still be learned.
pub const LEARNING: Duration = Duration::from_secs(1);

/// One channel's idea of where its party is.
#[derive(Clone, Debug, Default)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    may_learn: bool,
    learned: Option<Learned>,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    address: SocketAddr,
    rank: Rank,
    until: Time,
}

/// How near a source is to what was signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Elsewhere,
    SameHost,
    AsSignalled,
}

/// What a packet's source means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The party.
    Party,
    /// The party, at an address that is new to us.
    PartyMoved,
    /// Somebody else: to be dropped.
    Stranger,
}

impl Latch {
    /// Signalling says where the party is. The same address as before changes nothing, so that a
    /// session refresh does not open the door again.
    pub fn set(&mut self, signalled: Option<SocketAddr>, may_learn: bool) {
        if signalled != self.signalled || !may_learn {
            self.learned = None;
        }
        self.signalled = signalled;
        self.may_learn = may_learn;
    }

    /// Where to send.
    pub fn address(&self) -> Option<SocketAddr> {
        self.learned.map(|l| l.address).or(self.signalled)
    }

    /// The party's packets have shown where it is.
    pub fn is_learned(&self) -> bool {
        self.learned.is_some()
    }

    /// Nothing but signalling will move the address any more.
    pub fn settled(&self, now: Time) -> bool {
        match self.learned {
            Some(l) => l.rank == Rank::AsSignalled || now >= l.until,
            None => !self.may_learn && self.signalled.is_some(),
        }
    }

    /// When [`Latch::settled`] becomes true by itself.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        self.learned.filter(|_| !self.settled(now)).map(|l| l.until)
    }

    /// Judges a well-formed packet's source.
    pub fn on_packet(&mut self, now: Time, from: SocketAddr) -> Source {
        let rank = self.rank(from);
        match self.learned {
            Some(l) if l.address == from => Source::Party,
            Some(l) if now < l.until && rank > l.rank => self.learn(from, rank, l.until),
            Some(_) => Source::Stranger,
            None if self.may_learn => self.learn(from, rank, now + LEARNING),
            None if self.signalled == Some(from) => Source::Party,
            None => Source::Stranger,
        }
    }

    fn learn(&mut self, from: SocketAddr, rank: Rank, until: Time) -> Source {
        let moved = self.address() != Some(from);
        self.learned = Some(Learned {
            address: from,
            rank,
            until,
        });
        if moved {
            Source::PartyMoved
        } else {
            Source::Party
        }
    }

    fn rank(&self, from: SocketAddr) -> Rank {
        match self.signalled {
            Some(s) if s == from => Rank::AsSignalled,
            Some(s) if s.ip() == from.ip() => Rank::SameHost,
            _ => Rank::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: &str = "192.168.1.20:4000";
    const ROUTER: &str = "198.51.100.7:31234";
    const ATTACKER: &str = "203.0.113.66:9";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn latch(may_learn: bool) -> Latch {
        let mut latch = Latch::default();
        latch.set(Some(addr(SIGNALLED)), may_learn);
        latch
    }

    #[test]
    fn a_phone_behind_a_router_is_found_and_then_kept() {
        let mut l = latch(true);
        assert_eq!(l.address(), Some(addr(SIGNALLED)));
        assert_eq!(l.on_packet(at(0), addr(ROUTER)), Source::PartyMoved);
        assert_eq!(l.address(), Some(addr(ROUTER)));
        assert!(!l.settled(at(999)) && l.settled(at(1000)));
        assert_eq!(l.on_packet(at(5000), addr(ROUTER)), Source::Party);
    }

    #[test]
    fn a_stranger_steals_nothing() {
        let mut l = latch(true);
        l.on_packet(at(0), addr(ROUTER));
        for ms in [1, 500, 999, 1000, 60_000] {
            assert_eq!(l.on_packet(at(ms), addr(ATTACKER)), Source::Stranger);
            assert_eq!(l.address(), Some(addr(ROUTER)));
        }
    }

    #[test]
    fn the_signalled_address_wins_within_the_second_and_settles_at_once() {
        let mut l = latch(true);
        l.on_packet(at(0), addr(ATTACKER));
        assert_eq!(
            l.on_packet(at(400), addr("192.168.1.20:4444")),
            Source::PartyMoved
        );
        assert_eq!(l.on_packet(at(500), addr(SIGNALLED)), Source::PartyMoved);
        assert!(l.settled(at(500)));
        assert_eq!(l.on_packet(at(600), addr(ATTACKER)), Source::Stranger);
    }

    #[test]
    fn after_the_second_even_the_signalled_address_is_a_stranger() {
        let mut l = latch(true);
        l.on_packet(at(0), addr(ROUTER));
        assert_eq!(l.on_packet(at(1000), addr(SIGNALLED)), Source::Stranger);
    }

    #[test]
    fn only_a_new_signalled_address_opens_learning_again() {
        let mut l = latch(true);
        l.on_packet(at(0), addr(ROUTER));
        l.set(Some(addr(SIGNALLED)), true);
        assert_eq!(l.on_packet(at(9000), addr(ATTACKER)), Source::Stranger);
        l.set(Some(addr("192.168.1.21:4000")), true);
        assert_eq!(
            l.on_packet(at(9000), addr("192.168.1.21:4000")),
            Source::Party
        );
    }

    #[test]
    fn without_leave_to_learn_only_the_signalled_address_is_heard() {
        let mut l = latch(false);
        assert!(l.settled(at(0)));
        assert_eq!(l.on_packet(at(0), addr(ROUTER)), Source::Stranger);
        assert_eq!(l.on_packet(at(0), addr(SIGNALLED)), Source::Party);
    }
}
