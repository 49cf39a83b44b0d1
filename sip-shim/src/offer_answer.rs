//! Offer and answer: what a call's two ends agree on (RFC 3264).
//!
//! A [`MediaNegotiation`] is one call's media as signalling sees it: our own description with its version,
//! what the other side can do, and what was agreed, as the engine needs it. Plain data.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tandem_engine::seam::{Codec, Learning, MediaParams, Receives};

use crate::sdp::{Direction, Local, Media, MediaLine, Payload, Session};

/// Payload types of telephone-event in our offers, and their clocks.
const EVENTS: [(u8, u32); 2] = [(101, 8000), (110, 48_000)];
/// Payload type of Opus in our offers.
const OPUS_NUMBER: u8 = 111;
/// Packet times a party may ask for, in milliseconds.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;
/// Milliseconds of sound in the packets we make for who does not say.
const PTIME_DEFAULT_MS: u8 = 20;
/// The most meanings of payload types that a session remembers.
const NUMBERS_MAX: usize = 32;
/// What we can do, best first.
pub const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// One call's media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaNegotiation {
    local: Local,
    rtp: SocketAddr,
    /// The codecs we may speak, best first.
    ours: Arc<[Codec]>,
    /// The media lines of the session so far, in order: their number and order never change (RFC 3264
    /// §8). Which of them is ours to talk on.
    lines: Vec<Media>,
    chosen: usize,
    /// What each payload type means for the whole session (RFC 3264 §8.3.2), first used first.
    numbers: Vec<(u8, Payload)>,
    /// What our offer that awaits its answer names.
    offered: Vec<(u8, Payload)>,
    /// From where else than signalled the party may be heard.
    pub learning: Learning,
    /// The codecs the other side named that we may speak, best first.
    pub codecs: Vec<Codec>,
    /// What holds at present.
    pub agreed: Option<MediaParams>,
    /// The other side does not want to hear us.
    pub held: bool,
}

impl MediaNegotiation {
    /// For a leg that receives at `address`, at a port that is not known yet.
    pub fn new(session_id: u64, address: IpAddr) -> MediaNegotiation {
        // Session ids are written as decimal numbers that some phones read into 63 bits.
        //= RFC 3264 §5
        //# The numeric value of the session id and version in the o line MUST be representable with
        //# a 64 bit signed integer.
        let local = Local::new(session_id >> 2);
        let rtp = SocketAddr::new(address, 0);
        MediaNegotiation {
            local,
            rtp,
            ours: CODECS.into(),
            lines: Vec::new(),
            chosen: 0,
            numbers: Vec::new(),
            offered: Vec::new(),
            learning: Learning::OFF,
            codecs: Vec::new(),
            agreed: None,
            held: false,
        }
    }

    /// The leg receives at this port. Nothing is offered or answered before.
    pub fn open(&mut self, port: u16) {
        self.rtp.set_port(port);
    }

    /// The same, with no other codecs than these.
    pub fn speaking(self, ours: &Arc<[Codec]>) -> MediaNegotiation {
        let ours = ours.clone();
        MediaNegotiation { ours, ..self }
    }

    fn shared(&self, media: &Media) -> Vec<Codec> {
        let ours = |codec: &Codec| self.ours.contains(codec);
        media.codecs().filter(ours).collect()
    }

    /// Remembers what an offer names, until it is answered.
    pub fn note(&mut self, offer: &Session) {
        if let Some(line) = usable_line(offer, &self.ours, self.rtp.ip()) {
            self.codecs = self.shared(&offer.media[line]);
        }
    }

