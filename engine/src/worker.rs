//! The core of a worker: its legs, who hears whom, whose turn it is.
//!
//! The shell hands in datagrams, commands and the time, and carries out what [`Worker::poll`]
//! gives, until it gives nothing. A packet to be passed on does not go through there: it is
//! rewritten where it lies, and [`Worker::on_rtp`] says by whose port it leaves.
//!
//! ```text
//! on_rtp ─> Leg::on_rtp ─ taken ─> Leg::relay of the one who hears it ─> Forward
//! on_time ─> Leg::on_time of those whose turn it is ─> poll
//! on_time ─> Room::mix ─> Leg::hear_… of its members ─> poll
//! on_command ─> Leg ─> poll
//! ```
//!
//! Bounds: [`LEGS_MAX`] legs; a leg has one live timer; a room has a member at least.

mod rooms;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::ops::Range;
use std::slice::GetDisjointMutError;
use std::sync::Arc;
use std::time::Duration;

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::codec::effort::ComplexityControl;
use crate::leg::{Leg, LegContext, RxPacket};
use crate::output::{Outbox, Output, Packet, Slot};
use crate::player::{Player, Read};
use crate::prompts::Prompts;
use crate::random::Random;
use crate::recorder::Recorder;
use crate::seam::Codec;
use crate::seam::{Command, Event, LegId, LegReport, OpusConfig, PlayId, PlayItem, RecordEnd};
use crate::stats::Counters;
use rooms::Rooms;

/// The most legs on one worker: about twice what a core can relay.
pub const LEGS_MAX: usize = 8192;
/// A timer served this much after its time is counted.
const LATE: Duration = Duration::from_millis(5);

/// A worker's core.
pub struct Worker {
    legs: Vec<Option<Box<Leg>>>,
    slots: BTreeMap<LegId, Slot>,
    slots_free: Vec<Slot>,
    rooms: Rooms,
    /// Timers by time. An entry that is not its leg's `timer` is out of date.
    timers: BinaryHeap<Reverse<(Time, Slot)>>,
    common: Common,
    prompts: Arc<Prompts>,
    plays: u32,
    opus: OpusConfig,
}

/// What all legs work with. It stands apart from them, so that two of them can be borrowed beside it.
struct Common {
    out: Outbox,
    counters: Counters,
    random: Random,
    media_timeout: Duration,
    effort: ComplexityControl,
}

/// A packet to be sent on from the buffer it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// By whose port.
    pub slot: Slot,
    /// Which part of the buffer.
    pub range: Range<usize>,
}

impl Worker {
    /// A worker without legs.
    pub fn new(prompts: Arc<Prompts>, media_timeout: Duration, seed: u64) -> Worker {
        Worker {
            legs: Vec::new(),
            slots: BTreeMap::new(),
            slots_free: Vec::new(),
            rooms: Rooms::default(),
            timers: BinaryHeap::new(),
            common: Common {
                out: Outbox::default(),
                counters: Counters::default(),
                random: Random::new(seed),
                media_timeout,
                effort: ComplexityControl::new(OpusConfig::default().complexity),
            },
            prompts,
            plays: 0,
            opus: OpusConfig::default(),
        }
    }

    /// How Opus is encoded, for encoders made from now on.
    pub fn set_opus(&mut self, opus: OpusConfig) {
        self.opus = opus;
        self.common.effort = ComplexityControl::new(opus.complexity);
    }

    /// A leg opens; `None` if there is no room for it or its name is packet.
    pub fn open(&mut self, now: Time, id: LegId) -> Option<Slot> {
        let leg = Leg::new(now, id, &mut self.common.random);
        self.adopt(Box::new(leg)).ok()
    }

