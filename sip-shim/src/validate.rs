//! The gate: which bytes become a message, which deserve an error answer, which nothing.
//!
//! The shell hands in one datagram ([`read_datagram`]) or what a stream has brought so far
//! ([`frame`]). What passes here can be relied on further in:
//!
//! | found | request | response |
//! |---|---|---|
//! | no start line, no usable top Via, over-long | dropped | dropped |
//! | SIP/3.0 and the like | 505 | dropped |
//! | From, To, Call-ID, CSeq missing, doubled, unreadable | 400 | dropped |
//! | CSeq names another method, or is 2^31 or more | 400 | dropped |
//! | Content-Length unreadable, contradictory, beyond the datagram | 400 | dropped |
//! | a line that is no header, no blank line | 400 | dropped |
//! | URI unreadable / of a scheme we do not serve | 400 / 416 | – |
//!
//! Sources: RFC 3261 §8.1.1, §8.2, §16.3, §18.3; RFC 4475.

use crate::message::{Incoming, Message, Method, Name, NotSip, find_blank_line};
use crate::uri::{NameAddr, Scheme, Uri, Via, split_list};

/// Why a request cannot be served; answered without state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// The status to answer with.
    pub status: u16,
    /// The reason phrase, which says more than the status.
    pub reason: &'static str,
}

/// Why bytes were dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// No SIP at all.
    NotSip(NotSip),
    /// SIP, but with no way to tell where an answer should go.
    NoVia,
    /// A response that belongs to nothing because it cannot be read.
    Response,
    /// An ACK, which is never answered.
    Ack,
    /// Nothing but line ends: a keep-alive.
    KeepAlive,
}

/// What the beginning of a stream's bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Wait for more.
    Partial,
    /// A double CRLF of this many bytes: answered with a single one (RFC 5626 §3.5.1).
    Ping(usize),
    /// Line ends between messages, to be skipped.
    Blank(usize),
    /// A message of this many bytes.
    Message(usize),
    /// The stream cannot be followed any further.
    Broken,
}

/// Judges one datagram.
pub fn read_datagram(bytes: &[u8]) -> Result<Incoming, Garbage> {
    // RFC 3261 §7.5: empty lines before the start line are ignored.
    let blank = bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let bytes = &bytes[blank..];
    if bytes.iter().all(|b| *b == 0) {
        return Err(Garbage::KeepAlive);
    }
    let (mut message, proper) = Message::parse(bytes).map_err(Garbage::NotSip)?;
    if message.header(Name::Via).and_then(Via::parse).is_none() {
        return Err(Garbage::NoVia);
    }
    let fault = match (proper, check(&mut message)) {
        (_, Some(fault)) => Some(fault),
        (false, None) => Some(BAD_LINE),
        (true, None) => None,
    };
    match fault {
        Some(_) if !message.is_request() => Err(Garbage::Response),
        Some(_) if message.method() == Method::Ack => Err(Garbage::Ack),
        fault => Ok(Incoming { message, fault }),
    }
}

/// Finds the first message in a stream; `bytes_max` bounds it.
pub fn frame(bytes: &[u8], bytes_max: usize) -> Frame {
    match bytes {
        [b'\r', b'\n', b'\r', b'\n', ..] => return Frame::Ping(4),
        [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Frame::Partial,
        [b'\r', b'\n', ..] => return Frame::Blank(2),
        [b'\n' | b'\r', ..] => return Frame::Blank(1),
        _ => {}
    }
    let Some((head_len, body_at)) = find_blank_line(bytes) else {
        return if bytes.len() > bytes_max {
            Frame::Broken
        } else {
            Frame::Partial
        };
    };
    // RFC 3261 §18.3: on streams Content-Length must be there; without it nobody knows where
    // the next message begins.
    match content_length_of(&bytes[..head_len]) {
        Some(length) if length <= bytes_max.saturating_sub(body_at) => {
            let end = body_at + length;
            if end <= bytes.len() {
                Frame::Message(end)
            } else {
                Frame::Partial
            }
        }
        _ => Frame::Broken,
    }
}

fn content_length_of(head: &[u8]) -> Option<usize> {
    head.split(|b| *b == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end();
        let it = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l");
        if it { value.trim().parse().ok() } else { None }
    })
}

const BAD_LINE: BadRequest = BadRequest {
    status: 400,
    reason: "Bad Header Line",
};

/// The checks of the table above, on a message with a usable top Via.
fn check(message: &mut Message) -> Option<BadRequest> {
    if !message.version().eq_ignore_ascii_case("SIP/2.0") {
        return Some(BadRequest {
            status: 505,
            reason: "Version Not Supported",
        });
    }
    check_once(message)
        .or_else(|| check_addresses(message))
        .or_else(|| check_cseq(message))
        .or_else(|| check_length(message))
        .or_else(|| check_uri(message))
}

fn check_once(message: &Message) -> Option<BadRequest> {
    let once = [
        (Name::From, "From"),
        (Name::To, "To"),
        (Name::CallId, "Call-ID"),
        (Name::CSeq, "CSeq"),
    ];
    for (name, text) in once {
        let mut values = message.headers(name);
        let Some(first) = values.next().filter(|v| !v.is_empty()) else {
            return Some(BadRequest {
                status: 400,
                reason: missing(text),
            });
        };
        if values.next().is_some() || first.len() > 1024 {
            return Some(BadRequest {
                status: 400,
                reason: "Bad or Doubled Header",
            });
        }
    }
    None
}

fn missing(name: &str) -> &'static str {
    match name {
        "From" => "Missing From",
        "To" => "Missing To",
        "Call-ID" => "Missing Call-ID",
        _ => "Missing CSeq",
    }
}

