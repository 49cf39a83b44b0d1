//! What comes from a leg's party, and what another party says to it.

use super::*;

/// The longest payload of Opus that is taken: one frame of 20 ms cannot be longer (RFC 6716 §3.4).
const OPUS_BYTES_MAX: usize = 1275;
/// Keep-alives that are not RTP have a few bytes at most: zeros, a line end, a word.
const KEEP_ALIVE_BYTES_MAX: usize = 12;

impl Leg {
    /// A datagram on the RTP port. `from` is `None` once the kernel keeps strangers out. Gives the
    /// packet, if it is one of the party's that others may hear.
    pub fn on_rtp(
        &mut self,
        now: Time,
        from: Option<SocketAddr>,
        bytes: &[u8],
        context: &mut LegContext<'_>,
    ) -> Option<RxPacket> {
        let params = self.params.as_ref().filter(|p| p.receive && !self.closing);
        let Some(params) = params else {
            context.counters.packets_unused += 1;
            return None;
        };
        let Ok(parsed) = rtp::parse(bytes).map_err(|_| ()).and_then(not_rtcp) else {
            self.on_not_rtp(now, from, bytes, context);
            return None;
        };
        let taken = understand(bytes, params, &parsed);
        if let Some(from) = from {
            self.check_source(now, from, &parsed.header, context)?;
        }
        let Some(taken) = taken else {
            self.on_keep_alive(now, &parsed.header, context);
            return None;
        };
        if let Some(codec) = taken.codec.filter(|codec| *codec != self.codec_in) {
            self.speaks(codec);
            self.codec_changed = true;
            return None;
        }
        let h = &taken.header;
        //= RFC 4733 §2.5.2.2
        //# The receiver MUST calculate jitter for RTCP receiver reports based on all packets with a
        //# given timestamp.
        let order = self.reception.on_packet(now, h.ssrc, h.seq, h.timestamp);
        if order == Order::Stray {
            context.counters.packets_unused += 1;
            return None;
        }
        self.on_heard(now);
        self.report.packets_received += 1;
        context.counters.packets_received += 1;
        if order == Order::First {
            self.detector.reset();
            self.recorders().for_each(|r| r.on_source_change());
        }
        let mut taken = taken;
        match taken.codec {
            Some(codec) => {
                taken.direct = !self.transcode;
                if let Some(playout) = &mut self.playout {
                    playout.on_packet(now, &taken.header, &bytes[taken.payload.clone()]);
                }
                if self.inbound.is_some() {
                    taken.flow = self.decode(now, &taken, bytes, context);
                }
                if self.is_recorded() && codec.is_g711() {
                    self.record_sound(now, &taken, codec, bytes);
                }
            }
            None => {
                taken.direct = !self.regenerate_dtmf;
                taken.digit = self.on_event(&taken, order, bytes, context);
            }
        }
        Some(taken)
    }

    /// Passes another leg's packet on to this party: where it lies, under our header.
    pub fn relay(
        &mut self,
        now: Time,
        taken: RxPacket,
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
        self.on_source(now);
        counters.packets_sent += 1;
        counters.packets_relayed += 1;
        Some(rtp::rewrite(bytes, &header, taken.payload))
    }

    /// A datagram on the RTCP port.
    pub fn on_rtcp(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        context: &mut LegContext<'_>,
    ) {
        let Ok(said) = rtcp::parse(bytes, self.stream.ssrc()) else {
            self.report.packets_malformed += 1;
            context.counters.packets_malformed += 1;
            return;
        };
        let rtp_ip = self.rtp.address().map(|rtp| rtp.ip());
        if self.params.is_none() || !self.rtcp.on_packet(from, rtp_ip) {
            self.count_stranger(context);
            return;
        }
        context.counters.reports_received += 1;
        self.on_heard(now);
        if let Some(about) = said.about_us {
            self.report.fraction_lost_by_peer = about.fraction_lost;
        }
        let ntp_mid = (ntp(now) >> 16) as u32;
        if let Some(trip_us) = self.reporter.on_report(now, ntp_mid, &said) {
            self.report.round_trip_us = trip_us;
        }
    }

    fn on_heard(&mut self, now: Time) {
        self.heard = now;
        self.timeout_told = false;
    }

