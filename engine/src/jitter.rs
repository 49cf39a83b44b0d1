//! Puts packets back in order, for those who need them so.
//!
//! A packet that comes in order is used from where it lies; only one that overtook another is
//! copied and kept until the missing one comes or has been waited for long enough. What is lost
//! stays lost: the taker sees it by the timestamps.
//!
//! Bounds: [`HELD_MAX`] packets of [`PAYLOAD_BYTES_MAX`].

use std::time::Duration;

use tandem_storage::time::Time;

/// The most packets kept waiting.
pub const HELD_MAX: usize = 8;
/// The longest payload: 200 ms of G.711, which receivers must take (RFC 3551 §4.2).
pub const PAYLOAD_BYTES_MAX: usize = 1600;
/// How long a missing packet is waited for.
pub const WAIT: Duration = Duration::from_millis(80);

/// The buffer. It is large; keep it in a box.
#[derive(Clone, Debug)]
pub struct Jitter {
    /// The sequence number that is in order next.
    next: Option<u16>,
    held: [Held; HELD_MAX],
    held_count: usize,
}

/// A packet that waits for another.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    at: Time,
    /// Its sequence number.
    pub seq: u16,
    len: usize,
    used: bool,
    /// Its timestamp.
    pub timestamp: u32,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is next: use it, then ask [`Jitter::pop`] for those that waited for it.
    InOrder,
    /// It was copied and waits.
    Held,
    /// It comes too late, twice, or there is no room.
    Dropped,
}

const EMPTY: Held = Held {
    at: Time(0),
    seq: 0,
    len: 0,
    used: false,
    timestamp: 0,
    payload: [0; PAYLOAD_BYTES_MAX],
};

impl Held {
    /// Its samples.
    pub fn payload(&self) -> &[u8] {
        &self.payload[..self.len]
    }
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter {
            next: None,
            held: [EMPTY; HELD_MAX],
            held_count: 0,
        }
    }
}

impl Jitter {
    /// A packet has come.
    pub fn offer(&mut self, now: Time, seq: u16, timestamp: u32, payload: &[u8]) -> Offer {
        let ahead = self.next.map_or(0, |next| seq.wrapping_sub(next) as i16);
        if ahead == 0 {
            self.next = Some(seq.wrapping_add(1));
            return Offer::InOrder;
        }
        let known = self.held.iter().any(|h| h.used && h.seq == seq);
        let Some(room) = self.held.iter_mut().find(|h| !h.used) else {
            return Offer::Dropped;
        };
        if ahead < 0 || known || payload.len() > PAYLOAD_BYTES_MAX {
            return Offer::Dropped;
        }
        *room = Held {
            at: now,
            seq,
            len: payload.len(),
            used: true,
            timestamp,
            ..*room
        };
        room.payload[..payload.len()].copy_from_slice(payload);
        self.held_count += 1;
        Offer::Held
    }

    /// The next packet that need not wait any longer. It stays readable until the next `offer`.
    pub fn pop(&mut self, now: Time) -> Option<&Held> {
        if self.held_count == 0 {
            return None;
        }
        let next = self.next?;
        let (place, first) = self
            .held
            .iter()
            .enumerate()
            .filter(|(_, h)| h.used)
            .min_by_key(|(_, h)| h.seq.wrapping_sub(next))?;
        let overdue = self.held.iter().any(|h| h.used && now.since(h.at) >= WAIT);
        if first.seq != next && !overdue && self.held_count < HELD_MAX {
            return None;
        }
        self.next = Some(first.seq.wrapping_add(1));
        self.held_count -= 1;
        self.held[place].used = false;
        Some(&self.held[place])
    }

    /// When [`Jitter::pop`] should be asked again.
    pub fn deadline(&self) -> Option<Time> {
        if self.held_count == 0 {
            return None;
        }
        self.held
            .iter()
            .filter(|h| h.used)
            .map(|h| h.at + WAIT)
            .min()
    }

    /// Another source: nothing that waits belongs to it.
    pub fn reset(&mut self) {
        self.next = None;
        self.held_count = 0;
        for h in &mut self.held {
            h.used = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds sequence numbers 20 ms apart and gives the order in which they come out.
    fn order(seqs: &[u16]) -> Vec<u16> {
        let mut jitter = Jitter::default();
        let mut out = Vec::new();
        for (n, seq) in seqs.iter().enumerate() {
            let now = Time(n as u64 * 20_000_000);
            if jitter.offer(now, *seq, u32::from(*seq), &[0; 160]) == Offer::InOrder {
                out.push(*seq);
            }
            while let Some(held) = jitter.pop(now) {
                out.push(held.timestamp as u16);
            }
        }
        let late = Time(u64::MAX);
        while let Some(held) = jitter.pop(late) {
            out.push(held.timestamp as u16);
        }
        out
    }

    #[test]
    fn order_is_restored_over_the_wrap() {
        assert_eq!(
            order(&[65534, 0, 65535, 2, 1, 3]),
            [65534, 65535, 0, 1, 2, 3]
        );
    }

    #[test]
    fn duplicates_and_latecomers_are_dropped() {
        assert_eq!(order(&[1, 2, 2, 1, 4, 4, 3, 3]), [1, 2, 3, 4]);
    }

    #[test]
    fn a_lost_packet_is_waited_for_and_then_passed_over() {
        assert_eq!(order(&[1, 3, 4, 5, 6, 7, 8]), [1, 3, 4, 5, 6, 7, 8]);
        let mut jitter = Jitter::default();
        jitter.offer(Time(0), 1, 0, &[]);
        jitter.offer(Time(5), 3, 0, &[]);
        assert!(jitter.pop(Time(6)).is_none());
        assert_eq!(jitter.deadline(), Some(Time(5) + WAIT));
        assert!(jitter.pop(Time(5) + WAIT).is_some());
        assert_eq!(jitter.deadline(), None);
    }

    #[test]
    fn a_full_buffer_gives_way() {
        let seqs: Vec<u16> = std::iter::once(1).chain(3..40).collect();
        assert_eq!(order(&seqs), seqs);
    }
}
