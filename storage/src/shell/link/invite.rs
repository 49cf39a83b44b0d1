//! One-time tokens: the text an administrator carries from a node of the cluster to the machine
//! that is to join it.
//!
//! ```text
//! tandem2.<base64url of: 16 bytes name of the new node, zero-padded
//!                        32 bytes SHA-256 of the inviting node's certificate
//!                        16 bytes secret
//!                        address of the inviting node's link
//!                        4 bytes CRC-32C of all this, little-endian>
//! ```
//!
//! The joining machine needs nothing else: it dials the address, goes on only if the certificate
//! shown there is the one named, and shows the secret. The inviting node keeps only the secret's
//! SHA-256, takes it once, and not after its time. Which node has invited does not matter later.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ca::hex;
use crate::name::NodeName;
use crate::time::WallTime;

/// Invitations that may be open at once; the oldest gives way.
pub(super) const OPEN_MAX: usize = 32;

/// How long one is good.
pub const LIFE_MS: u64 = 60 * 60 * 1000;

const PREFIX: &str = "tandem2.";
const NAME_BYTES: usize = NodeName::LEN_MAX;
const CERT_BYTES: usize = 32;
const SECRET_BYTES: usize = 16;
const FRONT_BYTES: usize = NAME_BYTES + CERT_BYTES + SECRET_BYTES;
const TEXT_LEN_MAX: usize = 1024;

/// An invitation, as it is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Who is invited.
    pub node: NodeName,
    /// Where to.
    pub address: String,
    /// The certificate shown there.
    pub cert: [u8; CERT_BYTES],
    /// What to show.
    pub secret: [u8; SECRET_BYTES],
}

/// What the inviting node remembers of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) node: String,
    secret_sha256: String,
    until_ms: u64,
}

/// The invitations that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book(Vec<Open>);

impl Book {
    /// Notes one. An older one for the same node is void from now on.
    pub(super) fn open(&mut self, invitation: &Invitation, now: WallTime) {
        let node = invitation.node.to_string();
        self.0.retain(|open| open.node != node);
        if self.0.len() >= OPEN_MAX {
            self.0.remove(0);
        }
        self.0.push(Open {
            node,
            secret_sha256: digest(&invitation.secret),
            until_ms: now.0.saturating_add(LIFE_MS),
        });
    }

    /// Whom this secret invites. It is used up.
    pub(super) fn take(&mut self, secret: &[u8], now: WallTime) -> Option<NodeName> {
        self.0.retain(|open| now.0 < open.until_ms);
        // Digests are compared: how long that takes tells nothing about a secret.
        let digest = digest(secret);
        let at = self.0.iter().position(|o| o.secret_sha256 == digest)?;
        self.0.remove(at).node.parse().ok()
    }
}

fn digest(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

impl std::fmt::Display for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.node.to_bytes().to_vec();
        bytes.extend_from_slice(&self.cert);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(self.address.as_bytes());
        bytes.extend_from_slice(&crc_fast::crc32_iscsi(&bytes).to_le_bytes());
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl std::str::FromStr for Invitation {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Invitation, Self::Err> {
        let wrong = "this is not a whole token; copy all of what `tandem site token` printed";
        let text = text.trim();
        if text.len() > TEXT_LEN_MAX {
            return Err(wrong);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(wrong)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| wrong)?;
        let (bytes, sum) = bytes.split_last_chunk().ok_or(wrong)?;
        if crc_fast::crc32_iscsi(bytes) != u32::from_le_bytes(*sum) {
            return Err(wrong);
        }
        let (front, address) = bytes.split_at_checked(FRONT_BYTES).ok_or(wrong)?;
        let (name, rest) = front.split_at(NAME_BYTES);
        let (cert, secret) = rest.split_at(CERT_BYTES);
        let address = std::str::from_utf8(address).map_err(|_| wrong)?;
        if address.is_empty() {
            return Err(wrong);
        }
        Ok(Invitation {
            node: NodeName::from_bytes(name.try_into().map_err(|_| wrong)?).map_err(|_| wrong)?,
            address: address.to_owned(),
            cert: cert.try_into().map_err(|_| wrong)?,
            secret: secret.try_into().map_err(|_| wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(node: &str, secret: u8) -> Invitation {
        Invitation {
            node: node.parse().unwrap(),
            address: "192.0.2.1:7650".into(),
            cert: [7; CERT_BYTES],
            secret: [secret; SECRET_BYTES],
        }
    }

    #[test]
    fn a_token_reads_back_and_a_torn_one_does_not() {
        let invitation = invitation("branch-2", 1);
        let text = invitation.to_string();
        assert_eq!(format!(" {text}\n").parse(), Ok(invitation));
        let changed = text.replace("AAAA", "AAAB");
        assert_ne!(changed, text);
        let short = &text[..text.len() - 3];
        for bad in [
            "",
            "tandem2.",
            "tandem2.AAAA",
            &text[..60],
            &text[1..],
            &changed,
            short,
        ] {
            assert!(bad.parse::<Invitation>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_taken_once_and_not_after_its_time() {
        let mut book = Book::default();
        let now = WallTime(1_000);
        book.open(&invitation("b", 1), now);
        book.open(&invitation("c", 2), now);
        let secret = |n: u8| [n; SECRET_BYTES];
        assert_eq!(book.take(&secret(9), now), None);
        assert_eq!(book.take(&secret(1), now), Some("b".parse().unwrap()));
        assert_eq!(book.take(&secret(1), now), None, "used up");
        let late = WallTime(now.0 + LIFE_MS);
        assert_eq!(book.take(&secret(2), late), None, "too late");
    }

    #[test]
    fn a_new_token_for_a_node_voids_the_old_one() {
        let mut book = Book::default();
        book.open(&invitation("b", 1), WallTime(0));
        book.open(&invitation("b", 2), WallTime(0));
        assert_eq!(book.take(&[1; SECRET_BYTES], WallTime(1)), None);
        assert!(book.take(&[2; SECRET_BYTES], WallTime(1)).is_some());
    }
}
