//! What comes from a leg's party, and what another party says to it.

use super::*;

/// The longest payload of Opus that is taken: one frame of 20 ms cannot be longer (RFC 6716 §3.4).
const OPUS_BYTES_MAX: usize = 1275;

impl Leg {
    /// A datagram on the RTP port. `from` is `None` once the kernel keeps strangers out. Gives the
    /// packet, if it is one of the party's that others may hear.
    pub fn on_rtp(
        &mut self,
        now: Time,
        from: Option<SocketAddr>,
        bytes: &[u8],
        around: &mut Around<'_>,
    ) -> Option<Taken> {
        let params = self.params.as_ref().filter(|p| p.receive && !self.closing);
        let Some(params) = params else {
            around.counters.packets_unused += 1;
            return None;
        };
        let Some(taken) = understand(bytes, params) else {
            self.report.packets_malformed += 1;
            around.counters.packets_malformed += 1;
            return None;
        };
        if let Some(from) = from {
            self.check_source(now, from, around)?;
        }
        let h = &taken.header;
        let order = self.reception.on_packet(now, h.ssrc, h.seq, h.timestamp);
        if order == Order::Stray {
            around.counters.packets_unused += 1;
            return None;
        }
        self.on_heard(now);
        self.report.packets_received += 1;
        around.counters.packets_received += 1;
        if order == Order::First {
            self.detector.reset();
            if let Some(recorder) = &mut self.recorder {
                recorder.on_source_change();
            }
        }
        let mut taken = taken;
        match taken.codec {
            Some(codec) => {
                taken.direct = !self.sound_anew;
                if self.inbound.is_some() {
                    taken.flow = self.decode(now, &taken, bytes, around);
                }
                if self.recorder.is_some() && codec.is_g711() {
                    self.record_sound(now, &taken, codec, bytes);
                }
            }
            None => {
                taken.direct = !self.keys_anew;
                taken.digit = self.on_event(&taken, bytes, around);
            }
        }
        Some(taken)
    }

    /// Passes another leg's packet on to this party: where it lies, under our header.
    pub fn relay(
        &mut self,
        now: Time,
        taken: Taken,
        bytes: &mut [u8],
        counters: &mut Counters,
    ) -> Option<Range<usize>> {
        let params = self.params.as_ref()?;
        let busy = self.player.is_some() || self.press.is_some();
        if !params.send || busy || self.rtp.address().is_none() {
            return None;
        }
        let payload_type = match taken.codec {
            Some(_) => params.payload_type,
            None => params.dtmf_payload_type?,
        };
        let octets = taken.payload.len() as u32;
        let ticks = match taken.codec {
            Some(Codec::Opus) => Codec::Opus.ticks(&bytes[taken.payload.clone()]),
            _ => octets,
        };
        let mut header = self.stream.relay(now, &taken.header, ticks, octets)?;
        header.payload_type = payload_type;
        if let Some(theirs) = taken.codec {
            transcode(theirs, params.codec, &mut bytes[taken.payload.clone()]);
        }
        counters.packets_sent += 1;
        counters.packets_relayed += 1;
        Some(rtp::rewrite(bytes, &header, taken.payload))
    }

    /// A datagram on the RTCP port.
    pub fn on_rtcp(&mut self, now: Time, from: SocketAddr, bytes: &[u8], around: &mut Around<'_>) {
        let Ok(heard) = rtcp::parse(bytes, self.stream.ssrc()) else {
            self.report.packets_malformed += 1;
            around.counters.packets_malformed += 1;
            return;
        };
        // Who does not even have the party's address does not get to teach us one.
        let beside = self.rtp.address().is_some_and(|rtp| rtp.ip() == from.ip());
        let likely = beside || self.rtcp.address() == Some(from);
        if self.params.is_none() || !likely || self.rtcp.on_packet(now, from) == Source::Stranger {
            self.count_stranger(around);
            return;
        }
        around.counters.reports_received += 1;
        self.on_heard(now);
        if let Some(about) = heard.about_us {
            self.report.fraction_lost_by_peer = about.fraction_lost;
        }
        let ntp_mid = (ntp(now) >> 16) as u32;
        if let Some(trip_us) = self.reporter.on_heard(now, ntp_mid, &heard) {
            self.report.round_trip_us = trip_us;
        }
    }

    fn on_heard(&mut self, now: Time) {
        self.heard = now;
        self.timeout_told = false;
    }

    fn check_source(&mut self, now: Time, from: SocketAddr, around: &mut Around<'_>) -> Option<()> {
        match self.rtp.on_packet(now, from) {
            Source::Party => {}
            Source::PartyMoved => self.tell_address(now, around),
            Source::Stranger => {
                self.count_stranger(around);
                return None;
            }
        }
        self.settle(now, around);
        Some(())
    }

    fn count_stranger(&mut self, around: &mut Around<'_>) {
        self.report.packets_from_strangers += 1;
        around.counters.packets_from_strangers += 1;
    }

    fn on_event(&mut self, taken: &Taken, bytes: &[u8], around: &mut Around<'_>) -> Option<char> {
        let payload = Payload::parse(&bytes[taken.payload.clone()])?;
        let digit = self.detector.on_packet(taken.header.timestamp, payload)?;
        around.tell(Event::Digit {
            leg: self.id,
            digit,
        });
        Some(digit)
    }

    fn record_sound(&mut self, now: Time, taken: &Taken, codec: Codec, bytes: &[u8]) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let (h, payload) = (&taken.header, &bytes[taken.payload.clone()]);
        if codec == recorder.codec() {
            recorder.on_sound(now, h.seq, h.timestamp, payload);
            return;
        }
        let mut copy = [0; PAYLOAD_BYTES_MAX];
        let copy = &mut copy[..payload.len()];
        copy.copy_from_slice(payload);
        transcode(codec, recorder.codec(), copy);
        recorder.on_sound(now, h.seq, h.timestamp, copy);
    }
}

/// Reads a datagram as RTP of a type that was agreed on.
fn understand(bytes: &[u8], params: &MediaParams) -> Option<Taken> {
    let rtp::Parsed { header, payload } = rtp::parse(bytes).ok()?;
    let codec = if header.payload_type == params.payload_type_in {
        Some(params.codec)
    } else if Some(header.payload_type) == params.dtmf_payload_type_in {
        None
    } else {
        return None;
    };
    let bytes_max = if codec == Some(Codec::Opus) {
        OPUS_BYTES_MAX
    } else {
        PAYLOAD_BYTES_MAX
    };
    let fits = (1..=bytes_max).contains(&payload.len());
    fits.then_some(Taken {
        header,
        payload,
        codec,
        digit: None,
        flow: None,
        direct: true,
    })
}
