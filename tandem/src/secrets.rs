//! Passwords and PINs of users: what is wrong with one, one made by chance, and what is kept of it.
//!
//! They are here in plain text for as long as a question of an administrator takes; what goes into the log
//! are digests (RFC 7616 for passwords, Argon2 for PINs), and these locked where sound is encrypted: with the
//! digest one can log in, and of four digits the hash is soon guessed.

use std::sync::Arc;

use rand::RngExt;
use tandem_node::{HA1, TRUNK_PASSWORD};
use tandem_pbx::PbxConfig;
use tandem_pbx::users::{PinFault, pin_fault};
use tandem_sip_shim::digest;
use tandem_storage::cipher::{Keyring, Locked};
use zeroize::Zeroizing;

use crate::pins;

/// Phones keep passwords, so nobody needs to remember one.
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 128;
/// Of one made by chance: 32 different characters, so 80 bits.
const PASSWORD_CHARS: usize = 16;
/// No two of them look alike on a phone's display.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Of one made by chance.
const PIN_DIGITS: usize = 6;

/// A password that is as given, or made by chance.
pub(crate) fn password(given: Option<String>, extension: &str) -> Result<String, String> {
    let Some(given) = given else {
        let mut rng = rand::rng();
        let letters = (0..PASSWORD_CHARS).map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]);
        return Ok(letters.map(char::from).collect());
    };
    let chars = given.chars().count();
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        return Err(format!(
            "the password must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters; without one given, one is made"
        ));
    }
    if given.chars().any(char::is_control) {
        return Err("the password has characters that no phone can enter".into());
    }
    let first = given.chars().next();
    if given == extension || given.chars().all(|c| Some(c) == first) {
        return Err(
            "the password is what everybody tries first; without one given, one is made".into(),
        );
    }
    Ok(given)
}

/// A PIN that is as given, or made by chance.
pub(crate) fn pin(given: Option<String>, extension: &str) -> Result<String, String> {
    let config = PbxConfig::default();
    let fault = |pin: &str| pin_fault(&config, extension, pin);
    let Some(given) = given else {
        let mut rng = rand::rng();
        loop {
            let digits = (0..PIN_DIGITS).map(|_| char::from(b'0' + rng.random_range(0..10u8)));
            let pin: String = digits.collect();
            if fault(&pin).is_none() {
                return Ok(pin);
            }
        }
    };
    if !given.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a PIN is of digits alone: it is entered on a phone".into());
    }
    let (least, most) = (config.pin_digits_min, config.pin_digits_max);
    match fault(&given) {
        None => Ok(given),
        Some(PinFault::TooShort | PinFault::TooLong) => {
            Err(format!("the PIN must have {least} to {most} digits"))
        }
        Some(PinFault::TooSimple) => Err("the PIN is what everybody tries first".into()),
    }
}

/// What digests are made with and kept under.
#[derive(Clone)]
pub(crate) struct Keeper {
    /// Part of every password's digest.
    pub(crate) realm: String,
    pub(crate) keyring: Keyring,
}

const TRUNK_PASSWORD_BYTES_MAX: usize = 128;

/// A kind of secret, authenticated with it.
const PIN: &str = "pin";

impl Keeper {
    /// What is kept of a password: MD5 and SHA-256 of `extension:realm:password`.
    pub(crate) fn ha1(&self, extension: &str, password: &str) -> (Arc<str>, Arc<str>) {
        let (md5, sha256) = digest::ha1(extension, &self.realm, password);
        let lock = |digest: String| self.keyring.lock(HA1, rand::random(), &digest).into();
        (lock(md5), lock(sha256))
    }

    /// What is kept of a trunk's password: all of it, locked. It is at most 128 bytes long.
    pub(crate) fn trunk_password(&self, password: &str) -> Result<Arc<str>, String> {
        if password.is_empty() || password.len() > TRUNK_PASSWORD_BYTES_MAX {
            let most = TRUNK_PASSWORD_BYTES_MAX;
            return Err(format!("a trunk's password is 1 to {most} bytes long"));
        }
        let locked = self.keyring.lock(TRUNK_PASSWORD, rand::random(), password);
        Ok(locked.into())
    }

    /// What is kept of a PIN. Takes some tens of milliseconds.
    pub(crate) fn pin_hash(&self, pin: &str) -> Result<Arc<str>, String> {
        hash_pin(&self.keyring, pin).ok_or_else(|| "the PIN could not be hashed".into())
    }
}

/// A PIN's hash, locked.
pub(crate) fn hash_pin(keyring: &Keyring, pin: &str) -> Option<Arc<str>> {
    let hash = pins::hash(pin)?;
    Some(keyring.lock(PIN, rand::random(), &hash).into())
}

/// A PIN's hash, unlocked; `Err`: with a key that is not here, so no PIN is right.
pub(crate) fn unlock_pin(keyring: &Keyring, kept: &str) -> Result<Zeroizing<String>, Locked> {
    keyring.unlock(PIN, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_storage::cipher::MasterKey;

    #[test]
    fn what_is_made_by_chance_is_right_and_differs() {
        let made = |_| (password(None, "101").unwrap(), pin(None, "101").unwrap());
        let (one, other) = (made(()), made(()));
        assert_ne!(one, other);
        assert_eq!(password(Some(one.0.clone()), "101"), Ok(one.0));
        assert_eq!(pin(Some(one.1.clone()), "101"), Ok(one.1));
    }

    #[test]
    fn what_is_kept_is_locked_with_the_nodes_key_and_of_use_with_it() {
        let key = MasterKey::new([7; 32]);
        let keyring = Keyring::new(Some(key), Vec::new(), [0; 16]);
        let keeper = Keeper {
            realm: "tandem".into(),
            keyring: keyring.clone(),
        };
        let (ha1_md5, ha1_sha256) = keeper.ha1("101", "a password");
        assert!(ha1_md5.starts_with("locked:") && ha1_sha256.starts_with("locked:"));
        let (md5, _) = digest::ha1("101", "tandem", "a password");
        assert_eq!(*keyring.unlock(HA1, &ha1_md5).unwrap(), md5);
        assert!(Keyring::default().unlock(HA1, &ha1_md5).is_err());
        let kept = keeper.trunk_password("pepper").unwrap();
        assert!(kept.starts_with("locked:"), "{kept}");
        assert_eq!(*keyring.unlock(TRUNK_PASSWORD, &kept).unwrap(), "pepper");
        assert!(keeper.trunk_password("").is_err());
        assert!(keeper.trunk_password(&"p".repeat(129)).is_err());
        let kept = keeper.pin_hash("4711").unwrap();
        assert!(kept.starts_with("locked:"), "{kept}");
        assert!(
            unlock_pin(&keyring, &kept)
                .unwrap()
                .starts_with("$argon2id$")
        );
    }

    #[test]
    fn what_everybody_tries_first_is_refused() {
        for bad in ["", "short", "11111111", "12345678901\n"] {
            assert!(password(Some(bad.into()), "12345678").is_err(), "{bad}");
        }
        assert!(password(Some("12345678".into()), "12345678").is_err());
        for bad in [
            "",
            "123",
            "1234",
            "0000",
            "4711x",
            "12345678901234567",
            "7103",
        ] {
            assert!(pin(Some(bad.into()), "7103").is_err(), "{bad}");
        }
        assert_eq!(pin(Some("4711".into()), "7103"), Ok("4711".into()));
    }
}