    /// Answers an offer, with the first of `prefer` that it names, else the one it likes best.
    /// `None`: nothing in common.
    //= RFC 3264 §8
    //# The answerer MUST be prepared to receive an offer that contains SDP with a version that has
    //# not changed; this is effectively a no-op. However, the answerer MUST generate a valid answer
    //# (which MAY be the same as the previous SDP from the answerer, or MAY be different),
    //# according to the procedures defined in Section 6.
    pub fn answer(&mut self, offer: &Session, prefer: &[Codec]) -> Option<String> {
        let chosen = usable_line(offer, &self.ours, self.rtp.ip())?;
        let media = &offer.media[chosen];
        self.codecs = self.shared(media);
        let wanted = prefer.iter().copied().find(|c| self.codecs.contains(c));
        let codec = wanted.or(self.codecs.first().copied())?;
        let payloads = payloads_for(media, codec);
        //= RFC 3264 §8.3.2
        //# Similarly, as described in Section 6, as soon as it sends its answer, the answerer MUST
        //# begin sending media using any formats in the offer that were also present in the answer,
        //# and SHOULD use the most preferred format in the offer that was also listed in the answer
        //# (assuming the stream allows for sending), and MUST NOT send using any formats that are
        //# not in the offer, even if they were present in a previous SDP from the peer.
        let params = self.params(media, codec, &payloads);
        self.remember(&offer.media, chosen);
        let text = self.describe(&payloads, media.direction.reversed());
        self.settle(params);
        Some(text)
    }

    /// Offers all we can do, with `first` before the rest; on the line and under the numbers that the
    /// session has already.
    //= RFC 3264 §5.1
    //# In all cases, the formats in the "m=" line MUST be listed in order of preference, with the
    //# first format listed being preferred.
    pub fn offer(&mut self, first: &[Codec]) -> String {
        let mut payloads: Vec<(u8, Payload)> = Vec::with_capacity(6);
        let first = first.iter().filter(|codec| self.ours.contains(codec));
        for codec in first.chain(&*self.ours) {
            let sound = Payload::Sound(*codec);
            if !payloads.iter().any(|(_, payload)| *payload == sound) {
                payloads.push((self.number_for(sound, &payloads), sound));
            }
        }
        for (_, clock_hz) in EVENTS {
            if self.ours.iter().any(|codec| codec.clock_hz() == clock_hz) {
                let events = Payload::TelephoneEvent { clock_hz };
                payloads.push((self.number_for(events, &payloads), events));
            }
        }
        self.offered.clone_from(&payloads);
        let text = self.describe(&payloads, Direction::SendRecv);
        if self.lines.is_empty()
            && let Ok(said) = crate::sdp::parse(text.as_bytes())
        {
            self.remember(&said.media, 0);
        }
        text
    }

    /// Takes the answer to our offer. `false`: there is nothing in it to talk with.
    pub fn accept(&mut self, answer: &Session) -> bool {
        let line = answer.media.get(self.chosen);
        let reachable = |m: &&Media| m.is_usable() && m.is_of_family(self.rtp.ip());
        let Some(media) = line.filter(reachable) else {
            return false;
        };
        self.codecs = self.shared(media);
        let Some(codec) = self.codecs.first().copied() else {
            return false;
        };
        // It sends under the numbers of our offer; some send under their own all the same.
        let named = |payload: &Payload| media.payloads.iter().any(|(_, p)| p == payload);
        let mut receives = self.offered.clone();
        receives.retain(|(_, payload)| named(payload));
        for entry in &media.payloads {
            let is_known = |n: u8| self.offered.iter().any(|(number, _)| *number == n);
            let is_shared = self.offered.iter().any(|(_, payload)| *payload == entry.1);
            if is_shared && !is_known(entry.0) {
                receives.push(*entry);
            }
        }
        //= RFC 3264 §8.3.2
        //# Similarly, when the offerer receives the answer, it MUST begin sending media using any
        //# formats in the answer, and SHOULD use the most preferred one (assuming the stream allows
        //# for sending), and MUST NOT send using any formats that are not in the answer, even if
        //# they were present in a previous SDP from the peer.
        let params = self.params(media, codec, &receives);
        for entry in &media.payloads {
            self.bind(*entry);
        }
        self.settle(params);
        true
    }