    /// A leg comes, new or from another worker. Given back if there is no room for it or its name
    /// is packet.
    pub fn adopt(&mut self, mut leg: Box<Leg>) -> Result<Slot, Box<Leg>> {
        if self.slots.len() >= LEGS_MAX || self.slots.contains_key(&leg.id()) {
            return Err(leg);
        }
        let slot = self.slots_free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            Slot((self.legs.len() - 1) as u32)
        });
        leg.timer = None;
        self.slots.insert(leg.id(), slot);
        self.legs[slot.0 as usize] = Some(leg);
        self.schedule(slot);
        Ok(slot)
    }

    /// A leg goes to another worker. Its slot is free after [`Worker::on_left`].
    pub fn release(&mut self, id: LegId) -> Option<(Slot, Box<Leg>)> {
        let slot = self.find(id)?;
        self.unbridge(slot);
        self.slots.remove(&id);
        let mut leg = self.legs.get_mut(slot.0 as usize)?.take()?;
        // Pieces read for it would come here, and it goes in order to be bridged.
        leg.change_source();
        Some((slot, leg))
    }

    /// Nothing is under way any more for a leg that went.
    pub fn on_left(&mut self, slot: Slot) {
        self.slots_free.push(slot);
    }

    /// A datagram on a leg's RTP port. `from` is `None` if the socket is connected.
    pub fn on_rtp(
        &mut self,
        now: Time,
        slot: Slot,
        from: Option<SocketAddr>,
        bytes: &mut [u8],
    ) -> Option<Forward> {
        let mut heard = self.hear(now, slot, from, bytes)?;
        if heard.0.is_none() && self.parts(slot)?.0.take_codec_change() {
            self.update_codecs(now, slot);
            heard = self.hear(now, slot, from, bytes)?;
        }
        let (packet, to) = heard;
        if from.is_some() {
            self.schedule(slot);
        }
        let (packet, to) = (packet?, to?);
        if !packet.direct {
            self.carry_samples(now, slot, to, &packet);
            return None;
        }
        let listener = self.legs.get_mut(to.0 as usize)?.as_mut()?;
        let range = listener.relay(now, packet, bytes, &mut self.common.counters)?;
        Some(Forward { slot: to, range })
    }

    /// Hands a datagram to its leg: what it takes, and who hears it.
    fn hear(
        &mut self,
        now: Time,
        slot: Slot,
        from: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Option<(Option<RxPacket>, Option<Slot>)> {
        let (leg, mut context) = self.parts(slot)?;
        let packet = leg.on_rtp(now, from, bytes, &mut context);
        Some((packet, leg.to))
    }

    /// A listener with another codec hears what was said.
    fn carry_samples(&mut self, now: Time, slot: Slot, to: Slot, packet: &RxPacket) {
        let both = [slot, to].map(|slot| slot.0 as usize);
        match self.legs.get_disjoint_mut(both) {
            Ok([Some(leg), Some(listener)]) => {
                let mut context = self.common.context(to);
                listener.hear(now, packet, leg.said(), &mut context);
            }
            // An echo.
            Err(GetDisjointMutError::OverlappingIndices) => {
                if let Some((leg, mut context)) = self.parts(slot) {
                    leg.echo_transcoded(now, packet, &mut context);
                }
            }
            Ok(_) | Err(GetDisjointMutError::IndexOutOfBounds) => {}
        }
        if packet.is_key() {
            self.schedule(to);
        }
    }

    /// A datagram on a leg's RTCP port.
    pub fn on_rtcp(&mut self, now: Time, slot: Slot, from: SocketAddr, bytes: &[u8]) {
        if let Some((leg, mut context)) = self.parts(slot) {
            leg.on_rtcp(now, from, bytes, &mut context);
        }
    }

    /// Call control wants something.
    pub fn on_command(&mut self, now: Time, command: Command) {
        match command {
            Command::Set { leg, params } => {
                self.with(now, leg, |leg, context| leg.set(now, params, context));
                self.tell_hold(now, leg);
            }
            Command::Bridge { a, b } => self.bridge(now, a, b),
            Command::Unbridge { leg } => {
                if let Some(slot) = self.find(leg) {
                    self.unbridge(slot);
                }
                self.with(now, leg, |_, _| {});
            }
            Command::Echo { leg } => self.bridge(now, leg, leg),
            Command::Join { leg, room, member } => self.join(now, leg, room, member),
            Command::PlayToRoom { leg, items } => self.play_to_room(leg, items),
            Command::Play { leg, play, items } => self.play(now, leg, play, items),
            Command::PlayMore {
                leg,
                play,
                places,
                is_last,
            } => self.with(now, leg, |leg, context| {
                leg.play_more(play, places, is_last, context);
            }),
            Command::StopPlay { leg } => self.with(now, leg, |leg, _| leg.stop_play()),
            Command::Record {
                leg,
                sound,
                limit,
                silence,
            } => {
                self.with(now, leg, |leg, context| {
                    let recorder = Recorder::new(
                        now,
                        sound,
                        Codec::of_sound(leg.codec().sound()),
                        limit,
                        silence,
                    );
                    leg.record(now, recorder, context);
                });
            }
            Command::StopRecord { leg } => self.with(now, leg, |leg, context| {
                leg.finish_recording(now, RecordEnd::Stopped, context);
            }),
            Command::Tap {
                leg,
                sound,
                codec,
                limit,
            } => self.with(now, leg, |leg, context| {
                let tap = Recorder::tap(now, sound, Codec::of_sound(codec), limit);
                leg.tap(tap, context);
            }),
            Command::PauseTap {
                leg,
                sound,
                is_paused,
            } => self.with(now, leg, |leg, _| leg.pause_tap(now, sound, is_paused)),
            Command::Untap { leg, sound } => {
                self.with(now, leg, |leg, context| leg.untap(now, sound, context));
            }
            Command::SendDigit { leg, digit } => {
                self.with(now, leg, |leg, context| leg.press(now, digit, context));
            }
            Command::Close { leg } => self.close(now, leg),
        }
    }

    /// A piece that was wanted has been read.
    pub fn on_piece(&mut self, slot: Slot, serial: u32, samples: Vec<u8>, read: Read) {
        self.common.counters.sounds_unreadable += u64::from(read == Read::Partly);
        self.common.counters.sounds_locked += u64::from(read == Read::Locked);
        if let Some((leg, mut context)) = self.parts(slot) {
            leg.on_piece(serial, samples, read, &mut context);
        }
    }

    /// The log took a chunk, for an empty one, or gave it back.
    pub fn on_chunk(
        &mut self,
        now: Time,
        (slot, sound): (Slot, Id),
        fate: Result<ChunkBlock, (u32, ChunkBlock)>,
    ) {
        if let Some((leg, mut context)) = self.parts(slot) {
            leg.on_chunk(now, sound, fate, &mut context);
            self.end_if_over(slot);
        }
    }

    /// The sockets of a leg are closed: its slot may be used again.
    pub fn on_closed(&mut self, slot: Slot, leg: LegId, report: LegReport) {
        self.common.counters.legs = self.slots.len() as u64;
        self.common.counters.packets_lost += u64::try_from(report.packets_lost).unwrap_or(0);
        self.slots_free.push(slot);
        self.common
            .out
            .push(Output::Event(Event::Closed { leg, report }));
    }

    /// Time has passed: serves those whose turn it is.
    pub fn on_time(&mut self, now: Time) {
        while let Some(&Reverse((due, slot))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            let Some((leg, mut context)) = self.parts(slot) else {
                continue;
            };
            if leg.timer != Some(due) {
                continue;
            }
            leg.timer = None;
            let late = now.since(due) > LATE;
            context.counters.late_ticks += u64::from(late);
            leg.on_time(now, &mut context);
            self.common.effort.on_served(now, late);
            self.end_if_over(slot);
            self.schedule(slot);
        }
        self.mix_rooms(now);
    }

    /// When [`Worker::on_time`] should be called.
    pub fn deadline(&self) -> Option<Time> {
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        [timer, self.rooms.deadline()].into_iter().flatten().min()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.common.out.poll()
    }

    /// The bytes of a packet that is to be sent, until [`Worker::poll`] gives nothing.
    pub fn packet(&self, packet: &Packet) -> &[u8] {
        self.common.out.packet(packet)
    }

    /// There are legs: packets may come at any time.
    pub fn has_legs(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The names of all legs.
    pub fn leg_ids(&self) -> Vec<LegId> {
        self.slots.keys().copied().collect()
    }

    /// The figures of all legs.
    pub fn reports(&self) -> Vec<(LegId, LegReport)> {
        self.legs
            .iter()
            .flatten()
            .map(|leg| (leg.id(), leg.report()))
            .collect()
    }

    /// The worker's counters; the shell adds what only it knows.
    pub fn counters(&mut self) -> &mut Counters {
        self.common.counters.legs = self.slots.len() as u64;
        self.common.counters.rooms = self.rooms.len() as u64;
        &mut self.common.counters
    }

    fn play(&mut self, now: Time, leg: LegId, play: PlayId, items: Vec<PlayItem>) {
        let (player, unknown) = Player::new(play, items, &self.prompts);
        self.common.counters.prompts_unknown += unknown;
        self.plays = self.plays.wrapping_add(1);
        let serial = self.plays;
        self.with(now, leg, |leg, context| {
            leg.play(now, player, serial, context)
        });
    }

    fn bridge(&mut self, now: Time, a: LegId, b: LegId) {
        let (Some(a), Some(b)) = (self.find(a), self.find(b)) else {
            return;
        };
        self.unbridge(a);
        self.unbridge(b);
        for (slot, to) in [(a, b), (b, a)] {
            if let Some((leg, _)) = self.parts(slot) {
                leg.change_source();
                leg.to = Some(to);
            }
        }
        self.update_codecs(now, a);
        for slot in [a, b] {
            self.hold_by(now, slot);
        }
    }

    /// Who is bridged to a leg is told whether that one holds it.
    fn tell_hold(&mut self, now: Time, leg: LegId) {
        let slot = self.slots.get(&leg).copied();
        if let Some(other) = slot.and_then(|slot| self.parts(slot)?.0.to) {
            self.hold_by(now, other);
        }
    }

    fn hold_by(&mut self, now: Time, slot: Slot) {
        let to = self.parts(slot).and_then(|(leg, _)| leg.to);
        let is_held = to.is_some_and(|to| self.parts(to).is_some_and(|(other, _)| other.holds()));
        if let Some((leg, _)) = self.parts(slot) {
            leg.hold(now, is_held, slot);
        }
        self.update_codecs(now, slot);
        self.schedule(slot);
    }

    /// Decoders and encoders are made ready for a leg, for who hears it and whom it hears.
    fn update_codecs(&mut self, now: Time, slot: Slot) {
        let Some((leg, _)) = self.parts(slot) else {
            return;
        };
        let other = leg.to;
        self.update_room(slot);
        self.update_codecs_one_way(now, slot, other);
        if let Some(other) = other.filter(|other| *other != slot) {
            self.update_codecs_one_way(now, other, Some(slot));
        }
    }

    fn update_codecs_one_way(&mut self, now: Time, slot: Slot, to: Option<Slot>) {
        let heard_by = to.and_then(|to| self.parts(to));
        let listener = heard_by.map(|(leg, _)| leg.as_listener());
        let opus = self.opus;
        let Some((leg, context)) = self.parts(slot) else {
            return;
        };
        if leg.is_in_room() {
            leg.update_playout(context.counters);
        }
        let rate_hz = leg.update_decoder(now, listener, context.counters);
        if to != Some(slot) {
            leg.update_encoder(None, &opus, context.counters);
        }
        if let Some((leg, context)) = to.and_then(|to| self.parts(to)) {
            leg.update_encoder(rate_hz, &opus, context.counters);
        }
    }

    /// Neither hears the other any more; who is in a room leaves it.
    fn unbridge(&mut self, slot: Slot) {
        self.leave_room(slot);
        let Some((leg, _)) = self.parts(slot) else {
            return;
        };
        let Some(other) = leg.to.take() else { return };
        if let Some((other, _)) = self.parts(other)
            && other.to == Some(slot)
        {
            other.to = None;
        }
    }

    fn close(&mut self, now: Time, leg: LegId) {
        let Some(slot) = self.find(leg) else { return };
        self.unbridge(slot);
        self.with(now, leg, |leg, context| leg.close(now, context));
        self.end_if_over(slot);
    }

    fn end_if_over(&mut self, slot: Slot) {
        let Some(place) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        if let Some(leg) = place.take_if(|leg| leg.is_over()) {
            self.slots.remove(&leg.id());
            self.common.out.push(Output::Close {
                slot,
                leg: leg.id(),
                report: leg.report(),
            });
        }
    }

    fn find(&mut self, leg: LegId) -> Option<Slot> {
        let slot = self.slots.get(&leg).copied();
        self.common.counters.commands_unknown += u64::from(slot.is_none());
        slot
    }

    fn with(&mut self, now: Time, leg: LegId, act: impl FnOnce(&mut Leg, &mut LegContext<'_>)) {
        let Some(slot) = self.find(leg) else { return };
        if let Some((leg, mut context)) = self.parts(slot) {
            act(leg, &mut context);
        }
        self.update_codecs(now, slot);
        self.schedule(slot);
    }

    /// A leg, and what it works with.
    fn parts(&mut self, slot: Slot) -> Option<(&mut Leg, LegContext<'_>)> {
        let leg = self.legs.get_mut(slot.0 as usize)?.as_mut()?;
        Some((leg, self.common.context(slot)))
    }

    fn schedule(&mut self, slot: Slot) {
        let media_timeout = self.common.media_timeout;
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let due = leg.deadline(media_timeout);
        if leg.timer.is_none_or(|timer| due < timer) {
            leg.timer = Some(due);
            self.timers.push(Reverse((due, slot)));
        }
    }
}

impl Common {
    /// What the leg in this place works with.
    fn context(&mut self, slot: Slot) -> LegContext<'_> {
        LegContext {
            slot,
            out: &mut self.out,
            counters: &mut self.counters,
            random: &mut self.random,
            media_timeout: self.media_timeout,
            complexity: self.effort.complexity(),
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({} legs)", self.slots.len())
    }
}
