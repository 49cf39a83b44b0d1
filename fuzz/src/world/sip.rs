//! SIP as the simulated phones speak it: text, a few headers, digest. Made apart from the shim, so
//! that the two do not share a misunderstanding.
//!
//! What a phone reads here was written by the node: if it is not proper SIP, the world ends.

use std::fmt::Write as _;
use std::net::SocketAddr;

use md5::{Digest, Md5};
use sha2::Sha256;

/// A message from the node.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its first line.
    pub(super) start: String,
    headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub(super) body: String,
}

impl Message {
    /// Takes it apart; panics if the node wrote something that is not SIP.
    pub(super) fn parse(bytes: &[u8]) -> Message {
        let text = std::str::from_utf8(bytes).expect("the node writes text");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .expect("an empty line ends the head");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header has a colon");
                (name.trim().to_owned(), value.trim().to_owned())
            })
            .collect();
        let message = Message {
            start,
            headers,
            body: body.to_owned(),
        };
        message.check();
        message
    }

    /// What every message must have (RFC 3261 §8.1.1, §18.3).
    fn check(&self) {
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            assert!(
                self.get(name).is_some_and(|v| !v.is_empty()),
                "no {name} in {self:?}"
            );
        }
        if let Some(length) = self.get("Content-Length") {
            assert_eq!(
                length.parse(),
                Ok(self.body.len()),
                "Content-Length of {self:?}"
            );
        }
        assert!(
            self.body.is_empty() || self.get("Content-Type").is_some(),
            "{self:?}"
        );
        if self.status().is_none() {
            let (_, method) = self.cseq();
            assert_eq!(self.method(), method, "CSeq of {self:?}");
            assert!(self.start.ends_with(" SIP/2.0"), "{self:?}");
            assert!(
                self.get("Max-Forwards").is_some(),
                "no Max-Forwards in {self:?}"
            );
        }
    }

    /// The first header of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All headers of that name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self
            .headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, v)| v.as_str())
    }

    /// A header that is there.
    pub(super) fn must(&self, name: &str) -> &str {
        self.get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The status, if it is a response.
    pub(super) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method, if it is a request.
    pub(super) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The number and method of CSeq.
    pub(super) fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.must("CSeq").split_once(' ').expect("two parts");
        (number.parse().expect("a number"), method.trim())
    }

    /// The branch of the top Via: names the transaction.
    pub(super) fn branch(&self) -> &str {
        parameter(self.must("Via"), "branch").expect("a branch (RFC 3261 §8.1.1.7)")
    }

    /// The tag of From or To.
    pub(super) fn tag(&self, name: &str) -> Option<&str> {
        parameter(self.must(name), "tag")
    }

    /// The address in Contact.
    pub(super) fn contact(&self) -> Option<&str> {
        let contact = self.get("Contact")?;
        let inner = contact.split_once('<').map_or(contact, |(_, rest)| rest);
        inner.split('>').next()
    }

    /// Where the body says its RTP goes, and whether it may be sent there.
    pub(super) fn media(&self) -> Option<Media> {
        if self.body.is_empty() {
            return None;
        }
        let line = |kind: &str| {
            self.body
                .lines()
                .find_map(|l| l.strip_prefix(kind))
                .map(str::trim)
        };
        assert_eq!(line("v="), Some("0"), "{self:?}");
        let mut audio = line("m=audio ").expect("audio").split(' ');
        let port = audio.next().and_then(|p| p.parse().ok()).expect("a port");
        assert_eq!(audio.next(), Some("RTP/AVP"));
        let codecs: Vec<u8> = audio.filter_map(|n| n.parse().ok()).collect();
        assert!(
            codecs.contains(&0) || codecs.contains(&8),
            "no G.711 in {self:?}"
        );
        assert!(line("c=IN IP4 ").is_some(), "{self:?}");
        Some(Media { port })
    }
}

/// What an offer or answer of the node says.
#[derive(Clone, Debug)]
pub(super) struct Media {
    /// The node's port.
    pub(super) port: u16,
}

/// The value of a parameter behind a `;`.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|p| {
        let (key, value) = p.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// A request, from its lines.
pub(super) fn request(method: &str, uri: &str, lines: &[String], body: &str) -> Vec<u8> {
    write(&format!("{method} {uri} SIP/2.0"), lines, body)
}

/// A response to `request`, with a tag of ours in To.
pub(super) fn response(
    request: &Message,
    status: u16,
    tag: &str,
    extra: &[String],
    body: &str,
) -> Vec<u8> {
    let mut lines: Vec<String> = request.all("Via").map(|v| format!("Via: {v}")).collect();
    lines.extend(
        request
            .all("Record-Route")
            .map(|v| format!("Record-Route: {v}")),
    );
    lines.push(format!("From: {}", request.must("From")));
    let to = request.must("To");
    lines.push(match request.tag("To") {
        Some(_) => format!("To: {to}"),
        None => format!("To: {to};tag={tag}"),
    });
    lines.push(format!("Call-ID: {}", request.must("Call-ID")));
    lines.push(format!("CSeq: {}", request.must("CSeq")));
    lines.extend_from_slice(extra);
    write(&format!("SIP/2.0 {status} Because"), &lines, body)
}

fn write(start: &str, lines: &[String], body: &str) -> Vec<u8> {
    let mut text = format!("{start}\r\n");
    for line in lines {
        // Writing to a String cannot fail.
        let _ = write!(text, "{line}\r\n");
    }
    if !body.is_empty() && !lines.iter().any(|l| l.starts_with("Content-Type")) {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// A description of our side.
pub(super) fn sdp(rtp: SocketAddr, version: u32, codecs: &[u8], direction: &str) -> String {
    let ip = rtp.ip();
    let list: Vec<String> = codecs.iter().map(u8::to_string).collect();
    format!(
        "v=0\r\no=phone 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {} RTP/AVP {} 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
        rtp.port(),
        list.join(" "),
    )
}

/// The Authorization header that answers a challenge (RFC 7616 §3.4).
pub(super) fn authorization(
    challenge: &str,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
) -> String {
    let part = |name: &str| {
        let rest = challenge
            .split_once(&format!("{name}="))
            .map(|(_, rest)| rest)?;
        rest.trim_start_matches('"').split(['"', ',']).next()
    };
    let (realm, nonce) = (
        part("realm").expect("a realm"),
        part("nonce").expect("a nonce"),
    );
    let algorithm = part("algorithm").unwrap_or("MD5");
    let hash = |text: String| match algorithm {
        "SHA-256" => hex(&Sha256::digest(text)),
        _ => hex(&Md5::digest(text)),
    };
    let ha1 = hash(format!("{user}:{realm}:{password}"));
    let ha2 = hash(format!("{method}:{uri}"));
    let answer = hash(format!("{ha1}:{nonce}:00000001:abcd:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{answer}\", algorithm={algorithm}, qop=auth, nc=00000001, \
         cnonce=\"abcd\""
    )
}

/// `user:realm:password`, digested both ways: what the directory keeps.
pub(super) fn ha1(user: &str, realm: &str, password: &str) -> (String, String) {
    let secret = format!("{user}:{realm}:{password}");
    (hex(&Md5::digest(&secret)), hex(&Sha256::digest(&secret)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
