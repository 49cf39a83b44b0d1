//! On which worker each room is: that of its first member, to which all others come.

use std::collections::BTreeMap;

use crate::seam::{LegId, RoomId};

/// The rooms that have members, and who is in them.
#[derive(Debug, Default)]
pub(super) struct RoomHomes {
    rooms: BTreeMap<RoomId, Home>,
    of: BTreeMap<LegId, RoomId>,
}

#[derive(Debug)]
struct Home {
    worker: usize,
    members: usize,
}

impl RoomHomes {
    /// A leg of this worker goes into a room: gives the room's worker.
    pub(super) fn join(&mut self, leg: LegId, room: RoomId, worker: usize) -> usize {
        if self.of.get(&leg) != Some(&room) {
            self.leave(leg);
            self.of.insert(leg, room);
            let home = self
                .rooms
                .entry(room)
                .or_insert(Home { worker, members: 0 });
            home.members += 1;
        }
        self.rooms.get(&room).map_or(worker, |home| home.worker)
    }

    /// A leg is in no room any more. A room without members is nowhere.
    pub(super) fn leave(&mut self, leg: LegId) {
        let Some(room) = self.of.remove(&leg) else {
            return;
        };
        if let Some(home) = self.rooms.get_mut(&room) {
            home.members -= 1;
            if home.members == 0 {
                self.rooms.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_where_its_first_member_was_until_the_last_has_gone() {
        let mut homes = RoomHomes::default();
        let [one, two] = [RoomId(1), RoomId(2)];
        assert_eq!(homes.join(LegId(1), one, 3), 3);
        assert_eq!(homes.join(LegId(2), one, 5), 3);
        assert_eq!(homes.join(LegId(2), one, 3), 3, "again");
        assert_eq!(homes.join(LegId(3), two, 5), 5);
        homes.leave(LegId(1));
        assert_eq!(homes.join(LegId(4), one, 6), 3);
        homes.leave(LegId(2));
        // From one room into another.
        assert_eq!(homes.join(LegId(4), two, 3), 5);
        assert_eq!(homes.join(LegId(5), one, 7), 7);
        homes.leave(LegId(9));
        assert_eq!((homes.rooms.len(), homes.of.len()), (2, 3));
    }
}
