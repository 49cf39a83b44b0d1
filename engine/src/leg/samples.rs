//! A leg's sound as samples: for a listener with another codec, for the recorder; and what the leg
//! hears that does not come in its codec.
//!
//! The worker calls [`Leg::update_decoder`] whenever who hears whom, a codec, or what is played or recorded
//! has changed: there, and nowhere else, decoders and encoders are made.

use super::*;
use crate::codec::halfband::HalfBand;
use crate::seq::CLOCK_HZ;

/// Samples a packet has room for at 8 kHz: what is played is made so.
const PLAYED_SAMPLES_MAX: usize = MADE_BYTES_MAX;
/// Samples at 8 kHz the recorder may be handed at once: a packet and the gap before it.
const RECORDED_SAMPLES_MAX: usize = 2400;

/// Writes samples down as a party would that speaks the recorder's codec.
#[derive(Debug)]
pub(super) struct RecordingTranscoder {
    halve: HalfBand,
    narrow: Vec<i16>,
    timestamp: u32,
    /// When the last samples came.
    at: Time,
}

/// Of whom a leg is heard, as far as that matters to its sound.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    codec: Codec,
    dtmf_clock_hz: u32,
}

impl Leg {
    /// The leg as one who hears another.
    pub fn as_listener(&self) -> Listener {
        Listener {
            codec: self.codec(),
            dtmf_clock_hz: self.dtmf_clock_hz(),
        }
    }

    /// Makes ready what it takes to be heard by `listener` and to be recorded. Gives the rate of
    /// the samples that the listener will be fed, if any.
    pub fn update_decoder(
        &mut self,
        now: Time,
        listener: Option<Listener>,
        counters: &mut Counters,
    ) -> Option<u32> {
        let codec = self.codec_in;
        let other = listener.filter(|l| !codec.passes_to(l.codec));
        let is_written = self.is_recorded() && !codec.is_g711();
        let clocks_differ = listener.is_some_and(|l| l.dtmf_clock_hz != self.dtmf_clock_hz());
        self.transcode = other.is_some();
        self.regenerate_dtmf = other.is_some() || clocks_differ;
        if other.is_none() && !is_written {
            self.inbound = None;
            self.recording_transcoder = None;
            return None;
        }
        let wanted_hz = other.and_then(|l| l.codec.rate_hz());
        let rate_hz = codec.rate_hz().or(wanted_hz).unwrap_or(CLOCK_HZ as u32);
        let serves = |i: &Inbound| i.codec() == codec && i.rate_hz() >= rate_hz;
        if !self.inbound.as_deref().is_some_and(serves) {
            self.inbound = Inbound::new(codec, rate_hz).map(Box::new);
            counters.codecs_unavailable += u64::from(self.inbound.is_none());
        }
        if is_written && self.recording_transcoder.is_none() {
            self.recording_transcoder = Some(Box::new(RecordingTranscoder::new(now)));
        }
        let rate_hz = self.inbound.as_ref()?.rate_hz();
        other.map(|_| rate_hz)
    }

    /// Makes ready what it takes to hear samples of `rate_hz`, if it is to hear any, and what is
    /// played.
    pub fn update_encoder(
        &mut self,
        rate_hz: Option<u32>,
        opus: &OpusConfig,
        counters: &mut Counters,
    ) {
        let codec = self.codec();
        let is_played_to = !codec.is_g711() && self.is_spoken_to();
        let played_hz = is_played_to.then_some(CLOCK_HZ as u32);
        if let Some(rate_hz) = rate_hz.max(played_hz) {
            self.make_outbound(rate_hz, opus, counters);
        }
    }

    /// Makes an encoder for samples of this rate, unless there is one.
    pub(super) fn make_outbound(
        &mut self,
        rate_hz: u32,
        opus: &OpusConfig,
        counters: &mut Counters,
    ) {
        let codec = self.codec();
        let ptime_ms = self.ptime().as_millis() as u32;
        let serves = |o: &Outbound| o.serves(codec, rate_hz, ptime_ms);
        if !self.outbound.as_deref().is_some_and(serves) {
            self.outbound = Outbound::new(codec, rate_hz, ptime_ms, opus).map(Box::new);
            counters.codecs_unavailable += u64::from(self.outbound.is_none());
        }
    }

    /// A packet of the party as samples: for the recorder at once, for the listener in `inbound`.
    pub(super) fn decode(
        &mut self,
        now: Time,
        taken: &RxPacket,
        bytes: &[u8],
        context: &mut LegContext<'_>,
    ) -> Option<Flow> {
        let inbound = self.inbound.as_mut()?;
        let heard = inbound.on_packet(&taken.header, &bytes[taken.payload.clone()]);
        let Ok(flow) = heard else {
            self.report.packets_malformed += 1;
            context.counters.packets_malformed += 1;
            return None;
        };
        if flow == Flow::Late {
            context.counters.packets_unused += 1;
            self.recorders().for_each(|r| r.note_late());
            return None;
        }
        if let Some(transcoder) = &mut self.recording_transcoder {
            let seq = taken.header.seq;
            let recorders = self.recorder.as_deref_mut().into_iter();
            let recorders = recorders.chain(&mut self.taps);
            transcoder.write(now, inbound, (flow, seq), recorders);
        }
        Some(flow)
    }