fn check_addresses(message: &Message) -> Option<BadRequest> {
    let readable = |name| {
        let address = message.header(name).and_then(NameAddr::parse)?;
        Uri::parse(address.uri).map(|_| address)
    };
    if readable(Name::From).is_none() {
        return Some(BadRequest {
            status: 400,
            reason: "Bad From",
        });
    }
    if readable(Name::To).is_none() {
        return Some(BadRequest {
            status: 400,
            reason: "Bad To",
        });
    }
    // Every hop below the top one is sent back as it is, but must be a hop.
    let hops_fine = message
        .headers(Name::Via)
        .flat_map(split_list)
        .all(|v| Via::parse(v).is_some());
    if !hops_fine {
        return Some(BadRequest {
            status: 400,
            reason: "Bad Via",
        });
    }
    None
}

fn check_cseq(message: &Message) -> Option<BadRequest> {
    let Some((_, method, name)) = message.cseq() else {
        return Some(BadRequest {
            status: 400,
            reason: "Bad CSeq",
        });
    };
    if message.is_request() && (method != message.method() || name != message.method_name()) {
        return Some(BadRequest {
            status: 400,
            reason: "CSeq Does Not Match Method",
        });
    }
    None
}

fn check_length(message: &mut Message) -> Option<BadRequest> {
    let mut lengths = message.headers(Name::ContentLength);
    let Some(first) = lengths.next() else {
        return None; // A datagram's body then reaches to its end (§18.3).
    };
    let agree = lengths.all(|l| l == first);
    let length = first.parse::<usize>().ok().filter(|_| agree);
    drop(lengths);
    match length {
        Some(length) if length <= message.body().len() => {
            message.truncate_body(length);
            None
        }
        Some(_) => Some(BadRequest {
            status: 400,
            reason: "Content-Length Beyond Message",
        }),
        None => Some(BadRequest {
            status: 400,
            reason: "Bad Content-Length",
        }),
    }
}

fn check_uri(message: &Message) -> Option<BadRequest> {
    if !message.is_request() {
        return None;
    }
    match Uri::parse(message.uri()).map(|u| u.scheme) {
        None => Some(BadRequest {
            status: 400,
            reason: "Bad Request-URI",
        }),
        Some(Scheme::Other) => Some(BadRequest {
            status: 416,
            reason: "Unsupported URI Scheme",
        }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
        From: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";

    fn check(change: (&str, &str)) -> Result<Option<u16>, Garbage> {
        let text = GOOD.replacen(change.0, change.1, 1);
        read_datagram(text.as_bytes()).map(|i| i.fault.map(|f| f.status))
    }

    #[test]
    fn each_row_of_the_table() {
        assert_eq!(check(("", "")), Ok(None));
        assert_eq!(check(("b SIP/2.0", "b SIP/7.0")), Ok(Some(505)));
        assert_eq!(check(("From:", "X:")), Ok(Some(400)));
        assert_eq!(
            check(("To: <sip:a@b>", "To: \"open <sip:a@b>")),
            Ok(Some(400))
        );
        assert_eq!(check(("Call-ID: c", "Call-ID: c\r\ni: d")), Ok(Some(400)));
        assert_eq!(check(("1 OPTIONS", "1 INVITE")), Ok(Some(400)));
        assert_eq!(check(("1 OPTIONS", "2147483648 OPTIONS")), Ok(Some(400)));
        assert_eq!(check(("Length: 0", "Length: 10")), Ok(Some(400)));
        assert_eq!(check(("Length: 0", "Length: -1")), Ok(Some(400)));
        assert_eq!(check(("Length: 0", "Length: 0\r\nl: 1")), Ok(Some(400)));
        assert_eq!(
            check(("Call-ID: c", "Call-ID: c\r\nnonsense")),
            Ok(Some(400))
        );
        assert_eq!(check(("sip:a@b SIP", "mailto:a@b SIP")), Ok(Some(416)));
        assert_eq!(check(("sip:a@b SIP", "<sip:a@b> SIP")), Ok(Some(400)));
        assert_eq!(
            check(("OPTIONS sip:a@b SIP", "FOO sip:a@b SIP")),
            Ok(Some(400))
        );
        assert_eq!(check(("Via: ", "Xia: ")), Err(Garbage::NoVia));
        assert_eq!(check(("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200")), Ok(None));
        assert_eq!(
            read_datagram(GOOD.replace("OPTIONS sip:a@b SIP/2.0\r\n", "").as_bytes()).err(),
            Some(Garbage::NotSip(NotSip::StartLine))
        );
        assert_eq!(read_datagram(b"\r\n\r\n").err(), Some(Garbage::KeepAlive));
    }

    #[test]
    fn streams_are_cut_into_messages() {
        let two = format!("{GOOD}{GOOD}");
        assert_eq!(frame(two.as_bytes(), 65_536), Frame::Message(GOOD.len()));
        assert_eq!(frame(&GOOD.as_bytes()[..40], 65_536), Frame::Partial);
        assert_eq!(frame(b"\r\n\r\nOPTIONS", 65_536), Frame::Ping(4));
        assert_eq!(frame(b"\r\nOPTIONS", 65_536), Frame::Blank(2));
        assert_eq!(
            frame(
                GOOD.replace("Length: 0", "Length: 99999999").as_bytes(),
                65_536
            ),
            Frame::Broken
        );
        assert_eq!(
            frame(GOOD.replace("Content-Length", "X").as_bytes(), 65_536),
            Frame::Broken
        );
        assert_eq!(frame(&[b'x'; 100], 50), Frame::Broken);
        let short = GOOD.replace("Length: 0", "Length: 5");
        assert_eq!(frame(short.as_bytes(), 65_536), Frame::Partial);
    }
}
