//! Whose packets are these? Finds a party's address, and keeps strangers out.
//!
//! A phone behind a router announces an address that means nothing here; its packets come from
//! somewhere else, and that is where ours must go (symmetric RTP). Sources are ranked by how near they
//! are to what signalling says: the signalled address, the same host as signalled, the host that
//! the signalling itself comes from, anywhere else. The last counts only where a NAT was seen.
//!
//! - A packet from the signalled address is always the party's.
//! - Any other source must send several packets in order under one SSRC before it is believed, so that
//!   a sprayed port range gets nothing.
//! - A source of a better rank replaces one of a lower rank at any time.
//! - A source of the same rank replaces one that has fallen silent, if it is the host that
//!   was signalled or signals, or if it goes on with the party's SSRC and sequence numbers.
//! - The address that was signalled before a re-INVITE is not believed again. One that was learned must
//!   show for half a second that it still is the party's: late packets are not enough.
//!
//! The leg asks about each packet whose sender it was told; once [`Latch::settled`], the shell
//! connects the socket and the kernel keeps strangers out.
//!
//! Sources: RFC 4961; RFC 7362 §4 (latching and its dangers).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tandem_storage::time::Time;

use crate::rtp::Header;
use crate::seam::Learning;

/// Packets in order that make the signalled or the signalling host believed at another port.
pub const CONSISTENT_HOST: u8 = 3;
/// Packets in order that make any other source believed.
pub const CONSISTENT_ELSEWHERE: u8 = 6;
/// Packets in order that make a source believed that was the party's before it was signalled elsewhere.
pub const CONSISTENT_LEFT: u8 = 25;
/// A party that was not heard for so long may have moved.
pub const SILENT: Duration = Duration::from_millis(500);

/// How far ahead the next packet of a consistent source may be.
const AHEAD_MAX: u16 = 50;
/// How far ahead the first packet may be of a party that goes on from another address.
const AHEAD_MOVED_MAX: u16 = 3000;
/// Sources that are watched at a time before one is believed.
const CANDIDATES_MAX: usize = 4;

/// One channel's idea of where its party is.
#[derive(Clone, Debug, Default)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    learning: Learning,
    learned: Option<Learned>,
    left: Option<Left>,
    candidates: [Option<Candidate>; CANDIDATES_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    address: SocketAddr,
    rank: Rank,
    last: Seen,
}

/// Where the party was before it was signalled to be elsewhere.
#[derive(Clone, Copy, Debug)]
struct Left {
    address: SocketAddr,
    was_signalled: bool,
}

/// The last packet of a source.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Time,
    ssrc: u32,
    seq: u16,
}

/// A source that is not believed yet.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    rank: Rank,
    packets: u8,
    last: Seen,
}