    fn check_source(
        &mut self,
        now: Time,
        from: SocketAddr,
        header: &Header,
        context: &mut LegContext<'_>,
    ) -> Option<()> {
        match self.rtp.on_packet(now, from, header) {
            Source::Party => {}
            Source::PartyMoved => self.tell_address(context),
            Source::Stranger => {
                self.count_stranger(context);
                return None;
            }
        }
        self.settle(context);
        Some(())
    }

    /// RTP of the party that is no sound and no key: comfort noise, an empty packet, a payload type that
    /// was not agreed on. Phones keep the way through a NAT open with such (RFC 6263 §4).
    fn on_keep_alive(&mut self, now: Time, header: &Header, context: &mut LegContext<'_>) {
        if self.reception.ssrc() == Some(header.ssrc) {
            self.reception
                .on_packet(now, header.ssrc, header.seq, header.timestamp);
        }
        context.counters.packets_unused += 1;
        self.on_heard(now);
    }

    /// A datagram on the RTP port that is not RTP: STUN (RFC 8489), RTCP, a keep-alive of a few bytes.
    fn on_not_rtp(
        &mut self,
        now: Time,
        from: Option<SocketAddr>,
        bytes: &[u8],
        context: &mut LegContext<'_>,
    ) {
        let is_stun = bytes.first().is_some_and(|first| *first < 4);
        let is_brief = bytes.len() <= KEEP_ALIVE_BYTES_MAX;
        let is_rtcp = rtp::parse(bytes).is_ok();
        if !(is_stun || is_brief || is_rtcp) {
            self.report.packets_malformed += 1;
            context.counters.packets_malformed += 1;
        } else if from.is_none_or(|from| self.rtp.is_party(from)) {
            context.counters.packets_unused += 1;
            self.on_heard(now);
        } else {
            self.count_stranger(context);
        }
    }

    fn count_stranger(&mut self, context: &mut LegContext<'_>) {
        self.report.packets_from_strangers += 1;
        context.counters.packets_from_strangers += 1;
    }

    fn on_event(
        &mut self,
        taken: &RxPacket,
        order: Order,
        bytes: &[u8],
        context: &mut LegContext<'_>,
    ) -> Option<char> {
        let payload = Payload::parse(&bytes[taken.payload.clone()])?;
        let is_late = order == Order::Older;
        let timestamp = taken.header.timestamp;
        let digit = self.detector.on_packet(timestamp, is_late, payload)?;
        context.tell(Event::Digit {
            leg: self.id,
            digit,
        });
        Some(digit)
    }

    fn record_sound(&mut self, now: Time, taken: &RxPacket, codec: Codec, bytes: &[u8]) {
        let (h, payload) = (&taken.header, &bytes[taken.payload.clone()]);
        for recorder in self.recorders() {
            if codec == recorder.codec() {
                recorder.on_sound(now, h.seq, h.timestamp, payload);
                continue;
            }
            let mut copy = [0; PAYLOAD_BYTES_MAX];
            let copy = &mut copy[..payload.len()];
            copy.copy_from_slice(payload);
            transcode(codec, recorder.codec(), copy);
            recorder.on_sound(now, h.seq, h.timestamp, copy);
        }
    }
}

/// RTCP on the RTP port is told apart by its packet types (RFC 5761 §4).
fn not_rtcp(parsed: rtp::Parsed) -> Result<rtp::Parsed, ()> {
    let is_rtcp = (64..96).contains(&parsed.header.payload_type);
    if is_rtcp { Err(()) } else { Ok(parsed) }
}

/// Sound or a key, of a payload type that was agreed on.
fn understand(bytes: &[u8], params: &MediaParams, parsed: &rtp::Parsed) -> Option<RxPacket> {
    let rtp::Parsed { header, payload } = parsed.clone();
    let number = header.payload_type;
    //= RFC 3550 §5.1
    //# A receiver MUST ignore packets with payload types that it does not understand.
    let found = params.receives.iter().find(|r| r.0 == number)?;
    let codec = match found.1 {
        Receives::Sound(codec) => Some(codec),
        Receives::Keys => None,
    };
    let bytes_max = match codec {
        Some(Codec::Opus) => OPUS_BYTES_MAX,
        _ => PAYLOAD_BYTES_MAX,
    };
    debug_assert!(payload.end <= bytes.len());
    let fits = (1..=bytes_max).contains(&payload.len());
    fits.then_some(RxPacket {
        header,
        payload,
        codec,
        digit: None,
        flow: None,
        direct: true,
    })
}
