//! What a leg does when time has passed: sends what is played, keys, reports; misses its party.

use super::*;
use crate::seq::CLOCK_HZ;

impl Leg {
    /// When the leg wants to be called next.
    pub fn deadline(&self, media_timeout: Duration) -> Time {
        let pressing = self.press.is_some() || !self.presses.is_empty();
        [
            Some(self.reporter.deadline()),
            self.is_spoken_to().then_some(self.packet_due),
            pressing.then_some(self.press_due),
            self.recorder.as_ref().map(|r| r.deadline()),
            self.taps.iter().map(|tap| tap.deadline()).min(),
            (self.misses_party() && !self.timeout_told).then(|| self.heard + media_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
        .expect("the reporter always has a deadline")
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Time, context: &mut LegContext<'_>) {
        self.send_presses(now, context);
        self.send_played(now, context);
        if self.is_recorded() {
            self.recorders().for_each(|r| r.on_time(now));
            self.after_recording(now, context);
        }
        if now >= self.reporter.deadline() {
            self.send_report(now, false, context);
            self.reporter.schedule(now, context.random);
        }
        self.check_timeout(now, context);
    }

    /// Its party should send. One that closes waits for nobody: its timer must not come due for ever.
    fn misses_party(&self) -> bool {
        self.params.as_ref().is_some_and(talks) && !self.closing
    }

    fn check_timeout(&mut self, now: Time, context: &mut LegContext<'_>) {
        if self.misses_party() && !self.timeout_told && now >= self.heard + context.media_timeout {
            self.timeout_told = true;
            context.tell(Event::MediaTimeout { leg: self.id });
        }
    }

    /// We make packets for it ourselves: something is played, or it hears nobody, since who it is
    /// bridged to holds it or it is alone. Who is in a room is spoken to by the room. It is then sent silence, so that nobody takes it for a line
    /// that is dead, and NATs keep the way open.
    pub(super) fn is_spoken_to(&self) -> bool {
        let has_nobody = self.to.is_none() && self.playout.is_none();
        let hears_nobody = (has_nobody || self.is_held) && !self.closing;
        self.player.is_some() || hears_nobody && self.may_send().is_some()
    }

    /// The party it is bridged to does not want to hear it, and may send nothing either.
    pub fn hold(&mut self, now: Time, is_held: bool, slot: Slot) {
        if is_held && !self.is_held {
            self.packet_due = in_phase(now + HELD_AFTER, self.ptime(), slot);
        }
        self.is_held = is_held;
    }

    /// Whoever holds it says something all the same, music for instance.
    pub(super) fn on_source(&mut self, now: Time) {
        if self.is_held && self.player.is_none() {
            self.packet_due = now + HELD_AFTER;
        }
    }

    fn send_played(&mut self, now: Time, context: &mut LegContext<'_>) {
        let ptime = self.ptime();
        while self.is_spoken_to() && now >= self.packet_due {
            if now.since(self.packet_due) > BEHIND_MAX {
                context.counters.packets_skipped += 1;
                self.packet_due = in_phase(now, ptime, context.slot);
                return;
            }
            self.packet_due = self.packet_due + ptime;
            match (&self.press, &self.player) {
                (Some(_), _) => {}
                (None, Some(_)) => self.send_played_packet(now, ptime, context),
                (None, None) => self.send_silence(now, ptime, context),
            }
        }
    }

    fn send_played_packet(&mut self, now: Time, ptime: Duration, context: &mut LegContext<'_>) {
        let codec = self.codec();
        let samples = ptime.as_millis() as usize * 8;
        let filled = match &mut self.player {
            Some(player) if codec.is_g711() => {
                player.fill(codec, &mut context.payload()[..samples])
            }
            _ => self.say_played(now, ptime, context),
        };
        let Some(player) = &mut self.player else {
            return;
        };
        context.counters.sounds_late += player.take_late();
        if filled == Filled::Nothing {
            let play = player.play();
            self.stop_play();
            context.tell(Event::PlayDone { leg: self.id, play });
            return;
        }
        self.read_ahead(context);
        let Some(params) = self.may_send().filter(|_| codec.is_g711()) else {
            return;
        };
        let ticks = samples as u32;
        let payload_type = params.payload_type;
        let header = self.stream.own(now, payload_type, ticks, ticks);
        context.send(&header, samples);
    }

    /// While somebody speaks to a machine, routers and gateways on the way want to see packets.
    fn send_silence(&mut self, now: Time, ptime: Duration, context: &mut LegContext<'_>) {
        if !self.codec().is_g711() {
            return self.say_nothing(now, ptime, context);
        }
        let silence = self.codec().silence();
        let Some(payload_type) = self.may_send().map(|params| params.payload_type) else {
            return;
        };
        let samples = ptime.as_millis() as usize * 8;
        context.payload()[..samples].fill(silence);
        let ticks = samples as u32;
        let header = self.stream.own(now, payload_type, ticks, ticks);
        context.send(&header, samples);
    }

    fn send_presses(&mut self, now: Time, context: &mut LegContext<'_>) {
        if now < self.press_due {
            return;
        }
        if self.press.is_none() {
            let Some(digit) = self.presses.pop_front() else {
                return;
            };
            self.press = Press::new(now, digit);
            if self.press.is_none() {
                context.counters.digits_dropped += 1;
                return;
            }
            self.stream.begin_event(now);
        }
        match self.press.as_mut().and_then(|press| press.next(now)) {
            Some(event) => {
                self.press_due = now + PRESS_STEP;
                let Some(payload_type) = self.may_send().and_then(|p| p.dtmf_payload_type) else {
                    return;
                };
                //= RFC 4733 §2.5.1.2
                //# DTMF digits and other named telephone events are carried as part of the audio
                //# stream, and they MUST use the same sequence number and timestamp base as the
                //# regular audio channel to simplify the generation of audio waveforms at a
                //# gateway.
                //= RFC 4733 §2.5.1.2
                //# The update packets MUST have the same RTP timestamp value as the initial packet
                //# for the event, but the duration MUST be increased to reflect the total
                //# cumulative duration since the beginning of the event.
                //= RFC 4733 §2.5.1.6
                //# The RTP sequence number MUST be incremented by one in each successive RTP packet
                //# sent.
                let header = self.stream.event(now, payload_type, event.marker);
                let per_8k = (self.dtmf_clock_hz() / CLOCK_HZ as u32) as u16;
                let payload = Payload {
                    duration: event.payload.duration.saturating_mul(per_8k),
                    ..event.payload
                };
                let bytes = payload.to_bytes();
                context.payload()[..bytes.len()].copy_from_slice(&bytes);
                context.send(&header, bytes.len());
            }
            None => {
                self.press = None;
                self.press_due = now + dtmf::GAP;
            }
        }
    }

    pub(super) fn send_report(&mut self, now: Time, bye: bool, context: &mut LegContext<'_>) {
        let Some(to) = self.rtcp_address() else {
            return;
        };
        let us = Ourselves {
            ssrc: self.stream.ssrc(),
            ntp: ntp(now),
            timestamp: self.stream.timestamp_now(now),
            packets: self.stream.packets(),
            octets: self.stream.octets(),
        };
        let block = self.reception.take_block();
        let draft = context.out.draft();
        let into = draft.first_chunk_mut().expect("a report fits");
        let len = self.reporter.write(now, &us, block, bye, into);
        context.counters.reports_sent += 1;
        context.out.send(context.slot, Channel::Rtcp(to), len);
    }

    fn rtcp_address(&self) -> Option<SocketAddr> {
        self.params.as_ref()?;
        self.rtcp.address(self.rtp.address()?)
    }
}
