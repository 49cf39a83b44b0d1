//! What we say: a session description that knows whether it has changed.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use tandem_engine::seam::Codec;

use super::{Direction, Media, Payload};

/// Our description: plain data, so that a call can go on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Never changes within a call.
    pub session_id: u64,
    /// Rises by one whenever the rest changes (RFC 3264 §8).
    pub version: u64,
    /// Everything below the o= line, as last sent; empty before the first time.
    pub body: String,
}

/// A media line of ours.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Where we receive; port 0 refuses.
    pub rtp: SocketAddr,
    /// What it answers, if anything.
    pub answers: Option<&'a Media>,
    /// Our formats, best first; none: the line is refused.
    pub payloads: &'a [(u8, Payload)],
    /// Which way.
    pub direction: Direction,
}

impl Local {
    /// Before anything was said.
    pub fn new(session_id: u64) -> Local {
        Local {
            session_id,
            version: 0,
            body: String::new(),
        }
    }

    /// Says something: the whole text. The version rises only if it differs from the last.
    pub fn write(&mut self, address: IpAddr, lines: &[Line<'_>]) -> String {
        let mut body = String::with_capacity(320);
        let family = family(address);
        // Writing to a String cannot fail.
        let _ = write!(body, "s=-\r\nc=IN {family} {address}\r\nt=0 0\r\n");
        for line in lines {
            write_line(&mut body, line);
        }
        if body != self.body {
            self.version += 1;
            self.body = body;
        }
        self.text(address)
    }

    /// What was said last, again.
    pub fn text(&self, address: IpAddr) -> String {
        let family = family(address);
        let Local {
            session_id,
            version,
            body,
        } = self;
        format!("v=0\r\no=- {session_id} {version} IN {family} {address}\r\n{body}")
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

fn write_line(body: &mut String, line: &Line<'_>) {
    let kind = line.answers.map_or("audio", |m| &m.kind);
    let protocol = line.answers.map_or("RTP/AVP", |m| &m.protocol);
    if line.payloads.is_empty() {
        let formats = line.answers.map_or("0", |m| &m.formats);
        let _ = write!(body, "m={kind} 0 {protocol} {formats}\r\n");
        return;
    }
    let port = line.rtp.port();
    let _ = write!(body, "m={kind} {port} {protocol}");
    for (number, _) in line.payloads {
        let _ = write!(body, " {number}");
    }
    body.push_str("\r\n");
    for (number, payload) in line.payloads {
        write_payload(body, *number, *payload);
    }
    let rtcp = u32::from(port) + 1;
    let direction = line.direction.as_str();
    let _ = write!(
        body,
        "a=ptime:20\r\na=maxptime:150\r\na=rtcp:{rtcp}\r\na={direction}\r\n"
    );
}

fn write_payload(body: &mut String, number: u8, payload: Payload) {
    let name = match payload {
        Payload::Sound(Codec::Pcmu) => "PCMU/8000",
        Payload::Sound(Codec::Pcma) => "PCMA/8000",
        Payload::Sound(Codec::G722) => "G722/8000",
        Payload::Sound(Codec::Opus) => "opus/48000/2",
        Payload::TelephoneEvent { clock_hz: 48_000 } => "telephone-event/48000",
        Payload::TelephoneEvent { .. } => "telephone-event/8000",
        Payload::Unknown => return,
    };
    let parameters = match payload {
        // What we would like to be sent: FEC, and no more than a telephone needs (RFC 7587 §6.1).
        Payload::Sound(Codec::Opus) => {
            "useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000"
        }
        Payload::TelephoneEvent { .. } => "0-16",
        _ => "",
    };
    let _ = write!(body, "a=rtpmap:{number} {name}\r\n");
    if !parameters.is_empty() {
        let _ = write!(body, "a=fmtp:{number} {parameters}\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::parse;

    #[test]
    fn the_version_rises_only_with_a_change() {
        let mut local = Local::new(7);
        let payloads = [
            (0, Payload::Sound(Codec::Pcmu)),
            (101, Payload::TelephoneEvent { clock_hz: 8000 }),
        ];
        let line = |direction| Line {
            rtp: "10.0.0.9:5000".parse().unwrap(),
            answers: None,
            payloads: &payloads,
            direction,
        };
        let ip = "10.0.0.9".parse().unwrap();
        let first = local.write(ip, &[line(Direction::SendRecv)]);
        assert_eq!(
            first,
            "v=0\r\no=- 7 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
             m=audio 5000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
             a=ptime:20\r\na=maxptime:150\r\na=rtcp:5001\r\na=sendrecv\r\n"
        );
        assert_eq!(local.write(ip, &[line(Direction::SendRecv)]), first);
        local.write(ip, &[line(Direction::Inactive)]);
        assert_eq!(local.version, 2);
        assert!(parse(first.as_bytes()).unwrap().media[0].is_usable());
    }
}
