//! A worker's rooms: who is in which, and a frame of each every 20 ms.
//!
//! Who hears the same is sent the same: for each codec, packet time and set of groups that somebody
//! only listens to there is one encoder. Rooms have phases of their own inside the 20 ms, so that
//! work is level.

use super::*;
use crate::codec::outbound::{Encoded, Outbound};
use crate::leg::Wanted;
use crate::output::MADE_BYTES_MAX;
use crate::playout::FRAME_MS;
use crate::room::{Heard, Room};
use crate::seam::{Member, RoomId};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
/// A room further behind than this does not make up for it.
const BEHIND_MAX: Duration = Duration::from_millis(100);
/// Shared encoders of a room; who finds none is encoded for alone.
const SHARED_MAX: usize = 64;

/// The rooms of a worker.
#[derive(Default)]
pub(super) struct Rooms {
    rooms: BTreeMap<RoomId, Box<Mixed>>,
    /// In which room each member is.
    of: BTreeMap<Slot, RoomId>,
    /// When each room is due: the earliest first.
    due: BinaryHeap<Reverse<(Time, RoomId)>>,
    /// A member's frame, on its way into the room.
    frame: Vec<i16>,
}

/// A room, and what encodes for those who only listen.
struct Mixed {
    room: Room,
    shared: Vec<Shared>,
}

/// An encoder for all who hear the same.
struct Shared {
    hears: u8,
    wanted: Wanted,
    outbound: Outbound,
    /// The packets of this frame, one behind the other.
    bytes: Vec<u8>,
    packets: Vec<Encoded>,
    /// It was fed in this frame.
    is_fed: bool,
}

impl Rooms {
    /// How many rooms have somebody in them.
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// When the next frame is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }
}

impl Worker {
    pub(super) fn join(&mut self, now: Time, leg: LegId, room: RoomId, member: Member) {
        let Some(slot) = self.find(leg) else { return };
        if self.rooms.of.get(&slot) != Some(&room) {
            self.unbridge(slot);
        }
        let mixed = self.rooms.rooms.entry(room).or_insert_with(|| {
            let due = first_frame(now, room);
            self.rooms.due.push(Reverse((due, room)));
            Box::new(Mixed {
                room: Room::new(due),
                shared: Vec::new(),
            })
        });
        if !mixed.room.join(slot, member) {
            self.common.counters.rooms_full += 1;
            self.common.out.push(Output::Event(Event::RoomFull { leg }));
            return;
        }
        if self.rooms.of.insert(slot, room) != Some(room)
            && let Some((leg, context)) = self.parts(slot)
        {
            leg.enter_room(context.counters);
        }
        self.set_rate(room);
        self.update_codecs(now, slot);
        self.schedule(slot);
    }

    /// A leg leaves the room that it is in, if any. An empty room is no more.
    pub(super) fn leave_room(&mut self, slot: Slot) {
        let Some(room) = self.rooms.of.remove(&slot) else {
            return;
        };
        if let Some((leg, _)) = self.parts(slot) {
            leg.leave_room();
        }
        if let Some(mixed) = self.rooms.rooms.get_mut(&room) {
            mixed.room.leave(slot);
            if mixed.room.is_empty() {
                self.rooms.rooms.remove(&room);
                self.rooms.due.retain(|Reverse((_, other))| *other != room);
            }
        }
    }

    pub(super) fn play_to_room(&mut self, leg: LegId, items: Vec<PlayItem>) {
        let Some(slot) = self.find(leg) else { return };
        let Some(room) = self.rooms.of.get(&slot).copied() else {
            self.common.counters.commands_unknown += 1;
            return;
        };
        // A sound of the log would have to be read for it.
        let is_at_hand = |item: &PlayItem| !matches!(item, PlayItem::Sound { .. });
        let items = items.into_iter().filter(is_at_hand).collect();
        let (player, unknown) = Player::new(PlayId(0), items, &self.prompts);
        self.common.counters.prompts_unknown += unknown;
        if let Some(mixed) = self.rooms.rooms.get_mut(&room) {
            mixed.room.player = Some(player);
        }
    }

    /// Mixes the frames that are due.
    pub(super) fn mix_rooms(&mut self, now: Time) {
        while let Some(Reverse((due, id))) = self.rooms.due.peek().copied()
            && due <= now
        {
            self.rooms.due.pop();
            let Some(mut mixed) = self.rooms.rooms.remove(&id) else {
                continue;
            };
            let late = now.since(due);
            self.common.counters.late_ticks += u64::from(late > LATE);
            self.mix(now, &mut mixed);
            let next = if late > BEHIND_MAX {
                self.common.counters.packets_skipped += 1;
                first_frame(now, id)
            } else {
                due + FRAME
            };
            mixed.room.due = next;
            self.rooms.rooms.insert(id, mixed);
            self.rooms.due.push(Reverse((next, id)));
        }
    }