    /// Our text, with `payloads` on the chosen line.
    fn describe(&mut self, payloads: &[(u8, Payload)], direction: Direction) -> String {
        let (rtp, chosen) = (self.rtp, self.chosen);
        //= RFC 3264 §6
        //# For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer.
        //# The answer MUST contain exactly the same number of "m=" lines as the offer.
        //= RFC 3264 §8
        //# If an SDP is offered, which is different from the previous SDP, the new SDP MUST have a
        //# matching media stream for each media stream in the previous SDP. In other words, if the
        //# previous SDP had N "m=" lines, the new SDP MUST have at least N "m=" lines.
        //= RFC 3264 §8
        //# Deleted media streams from a previous SDP MUST NOT be removed in a new SDP; however,
        //# attributes for these streams need not be present.
        let count = self.lines.len().max(1);
        let lines: Vec<MediaLine<'_>> = (0..count)
            .map(|i| MediaLine {
                rtp,
                answers: self.lines.get(i),
                //= RFC 3264 §6
                //# If a stream is rejected, the offerer and answerer MUST NOT generate media (or
                //# RTCP packets) for that stream.
                //= RFC 3264 §6.1
                //# If the answerer has no media formats in common for a particular offered stream,
                //# the answerer MUST reject that media stream by setting the port to zero.
                payloads: if i == chosen { payloads } else { &[] },
                direction,
            })
            .collect();
        self.local.write(rtp.ip(), &lines)
    }

    fn remember(&mut self, lines: &[Media], chosen: usize) {
        self.lines = lines.to_vec();
        self.chosen = chosen;
        for entry in &lines[chosen].payloads {
            self.bind(*entry);
        }
    }

    fn bind(&mut self, entry: (u8, Payload)) {
        if entry.1 != Payload::Unknown && !self.numbers.contains(&entry) {
            self.numbers.truncate(NUMBERS_MAX - 1);
            self.numbers.push(entry);
        }
    }

    /// The number under which we offer something: the session's, else our own, else one that means
    /// nothing else yet.
    //= RFC 3264 §8.3.2
    //# However, in the case of RTP, the mapping from a particular dynamic payload type number to a
    //# particular codec within that media stream MUST NOT change for the duration of a session. For
    //# example, if A generates an offer with G.711 assigned to dynamic payload type number 46,
    //# payload type number 46 MUST refer to G.711 from that point forward in any offers or answers
    //# for that media stream within the session.
    fn number_for(&self, payload: Payload, taken: &[(u8, Payload)]) -> u8 {
        let means_other = |number: u8| {
            let mut both = self.numbers.iter().chain(taken);
            both.any(|(n, p)| *n == number && *p != payload)
        };
        let known = self.numbers.iter().filter(|(_, p)| *p == payload);
        let ours = match payload {
            Payload::Sound(codec) => number_of_ours(codec),
            Payload::TelephoneEvent { clock_hz } => number_of_our_events(clock_hz),
            Payload::Unknown => 0,
        };
        let own = known.map(|(n, _)| *n).chain([ours]).chain(96..=127);
        let mut free = own.filter(|number| !means_other(*number));
        free.next().unwrap_or(ours)
    }

    /// What the engine needs of it. The address may be learned from where packets come from, since
    /// phones behind NATs name one that is not theirs (RFC 4961).
    fn params(&self, media: &Media, codec: Codec, receives: &[(u8, Payload)]) -> MediaParams {
        let hears = matches!(media.direction, Direction::SendRecv | Direction::RecvOnly);
        let speaks = matches!(media.direction, Direction::SendRecv | Direction::SendOnly);
        let number = media.number_of(Payload::Sound(codec));
        let events = media.events_for(codec);
        let ptime_ms = media.ptime_ms.unwrap_or(PTIME_DEFAULT_MS);
        let ptime_ms = ptime_ms.min(media.maxptime_ms.unwrap_or(u8::MAX));
        let received = |entry: &(u8, Payload)| match entry.1 {
            Payload::Sound(codec) => Some((entry.0, Receives::Sound(codec))),
            Payload::TelephoneEvent { .. } => Some((entry.0, Receives::Keys)),
            Payload::Unknown => None,
        };
        MediaParams {
            remote_rtp: media.rtp(),
            remote_rtcp: media.rtcp(),
            codec,
            //= RFC 3264 §5.1
            //# However, for sendonly and sendrecv streams, the answer might indicate different
            //# payload type numbers for the same codecs, in which case, the offerer MUST send with
            //# the payload type numbers from the answer.
            //= RFC 3264 §6.1
            //# The answerer MUST send using a media format in the offer that is also listed in the
            //# answer, and SHOULD send using the most preferred media format in the offer that is
            //# also listed in the answer. In the case of RTP, it MUST use the payload type numbers
            //# from the offer, even if they differ from those in the answer.
            payload_type: number.unwrap_or(number_of_ours(codec)),
            dtmf_payload_type: events.map(|(number, _)| number),
            dtmf_clock_hz: events.map_or(8000, |(_, clock_hz)| clock_hz),
            //= RFC 3264 §8.3.4
            //# Generally, an agent MUST send media (if the directionality of the stream allows)
            //# using the new parameters once the SDP with the change is received.
            ptime_ms: (ptime_ms / 10 * 10).clamp(*PTIME_MS.start(), *PTIME_MS.end()),
            //= RFC 3264 §6.1
            //# Once the answerer has sent the answer, it MUST be prepared to receive media for any
            //# recvonly streams described by that answer. It MUST be prepared to send and receive
            //# media for any sendrecv streams in the answer, and it MAY send media immediately. The
            //# answerer MUST be prepared to receive media for recvonly or sendrecv streams using
            //# any media formats listed for those streams in the answer, and it MAY send media
            //# immediately.
            receives: receives.iter().filter_map(received).collect(),
            send: hears && media.address.is_some(),
            receive: speaks,
            learning: self.learning_for(media),
        }
    }

