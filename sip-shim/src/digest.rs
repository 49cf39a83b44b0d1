//! Digest authentication: challenges, and whether an answer to one is right.
//!
//! A nonce carries its own age and a keyed hash, so that nothing is stored for a challenge; only
//! nonces that were answered rightly are remembered, with the counts seen, so that an answer
//! cannot be used twice. The table is bounded: a nonce forgotten counts as stale.
//!
//! Right and wrong, known and unknown users cost the same work and get the same answer.
//!
//! Sources: RFC 3261 §22, RFC 7616, RFC 8760. We depart from RFC 8760 §2.4 where user agents do:
//! MD5 is offered before SHA-256, because some (SIPp 3.6 ends itself) give up at a first challenge
//! they do not know instead of looking at the next; and those known to look at all of them and
//! fail at any (`md5_only_agents`) are offered MD5 alone.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;

use md5::Md5;
use sha2::{Digest, Sha256};
use tandem_pbx::seam::SipUser;

use crate::context::{NumberMap, ShimContext};
use crate::message::{Message, Name};
use crate::uri::{Uri, split_list};

/// The most nonces whose counts are remembered: one per phone and registration period.
const NONCES_MAX: usize = 65_536;
/// Stands in for the hash of a user who does not exist.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The longest credentials we read.
const CREDENTIALS_BYTES_MAX: usize = 2048;

/// Makes nonces and recognises them.
#[derive(Debug)]
pub(crate) struct Nonces {
    secret: [u8; 32],
    issued: u64,
    seen: NumberMap<u64, Seen>,
    order: VecDeque<u64>,
    /// Every nonce up to this number that is not in `seen` may have been used.
    forgotten: u64,
}

/// The counts with which one nonce was used: the highest, and which of the 64 below it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    highest: u32,
    below: u64,
}

/// What an answer to a challenge is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The password was shown.
    Right,
    /// It was, but for a nonce that is too old or used up: ask again.
    Stale,
    /// It was not.
    Wrong,
}

/// An Authorization header.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credentials<'a> {
    pub(crate) username: &'a str,
    realm: &'a str,
    nonce: &'a str,
    uri: &'a str,
    response: &'a str,
    algorithm: &'a str,
    qop: &'a str,
    nc: &'a str,
    cnonce: &'a str,
}

