//! Offer and answer: what a call's two ends agree on (RFC 3264).
//!
//! A [`Talk`] is one call's media as signalling sees it: our own description with its version,
//! what the other side can do, and what was agreed, as the engine needs it. Plain data.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tandem_engine::seam::{Codec, MediaParams};

use crate::sdp::{Direction, Line, Local, Media, Payload, Session};

/// Payload types of telephone-event in our offers, and their clocks.
const EVENTS: [(u8, u32); 2] = [(101, 8000), (110, 48_000)];
/// Payload type of Opus in our offers.
const OPUS_NUMBER: u8 = 111;
/// Packet times a party may ask for, in milliseconds.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;
/// What we can do, best first.
pub const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// One call's media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    local: Local,
    rtp: SocketAddr,
    /// The codecs we may speak, best first.
    ours: Arc<[Codec]>,
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
        let local = Local::new(session_id >> 2);
        let rtp = SocketAddr::new(address, port);
        Talk {
            local,
            rtp,
            ours: CODECS.into(),
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
        if let Some(line) = usable_line(offer, &self.ours) {
            self.codecs = self.shared(&offer.media[line]);
        }
    }

    /// Answers an offer, with the first of `prefer` that it names, else the one it likes best.
    /// `None`: nothing in common.
    pub fn answer(&mut self, offer: &Session, prefer: &[Codec]) -> Option<String> {
        let chosen = usable_line(offer, &self.ours)?;
        let media = &offer.media[chosen];
        self.codecs = self.shared(media);
        let wanted = prefer.iter().copied().find(|c| self.codecs.contains(c));
        let codec = wanted.or(self.codecs.first().copied())?;
        let payloads = payloads_for(media, codec);
        let params = params(media, codec, false);
        let direction = media.direction.reversed();
        let lines: Vec<Line<'_>> = offer
            .media
            .iter()
            .enumerate()
            .map(|(i, media)| {
                let payloads: &[_] = if i == chosen { &payloads } else { &[] };
                Line {
                    rtp: self.rtp,
                    answers: Some(media),
                    payloads,
                    direction,
                }
            })
            .collect();
        let text = self.local.write(self.rtp.ip(), &lines);
        self.settle(params);
        Some(text)
    }

    /// Offers all we can do, with `first` before the rest.
    pub fn offer(&mut self, first: &[Codec]) -> String {
        let mut payloads: Vec<(u8, Payload)> = Vec::with_capacity(6);
        let first = first.iter().filter(|codec| self.ours.contains(codec));
        for codec in first.chain(&*self.ours) {
            let entry = (number_of_ours(*codec), Payload::Sound(*codec));
            if !payloads.contains(&entry) {
                payloads.push(entry);
            }
        }
        for (number, clock_hz) in EVENTS {
            if self.ours.iter().any(|codec| codec.clock_hz() == clock_hz) {
                payloads.push((number, Payload::TelephoneEvent { clock_hz }));
            }
        }
        let direction = Direction::SendRecv;
        let line = Line {
            rtp: self.rtp,
            answers: None,
            payloads: &payloads,
            direction,
        };
        self.local.write(self.rtp.ip(), &[line])
    }

    /// Takes the answer to our offer. `false`: there is nothing in it to talk with.
    pub fn accept(&mut self, answer: &Session) -> bool {
        let Some(media) = answer.media.first().filter(|m| m.is_usable()) else {
            return false;
        };
        self.codecs = self.shared(media);
        let Some(codec) = self.codecs.first().copied() else {
            return false;
        };
        self.settle(params(media, codec, true));
        true
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

/// Could an offer be answered at all?
pub fn is_usable(offer: &Session, ours: &[Codec]) -> bool {
    usable_line(offer, ours).is_some()
}

fn usable_line(offer: &Session, ours: &[Codec]) -> Option<usize> {
    let shares = |media: &Media| media.codecs().any(|codec| ours.contains(&codec));
    let lines = &offer.media;
    lines.iter().position(|m| m.is_usable() && shares(m))
}

fn payloads_for(media: &Media, codec: Codec) -> Vec<(u8, Payload)> {
    let sound = Payload::Sound(codec);
    let number = media.number_of(sound).map(|n| (n, sound));
    let events = media.events_for(codec);
    let events = events.map(|(n, clock_hz)| (n, Payload::TelephoneEvent { clock_hz }));
    number.into_iter().chain(events).collect()
}

/// What the engine needs of it. The address may be learned from where packets come from, since
/// phones behind NATs name one that is not theirs (RFC 4961).
///
/// `answers`: it answers our offer, so what it sends bears the numbers of that.
fn params(media: &Media, codec: Codec, answers: bool) -> MediaParams {
    let hears = matches!(media.direction, Direction::SendRecv | Direction::RecvOnly);
    let speaks = matches!(media.direction, Direction::SendRecv | Direction::SendOnly);
    let number = media.number_of(Payload::Sound(codec));
    let number = number.unwrap_or(number_of_ours(codec));
    let events = media.events_for(codec);
    let event_number = events.map(|(number, _)| number);
    let event_clock_hz = events.map_or(8000, |(_, clock_hz)| clock_hz);
    let event_ours = EVENTS.iter().find(|(_, hz)| *hz == event_clock_hz);
    MediaParams {
        remote_rtp: media.rtp(),
        remote_rtcp: media.rtcp(),
        codec,
        payload_type: number,
        payload_type_in: if answers {
            number_of_ours(codec)
        } else {
            number
        },
        dtmf_payload_type: event_number,
        dtmf_payload_type_in: match event_ours {
            Some((ours, _)) if answers && event_number.is_some() => Some(*ours),
            _ => event_number,
        },
        dtmf_clock_hz: event_clock_hz,
        ptime_ms: media.ptime_ms.map_or(20, |ms| {
            (ms / 10 * 10).clamp(*PTIME_MS.start(), *PTIME_MS.end())
        }),
        send: hears && media.address.is_some(),
        receive: speaks,
        latch: true,
    }
}

fn number_of_ours(codec: Codec) -> u8 {
    match codec {
        Codec::G722 => 9,
        Codec::Opus => OPUS_NUMBER,
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    }
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
        assert_eq!((agreed.payload_type, agreed.payload_type_in), (96, 96));
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
            (agreed.payload_type, agreed.payload_type_in),
            (96, OPUS_NUMBER)
        );
        let events = (agreed.dtmf_payload_type, agreed.dtmf_payload_type_in);
        assert_eq!(events, (Some(98), Some(110)));
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

    #[test]
    fn hold_has_many_forms() {
        let check = |lines: &str, answered: &str, send: bool, receive: bool| {
            let mut t = talk();
            let text = t.answer(&offer(lines), &[]).unwrap();
            assert!(text.contains(answered), "{lines:?}: {text}");
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