    /// Who names a private address and signals from another one is behind a NAT, whatever its Via says.
    fn learning_for(&self, media: &Media) -> Learning {
        let host = self.learning.host;
        let is_other = |ip: &IpAddr| host.is_some_and(|host| host != *ip) && is_private(*ip);
        let hidden = media.address.filter(is_other).is_some();
        Learning {
            anywhere: self.learning.anywhere || hidden,
            ..self.learning
        }
    }

    /// Our description as last sent, for a refresh that changes nothing.
    pub fn again(&self) -> String {
        self.local.text(self.rtp.ip())
    }

    /// The codecs to prefer on behalf of this call: the agreed one, then what else it can.
    pub fn preference(&self) -> Vec<Codec> {
        let agreed = self.agreed.as_ref().map(|p| p.codec);
        let mut order: Vec<Codec> = agreed.into_iter().collect();
        for codec in &self.codecs {
            if !order.contains(codec) {
                order.push(*codec);
            }
        }
        order
    }

    fn settle(&mut self, params: MediaParams) {
        self.held = !params.send;
        self.agreed = Some(params);
    }
}

/// Could an offer be answered at all, by one whose own address is `address`?
pub fn is_usable(offer: &Session, ours: &[Codec], address: IpAddr) -> bool {
    usable_line(offer, ours, address).is_some()
}

fn usable_line(offer: &Session, ours: &[Codec], address: IpAddr) -> Option<usize> {
    let shares = |media: &Media| media.codecs().any(|codec| ours.contains(&codec));
    let lines = &offer.media;
    lines
        .iter()
        .position(|m| m.is_usable() && m.is_of_family(address) && shares(m))
}

//= RFC 3264 §6.1
//# For streams marked as recvonly in the answer, the "m=" line MUST contain at least one media
//# format the answerer is willing to receive with from amongst those listed in the offer.
//= RFC 3264 §6.1
//# For streams marked as sendonly in the answer, the "m=" line MUST contain at least one media
//# format the answerer is willing to send from amongst those listed in the offer. For streams
//# marked as sendrecv in the answer, the "m=" line MUST contain at least one codec the answerer is
//# willing to both send and receive, from amongst those listed in the offer.
//= RFC 3264 §6.1
//# The media formats in the "m=" line MUST be listed in order of preference, with the first format
//# listed being preferred.
fn payloads_for(media: &Media, codec: Codec) -> Vec<(u8, Payload)> {
    let sound = Payload::Sound(codec);
    let number = media.number_of(sound).map(|n| (n, sound));
    let events = media.events_for(codec);
    let events = events.map(|(n, clock_hz)| (n, Payload::TelephoneEvent { clock_hz }));
    number.into_iter().chain(events).collect()
}

fn number_of_ours(codec: Codec) -> u8 {
    match codec {
        Codec::G722 => 9,
        Codec::Opus => OPUS_NUMBER,
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    }
}

/// Addresses that mean something only on their own network (RFC 1918, RFC 6598, RFC 3927, RFC 4193).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn number_of_our_events(clock_hz: u32) -> u8 {
    let ours = EVENTS.iter().find(|(_, hz)| *hz == clock_hz);
    ours.map_or(EVENTS[0].0, |(number, _)| *number)
}

#[cfg(test)]
mod tests;