impl<'a> Credentials<'a> {
    /// Those for our realm, if the request carries any.
    pub(crate) fn of(request: &'a Message, realm: &str) -> Option<Credentials<'a>> {
        let headers = request
            .headers(Name::Authorization)
            .chain(request.headers(Name::ProxyAuthorization));
        headers
            .filter_map(Credentials::parse)
            .find(|c| c.realm == realm)
    }

    fn parse(value: &'a str) -> Option<Credentials<'a>> {
        let (scheme, rest) = value.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") || value.len() > CREDENTIALS_BYTES_MAX {
            return None;
        }
        let mut it = Credentials::default();
        for part in split_list(rest) {
            let (key, value) = part.split_once('=')?;
            let value = value.trim();
            let bare = value
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .unwrap_or(value);
            *match key.trim().to_ascii_lowercase().as_str() {
                "username" => &mut it.username,
                "realm" => &mut it.realm,
                "nonce" => &mut it.nonce,
                "uri" => &mut it.uri,
                "response" => &mut it.response,
                "algorithm" => &mut it.algorithm,
                "qop" => &mut it.qop,
                "nc" => &mut it.nc,
                "cnonce" => &mut it.cnonce,
                _ => continue,
            } = bare;
        }
        Some(it)
    }

    fn is_sha256(&self) -> bool {
        self.algorithm.eq_ignore_ascii_case("SHA-256")
    }

    /// Is it made with what we offered, for this request?
    fn is_for(&self, request: &Message) -> bool {
        let algorithm_known = self.is_sha256()
            || self.algorithm.is_empty()
            || self.algorithm.eq_ignore_ascii_case("MD5");
        let qop_known = self.is_without_qop() || self.qop.eq_ignore_ascii_case("auth");
        algorithm_known && qop_known && same_resource(self.uri, request)
    }

    /// In the form of RFC 2069, which a client may answer in (RFC 3261 §22.4, item 8).
    fn is_without_qop(&self) -> bool {
        self.qop.is_empty() && self.nc.is_empty()
    }
}

/// RFC 7616 §3.4.6: the answer is for this request and no other, or whoever catches it on its way could use
/// it to dial somewhere else. User agents differ in which parameters they repeat.
fn same_resource(uri: &str, request: &Message) -> bool {
    match (Uri::parse(uri), Uri::parse(request.uri())) {
        (Some(a), Some(b)) => {
            let ports = a.port.zip(b.port);
            a.scheme == b.scheme
                && a.number() == b.number()
                && a.host.eq_ignore_ascii_case(b.host)
                && ports.is_none_or(|(a, b)| a == b)
        }
        _ => false,
    }
}

impl Nonces {
    pub(crate) fn new(cx: &mut ShimContext) -> Nonces {
        let mut secret = [0; 32];
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&cx.random().to_le_bytes());
        }
        let (seen, order) = (NumberMap::default(), VecDeque::new());
        Nonces {
            secret,
            issued: 0,
            seen,
            order,
            forgotten: 0,
        }
    }

    /// The headers of a 401.
    pub(crate) fn challenge(
        &mut self,
        cx: &ShimContext,
        source: IpAddr,
        algorithms: &[&str],
        stale: bool,
    ) -> String {
        self.issued += 1;
        let nonce = self.nonce(seconds(cx), self.issued, source);
        let realm = &cx.config.realm;
        let stale = if stale { ", stale=true" } else { "" };
        let mut text = String::with_capacity(320);
        for algorithm in algorithms {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", \
                 algorithm={algorithm}, qop=\"auth\"{stale}\r\n"
            );
        }
        text
    }

    /// Is the answer right? `user` is whose it claims to be; `None` costs the same and is wrong.
    pub(crate) fn check(
        &mut self,
        cx: &mut ShimContext,
        credentials: &Credentials<'_>,
        request: &Message,
        user: Option<&SipUser>,
        source: IpAddr,
    ) -> Check {
        let ha1 = match user {
            Some(user) if credentials.is_sha256() => &*user.ha1_sha256,
            Some(user) => &*user.ha1_md5,
            None if credentials.is_sha256() => NOBODY,
            None => &NOBODY[..32],
        };
        let method = request.method_name();
        let wanted = match credentials.is_sha256() {
            true => response::<Sha256>(ha1, method, credentials),
            false => response::<Md5>(ha1, method, credentials),
        };
        let right = same(wanted.as_bytes(), credentials.response.as_bytes());
        if !right || user.is_none() || !credentials.is_for(request) {
            return Check::Wrong;
        }
        match self.use_nonce(cx, credentials, source) {
            true => Check::Right,
            false => {
                cx.counters.nonces_stale += 1;
                Check::Stale
            }
        }
    }

    /// Is the nonce ours, young enough, and not yet used with this count?
    fn use_nonce(
        &mut self,
        cx: &mut ShimContext,
        credentials: &Credentials<'_>,
        source: IpAddr,
    ) -> bool {
        let parts = Nonces::parts(credentials.nonce);
        // Without a count a nonce is good for one request.
        let count = match credentials.is_without_qop() {
            true => Ok(1),
            false => u32::from_str_radix(credentials.nc, 16),
        };
        let (Some((at_s, number)), Ok(count)) = (parts, count) else {
            return false;
        };
        let ours = self.nonce(at_s, number, source);
        let age_s = seconds(cx).wrapping_sub(at_s);
        if !same(ours.as_bytes(), credentials.nonce.as_bytes())
            || age_s > u64::from(cx.config.nonce_life_s)
        {
            return false;
        }
        if number <= self.forgotten && !self.seen.contains_key(&number) {
            return false;
        }
        self.remember(number);
        let fresh = self.seen.entry(number).or_default().take(count);
        cx.counters.nonces_replayed += u64::from(!fresh);
        fresh
    }

    fn remember(&mut self, number: u64) {
        if self.seen.contains_key(&number) {
            return;
        }
        self.order.push_back(number);
        if self.order.len() > NONCES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.seen.remove(&oldest);
            self.forgotten = self.forgotten.max(oldest);
        }
    }

    fn nonce(&self, at_s: u64, number: u64, source: IpAddr) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(at_s.to_le_bytes());
        hash.update(number.to_le_bytes());
        match source.to_canonical() {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        let mut text = format!("{at_s:08x}{number:016x}");
        hex(&mut text, &hash.finalize()[..12]);
        text
    }

    fn parts(nonce: &str) -> Option<(u64, u64)> {
        let at_s = u64::from_str_radix(nonce.get(..8)?, 16).ok()?;
        Some((at_s, u64::from_str_radix(nonce.get(8..24)?, 16).ok()?))
    }
}

