//! A leg in a room: what it says as frames, and what it hears of the others.

use super::*;
use crate::output::MADE_BYTES_MAX;

/// What a leg is sent while it only hears: those of whom it is the same share the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The codec.
    pub codec: Codec,
    /// Milliseconds of sound in a packet.
    pub ptime_ms: u32,
}

/// The rate of Opus in a room, in samples a second.
const OPUS_HZ: u32 = 16_000;

impl Leg {
    /// It comes into a room: nobody else is heard from now on.
    pub fn enter_room(&mut self, counters: &mut Counters) {
        self.change_source();
        self.update_playout(counters);
    }

    /// It is in a room.
    pub fn is_in_room(&self) -> bool {
        self.playout.is_some()
    }

    /// It leaves the room.
    pub fn leave_room(&mut self) {
        if self.playout.take().is_some() {
            self.report.level_dbfs = 0;
            self.pause();
        }
    }

    /// Makes ready what it takes to be heard in the room, in the codec that the party speaks.
    pub fn update_playout(&mut self, counters: &mut Counters) {
        let serves = |p: &Playout| p.codec() == self.codec_in;
        if self.playout.as_deref().is_some_and(serves) {
            return;
        }
        // A payload that cannot be decoded for want of memory leaves the party silent.
        let playout = Playout::new(self.codec_in, OPUS_HZ).map(Box::new);
        counters.codecs_unavailable += u64::from(playout.is_none());
        self.playout = playout.or_else(|| self.playout.take());
    }

    /// What the party says in this frame, put in place of what was in `frame`. Gives its rate;
    /// without sound it is empty.
    pub fn take_frame(&mut self, frame: &mut Vec<i16>, counters: &mut Counters) -> u32 {
        frame.clear();
        let Some(playout) = &mut self.playout else {
            return OPUS_HZ;
        };
        let before = playout.counts();
        frame.resize(playout.frame_samples(), 0);
        if !playout.frame(frame) {
            frame.clear();
        }
        let after = playout.counts();
        counters.frames_concealed += after.concealed - before.concealed;
        counters.packets_unused += after.late + after.discarded - before.late - before.discarded;
        playout.rate_hz()
    }

    /// How loud the party is, for who asks.
    pub fn set_level(&mut self, level_dbfs: f32) {
        // The cast saturates.
        self.report.level_dbfs = (level_dbfs as i8).min(-1);
    }

    /// What it is to be sent, if it can hear the room now.
    pub fn wanted(&self) -> Option<Wanted> {
        let is_busy = self.player.is_some() || self.press.is_some() || self.closing;
        if is_busy || self.may_send().is_none() {
            return None;
        }
        Some(Wanted {
            codec: self.codec(),
            ptime_ms: self.ptime().as_millis() as u32,
        })
    }

    /// It hears something that only it hears.
    pub fn hear_apart(
        &mut self,
        now: Time,
        pcm: &[i16],
        rate_hz: u32,
        opus: &OpusConfig,
        context: &mut LegContext<'_>,
    ) {
        self.make_outbound(rate_hz, opus, context.counters);
        context.counters.packets_mixed += 1;
        self.say(now, pcm, rate_hz, context);
    }

    /// It hears something that was encoded for several; of nothing, only the time passes.
    pub fn hear_shared(
        &mut self,
        now: Time,
        payload: &[u8],
        ticks: u32,
        context: &mut LegContext<'_>,
    ) {
        let Some(payload_type) = self.may_send().map(|p| p.payload_type) else {
            return;
        };
        if payload.is_empty() || payload.len() > MADE_BYTES_MAX {
            self.stream.skip(now, ticks);
            return;
        }
        context.counters.packets_mixed += 1;
        context.payload()[..payload.len()].copy_from_slice(payload);
        let octets = payload.len() as u32;
        let header = self.stream.own(now, payload_type, ticks, octets);
        context.send(&header, payload.len());
    }
}
