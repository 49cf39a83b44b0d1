//! Passwords and PINs of users: what is wrong with one, one made by chance, and what is kept of it.
//!
//! They are here in plain text for as long as a question of an administrator takes; what goes into the log
//! are digests (RFC 7616 for passwords, Argon2 for PINs).

use std::sync::Arc;

use rand::RngExt;
use tandem_pbx::PbxConfig;
use tandem_pbx::users::{PinFault, pin_fault};
use tandem_sip_shim::digest;

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

/// What is kept of a password: MD5 and SHA-256 of `extension:realm:password`.
pub(crate) fn ha1(extension: &str, realm: &str, password: &str) -> (Arc<str>, Arc<str>) {
    let (md5, sha256) = digest::ha1(extension, realm, password);
    (md5.into(), sha256.into())
}

/// What is kept of a PIN. Takes some tens of milliseconds.
pub(crate) fn pin_hash(pin: &str) -> Result<Arc<str>, String> {
    pins::hash(pin).ok_or_else(|| "the PIN could not be hashed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_by_chance_is_right_and_differs() {
        let made = |_| (password(None, "101").unwrap(), pin(None, "101").unwrap());
        let (one, other) = (made(()), made(()));
        assert_ne!(one, other);
        assert_eq!(password(Some(one.0.clone()), "101"), Ok(one.0));
        assert_eq!(pin(Some(one.1.clone()), "101"), Ok(one.1));
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
