//! Session descriptions as text: what a phone says, and what we say.
//!
//! [`Description`] holds all that was said, as it was written. [`parse`] reads the parts of it
//! that call control needs into a [`Session`], with every list bounded; unknown lines mean nothing
//! to it (RFC 8866 §5). [`Local`] writes ours. What the two sides agree on is decided in
//! [`crate::offer_answer`].

mod description;
mod local;

use std::net::{IpAddr, SocketAddr};

pub use description::{Description, LINES_MAX, Line};
pub use local::{Local, MediaLine};
use tandem_engine::seam::Codec;

/// The most bytes of a description we read.
pub const SDP_BYTES_MAX: usize = 16 * 1024;
/// The most media lines in it.
pub const MEDIA_MAX: usize = 16;
/// The most formats in one of them.
pub const FORMATS_MAX: usize = 64;

/// Payload types are seven bits (RFC 3550 §5.1): the eighth would be read as the marker.
const PAYLOAD_TYPE_MAX: u8 = 127;

/// What a phone said, and what of it we understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// All of it.
    pub description: Description,
    /// Its media lines, in order: an answer must have as many.
    pub media: Vec<Media>,
}

/// One media line and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// As in `audio`.
    pub kind: Box<str>,
    /// 0: refused.
    pub port: u16,
    /// As in `RTP/AVP`.
    pub protocol: Box<str>,
    /// The formats, as written, for the answer to a line we refuse.
    pub formats: Box<str>,
    /// What the formats mean, in the order of preference.
    pub payloads: Vec<(u8, Payload)>,
    /// Where it wants its RTP; `None`: nowhere for now, as in 0.0.0.0.
    pub address: Option<IpAddr>,
    /// Its address is a host name, or not of the family it says: media cannot be sent there.
    pub is_unreachable: bool,
    /// From a=rtcp, if it names one.
    pub rtcp_port: Option<u16>,
    pub direction: Direction,
    /// Milliseconds of sound it wants in a packet.
    pub ptime_ms: Option<u8>,
    /// The most milliseconds of sound it takes in a packet.
    pub maxptime_ms: Option<u8>,
}

/// A format we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Sound.
    Sound(Codec),
    /// Keys (RFC 4733), timed by this clock.
    TelephoneEvent {
        /// The codec's, as a rule.
        clock_hz: u32,
    },
    /// Something we do not speak.
    Unknown,
}

/// Which way media flows, as seen by the one who says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// Only from the speaker.
    SendOnly,
    /// Only to the speaker.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// Why a description was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not text, or not a description.
    #[error("not a session description")]
    NotSdp,
    /// Longer than we read.
    #[error("session description too large")]
    TooLarge,
    /// A line that must be understood cannot be.
    #[error("bad line in session description")]
    BadLine,
}

/// Reads a description.
pub fn parse(body: &[u8]) -> Result<Session, SdpError> {
    let description = Description::parse(body)?;
    let mut reader = Reader::default();
    for line in description.lines() {
        reader.line(line.kind(), &line.value())?;
    }
    let media = reader.media;
    Ok(Session { description, media })
}

/// What has been read so far. Session-level lines are the default of every media line after them.
#[derive(Default)]
struct Reader {
    address: Option<IpAddr>,
    is_unreachable: bool,
    direction: Direction,
    ptime_ms: Option<u8>,
    media: Vec<Media>,
}

