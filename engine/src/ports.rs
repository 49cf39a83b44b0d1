//! Which port pairs of the range are free.
//!
//! The control thread takes a pair for a new leg and gives it back when the leg is gone. Pairs
//! used recently come last, so that packets still under way to a call that ended do not reach the
//! next one. Each pair is in the queue or in use, never both.
//!
//! Source: RFC 3550 §11 (RTP on the even port, RTCP on the odd one above it).

use std::collections::VecDeque;

/// The free pairs of a range, by their even port.
#[derive(Clone, Debug)]
pub struct Ports {
    first: u16,
    last: u16,
    free: VecDeque<u16>,
}

impl Ports {
    /// All pairs that lie wholly within `first..=last`.
    pub fn new((first, last): (u16, u16)) -> Ports {
        let even = first.checked_add(first & 1);
        let free = even.map_or_else(VecDeque::new, |even| (even..last).step_by(2).collect());
        Ports { first, last, free }
    }

    /// The pair that was used the longest time ago.
    pub fn take(&mut self) -> Option<u16> {
        self.free.pop_front()
    }

    /// Back behind all others.
    pub fn give_back(&mut self, even: u16) {
        debug_assert!(even.is_multiple_of(2) && (self.first..self.last).contains(&even));
        self.free.push_back(even);
    }

    /// How many pairs are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The range, as configured.
    pub fn range(&self) -> (u16, u16) {
        (self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_lie_within_the_range() {
        let all = |a, b| {
            std::iter::from_fn({
                let mut p = Ports::new((a, b));
                move || p.take()
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(all(10, 15), [10, 12, 14]);
        assert_eq!(all(11, 16), [12, 14]);
        assert_eq!(all(10, 10), [0u16; 0]);
        assert_eq!(all(65533, 65535), [65534]);
        assert_eq!(all(65535, 65535), [0u16; 0]);
        assert_eq!(all(20, 10), [0u16; 0]);
    }

    #[test]
    fn the_last_used_comes_last() {
        let mut p = Ports::new((10, 15));
        let a = p.take().unwrap();
        p.give_back(a);
        assert_eq!(
            [p.take(), p.take(), p.take(), p.take()],
            [Some(12), Some(14), Some(10), None]
        );
    }
}