    /// A frame of a room.
    fn mix(&mut self, now: Time, mixed: &mut Mixed) {
        let Mixed { room, shared } = mixed;
        let mut frame = std::mem::take(&mut self.rooms.frame);
        for nth in 0..room.len() {
            let Some((leg, context)) = self.parts(room.slot(nth)) else {
                continue;
            };
            let rate_hz = leg.take_frame(&mut frame, context.counters);
            room.take_in(nth, &frame, rate_hz);
            leg.set_level(room.level_dbfs(nth));
        }
        self.rooms.frame = frame;
        room.mix();
        for encoder in shared.iter_mut() {
            encoder.is_fed = false;
        }
        let (rate_hz, opus) = (room.rate_hz(), self.opus);
        for nth in 0..room.len() {
            let slot = room.slot(nth);
            let Some((leg, mut context)) = self.parts(slot) else {
                continue;
            };
            let Some(wanted) = leg.wanted() else { continue };
            let hears = match room.heard_by(nth) {
                Heard::Nothing => continue,
                Heard::Apart(pcm) => {
                    leg.hear_apart(now, pcm, rate_hz, &opus, &mut context);
                    continue;
                }
                Heard::Shared(hears) => hears,
            };
            let pcm = room.shared(hears);
            let serves = |s: &&mut Shared| s.hears == hears && s.serves(wanted, rate_hz);
            let encoder = match shared.iter_mut().find(serves) {
                Some(encoder) => encoder,
                None => {
                    if shared.len() >= SHARED_MAX {
                        shared.retain(|s| s.is_fed);
                    }
                    match Shared::new(hears, wanted, rate_hz, &opus) {
                        Some(new) if shared.len() < SHARED_MAX => {
                            shared.push(new);
                            shared.last_mut().expect("it was pushed")
                        }
                        _ => {
                            leg.hear_apart(now, pcm, rate_hz, &opus, &mut context);
                            continue;
                        }
                    }
                }
            };
            encoder.feed(pcm, rate_hz, context.complexity);
            let mut from = 0;
            for packet in &encoder.packets {
                let payload = &encoder.bytes[from..from + packet.bytes];
                from += packet.bytes;
                leg.hear_shared(now, payload, packet.ticks, &mut context);
            }
        }
    }

    /// A room is mixed at the highest rate that one of its members hears.
    fn set_rate(&mut self, room: RoomId) {
        let Some(mixed) = self.rooms.rooms.get_mut(&room) else {
            return;
        };
        let wide = (0..mixed.room.len()).any(|nth| {
            let slot = mixed.room.slot(nth);
            let leg = self.legs.get(slot.0 as usize).and_then(Option::as_ref);
            leg.is_some_and(|leg| !leg.codec().is_g711())
        });
        mixed.room.set_rate(if wide { 16_000 } else { 8000 });
    }

    /// What a leg hears, or its codec, has changed: its room may have to be mixed at another rate.
    pub(super) fn update_room(&mut self, slot: Slot) {
        if let Some(room) = self.rooms.of.get(&slot).copied() {
            self.set_rate(room);
        }
    }
}

impl Shared {
    fn new(hears: u8, wanted: Wanted, rate_hz: u32, opus: &OpusConfig) -> Option<Shared> {
        Some(Shared {
            hears,
            wanted,
            outbound: Outbound::new(wanted.codec, rate_hz, wanted.ptime_ms, opus)?,
            bytes: Vec::with_capacity(2 * MADE_BYTES_MAX),
            packets: Vec::with_capacity(2),
            is_fed: false,
        })
    }

    fn serves(&self, wanted: Wanted, rate_hz: u32) -> bool {
        let Wanted { codec, ptime_ms } = wanted;
        self.wanted == wanted && self.outbound.serves(codec, rate_hz, ptime_ms)
    }

    /// Encodes the frame, unless that was done for another listener.
    fn feed(&mut self, pcm: &[i16], rate_hz: u32, complexity: u8) {
        if std::mem::replace(&mut self.is_fed, true) {
            return;
        }
        self.bytes.clear();
        self.packets.clear();
        self.outbound.set_complexity(complexity);
        self.outbound.feed(pcm, rate_hz);
        let mut payload = [0; MADE_BYTES_MAX];
        while let Some(packet) = self.outbound.pop(&mut payload) {
            self.bytes.extend_from_slice(&payload[..packet.bytes]);
            self.packets.push(packet);
        }
    }
}

/// The next moment that is this room's own.
fn first_frame(now: Time, room: RoomId) -> Time {
    let frame_ns = FRAME.as_nanos() as u64;
    // Eleven is prime to a frame's milliseconds, so that neighbours lie apart.
    let phase_ns = room.0 % 1000 * 11_000_000 % frame_ns;
    let into = (now.0 + frame_ns - phase_ns) % frame_ns;
    Time(now.0 + frame_ns - into)
}