impl Reader {
    fn line(&mut self, kind: &[u8], value: &str) -> Result<(), SdpError> {
        match kind {
            b"m" => {
                let media = self.media_line(value).ok_or(SdpError::BadLine)?;
                self.media.push(media);
                Ok(())
            }
            b"c" => {
                let at = connection(value).ok_or(SdpError::BadLine)?;
                let (address, is_unreachable) = match self.media.last_mut() {
                    Some(media) => (&mut media.address, &mut media.is_unreachable),
                    None => (&mut self.address, &mut self.is_unreachable),
                };
                *is_unreachable = at == Connection::Unreachable;
                *address = match at {
                    Connection::At(ip) => Some(ip),
                    _ => None,
                };
                Ok(())
            }
            b"a" => {
                self.attribute(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn media_line(&self, value: &str) -> Option<Media> {
        let mut parts = value.splitn(4, ' ');
        let (kind, port) = (parts.next()?, parts.next()?);
        let (protocol, formats) = (parts.next()?, parts.next()?);
        let port = port.split('/').next()?.parse().ok()?;
        let numbers = formats
            .split_ascii_whitespace()
            .filter_map(|f| f.parse().ok())
            .filter(|pt| *pt <= PAYLOAD_TYPE_MAX);
        // A number that is listed twice means one thing, the place of the first counts.
        let mut payloads: Vec<(u8, Payload)> = Vec::new();
        for number in numbers.take(FORMATS_MAX) {
            if !payloads.iter().any(|(known, _)| *known == number) {
                payloads.push((number, static_payload(number)));
            }
        }
        Some(Media {
            kind: kind.into(),
            port,
            protocol: protocol.into(),
            formats: formats.into(),
            payloads,
            address: self.address,
            is_unreachable: self.is_unreachable,
            rtcp_port: None,
            direction: self.direction,
            ptime_ms: self.ptime_ms,
            maxptime_ms: None,
        })
    }

    fn attribute(&mut self, value: &str) {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        if let Some(direction) = Direction::parse(name) {
            *self
                .media
                .last_mut()
                .map_or(&mut self.direction, |m| &mut m.direction) = direction;
            return;
        }
        match (name, self.media.last_mut()) {
            ("ptime", media) => {
                let ptime = value.trim().parse().ok().filter(|p| *p > 0);
                *media.map_or(&mut self.ptime_ms, |m| &mut m.ptime_ms) = ptime;
            }
            ("maxptime", Some(media)) => {
                media.maxptime_ms = value.trim().parse().ok().filter(|p| *p > 0);
            }
            ("rtcp", Some(media)) => {
                media.rtcp_port = value.split(' ').next().and_then(|p| p.parse().ok());
            }
            ("rtpmap", Some(media)) => media.map(value),
            _ => {}
        }
    }
}

impl Media {
    /// a=rtpmap: what a payload type means.
    fn map(&mut self, value: &str) {
        let Some((number, encoding)) = value.trim().split_once(' ') else {
            return;
        };
        let Ok(number) = number.parse::<u8>() else {
            return;
        };
        let payload = dynamic_payload(encoding.trim());
        if let Some(entry) = self.payloads.iter_mut().find(|(pt, _)| *pt == number) {
            entry.1 = payload;
        }
    }

    /// The payload type it gives to something.
    pub fn number_of(&self, payload: Payload) -> Option<u8> {
        self.payloads
            .iter()
            .find(|(_, p)| *p == payload)
            .map(|(pt, _)| *pt)
    }

    /// The keys that go with a codec: its payload type and clock. Who names none of the codec's
    /// clock (RFC 4733 §2.1) but one of 8 kHz means that.
    pub fn events_for(&self, codec: Codec) -> Option<(u8, u32)> {
        [codec.clock_hz(), 8000].into_iter().find_map(|clock_hz| {
            let number = self.number_of(Payload::TelephoneEvent { clock_hz })?;
            Some((number, clock_hz))
        })
    }

    /// The codecs we share, in its order of preference.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> {
        self.payloads.iter().filter_map(|(_, p)| match p {
            Payload::Sound(codec) => Some(*codec),
            _ => None,
        })
    }

    /// Could this line be agreed on?
    pub fn is_usable(&self) -> bool {
        &*self.kind == "audio"
            //= RFC 3264 §5.1
            //# A port number of zero in the offer indicates that the stream is offered but MUST NOT
            //# be used.
            && self.port != 0
            && !self.is_unreachable
            && matches!(&*self.protocol, "RTP/AVP" | "RTP/AVPF")
            && self.codecs().next().is_some()
    }

    /// Can media be sent to it from an address of ours?
    pub fn is_of_family(&self, ours: IpAddr) -> bool {
        self.address.is_none_or(|ip| ip.is_ipv4() == ours.is_ipv4())
    }

    /// Where it wants RTP; `None` while it wants none.
    pub fn rtp(&self) -> Option<SocketAddr> {
        self.address.map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Where it wants RTCP (RFC 3605; else one above RTP).
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let port = self.rtcp_port.or_else(|| self.port.checked_add(1))?;
        self.address.map(|ip| SocketAddr::new(ip, port))
    }
}

/// RFC 3551 §6.
fn static_payload(number: u8) -> Payload {
    match number {
        0 => Payload::Sound(Codec::Pcmu),
        8 => Payload::Sound(Codec::Pcma),
        9 => Payload::Sound(Codec::G722),
        _ => Payload::Unknown,
    }
}

fn dynamic_payload(encoding: &str) -> Payload {
    let mut parts = encoding.split('/');
    let (name, rate) = (parts.next().unwrap_or_default(), parts.next());
    let channels = parts.next().unwrap_or("1");
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    match (rate, channels) {
        // RFC 7587 §7: always so, even if all that is said is mono.
        (Some("48000"), "2") if is("opus") => Payload::Sound(Codec::Opus),
        (Some("48000"), "1") if is("telephone-event") => {
            Payload::TelephoneEvent { clock_hz: 48_000 }
        }
        (Some("8000"), "1") if is("PCMU") => Payload::Sound(Codec::Pcmu),
        (Some("8000"), "1") if is("PCMA") => Payload::Sound(Codec::Pcma),
        (Some("8000"), "1") if is("G722") => Payload::Sound(Codec::G722),
        (Some("8000"), "1") if is("telephone-event") => Payload::TelephoneEvent { clock_hz: 8000 },
        _ => Payload::Unknown,
    }
}

/// What a c= line says.
#[derive(PartialEq)]
enum Connection {
    At(IpAddr),
    /// 0.0.0.0 and the like: hold, as it was said before RFC 3264.
    Nowhere,
    /// A host name, or an address of another family than it says.
    Unreachable,
}

/// Reads a c= line; `None`: it is none.
fn connection(value: &str) -> Option<Connection> {
    let mut parts = value.split_ascii_whitespace();
    let (net, family, address) = (parts.next()?, parts.next()?, parts.next()?);
    if net != "IN" || !matches!(family, "IP4" | "IP6") {
        return None;
    }
    Some(match address.split('/').next()?.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv4() != (family == "IP4") => Connection::Unreachable,
        //= RFC 3264 §8.4
        //# An agent MUST be capable of receiving SDP with a connection address of 0.0.0.0, in which
        //# case it means that neither RTP nor RTCP should be sent to the peer.
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => Connection::Nowhere,
        Ok(ip) => Connection::At(ip),
        // RFC 3264 §8.4: the address to hold with where there is no 0.0.0.0.
        Err(_) if address.ends_with(".invalid") => Connection::Nowhere,
        Err(_) => Connection::Unreachable,
    })
}

impl Direction {
    fn parse(name: &str) -> Option<Direction> {
        Some(match name {
            "sendrecv" => Direction::SendRecv,
            "sendonly" => Direction::SendOnly,
            "recvonly" => Direction::RecvOnly,
            "inactive" => Direction::Inactive,
            _ => return None,
        })
    }

    /// As in an a= line.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The same, as seen from the other side (RFC 3264 §6.1).
    //= RFC 3264 §6.1
    //# If a stream is offered as sendonly, the corresponding stream MUST be marked as recvonly or
    //# inactive in the answer. If a media stream is listed as recvonly in the offer, the answer
    //# MUST be marked as sendonly or inactive in the answer.
    //= RFC 3264 §6.1
    //# If an offered media stream is listed as inactive, it MUST be marked as inactive in the
    //# answer.
    pub fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests;
