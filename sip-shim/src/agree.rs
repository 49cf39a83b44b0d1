//! Offer and answer: what a call's two ends agree on (RFC 3264).
//!
//! A [`Talk`] is one call's media as signalling sees it: our own description with its version,
//! what the other side can do, and what was agreed, as the engine needs it. Plain data.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tandem_engine::seam::{Codec, Learning, MediaParams, Receives};

use crate::sdp::{Direction, Line, Local, Media, Payload, Session};

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
pub struct Talk {
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

impl Talk {
    /// For a leg that receives at `address` and `port`.
    pub fn new(session_id: u64, address: IpAddr, port: u16) -> Talk {
        // Session ids are written as decimal numbers that some phones read into 63 bits.
        //= RFC 3264 §5
        //# The numeric value of the session id and version in the o line MUST be representable with
        //# a 64 bit signed integer.
        let local = Local::new(session_id >> 2);
        let rtp = SocketAddr::new(address, port);
        Talk {
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

    /// The same, with no other codecs than these.
    pub fn speaking(self, ours: &Arc<[Codec]>) -> Talk {
        let ours = ours.clone();
        Talk { ours, ..self }
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
        let lines: Vec<Line<'_>> = (0..count)
            .map(|i| Line {
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
mod tests {
    use super::*;
    use crate::sdp::parse;

    fn offer(lines: &str) -> Session {
        parse(format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{lines}").as_bytes()).unwrap()
    }

    fn talk() -> Talk {
        Talk::new(4, "10.0.0.9".parse().unwrap(), 5000)
    }

    //= RFC 3264 §6.1 type=test
    //# The media formats in the "m=" line MUST be listed in order of preference, with the first
    //# format listed being preferred.
    #[test]
    fn the_preferred_common_codec_is_chosen() {
        let both = offer("m=audio 4000 RTP/AVP 0 8 96\r\na=rtpmap:96 telephone-event/8000\r\n");
        let mut t = talk();
        let text = t.answer(&both, &[Codec::Pcma]).unwrap();
        assert!(text.contains("m=audio 5000 RTP/AVP 8 96\r\n"), "{text}");
        let agreed = t.agreed.clone().unwrap();
        assert_eq!(
            (agreed.codec, agreed.dtmf_payload_type),
            (Codec::Pcma, Some(96))
        );
        assert!(talk().answer(&both, &[]).unwrap().contains("RTP/AVP 0 96"));
        let alaw = offer("m=audio 4000 RTP/AVP 8\r\n");
        assert!(
            talk()
                .answer(&alaw, &[Codec::Pcmu])
                .unwrap()
                .contains("RTP/AVP 8\r\n")
        );
        assert_eq!(
            talk().answer(&offer("m=audio 4000 RTP/AVP 18\r\n"), &[]),
            None
        );
    }

    //= RFC 3264 §5.1 type=test
    //# However, for sendonly and sendrecv streams, the answer might indicate different payload type
    //# numbers for the same codecs, in which case, the offerer MUST send with the payload type
    //# numbers from the answer.
    //= RFC 3264 §6.1 type=test
    //# Even if the same payload type number is used, the answer MUST contain rtpmap attributes to
    //# define the payload type mappings for dynamic payload types, and SHOULD contain mappings for
    //# static payload types.
    //= RFC 3264 §6.1 type=test
    //# The answerer MUST be prepared to receive media for recvonly or sendrecv streams using any
    //# media formats listed for those streams in the answer, and it MAY send media immediately.
    //= RFC 3264 §6.1 type=test
    //# The answerer MUST send using a media format in the offer that is also listed in the answer,
    //# and SHOULD send using the most preferred media format in the offer that is also listed in
    //# the answer. In the case of RTP, it MUST use the payload type numbers from the offer, even if
    //# they differ from those in the answer.
    #[test]
    fn opus_is_agreed_on_with_keys_at_its_own_clock_and_numbers_of_either_side() {
        let lines = "m=audio 4000 RTP/AVP 96 0 97 98\r\na=rtpmap:96 opus/48000/2\r\n\
            a=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000\r\na=ptime:45\r\n";
        let mut t = talk();
        let text = t.answer(&offer(lines), &[]).unwrap();
        assert!(
            text.contains("RTP/AVP 96 98\r\na=rtpmap:96 opus/48000/2\r\n"),
            "{text}"
        );
        let agreed = t.agreed.clone().unwrap();
        assert_eq!(agreed.payload_type, 96);
        let received = [(96, Receives::Sound(Codec::Opus)), (98, Receives::Keys)];
        assert_eq!(agreed.receives, received);
        assert_eq!(
            (agreed.dtmf_payload_type, agreed.dtmf_clock_hz),
            (Some(98), 48_000)
        );
        assert_eq!(agreed.ptime_ms, 40);

        let mut t = talk();
        t.offer(&[]);
        assert!(t.accept(&offer(lines)));
        let agreed = t.agreed.clone().unwrap();
        assert_eq!(
            (agreed.payload_type, agreed.dtmf_payload_type),
            (96, Some(98))
        );
        // Under our numbers, or its own.
        assert_eq!(
            agreed.receives,
            [
                (OPUS_NUMBER, Receives::Sound(Codec::Opus)),
                (0, Receives::Sound(Codec::Pcmu)),
                (101, Receives::Keys),
                (110, Receives::Keys),
                (96, Receives::Sound(Codec::Opus)),
                (97, Receives::Keys),
                (98, Receives::Keys),
            ]
        );
    }

    //= RFC 3264 §8 type=test
    //# If an SDP is offered, which is different from the previous SDP, the new SDP MUST have a
    //# matching media stream for each media stream in the previous SDP. In other words, if the
    //# previous SDP had N "m=" lines, the new SDP MUST have at least N "m=" lines.
    //= RFC 3264 §8 type=test
    //# Deleted media streams from a previous SDP MUST NOT be removed in a new SDP; however,
    //# attributes for these streams need not be present.
    //= RFC 3264 §8.3.2 type=test
    //# However, in the case of RTP, the mapping from a particular dynamic payload type number to a
    //# particular codec within that media stream MUST NOT change for the duration of a session. For
    //# example, if A generates an offer with G.711 assigned to dynamic payload type number 46,
    //# payload type number 46 MUST refer to G.711 from that point forward in any offers or answers
    //# for that media stream within the session.
    #[test]
    fn lines_and_numbers_hold_for_the_whole_session() {
        let mut t = talk();
        let lines = "m=video 4002 RTP/AVP 97\r\nm=audio 4000 RTP/AVP 111 0 101\r\n\
            a=rtpmap:111 telephone-event/8000\r\na=rtpmap:101 opus/48000/2\r\n";
        t.answer(&offer(lines), &[]).unwrap();
        let again = t.offer(&[]);
        let said: Vec<&str> = again.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(
            said,
            [
                "m=video 0 RTP/AVP 97",
                "m=audio 5000 RTP/AVP 101 9 0 8 111 110"
            ]
        );
        assert!(again.contains("a=rtpmap:101 opus/48000/2\r\n"), "{again}");
        let answer = "m=video 0 RTP/AVP 97\r\nm=audio 4000 RTP/AVP 8\r\n";
        assert!(t.accept(&offer(answer)));
        assert_eq!(t.agreed.as_ref().unwrap().codec, Codec::Pcma);
        // A number that another codec has is not used for ours.
        let mut t = talk();
        let lines = "m=audio 4000 RTP/AVP 0 111\r\na=rtpmap:111 telephone-event/8000\r\n";
        t.answer(&offer(lines), &[]).unwrap();
        assert!(t.offer(&[]).contains("RTP/AVP 96 9 0 8 111 110\r\n"));
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_not_talked_to() {
        let named = "v=0\r\nc=IN IP4 phone.example\r\nm=audio 4000 RTP/AVP 0\r\n";
        let six = "v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n";
        let lies = "v=0\r\nc=IN IP4 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n";
        for text in [named, six, lies] {
            let offer = parse(text.as_bytes()).unwrap();
            assert_eq!(talk().answer(&offer, &[]), None, "{text}");
            let mut t = talk();
            t.offer(&[]);
            assert!(!t.accept(&offer), "{text}");
        }
        let held = "v=0\r\nc=IN IP4 void.invalid\r\nm=audio 4000 RTP/AVP 0\r\n";
        let mut t = talk();
        t.answer(&parse(held.as_bytes()).unwrap(), &[]).unwrap();
        assert!(t.held);
    }

    //= RFC 3264 §8.3.4 type=test
    //# Generally, an agent MUST send media (if the directionality of the stream allows) using the
    //# new parameters once the SDP with the change is received.
    #[test]
    fn a_packet_is_no_longer_than_the_party_takes() {
        let lines = "m=audio 4000 RTP/AVP 0\r\na=ptime:60\r\na=maxptime:40\r\n";
        let mut t = talk();
        let text = t.answer(&offer(lines), &[]).unwrap();
        assert!(text.contains("a=maxptime:150\r\n"), "{text}");
        assert_eq!(t.agreed.unwrap().ptime_ms, 40);
    }

    #[test]
    fn codecs_that_are_not_allowed_are_neither_offered_nor_taken() {
        let ours: Arc<[Codec]> = [Codec::Pcma].into();
        let mut t = talk().speaking(&ours);
        assert!(t.offer(&[Codec::Opus]).contains("RTP/AVP 8 101\r\n"));
        let both = offer("m=audio 4000 RTP/AVP 0 8\r\n");
        assert!(t.answer(&both, &[]).unwrap().contains("RTP/AVP 8\r\n"));
        assert_eq!(t.answer(&offer("m=audio 4000 RTP/AVP 0 9\r\n"), &[]), None);
    }

    //= RFC 3264 §6 type=test
    //# For each "m=" line in the offer, there MUST be a corresponding "m=" line in the answer. The
    //# answer MUST contain exactly the same number of "m=" lines as the offer.
    //= RFC 3264 §6 type=test
    //# If a stream is rejected, the offerer and answerer MUST NOT generate media (or RTCP packets)
    //# for that stream. To reject an offered stream, the port number in the corresponding stream in
    //# the answer MUST be set to zero.
    //= RFC 3264 §6 type=test
    //# At least one MUST be present, as specified by SDP.
    //= RFC 3264 §6.1 type=test
    //# The media type of the stream in the answer MUST match that of the offer.
    //= RFC 3264 §6.1 type=test
    //# If the answerer has no media formats in common for a particular offered stream, the answerer
    //# MUST reject that media stream by setting the port to zero.
    #[test]
    fn other_media_are_refused_line_by_line() {
        let mixed = offer(
            "m=video 4002 RTP/AVP 97 98\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 4004 RTP/SAVP 0\r\n",
        );
        let text = talk().answer(&mixed, &[]).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 97 98",
                "m=audio 5000 RTP/AVP 0",
                "m=audio 0 RTP/SAVP 0"
            ]
        );
    }

    //= RFC 3264 §6.1 type=test
    //# If a stream is offered as sendonly, the corresponding stream MUST be marked as recvonly or
    //# inactive in the answer. If a media stream is listed as recvonly in the offer, the answer
    //# MUST be marked as sendonly or inactive in the answer.
    //= RFC 3264 §6.1 type=test
    //# If an offered media stream is listed as inactive, it MUST be marked as inactive in the
    //# answer. For streams marked as recvonly in the answer, the "m=" line MUST contain at least
    //# one media format the answerer is willing to receive with from amongst those listed in the
    //# offer.
    //= RFC 3264 §6.1 type=test
    //# For streams marked as sendonly in the answer, the "m=" line MUST contain at least one media
    //# format the answerer is willing to send from amongst those listed in the offer. For streams
    //# marked as sendrecv in the answer, the "m=" line MUST contain at least one codec the answerer
    //# is willing to both send and receive, from amongst those listed in the offer.
    //= RFC 3264 §6.1 type=test
    //# This address and port MUST be present even for sendonly streams; in the case of RTP, the
    //# port one higher is still used to receive RTCP.
    //= RFC 3264 §8.4 type=test
    //# An agent MUST be capable of receiving SDP with a connection address of 0.0.0.0, in which
    //# case it means that neither RTP nor RTCP should be sent to the peer.
    #[test]
    fn hold_has_many_forms() {
        let check = |lines: &str, answered: &str, send: bool, receive: bool| {
            let mut t = talk();
            let text = t.answer(&offer(lines), &[]).unwrap();
            assert!(text.contains(answered), "{lines:?}: {text}");
            assert!(text.contains("m=audio 5000 RTP/AVP 0\r\n"), "{text}");
            let p = t.agreed.clone().unwrap();
            assert_eq!(
                (p.send, p.receive, t.held),
                (send, receive, !send),
                "{lines:?}"
            );
        };
        check("m=audio 4 RTP/AVP 0\r\n", "a=sendrecv", true, true);
        check(
            "m=audio 4 RTP/AVP 0\r\na=sendonly\r\n",
            "a=recvonly",
            false,
            true,
        );
        check(
            "m=audio 4 RTP/AVP 0\r\na=inactive\r\n",
            "a=inactive",
            false,
            false,
        );
        check(
            "m=audio 4 RTP/AVP 0\r\na=recvonly\r\n",
            "a=sendonly",
            true,
            false,
        );
        check(
            "m=audio 4 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n",
            "a=sendrecv",
            false,
            true,
        );
    }

    //= RFC 3264 §5.1 type=test
    //# In all cases, the formats in the "m=" line MUST be listed in order of preference, with the
    //# first format listed being preferred.
    //= RFC 3264 §8 type=test
    //# If the version in the origin line does not increment, the SDP MUST be identical to the SDP
    //# with that version number.
    #[test]
    fn an_offer_names_the_wanted_codec_first() {
        let mut t = talk();
        assert!(
            t.offer(&[Codec::Pcma])
                .contains("m=audio 5000 RTP/AVP 8 111 9 0 101 110\r\n")
        );
        let again = t.again();
        assert_eq!(t.offer(&[Codec::Pcma]), again);
        assert!(t.accept(&offer("m=audio 4000 RTP/AVP 8 101\r\n")));
        assert_eq!(t.preference(), [Codec::Pcma]);
        assert!(!t.accept(&offer("m=audio 0 RTP/AVP 8\r\n")));
    }
}
