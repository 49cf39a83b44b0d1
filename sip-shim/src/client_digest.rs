//! Digest authentication as a client: challenges to calls of ours, and the answers to them.
//!
//! A call that goes to a host keeps one proof for each realm that has challenged it: its own server
//! (401), and a proxy before it (407). Each INVITE of the call carries them all, with a count that
//! rises. A realm is answered once; once more if it says that only its nonce was too old. The password
//! leaves this file only as a digest.
//!
//! Sources: RFC 3261 §22, RFC 7616, RFC 8760 (of several challenges the topmost that we know).

use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest, Sha256};
use tandem_pbx::seam::Login;

use crate::context::ShimContext;
use crate::digest::hash;
use crate::message::{Message, Name};
use crate::uri::split_list;

/// The longest challenge we read.
const CHALLENGE_BYTES_MAX: usize = 2048;
/// The most realms that may challenge one call.
const PROOFS_MAX: usize = 2;

/// The answers of one call.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    all: Vec<Proof>,
}

#[derive(Debug)]
struct Proof {
    challenge: Challenge,
    /// How often its nonce was used.
    count: u32,
    /// It has been answered anew, for a nonce that was too old.
    is_renewed: bool,
}

#[derive(Debug)]
struct Challenge {
    /// By a proxy (407).
    is_proxy: bool,
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    /// As it was written; `None`: it was not, which means MD5.
    algorithm: Option<Box<str>>,
    is_sha256: bool,
    /// It offers `auth`; else it is of the form of RFC 2069.
    has_qop: bool,
    is_stale: bool,
}

impl Proofs {
    /// Takes a 401 or 407. `false`: there is nothing (more) to answer it with.
    pub(crate) fn take(&mut self, response: &Message) -> bool {
        let is_proxy = response.status() == 407;
        let name = match is_proxy {
            true => Name::ProxyAuthenticate,
            false => Name::WwwAuthenticate,
        };
        let mut challenges = response.headers(name);
        let Some(challenge) = challenges.find_map(|value| Challenge::parse(value, is_proxy)) else {
            return false;
        };
        let same =
            |p: &Proof| p.challenge.is_proxy == is_proxy && p.challenge.realm == challenge.realm;
        let known = self.all.iter().position(same);
        let proof = Proof {
            challenge,
            count: 0,
            is_renewed: known.is_some(),
        };
        let is_full = self.all.len() == PROOFS_MAX;
        match known.and_then(|at| self.all.get_mut(at)) {
            Some(known) if proof.challenge.is_stale && !known.is_renewed => *known = proof,
            Some(_) => return false,
            None if is_full => return false,
            None => self.all.push(proof),
        }
        true
    }

    /// The headers of the next request of the call.
    pub(crate) fn headers(
        &mut self,
        cx: &mut ShimContext,
        login: &Login,
        method: &str,
        uri: &str,
    ) -> String {
        let mut text = String::new();
        for proof in &mut self.all {
            proof.count = proof.count.saturating_add(1);
            let cnonce = format!("{:016x}", cx.random());
            proof.write(&mut text, login, method, uri, &cnonce);
        }
        text
    }
}

impl Proof {
    fn write(&self, text: &mut String, login: &Login, method: &str, uri: &str, cnonce: &str) {
        let Challenge { realm, nonce, .. } = &self.challenge;
        let nc = format!("{:08x}", self.count);
        let response = match self.challenge.is_sha256 {
            true => self.response::<Sha256>(login, method, uri, &nc, cnonce),
            false => self.response::<Md5>(login, method, uri, &nc, cnonce),
        };
        let name = match self.challenge.is_proxy {
            true => "Proxy-Authorization",
            false => "Authorization",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{name}: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\"",
            login.user
        );
        if let Some(algorithm) = &self.challenge.algorithm {
            let _ = write!(text, ", algorithm={algorithm}");
        }
        if let Some(opaque) = &self.challenge.opaque {
            let _ = write!(text, ", opaque=\"{opaque}\"");
        }
        if self.challenge.has_qop {
            let _ = write!(text, ", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
        }
        text.push_str("\r\n");
    }

    fn response<D: Digest>(
        &self,
        login: &Login,
        method: &str,
        uri: &str,
        nc: &str,
        cnonce: &str,
    ) -> String {
        let Challenge { realm, nonce, .. } = &self.challenge;
        let ha1 = hash::<D>(&[&login.user, realm, &login.password]);
        let ha2 = hash::<D>(&[method, uri]);
        match self.challenge.has_qop {
            true => hash::<D>(&[&ha1, nonce, nc, cnonce, "auth", &ha2]),
            false => hash::<D>(&[&ha1, nonce, &ha2]),
        }
    }
}

impl Challenge {
    /// `None`: none that we can answer.
    fn parse(value: &str, is_proxy: bool) -> Option<Challenge> {
        let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") || value.len() > CHALLENGE_BYTES_MAX {
            return None;
        }
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut algorithm, mut qop, mut is_stale) = (None, None, false);
        for part in split_list(rest) {
            let (key, value) = part.split_once('=')?;
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            let bare = quoted.unwrap_or(value);
            // It is written into a request of ours, in quotes.
            if bare.contains(['"', '\\']) || bare.chars().any(char::is_control) {
                return None;
            }
            match key.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(bare),
                "nonce" => nonce = Some(bare),
                "opaque" => opaque = Some(bare.into()),
                "algorithm" => algorithm = Some(bare),
                "qop" => qop = Some(bare),
                "stale" => is_stale = bare.eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        let is_sha256 = algorithm.is_some_and(|a| a.eq_ignore_ascii_case("SHA-256"));
        let is_md5 = algorithm.is_none_or(|a| a.eq_ignore_ascii_case("MD5"));
        let offers = |qop: &str| {
            let mut all = qop.split(',');
            all.any(|v| v.trim().eq_ignore_ascii_case("auth"))
        };
        if !(is_sha256 || is_md5) || !qop.is_none_or(offers) {
            return None;
        }
        Some(Challenge {
            is_proxy,
            realm: realm?.into(),
            nonce: nonce?.into(),
            opaque,
            algorithm: algorithm.map(Into::into),
            is_sha256,
            has_qop: qop.is_some(),
            is_stale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, both algorithms.
    #[test]
    fn the_rfc_example() {
        let login = Login {
            user: "Mufasa".into(),
            password: "Circle of Life".into(),
        };
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let value = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let proof = Proof {
                challenge: Challenge::parse(&value, false).unwrap(),
                count: 1,
                is_renewed: false,
            };
            let mut text = String::new();
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            proof.write(&mut text, &login, "GET", "/dir/index.html", cnonce);
            assert!(text.contains(&format!("response=\"{expected}\"")), "{text}");
            assert!(text.contains("nc=00000001") && text.contains("opaque=\"FQhe/"));
            assert!(!text.contains("Circle") && !format!("{login:?}").contains("Circle"));
        }
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        for value in [
            "",
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"",
            "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"x\\\"y\", nonce=\"n\"",
        ] {
            assert!(Challenge::parse(value, false).is_none(), "{value}");
        }
        assert!(Challenge::parse("digest realm=x,nonce=n", false).is_some());
    }
}