    /// What the party said last, for a listener with another codec.
    pub fn said(&self) -> Option<&Inbound> {
        self.inbound.as_deref()
    }

    /// The party hears itself in another codec than it speaks.
    pub fn echo_transcoded(&mut self, now: Time, taken: &RxPacket, context: &mut LegContext<'_>) {
        let said = self.inbound.take();
        self.hear(now, taken, said.as_deref(), context);
        self.inbound = said;
    }

    /// Another party said something that this one hears in its own codec.
    pub fn hear(
        &mut self,
        now: Time,
        taken: &RxPacket,
        said: Option<&Inbound>,
        context: &mut LegContext<'_>,
    ) {
        if let Some(digit) = taken.digit {
            self.press(now, digit, context);
        }
        let (Some(flow), Some(said)) = (taken.flow, said) else {
            return;
        };
        let busy = self.player.is_some() || self.press.is_some();
        if busy || self.may_send().is_none() {
            return;
        }
        if flow == Flow::Begins {
            self.pause();
        }
        context.counters.packets_transcoded += 1;
        self.on_source(now);
        self.say(now, said.pcm(), said.rate_hz(), context);
    }

    /// Sends samples to the party, as far as they fill packets.
    pub(super) fn say(
        &mut self,
        now: Time,
        pcm: &[i16],
        rate_hz: u32,
        context: &mut LegContext<'_>,
    ) {
        let Some(payload_type) = self.may_send().map(|p| p.payload_type) else {
            return;
        };
        let Some(outbound) = &mut self.outbound else {
            return;
        };
        outbound.set_complexity(context.complexity);
        outbound.feed(pcm, rate_hz);
        while let Some(encoded) = outbound.pop(context.payload()) {
            if encoded.bytes == 0 {
                self.stream.skip(now, encoded.ticks);
                continue;
            }
            let octets = encoded.bytes as u32;
            let header = self.stream.own(now, payload_type, encoded.ticks, octets);
            context.send(&header, encoded.bytes);
        }
    }

    /// Fills a packet time from the player, for a codec that is not G.711.
    pub(super) fn say_played(
        &mut self,
        now: Time,
        ptime: Duration,
        context: &mut LegContext<'_>,
    ) -> Filled {
        let Some(player) = &mut self.player else {
            return Filled::Nothing;
        };
        let samples = ptime.as_millis() as usize * 8;
        let mut law = [0; PLAYED_SAMPLES_MAX];
        let law = &mut law[..samples];
        let filled = player.fill(Codec::Pcmu, law);
        if filled == Filled::Sound {
            let mut pcm = [0; PLAYED_SAMPLES_MAX];
            for (sample, byte) in pcm.iter_mut().zip(&*law) {
                *sample = Codec::Pcmu.decode(*byte);
            }
            self.say(now, &pcm[..samples], CLOCK_HZ as u32, context);
        }
        filled
    }

    /// A packet time of nothing, for a codec that is not G.711.
    pub(super) fn say_nothing(&mut self, now: Time, ptime: Duration, context: &mut LegContext<'_>) {
        let samples = ptime.as_millis() as usize * 8;
        let pcm = [0; PLAYED_SAMPLES_MAX];
        self.say(now, &pcm[..samples], CLOCK_HZ as u32, context);
    }

    /// The clock of the party's telephone-events.
    pub(super) fn dtmf_clock_hz(&self) -> u32 {
        let params = self.params.as_ref();
        params.map_or(CLOCK_HZ as u32, |p| p.dtmf_clock_hz)
    }
}

impl RxPacket {
    /// A key was pressed with it.
    pub fn is_key(&self) -> bool {
        self.digit.is_some()
    }
}

impl RecordingTranscoder {
    fn new(now: Time) -> RecordingTranscoder {
        RecordingTranscoder {
            halve: HalfBand::down(),
            narrow: Vec::with_capacity(RECORDED_SAMPLES_MAX),
            timestamp: 0,
            at: now,
        }
    }

    fn write<'a>(
        &mut self,
        now: Time,
        said: &Inbound,
        (flow, seq): (Flow, u16),
        recorders: impl Iterator<Item = &'a mut Recorder>,
    ) {
        self.narrow.clear();
        if said.rate_hz() == CLOCK_HZ as u32 {
            self.narrow.extend_from_slice(said.pcm());
        } else {
            self.halve.halve(said.pcm(), &mut self.narrow);
        }
        if flow == Flow::Begins {
            let pause = crate::stream::samples_in(self.at, now);
            self.timestamp = self.timestamp.wrapping_add(pause);
        }
        self.at = now;
        let from = self.timestamp;
        for recorder in recorders {
            self.timestamp = from;
            recorder.note_packet(seq);
            for piece in self.narrow.chunks(PAYLOAD_BYTES_MAX) {
                let mut law = [0; PAYLOAD_BYTES_MAX];
                for (byte, sample) in law.iter_mut().zip(piece) {
                    *byte = recorder.codec().encode(*sample);
                }
                recorder.on_decoded(now, self.timestamp, &law[..piece.len()]);
                self.timestamp = self.timestamp.wrapping_add(piece.len() as u32);
            }
        }
    }
}
