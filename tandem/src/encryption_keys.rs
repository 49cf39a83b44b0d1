//! Encryption keys: reads them from the files that `[storage]` names, and makes new ones.
//!
//! A key file has 64 hexadecimal digits. A passphrase file has a line of words, from which Argon2id
//! (RFC 9106) makes the key. Its salt is the same everywhere, so that nodes that have never met make
//! the same key of the same words. So the words must be hard to guess, hence [`WORDS_BYTES_MIN`].
//!
//! A file that others can read is refused, since it is no secret. Nothing of a key is ever shown but
//! its name.

use std::fmt::Write;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use tandem_storage::cipher::{KEY_BYTES, Keyring, MasterKey};
use zeroize::Zeroizing;

use crate::config::Storage;

/// No key or passphrase has reason to be longer.
const FILE_BYTES_MAX: u64 = 4096;
/// Six words or so.
const WORDS_BYTES_MIN: usize = 24;
const WORDS_SALT: &[u8] = b"tandem sound passphrase";
/// 64 MiB, three times over: a tenth of a second or so at start, and at each guess.
const WORDS_COST_KIB: u32 = 64 << 10;
const WORDS_PASSES: u32 = 3;

/// The keyring of a node, from its configuration.
pub(crate) fn keyring(storage: &Storage) -> Result<Keyring, String> {
    let write = match (&storage.key_file, &storage.passphrase_file) {
        (Some(file), _) => Some(read_key(file)?),
        (None, Some(file)) => Some(of_words(file)?),
        (None, None) => None,
    };
    let old = storage.old_key_files.iter();
    let read = old.map(|file| read_key(file)).collect::<Result<_, _>>()?;
    Ok(Keyring::new(write, read, rand::random()))
}

/// The keyring of these files. New sound is encrypted with the first.
pub(crate) fn of_files(files: &[PathBuf]) -> Result<Keyring, String> {
    let keys = files.iter().map(|file| read_key(file));
    let mut keys: Vec<MasterKey> = keys.collect::<Result<_, _>>()?;
    let write = (!keys.is_empty()).then(|| keys.remove(0));
    Ok(Keyring::new(write, keys, rand::random()))
}

/// What is wrong with the files that the configuration names: the setting, and why.
pub(crate) fn faults(storage: &Storage) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    if storage.key_file.is_some() && storage.passphrase_file.is_some() {
        let what = "there is a key_file already; new sound has one key, not two".to_owned();
        wrong.push(("storage.passphrase_file", what));
    }
    if let Some(Err(what)) = storage.key_file.as_deref().map(read_key) {
        wrong.push(("storage.key_file", what));
    }
    if let Some(Err(what)) = storage.passphrase_file.as_deref().map(read_words) {
        wrong.push(("storage.passphrase_file", what));
    }
    for file in &storage.old_key_files {
        if let Err(what) = read_key(file) {
            wrong.push(("storage.old_key_files", what));
        }
    }
    wrong
}

/// Makes a key file, from words or at random. Gives the key.
pub(crate) fn make(file: &Path, words: Option<&Path>) -> Result<MasterKey, String> {
    let key = match words {
        Some(words) => key_of_words(words)?,
        None => Zeroizing::new(rand::random()),
    };
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in *key {
        write!(text, "{byte:02x}").expect("a text has room");
    }
    text.push('\n');
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => format!(
            "{} exists; a key that is overwritten makes all sound under it unreadable",
            file.display()
        ),
        _ => format!("{}: {e}", file.display()),
    };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut out = options.open(file).map_err(failed)?;
    out.write_all(text.as_bytes()).map_err(failed)?;
    out.sync_all().map_err(failed)?;
    Ok(MasterKey::new(*key))
}

fn read_key(file: &Path) -> Result<MasterKey, String> {
    let text = read_secret(file)?;
    let digits = text.trim();
    let wanted = || {
        let (file, there) = (file.display(), digits.chars().count());
        format!(
            "{file} is not a key: it has {there} characters, not {} hexadecimal digits; tandem storage key FILE makes one",
            2 * KEY_BYTES
        )
    };
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wanted());
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wanted())?;
    }
    Ok(MasterKey::new(*key))
}

fn of_words(file: &Path) -> Result<MasterKey, String> {
    Ok(MasterKey::new(*key_of_words(file)?))
}

fn key_of_words(file: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, String> {
    let words = read_words(file)?;
    let params = Params::new(WORDS_COST_KIB, WORDS_PASSES, 1, Some(KEY_BYTES));
    let params = params.map_err(|e| e.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    argon2
        .hash_password_into(words.trim().as_bytes(), WORDS_SALT, &mut *key)
        .map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(key)
}

fn read_words(file: &Path) -> Result<Zeroizing<String>, String> {
    let words = read_secret(file)?;
    match words.trim().len() {
        WORDS_BYTES_MIN.. => Ok(words),
        short => Err(format!(
            "the passphrase in {} has {short} characters; it takes {WORDS_BYTES_MIN} or more that nobody can guess, six words drawn by lot, say",
            file.display()
        )),
    }
}

/// Reads a file that only its owner and group may read.
fn read_secret(file: &Path) -> Result<Zeroizing<String>, String> {
    let shown = file.display();
    let cannot = |e| format!("{shown} cannot be read: {e}");
    let meta = std::fs::metadata(file).map_err(cannot)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{shown} is not a file with a key or passphrase in it"
        ));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!(
            "{shown} can be read by everybody on this machine (mode {mode:o}); chmod 600 {shown}"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    Ok(Zeroizing::new(text))
}