/// How near a source is to what was signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Elsewhere,
    SignallingHost,
    SignalledHost,
    Signalled,
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
    /// Signalling says where the party is; `None`: it wants to hear nothing for now, and is where it
    /// was. The same address as before, from the same host, changes nothing, so that a session refresh
    /// does not open the door again.
    pub fn set(&mut self, signalled: Option<SocketAddr>, learning: Learning) {
        let signalled = signalled.or(self.signalled);
        let moved = signalled != self.signalled;
        if moved {
            self.left = self.address().map(|address| Left {
                address,
                was_signalled: self.signalled == Some(address),
            });
        }
        if moved || learning != self.learning {
            self.learned = None;
            self.candidates = Default::default();
        }
        self.signalled = signalled;
        self.learning = learning;
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
    pub fn settled(&self) -> bool {
        match self.learned {
            Some(l) => l.rank == Rank::Signalled,
            None => !self.learning.is_allowed && self.signalled.is_some(),
        }
    }

    /// Judges the source of a packet with an RTP header.
    pub fn on_packet(&mut self, now: Time, from: SocketAddr, header: &Header) -> Source {
        let seen = Seen {
            at: now,
            ssrc: header.ssrc,
            seq: header.seq,
        };
        let rank = self.rank(from);
        match &mut self.learned {
            Some(l) if l.address == from => {
                l.last = seen;
                return Source::Party;
            }
            None if self.signalled == Some(from) && !self.learning.is_allowed => {
                return Source::Party;
            }
            _ => {}
        }
        if rank == Rank::Signalled && self.learning.is_allowed {
            return self.learn(from, rank, seen);
        }
        if !self.may_replace(now, from, rank, &seen) {
            // What breaks the order breaks it also when it comes in between.
            let known = self.candidates.iter_mut().flatten();
            known
                .filter(|c| c.address == from)
                .for_each(|c| c.count(seen));
            return Source::Stranger;
        }
        match self.is_consistent(from, rank, seen) {
            true => self.learn(from, rank, seen),
            false => Source::Stranger,
        }
    }

    /// Is a datagram without an RTP header, a keep-alive say, the party's? It moves nothing.
    pub fn is_party(&self, from: SocketAddr) -> bool {
        self.address() == Some(from) || self.signalled == Some(from)
    }

    /// May this source be believed, once it was consistent for long enough?
    fn may_replace(&self, now: Time, from: SocketAddr, rank: Rank, seen: &Seen) -> bool {
        let was_signalled = |left: Left| left.address == from && left.was_signalled;
        if self.left.is_some_and(was_signalled) || !self.learning.is_allowed {
            return false;
        }
        let Some(learned) = self.learned else {
            return rank > Rank::Elsewhere || self.learning.anywhere;
        };
        let last = learned.last;
        let goes_on = last.ssrc == seen.ssrc && seen.is_after(&last, AHEAD_MOVED_MAX);
        let silent = now.since(last.at) >= SILENT;
        rank > learned.rank
            || silent && rank == learned.rank && (rank > Rank::Elsewhere || goes_on)
            || silent && goes_on && self.learning.anywhere && learned.rank < Rank::Signalled
    }

    /// Counts a source's packets in order. `true`: there were enough.
    fn is_consistent(&mut self, from: SocketAddr, rank: Rank, seen: Seen) -> bool {
        let needed = match rank {
            _ if self.left.is_some_and(|left| left.address == from) => CONSISTENT_LEFT,
            Rank::Elsewhere => CONSISTENT_ELSEWHERE,
            _ => CONSISTENT_HOST,
        };
        let known = self.candidates.iter_mut().flatten();
        let mut same = known.filter(|c| c.address == from);
        if let Some(candidate) = same.next() {
            candidate.count(seen);
            return candidate.packets >= needed;
        }
        let candidate = Candidate {
            address: from,
            rank,
            packets: 1,
            last: seen,
        };
        // The least credible one makes room, so that a spray does not push out a phone.
        let worth = |c: &Option<Candidate>| c.map(|c| (c.rank, c.packets, c.last.at));
        let place = self.candidates.iter_mut().min_by_key(|c| worth(c));
        if let Some(place) = place.filter(|p| worth(p).is_none_or(|w| w.0 <= rank)) {
            *place = Some(candidate);
        }
        false
    }

    fn learn(&mut self, from: SocketAddr, rank: Rank, last: Seen) -> Source {
        let moved = self.address() != Some(from);
        self.learned = Some(Learned {
            address: from,
            rank,
            last,
        });
        self.candidates = Default::default();
        if moved {
            Source::PartyMoved
        } else {
            Source::Party
        }
    }

    fn rank(&self, from: SocketAddr) -> Rank {
        match (self.signalled, self.learning.host) {
            (Some(s), _) if s == from => Rank::Signalled,
            (Some(s), _) if s.ip() == from.ip() => Rank::SignalledHost,
            (_, Some(host)) if host == from.ip() => Rank::SignallingHost,
            _ => Rank::Elsewhere,
        }
    }
}

impl Seen {
    /// The same stream, a little further on.
    fn is_after(&self, before: &Seen, ahead_max: u16) -> bool {
        (1..=ahead_max).contains(&self.seq.wrapping_sub(before.seq))
    }
}

impl Candidate {
    fn count(&mut self, seen: Seen) {
        let in_order = seen.ssrc == self.last.ssrc && seen.is_after(&self.last, AHEAD_MAX);
        self.packets = if in_order {
            self.packets.saturating_add(1)
        } else {
            1
        };
        self.last = seen;
    }
}

/// Where a party's RTCP comes from and goes to: as signalled, until it comes from another port of the
/// host its RTP comes from.
#[derive(Clone, Debug, Default)]
pub struct RtcpAddress {
    signalled: Option<SocketAddr>,
    may_learn: bool,
    learned: Option<SocketAddr>,
}

impl RtcpAddress {
    /// Signalling says where the party's RTCP is.
    pub fn set(&mut self, signalled: Option<SocketAddr>, learning: Learning) {
        self.may_learn = learning.is_allowed;
        if signalled != self.signalled {
            self.learned = None;
        }
        self.signalled = signalled;
    }

    /// Is it the party's? `rtp_ip`: the host its RTP comes from.
    pub fn on_packet(&mut self, from: SocketAddr, rtp_ip: Option<IpAddr>) -> bool {
        if self.signalled == Some(from) {
            self.learned = Some(from);
            return true;
        }
        let beside = self.may_learn && rtp_ip == Some(from.ip());
        if beside && self.learned != self.signalled {
            self.learned = Some(from);
        }
        beside
    }

