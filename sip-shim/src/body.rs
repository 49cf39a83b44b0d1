//! The session description in a message's body, alone or as a part of several.
//!
//! Gateways send it beside an ISUP message or a location in a multipart body. The first part
//! of type application/sdp is used; the others are for somebody else.
//!
//! Sources: RFC 2046 §5.1 (multipart), RFC 5621 §3.1 (SIP).

use crate::message::{Message, Name};

/// What is accepted, for a 415.
pub(crate) const ACCEPT: &str = "Accept: application/sdp, multipart/mixed\r\n";
/// The most parts that are looked at.
const PARTS_MAX: usize = 16;

/// The body is of no type that is understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownType;

/// The session description of a message; `None`: it has no body.
pub(crate) fn description(message: &Message) -> Result<Option<&[u8]>, UnknownType> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    let value = message.header_or_empty(Name::ContentType);
    let (kind, params) = value.split_once(';').unwrap_or((value, ""));
    if is_sdp(kind) {
        return Ok(Some(body));
    }
    let kind = kind.trim().to_ascii_lowercase();
    let boundary = boundary(params).filter(|_| kind.starts_with("multipart/"));
    let parts = boundary.map(|boundary| parts(body, boundary));
    let mut parts = parts.into_iter().flatten().take(PARTS_MAX);
    let found = parts.find_map(|(kind, body)| is_sdp(kind).then_some(body));
    found.map(Some).ok_or(UnknownType)
}

fn is_sdp(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/sdp")
}

fn boundary(params: &str) -> Option<&str> {
    let value = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("boundary");
        is_it.then_some(value.trim().trim_matches('"'))
    })?;
    // RFC 2046 §5.1.1 allows 70.
    (1..=70).contains(&value.len()).then_some(value)
}

/// The parts between boundaries: the type of each and its content.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let delimiter = format!("--{boundary}");
    let mut rest = find(body, delimiter.as_bytes()).map(|at| &body[at + delimiter.len()..]);
    std::iter::from_fn(move || {
        let open = rest.filter(|rest| !rest.starts_with(b"--"))?;
        let end = find(open, delimiter.as_bytes())?;
        rest = Some(&open[end + delimiter.len()..]);
        Some(part(&open[..end]))
    })
}

fn part(bytes: &[u8]) -> (&str, &[u8]) {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let (head, body) = match find(bytes, b"\r\n\r\n") {
        Some(at) => (&bytes[..at], &bytes[at + 4..]),
        None => (&b""[..], bytes),
    };
    let head = std::str::from_utf8(head).unwrap_or_default();
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.trim().eq_ignore_ascii_case("content-type");
        is_it.then_some(value)
    });
    let body = body.strip_suffix(b"\r\n").unwrap_or(body);
    (kind.unwrap_or("text/plain"), body)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<Option<String>, UnknownType> {
        let text = format!(
            "INVITE sip:1@x SIP/2.0\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (message, _) = Message::parse(text.as_bytes()).unwrap();
        let found = description(&message)?;
        Ok(found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[test]
    fn the_description_is_found_among_several_parts() {
        let body = "preamble\r\n--b1\r\nContent-Type: application/isup;version=itu\r\n\r\n\x01\x02\r\n\
            --b1\r\nContent-Disposition: session\r\ncontent-type: Application/SDP\r\n\r\nv=0\r\ns=-\r\n\r\n--b1--\r\n";
        let found = read("multipart/mixed;boundary=\"b1\"", body);
        assert_eq!(found, Ok(Some("v=0\r\ns=-\r\n".to_owned())));
        assert_eq!(
            read("application/sdp", "v=0\r\n"),
            Ok(Some("v=0\r\n".to_owned()))
        );
        assert_eq!(read("application/sdp", ""), Ok(None));
    }

    #[test]
    fn bodies_without_one_are_told_apart() {
        for (kind, body) in [
            ("text/plain", "v=0"),
            ("multipart/mixed", "--b\r\n\r\nx\r\n--b--"),
            ("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n--b--"),
            (
                "multipart/mixed;boundary=b",
                "--b--\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--",
            ),
            ("multipart/mixed;boundary=b", "--b"),
            ("multipart/mixed;boundary=", "--\r\n"),
        ] {
            assert_eq!(read(kind, body), Err(UnknownType), "{kind} {body:?}");
        }
    }
}
