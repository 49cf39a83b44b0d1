//! The hybrid logical clock that stamps records.
//!
//! The writer asks it for a stamp a record; recovery shows it every stamp it finds, later the link
//! those of the peers. It follows the wall clock while that runs forward and counts on by itself
//! while it stands or is set back, so stamps only ever grow (Kulkarni et al., "Logical Physical
//! Clocks", 2014, in the form with one 64-bit number: 48 bits of milliseconds, 16 of counter).

use crate::seam::Hlc;
use crate::time::WallTime;

/// Makes stamps that only ever grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A stamp above every one it has given or seen.
    pub fn tick(&mut self, wall: WallTime) -> Hlc {
        // A counter that runs over its 16 bits borrows from the next millisecond, which is right.
        let counted_on = self.last.0.saturating_add(1);
        self.last = Hlc(counted_on.max(wall.0 << 16));
        self.last
    }

    /// Takes note of somebody's stamp.
    pub fn observe(&mut self, seen: Hlc) {
        self.last = self.last.max(seen);
    }
}

impl Hlc {
    /// The wall clock in it, for people.
    pub fn wall(self) -> WallTime {
        WallTime(self.0 >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_when_the_wall_clock_stands_or_is_set_back() {
        let mut clock = Clock::default();
        let mut last = Hlc(0);
        for wall in [5, 5, 9, 3, 0, 10, 10] {
            let stamp = clock.tick(WallTime(wall));
            assert!(stamp > last, "at {wall}");
            last = stamp;
        }
        assert_eq!(last.wall(), WallTime(10));
    }

    #[test]
    fn stamps_are_above_what_was_seen() {
        let mut clock = Clock::default();
        clock.observe(Hlc(77 << 16));
        assert_eq!(clock.tick(WallTime(3)), Hlc((77 << 16) + 1));
    }
}