impl Seen {
    /// Notes a count. `false`: it was there before, or is too far back to tell. Counts may come
    /// in any order, since datagrams do.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            let was_used = self.highest != 0;
            self.below = self.below.checked_shl(ahead).unwrap_or(0);
            if was_used && ahead <= 64 {
                self.below |= 1 << (ahead - 1);
            }
            self.highest = count;
            return true;
        }
        let back = self.highest - count;
        if back == 0 || back > 64 || count == 0 || self.below & (1 << (back - 1)) != 0 {
            return false;
        }
        self.below |= 1 << (back - 1);
        true
    }
}

fn seconds(cx: &ShimContext) -> u64 {
    cx.now.mono.0 / 1_000_000_000
}

fn response<D: Digest>(ha1: &str, method: &str, c: &Credentials<'_>) -> String {
    let ha2 = hash::<D>(&[method, c.uri]);
    if c.is_without_qop() {
        return hash::<D>(&[ha1, c.nonce, &ha2]);
    }
    hash::<D>(&[ha1, c.nonce, c.nc, c.cnonce, c.qop, &ha2])
}

/// The hash of some parts joined with colons, in hex.
pub(crate) fn hash<D: Digest>(parts: &[&str]) -> String {
    let mut hash = D::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update(b":");
        }
        hash.update(part.as_bytes());
    }
    let mut text = String::with_capacity(64);
    hex(&mut text, &hash.finalize());
    text
}

fn hex(text: &mut String, bytes: &[u8]) {
    for b in bytes {
        let _ = write!(text, "{b:02x}");
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a
        .iter()
        .zip(b)
        .fold(0, |d, (x, y)| d | (x ^ y.to_ascii_lowercase()));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

/// What is stored of a password: the hash of `extension:realm:password`, with MD5 and SHA-256.
pub fn ha1(extension: &str, realm: &str, password: &str) -> (String, String) {
    let parts = [extension, realm, password];
    (hash::<Md5>(&parts), hash::<Sha256>(&parts))
}

/// The Authorization header with which a client answers a challenge; for tests and tools.
pub fn answer(
    challenge: &str,
    method: &str,
    uri: &str,
    username: &str,
    password: &str,
    count: u32,
) -> Option<String> {
    let asked = Credentials::parse(challenge)?;
    let (md5, sha256) = ha1(username, asked.realm, password);
    let nc = format!("{count:08x}");
    let cnonce = "0a4f113b";
    let c = Credentials {
        uri,
        nc: &nc,
        cnonce,
        qop: "auth",
        ..asked
    };
    let response = match asked.is_sha256() {
        true => response::<Sha256>(&sha256, method, &c),
        false => response::<Md5>(&md5, method, &c),
    };
    let Credentials {
        realm,
        nonce,
        algorithm,
        ..
    } = asked;
    Some(format!(
        "Authorization: Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", algorithm={algorithm}, qop=auth, nc={nc}, \
         cnonce=\"{cnonce}\"\r\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_rfc_example() {
        let c = Credentials {
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            uri: "/dir/index.html",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            nc: "00000001",
            qop: "auth",
            ..Credentials::default()
        };
        let (md5, sha256) = ha1("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(
            response::<Md5>(&md5, "GET", &c),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            response::<Sha256>(&sha256, "GET", &c),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn a_count_is_good_once_in_any_order() {
        let mut seen = Seen::default();
        for count in 1..=300 {
            assert!(seen.take(count));
            assert!(!seen.take(count));
        }
        assert!(seen.take(310) && seen.take(305) && !seen.take(305) && !seen.take(300));
        assert!(!seen.take(1) && !seen.take(0));
        assert!(seen.take(u32::MAX) && !seen.take(310));
    }
}
