//! A SIP message as it came: one piece of text, and where in it each header lies.
//!
//! [`Message::parse`] is handed the bytes of one message by [`crate::validate`] and copies them
//! once; every header is then a range of that copy, found by its [`Name`]. Values are text, in
//! the order in which they came; what they mean is read by whoever asks ([`crate::uri`],
//! [`crate::digest`], [`crate::sdp`]).
//!
//! Invariants: every range lies on character boundaries of `head`; folded lines are unfolded
//! (RFC 3261 §7.3.1), so no value holds a line end; at most [`HEADERS_MAX`] headers.

mod names;

use std::ops::Range;

pub use names::{Method, Name};

use crate::validate::BadRequest;

/// The most header lines in one message.
pub const HEADERS_MAX: usize = 256;
/// The most bytes before the body.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A message that passed the sanity checks, or one that deserves an error answer.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) message: Message,
    pub(crate) fault: Option<BadRequest>,
}

/// A SIP message, taken apart but not interpreted.
#[derive(Clone, Debug)]
pub struct Message {
    head: Box<str>,
    start: Start,
    headers: Vec<HeaderAt>,
    body: Box<[u8]>,
}

/// Its first line.
#[derive(Clone, Debug)]
enum Start {
    Request {
        method: Method,
        name: Span,
        uri: Span,
        version: Span,
    },
    Response {
        status: u16,
    },
}

#[derive(Clone, Copy, Debug)]
struct HeaderAt {
    name: Name,
    value: Span,
}

/// A range of `head`, small because there are many.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    to: u32,
}

/// Why bytes are no SIP message at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSip {
    /// The first line is neither a request's nor a response's.
    StartLine,
    /// More, or longer, headers than anyone needs.
    TooLarge,
}

impl Message {
    /// Takes a message apart. `Ok` carries whether every line was a proper one; a message with
    /// improper lines can often still be answered.
    pub fn parse(bytes: &[u8]) -> Result<(Message, bool), NotSip> {
        let (head, body_at, complete) = head_of(bytes)?;
        let mut lines = Lines { text: &head, at: 0 };
        let start = lines.next().ok_or(NotSip::StartLine)?;
        let start = parse_start(&head, start)?;
        let mut headers = Vec::with_capacity(16);
        let mut proper = complete;
        for line in lines {
            if headers.len() == HEADERS_MAX {
                return Err(NotSip::TooLarge);
            }
            match parse_header(&head, line) {
                Some(header) => headers.push(header),
                None => proper = false,
            }
        }
        let body = bytes[body_at..].into();
        Ok((
            Message {
                head,
                start,
                headers,
                body,
            },
            proper,
        ))
    }

    /// Is it a request?
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// A request's method; that of a response is in its CSeq.
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => Method::Unknown,
        }
    }

    /// A request's method as it was written.
    pub fn method_name(&self) -> &str {
        match self.start {
            Start::Request { name, .. } => self.text(name),
            Start::Response { .. } => "",
        }
    }

    /// A request's URI as it was written.
    pub fn uri(&self) -> &str {
        match self.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// The version a request claims.
    pub fn version(&self) -> &str {
        match self.start {
            Start::Request { version, .. } => self.text(version),
            Start::Response { .. } => "SIP/2.0",
        }
    }

    /// A response's status, 100 to 699; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status } => status,
        }
    }

    /// The first header of a name.
    pub fn header(&self, name: Name) -> Option<&str> {
        self.headers(name).next()
    }

    /// All headers of a name, top to bottom.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |h| h.name == name)
            .map(|h| self.text(h.value))
    }

    /// The first header of a name, or nothing.
    pub fn header_or_empty(&self, name: Name) -> &str {
        self.header(name).unwrap_or_default()
    }

    /// A header that holds one number, perhaps followed by parameters.
    pub fn number(&self, name: Name) -> Option<u32> {
        let value = self.header(name)?;
        value.split([';', ' ']).next()?.trim().parse().ok()
    }

    /// Does a list of tokens (Supported, Allow, Require …) hold this one?
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// All tokens of such a list.
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &str> {
        self.headers(name)
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .filter(|t| !t.is_empty())
    }

    /// The number and method of CSeq.
    pub fn cseq(&self) -> Option<(u32, Method, &str)> {
        let (number, method) = self.header(Name::CSeq)?.split_once([' ', '\t'])?;
        let method = method.trim();
        // RFC 3261 §8.1.1.5: less than 2^31.
        let number: u32 = number.parse().ok().filter(|n| *n < 1 << 31)?;
        Some((number, Method::parse(method), method))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Shortens the body to what Content-Length says.
    pub(crate) fn truncate_body(&mut self, bytes: usize) {
        if bytes < self.body.len() {
            self.body = self.body[..bytes].into();
        }
    }

    fn text(&self, span: Span) -> &str {
        &self.head[span.range()]
    }
}

impl Span {
    /// `part` must be a piece of `head`.
    fn of(head: &str, part: &str) -> Span {
        let from = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        // HEAD_BYTES_MAX keeps both far below u32::MAX.
        Span {
            from: from as u32,
            to: (from + part.len()) as u32,
        }
    }

    fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

/// The part before the body as unfolded text, where the body begins, and whether the blank line
/// between them is there. Text that is not UTF-8 is kept as far as it can be read: old phones
/// send Latin-1 display names.
fn head_of(bytes: &[u8]) -> Result<(Box<str>, usize, bool), NotSip> {
    let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let (head_len, body_at, complete) = match find_blank_line(window) {
        Some((head_len, body_at)) => (head_len, body_at, true),
        None if bytes.len() > HEAD_BYTES_MAX => return Err(NotSip::TooLarge),
        None => (bytes.len(), bytes.len(), false),
    };
    let mut head = bytes[..head_len].to_vec();
    unfold(&mut head);
    let head = match String::from_utf8(head) {
        Ok(head) => head,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    };
    Ok((head.into_boxed_str(), body_at, complete))
}

/// Where the head ends and the body begins: after an empty line, with CR LF or bare LF.
pub(crate) fn find_blank_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|b| *b == b'\n') {
        let line_end = at + offset + 1;
        match bytes[line_end..] {
            [b'\r', b'\n', ..] => return Some((line_end, line_end + 2)),
            [b'\n', ..] => return Some((line_end, line_end + 1)),
            _ => at = line_end,
        }
    }
    None
}

/// Turns the line end before a continuation line into spaces.
fn unfold(head: &mut [u8]) {
    for i in 1..head.len() {
        if head[i - 1] == b'\n' && matches!(head[i], b' ' | b'\t') {
            head[i - 1] = b' ';
            if i >= 2 && head[i - 2] == b'\r' {
                head[i - 2] = b' ';
            }
        }
    }
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|r| !r.is_empty())?;
        let line = rest.split('\n').next()?;
        self.at += line.len() + 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

fn parse_start(head: &str, line: &str) -> Result<Start, NotSip> {
    let (first, rest) = line.split_once(' ').ok_or(NotSip::StartLine)?;
    if first.eq_ignore_ascii_case("SIP/2.0") {
        let code = rest.get(..3).ok_or(NotSip::StartLine)?;
        let ends = rest.as_bytes().get(3).is_none_or(|b| *b == b' ');
        let status = code.parse().ok().filter(|s| (100..700).contains(s) && ends);
        return Ok(Start::Response {
            status: status.ok_or(NotSip::StartLine)?,
        });
    }
    // The URI may hold spaces it should not: the version is what follows the last one.
    let (uri, version) = rest.trim_end().rsplit_once(' ').ok_or(NotSip::StartLine)?;
    let legal = first.bytes().all(is_token);
    if first.is_empty() || !legal || version.len() < 4 || !version.is_char_boundary(4) {
        return Err(NotSip::StartLine);
    }
    if !version[..4].eq_ignore_ascii_case("SIP/") {
        return Err(NotSip::StartLine);
    }
    Ok(Start::Request {
        method: Method::parse(first),
        name: Span::of(head, first),
        uri: Span::of(head, uri),
        version: Span::of(head, version),
    })
}

fn parse_header(head: &str, line: &str) -> Option<HeaderAt> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end();
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    Some(HeaderAt {
        name: Name::parse(name),
        value: Span::of(head, value.trim()),
    })
}

/// RFC 3261 §25.1 `token`.
pub(crate) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(text.as_bytes()).unwrap().0
    }

    #[test]
    fn a_request_is_taken_apart() {
        let m = parse(
            "INVITE sip:102@pbx SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z\r\nVia: SIP/2.0/UDP b\r\n\
             Subject : hello\r\n  again\r\nCSeq: 7 INVITE\r\nSupported: timer, 100rel\r\n\r\nbody",
        );
        assert!(m.is_request());
        assert_eq!((m.method(), m.uri()), (Method::Invite, "sip:102@pbx"));
        assert_eq!(
            m.headers(Name::Via).collect::<Vec<_>>(),
            ["SIP/2.0/UDP a;branch=z", "SIP/2.0/UDP b"]
        );
        assert_eq!(m.cseq(), Some((7, Method::Invite, "INVITE")));
        assert!(m.lists(Name::Supported, "100REL") && !m.lists(Name::Supported, "100"));
        assert_eq!(m.body(), b"body");
    }

    #[test]
    fn a_response_is_taken_apart() {
        let m = parse("SIP/2.0 486 Busy Here\r\nl: 0\r\n\r\n");
        assert_eq!((m.is_request(), m.status()), (false, 486));
        assert_eq!(m.number(Name::ContentLength), Some(0));
    }

    #[test]
    fn folded_lines_are_one_value() {
        let m = parse("OPTIONS sip:a SIP/2.0\r\nTo:\r\n  <sip:a@b>\r\n\t;tag=x\r\n\r\n");
        assert_eq!(
            m.header(Name::To).map(|v| v.split_whitespace().count()),
            Some(2)
        );
    }

    #[test]
    fn what_is_not_sip_is_refused() {
        for bad in [
            "",
            "\r\n\r\n",
            "hello",
            "GET / HTTP/1.1\r\n\r\n",
            "SIP/2.0 4294967301 x\r\n",
        ] {
            assert_eq!(
                Message::parse(bad.as_bytes()).err(),
                Some(NotSip::StartLine),
                "{bad:?}"
            );
        }
        let many = format!("A b SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(
            Message::parse(many.as_bytes()).err(),
            Some(NotSip::TooLarge)
        );
    }

    #[test]
    fn latin_1_does_not_hide_later_headers() {
        let (m, proper) =
            Message::parse(b"BYE sip:a SIP/2.0\r\nFrom: M\xfcller\r\nTo: x\r\n\r\n").unwrap();
        assert!(proper);
        assert_eq!(m.header(Name::To), Some("x"));
    }
}
