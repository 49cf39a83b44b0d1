//! SIP as text, as much as a telephone of the tests needs: messages taken apart, SDP, digest.

use std::net::SocketAddr;

use md5::{Digest, Md5};
use sha2::Sha256;

/// A message, taken apart.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Headers in order, short forms written out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    /// Takes a datagram apart.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_string();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (long_form(name.trim()), value.trim().into()));
        Some(Message {
            start,
            headers: headers.collect(),
            body: body.to_string(),
        })
    }

    /// The status code, if it is a response.
    pub fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The method: of a request from its first line, of a response from CSeq.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.header("CSeq").split(' ').nth(1).unwrap_or_default(),
            None => self.start.split(' ').next().unwrap_or_default(),
        }
    }

    /// Whether it is a request with this method.
    pub fn is(&self, method: &str) -> bool {
        self.status().is_none() && self.method() == method
    }

    /// A header's first value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let mut all = self.headers.iter();
        let found = all.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let mine = self.headers.iter();
        let mine = mine.filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        mine.map(|(_, value)| value.as_str())
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> u32 {
        let number = self.header("CSeq").split(' ').next();
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The tag of From or To.
    pub fn tag(&self, name: &str) -> String {
        parameter(self.header(name), "tag").unwrap_or_default()
    }
}

fn long_form(name: &str) -> String {
    let long = match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "k" => "Supported",
        "o" => "Event",
        other => other,
    };
    long.to_string()
}

/// A parameter behind a header value, as in `;tag=x`.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let found = value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value)
    });
    found.map(|value| value.trim().trim_end_matches('>').to_string())
}

/// The URI inside `<…>`, or the bare one.
pub fn uri(value: &str) -> String {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default().to_string(),
        None => value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_string(),
    }
}

/// A sound description as telephones write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    /// Where sound is wanted.
    pub at: SocketAddr,
    /// Payload types, in order.
    pub formats: Vec<u8>,
    /// The payload type of telephone-event.
    pub event_type: Option<u8>,
    /// `sendrecv`, `sendonly`, `recvonly` or `inactive`.
    pub direction: String,
    /// The version in `o=`.
    pub version: u64,
}

impl Sdp {
    /// As text.
    pub fn text(&self) -> String {
        let (ip, port) = (self.at.ip(), self.at.port());
        let formats: Vec<String> = self.formats.iter().map(u8::to_string).collect();
        let mut text = format!(
            "v=0\r\no=test 4711 {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {}\r\n",
            self.version,
            formats.join(" ")
        );
        if let Some(event) = self.event_type {
            text += &format!("a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n");
        }
        text + &format!("a=ptime:20\r\na={}\r\n", self.direction)
    }

    /// Takes one apart.
    pub fn parse(text: &str) -> Option<Sdp> {
        let find = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let ip = find("c=IN IP4 ")?.trim().parse().ok()?;
        let mut media = find("m=audio ")?.split_whitespace();
        let port = media.next()?.parse().ok()?;
        let formats = media.skip(1).filter_map(|f| f.parse().ok()).collect();
        let event_type = text.lines().find_map(|line| {
            let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            name.starts_with("telephone-event/8000")
                .then(|| number.parse().ok())?
        });
        let directions = ["sendonly", "recvonly", "inactive"];
        let direction = directions
            .iter()
            .find(|d| find(&format!("a={d}")).is_some());
        Some(Sdp {
            at: SocketAddr::new(ip, port),
            formats,
            event_type,
            direction: direction.unwrap_or(&"sendrecv").to_string(),
            version: find("o=")?.split(' ').nth(2)?.parse().ok()?,
        })
    }
}

/// Which digest a telephone can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// As all can.
    Md5,
    /// As few can (RFC 8760).
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A challenge, as far as it is answered.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// `Authorization` or `Proxy-Authorization`.
    pub answer_in: &'static str,
    /// Its realm.
    pub realm: String,
    /// Its nonce.
    pub nonce: String,
    /// Whether the last nonce was merely too old.
    pub stale: bool,
    /// Which digest it is for.
    pub algorithm: Algorithm,
}

impl Challenge {
    /// The challenge of a 401 or 407 for `algorithm`.
    pub fn of(response: &Message, algorithm: Algorithm) -> Option<Challenge> {
        let kinds = [
            ("WWW-Authenticate", "Authorization"),
            ("Proxy-Authenticate", "Proxy-Authorization"),
        ];
        let all = kinds.into_iter().flat_map(|(name, answer_in)| {
            let values = response.headers.iter();
            let values = values.filter(move |(n, _)| n.eq_ignore_ascii_case(name));
            values.map(move |(_, value)| (answer_in, value))
        });
        let mut fitting = all.filter(|(_, value)| {
            let offered = field(value, "algorithm").unwrap_or("MD5".into());
            offered.eq_ignore_ascii_case(algorithm.name())
        });
        let (answer_in, value) = fitting.next()?;
        Some(Challenge {
            answer_in,
            realm: field(value, "realm")?,
            nonce: field(value, "nonce")?,
            stale: field(value, "stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
            algorithm,
        })
    }

    /// The header that answers it, for the `count`th time (RFC 2617 §3.2.2, qop=auth).
    pub fn answer(&self, who: (&str, &str), method: &str, uri: &str, count: u32) -> String {
        let (user, password) = who;
        let (realm, nonce, hash) = (&self.realm, &self.nonce, |t: &str| self.algorithm.hash(t));
        let cnonce = format!("{:08x}", count.wrapping_mul(0x9e37_79b9));
        let secret = hash(&format!("{user}:{realm}:{password}"));
        let asked = hash(&format!("{method}:{uri}"));
        let count = format!("{count:08x}");
        let proof = hash(&format!("{secret}:{nonce}:{count}:{cnonce}:auth:{asked}"));
        format!(
            "{}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{proof}\", algorithm={}, qop=auth, nc={count}, cnonce=\"{cnonce}\"\r\n",
            self.answer_in,
            self.algorithm.name()
        )
    }
}

/// A field of a challenge, quoted or not.
fn field(value: &str, name: &str) -> Option<String> {
    let value = value.trim_start_matches("Digest").trim();
    let found = value.split(',').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value)
    });
    found.map(|value| value.trim().trim_matches('"').to_string())
}
