//! Short secrets in registers: what passwords and PINs are checked with.
//!
//! They are locked before they are handed to the log, and unlocked where they are used. In between they
//! are text like any other: merged, copied and backed up by nodes that cannot read them.
//!
//! ```text
//! locked:<name of the key>:<base64 of 12 bytes nonce, the secret encrypted, 16 bytes tag>
//! ```
//!
//! AES-256-GCM under a key made of the master key by HKDF-SHA256 (RFC 5869) with "tandem secret"; what
//! kind of secret it is, is authenticated. A text that does not begin so is a secret that was never
//! locked: the node that wrote it had no key.
//!
//! Invariant: no two secrets under the same nonce, which is random. Of 96 bits, so many are drawn as
//! passwords are set: chance does not repeat one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::cipher::{Keyring, Locked, MasterKey};

const PREFIX: &str = "locked:";
/// The longest that is looked at.
const TEXT_BYTES_MAX: usize = 4096;

/// A random number for one secret.
pub type SecretNonce = [u8; NONCE_LEN];

impl Keyring {
    /// Locks a secret of this kind, if this node encrypts.
    pub fn lock(&self, kind: &str, nonce: SecretNonce, secret: &str) -> String {
        let Some(master) = self.writer() else {
            return secret.to_owned();
        };
        let mut bytes = secret.as_bytes().to_vec();
        let aad = Aad::from(kind.as_bytes());
        secret_key(master)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .expect("a secret is shorter than what a cipher takes");
        let bytes = [&nonce[..], &bytes].concat();
        format!(
            "{PREFIX}{}:{}",
            master.name(),
            STANDARD_NO_PAD.encode(bytes)
        )
    }

    /// Unlocks one; what was never locked is as it was.
    pub fn unlock(&self, kind: &str, text: &str) -> Result<Zeroizing<String>, Locked> {
        let Some((name, encoded)) = text.strip_prefix(PREFIX).and_then(|t| t.split_once(':'))
        else {
            return Ok(Zeroizing::new(text.to_owned()));
        };
        let master = self.by_name(name)?;
        let changed = Locked::Changed(master.name());
        if text.len() > TEXT_BYTES_MAX {
            return Err(changed);
        }
        let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| changed)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(changed)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(kind.as_bytes());
        let opened = secret_key(master)
            .open_in_place(nonce, aad, &mut sealed)
            .map_err(|_| changed)?;
        let secret = std::str::from_utf8(opened).map_err(|_| changed)?;
        Ok(Zeroizing::new(secret.to_owned()))
    }
}

fn secret_key(master: &MasterKey) -> LessSafeKey {
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(master.bytes());
    let info: [&[u8]; 1] = [b"tandem secret"];
    let expanded = extracted.expand(&info, &AES_256_GCM);
    let expanded = expanded.expect("the key of a cipher is not too long for HKDF");
    LessSafeKey::new(UnboundKey::from(expanded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(write: Option<u8>, read: &[u8]) -> Keyring {
        let key = |byte: &u8| MasterKey::new([*byte; 32]);
        let write = write.as_ref().map(key);
        Keyring::new(write, read.iter().map(key).collect(), [0; 16])
    }

    #[test]
    fn who_has_the_key_reads_it_and_nobody_else() {
        let text = keys(Some(1), &[]).lock("pin", [7; 12], "$argon2id$x");
        assert!(
            text.starts_with("locked:") && !text.contains("argon"),
            "{text}"
        );
        let read = |keys: Keyring| keys.unlock("pin", &text).map(|s| s.to_string());
        assert_eq!(read(keys(Some(1), &[])).as_deref(), Ok("$argon2id$x"));
        assert_eq!(read(keys(Some(2), &[1])).as_deref(), Ok("$argon2id$x"));
        assert!(matches!(read(keys(Some(2), &[])), Err(Locked::NoKey(_))));
        assert!(matches!(read(Keyring::default()), Err(Locked::NoKey(_))));
    }

    #[test]
    fn what_was_changed_is_no_secret_and_one_kind_is_not_another() {
        let keys = keys(Some(1), &[]);
        let text = keys.lock("pin", [7; 12], "secret");
        assert!(matches!(keys.unlock("ha1", &text), Err(Locked::Changed(_))));
        for at in 25..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys.unlock("pin", &changed).is_err(), "{at}: {changed}");
        }
        for bad in ["locked:", "locked:x:", "locked:0011223344556677:AAAA"] {
            assert_ne!(
                keys.unlock("pin", bad).map(|s| s.to_string()),
                Ok("secret".into())
            );
        }
    }

    #[test]
    fn a_node_without_a_key_writes_it_as_it_is() {
        let text = Keyring::default().lock("pin", [7; 12], "plain");
        assert_eq!(text, "plain");
        assert_eq!(
            keys(Some(1), &[]).unlock("pin", &text).as_deref(),
            Ok(&"plain".to_owned())
        );
    }
}