    /// Where to send; `rtp`: where the party's RTP is. Beside RTP that was learned to be elsewhere than
    /// signalled, since behind a router the signalled address leads nowhere.
    pub fn address(&self, rtp: SocketAddr) -> Option<SocketAddr> {
        match self.learned.or(self.signalled) {
            Some(address) if address.ip() == rtp.ip() || self.learned.is_some() => Some(address),
            _ => port_above(rtp),
        }
    }
}

/// Where RTCP is, unless something else was said (RFC 3550 §11).
pub fn port_above(rtp: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: &str = "192.168.1.20:4000";
    const SAME_HOST: &str = "192.168.1.20:4444";
    const ROUTER: &str = "198.51.100.7:31234";
    const ROUTER_AGAIN: &str = "198.51.100.7:40000";
    const ATTACKER: &str = "203.0.113.66:9";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// The phone signals from its router's address.
    fn behind_nat() -> Learning {
        Learning::from_host(addr(ROUTER).ip(), true)
    }

    fn latch(learning: Learning) -> Latch {
        let mut latch = Latch::default();
        latch.set(Some(addr(SIGNALLED)), learning);
        latch
    }

    /// Packets `seqs` of a source each 20 ms from `ms` on; how many were taken.
    fn say(l: &mut Latch, ms: u64, from: &str, ssrc: u32, seqs: std::ops::Range<u16>) -> usize {
        let taken = seqs.enumerate().filter(|(n, seq)| {
            let header = Header {
                marker: false,
                payload_type: 0,
                seq: *seq,
                timestamp: 0,
                ssrc,
            };
            l.on_packet(at(ms + 20 * *n as u64), addr(from), &header) != Source::Stranger
        });
        taken.count()
    }

    #[test]
    fn a_phone_behind_a_router_is_found_after_three_packets() {
        let mut l = latch(behind_nat());
        assert_eq!(l.address(), Some(addr(SIGNALLED)));
        assert_eq!(say(&mut l, 0, ROUTER, 7, 0..10), 8);
        assert_eq!(l.address(), Some(addr(ROUTER)));
        assert!(!l.settled(), "a better source may still come");
    }

    #[test]
    fn single_packets_of_many_sources_get_nothing_and_silence_nobody() {
        let mut l = latch(behind_nat());
        for n in 0..1000u32 {
            let from = format!("203.0.113.{}:{}", n % 250, 1000 + n);
            assert_eq!(say(&mut l, 0, &from, n, 0..1), 0);
        }
        assert_eq!(l.address(), Some(addr(SIGNALLED)));
        assert_eq!(say(&mut l, 100, ROUTER, 7, 0..10), 8);
        assert_eq!(say(&mut l, 400, ATTACKER, 8, 0..100), 0);
        assert_eq!(say(&mut l, 2400, ROUTER, 7, 110..120), 10);
    }

    #[test]
    fn without_a_nat_nobody_elsewhere_is_ever_believed() {
        let mut l = latch(Learning::from_host(addr(SIGNALLED).ip(), false));
        assert_eq!(say(&mut l, 0, ATTACKER, 8, 0..500), 0);
        assert_eq!(say(&mut l, 0, SAME_HOST, 7, 0..5), 3);
    }

    #[test]
    fn a_better_source_wins_however_late_it_comes() {
        let mut l = latch(behind_nat());
        assert_eq!(say(&mut l, 0, ATTACKER, 8, 0..100), 95);
        assert_eq!(say(&mut l, 90_000, ROUTER, 7, 0..10), 8);
        assert_eq!(say(&mut l, 90_200, SAME_HOST, 7, 10..20), 8);
        assert_eq!(say(&mut l, 90_400, SIGNALLED, 7, 20..21), 1);
        assert!(l.settled());
        assert_eq!(l.address(), Some(addr(SIGNALLED)));
        assert_eq!(say(&mut l, 90_400, ROUTER, 7, 21..90), 0);
    }

    #[test]
    fn packets_that_do_not_go_on_from_each_other_are_not_a_party() {
        let mut l = latch(behind_nat());
        for n in 0..100u16 {
            let seq = n.wrapping_mul(7919);
            assert_eq!(say(&mut l, 0, ROUTER, 7, seq..seq.saturating_add(1)), 0);
            assert_eq!(say(&mut l, 0, ROUTER_AGAIN, u32::from(n), n..n + 1), 0);
        }
    }

    #[test]
    fn a_router_that_gives_another_port_is_followed_once_the_old_one_is_silent() {
        let mut l = latch(behind_nat());
        say(&mut l, 0, ROUTER, 7, 0..50);
        assert_eq!(say(&mut l, 1000, ROUTER_AGAIN, 9, 0..20), 0, "both speak");
        assert_eq!(say(&mut l, 2000, ROUTER_AGAIN, 9, 100..110), 8);
        assert_eq!(l.address(), Some(addr(ROUTER_AGAIN)));
    }

    #[test]
    fn a_party_that_goes_on_from_elsewhere_is_followed_and_another_is_not() {
        let mut l = latch(behind_nat());
        say(&mut l, 0, ROUTER, 7, 0..50);
        assert_eq!(say(&mut l, 5000, ATTACKER, 8, 0..50), 0);
        assert_eq!(say(&mut l, 6000, "198.51.100.9:5", 7, 60..80), 15);
    }

    #[test]
    fn the_address_a_party_was_moved_from_is_not_believed_again() {
        let mut l = latch(Learning::from_host(addr(SIGNALLED).ip(), false));
        assert_eq!(say(&mut l, 0, SIGNALLED, 7, 0..1), 1);
        l.set(Some(addr("192.168.1.20:5000")), l.learning);
        assert_eq!(l.address(), Some(addr("192.168.1.20:5000")));
        assert_eq!(say(&mut l, 20, SIGNALLED, 7, 1..500), 0);
        assert_eq!(say(&mut l, 20, SAME_HOST, 7, 1..500), 497);
    }

    #[test]
    fn late_packets_from_a_routers_old_port_do_not_move_a_party_back() {
        let mut l = latch(behind_nat());
        say(&mut l, 0, ROUTER, 7, 0..50);
        l.set(Some(addr("192.168.1.20:5000")), behind_nat());
        assert_eq!(say(&mut l, 1000, ROUTER, 7, 50..60), 0);
        assert_eq!(say(&mut l, 1200, ROUTER_AGAIN, 7, 60..70), 8);
        l.set(Some(addr("192.168.1.20:6000")), behind_nat());
        assert_eq!(say(&mut l, 2000, ROUTER_AGAIN, 7, 70..170), 76, "it stayed");
    }

    #[test]
    fn a_refresh_and_a_hold_change_nothing() {
        let mut l = latch(behind_nat());
        say(&mut l, 0, ROUTER, 7, 0..50);
        l.set(Some(addr(SIGNALLED)), behind_nat());
        l.set(None, behind_nat());
        assert_eq!(say(&mut l, 1000, ROUTER, 7, 50..60), 10);
        l.set(Some(addr(SIGNALLED)), behind_nat());
        assert_eq!(l.address(), Some(addr(ROUTER)));
    }

    #[test]
    fn signalling_from_another_host_opens_learning_again() {
        let mut l = latch(behind_nat());
        say(&mut l, 0, ROUTER, 7, 0..50);
        let moved = Learning::from_host("198.51.100.99".parse().unwrap(), true);
        l.set(Some(addr(SIGNALLED)), moved);
        assert_eq!(say(&mut l, 1000, "198.51.100.99:7", 9, 0..10), 8);
    }

    #[test]
    fn what_breaks_the_order_breaks_it_also_while_nobody_may_replace_the_party() {
        let mut l = latch(behind_nat());
        assert!(say(&mut l, 0, ROUTER, 1, 1..10) > 0);
        // Two in order while the party is silent, one out of order while it speaks.
        assert_eq!(say(&mut l, 60_000, ROUTER_AGAIN, 9, 10..12), 0);
        assert_eq!(say(&mut l, 60_100, ROUTER, 1, 20..22), 2);
        assert_eq!(say(&mut l, 60_200, ROUTER_AGAIN, 9, 200..201), 0);
        // The next one does not make three.
        assert_eq!(say(&mut l, 120_000, ROUTER_AGAIN, 9, 12..13), 0);
        // However many came while they could not count.
        assert_eq!(say(&mut l, 180_000, ROUTER, 1, 30..31), 1);
        assert_eq!(say(&mut l, 180_020, ROUTER_AGAIN, 9, 13..33), 0);
    }

    #[test]
    fn without_leave_to_learn_only_the_signalled_address_is_heard() {
        let mut l = latch(Learning::OFF);
        assert!(l.settled());
        assert_eq!(say(&mut l, 0, ROUTER, 7, 0..50), 0);
        assert_eq!(say(&mut l, 0, SIGNALLED, 7, 0..50), 50);
    }

    #[test]
    fn rtcp_follows_the_rtp_host() {
        let mut rtcp = RtcpAddress::default();
        rtcp.set(Some(addr("192.168.1.20:4001")), behind_nat());
        let router = addr(ROUTER);
        assert_eq!(rtcp.address(router), Some(addr("198.51.100.7:31235")));
        assert!(!rtcp.on_packet(addr(ATTACKER), Some(router.ip())));
        assert!(rtcp.on_packet(addr("198.51.100.7:777"), Some(router.ip())));
        assert_eq!(rtcp.address(router), Some(addr("198.51.100.7:777")));
    }
}
