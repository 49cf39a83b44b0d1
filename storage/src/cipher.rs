//! Sound that only those who have the key can hear.
//!
//! Chunks are encrypted one by one as they are handed to the log ([`crate::Log::submit`]) and
//! decrypted where they are read ([`crate::SoundReader`]). In between, on disks, links and in
//! backups, they are moved about as they are: compaction, scrubbing and repair need no key.
//!
//! AES-256-GCM (NIST SP 800-38D), by `ring`. An encrypted chunk says so in the highest bit of its
//! index ([`ENCRYPTED`]), and has in place of its samples:
//!
//! ```text
//! as many bytes as there are samples
//! 16 bytes  tag
//! 16 bytes  salt
//!  8 bytes  name of the key: the first of SHA-256("tandem sound key" and the key)
//! ```
//!
//! Each sound has a key of its own: HKDF-SHA256 (RFC 5869) of the master key, salt, and
//! "tandem sound" and the sound's id. The nonce is the chunk's index; id and index are
//! authenticated, so that no chunk can be taken for another.
//!
//! Invariant: no two texts under the same key and nonce. The salt is random for each start of a
//! program, so that a log that was set back to an earlier state, and gives a number out again, does not give the
//! key out again; within one start a sound's name is given out once, and its indexes count up. What
//! the log has no room for is decrypted again, and comes again as the same text.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::block::ChunkBlock;
use crate::name::Id;

/// In a chunk's index: it is encrypted.
pub const ENCRYPTED: u32 = 1 << 31;
/// What an encrypted chunk is longer by.
pub const TRAILER_BYTES: usize = TAG_BYTES + SALT_BYTES + KEY_ID_BYTES;
/// The length of a master key.
pub const KEY_BYTES: usize = 32;
/// The length of a salt.
pub const SALT_BYTES: usize = 16;

const TAG_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 8;
const ID_BYTES: usize = 28;

/// A master key. Wiped when it is dropped; never shown.
#[derive(Clone)]
pub struct MasterKey {
    name: KeyName,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// Tells keys apart without telling anything about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyName([u8; KEY_ID_BYTES]);

/// The keys a node has: one to write with, and those to read with. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Arc<Keys>);

#[derive(Debug, Default)]
struct Keys {
    /// The first is written with, if `writes`.
    keys: Vec<MasterKey>,
    writes: bool,
    salt: [u8; SALT_BYTES],
}

/// Why a chunk cannot be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    /// It was written with a key that is not there.
    #[error(
        "it is encrypted with key {0}, which this node does not have; name its file in [storage] key_file or old_key_files"
    )]
    NoKey(KeyName),
    /// The key is there, and says that this is not what was written with it.
    #[error("it is not what was encrypted with key {0}: somebody changed it")]
    Changed(KeyName),
}

impl MasterKey {
    /// From 32 bytes that nobody can guess.
    pub fn new(bytes: [u8; KEY_BYTES]) -> MasterKey {
        let mut hash = Sha256::new();
        hash.update(b"tandem sound key");
        hash.update(bytes);
        let hash = hash.finalize();
        let mut name = [0; KEY_ID_BYTES];
        name.copy_from_slice(&hash[..KEY_ID_BYTES]);
        MasterKey {
            name: KeyName(name),
            bytes: Zeroizing::new(bytes),
        }
    }

    /// Its name, which may be shown.
    pub fn name(&self) -> KeyName {
        self.name
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    fn sound_key(&self, salt: &[u8], id: Id) -> LessSafeKey {
        let master = Salt::new(HKDF_SHA256, salt).extract(&*self.bytes);
        let id = id_bytes(id);
        let info: [&[u8]; 2] = [b"tandem sound", &id];
        let expanded = master.expand(&info, &AES_256_GCM);
        let expanded = expanded.expect("the key of a cipher is not too long for HKDF");
        LessSafeKey::new(UnboundKey::from(expanded))
    }
}

impl Keyring {
    /// Writes with one key, if there is one, and reads with all. `salt` is random, and another at each
    /// start.
    pub fn new(write: Option<MasterKey>, read: Vec<MasterKey>, salt: [u8; SALT_BYTES]) -> Keyring {
        let writes = write.is_some();
        let keys = write.into_iter().chain(read).collect();
        Keyring(Arc::new(Keys { keys, writes, salt }))
    }

    /// The key that is written with.
    pub fn writes_with(&self) -> Option<KeyName> {
        self.writer().map(MasterKey::name)
    }

    /// The key of this name, as it is shown.
    pub(crate) fn by_name(&self, name: &str) -> Result<&MasterKey, Locked> {
        let there = self.0.keys.iter().find(|key| key.name.to_string() == name);
        there.ok_or_else(|| Locked::NoKey(KeyName::of(name)))
    }

    pub(crate) fn writer(&self) -> Option<&MasterKey> {
        self.0.keys.first().filter(|_| self.0.writes)
    }

    /// Encrypts a chunk if this node encrypts; gives the index to write it with.
    pub fn encrypt(&self, id: Id, index: u32, block: &mut ChunkBlock) -> u32 {
        let Some(master) = self.writer().filter(|_| index & ENCRYPTED == 0) else {
            return index;
        };
        let key = master.sound_key(&self.0.salt, id);
        let written = index | ENCRYPTED;
        let tag = key
            .seal_in_place_separate_tag(nonce(index), aad(id, index), block.samples_mut())
            .expect("a chunk is shorter than what a cipher takes");
        block.push_trailer(tag.as_ref());
        block.push_trailer(&self.0.salt);
        block.push_trailer(&master.name.0);
        written
    }

    /// Takes back what [`Keyring::encrypt`] did; gives the index as it was.
    pub(crate) fn take_back(&self, id: Id, index: u32, block: &mut ChunkBlock) -> u32 {
        if index & ENCRYPTED != 0
            && let Ok(samples) = self.decrypt(id, index, block.samples_mut())
        {
            block.cut(samples);
        }
        index & !ENCRYPTED
    }

    /// Decrypts what lies in place of a chunk's samples, if it is encrypted; the samples are its first so
    /// many bytes then.
    pub fn decrypt(&self, id: Id, index: u32, bytes: &mut [u8]) -> Result<usize, Locked> {
        if index & ENCRYPTED == 0 {
            return Ok(bytes.len());
        }
        let samples = samples_in(index, bytes.len()).unwrap_or(0);
        let (text, trailer) = bytes.split_at_mut(samples);
        let (tag, rest) = trailer.split_at(TAG_BYTES.min(trailer.len()));
        let (salt, name) = rest.split_at(SALT_BYTES.min(rest.len()));
        let name = KeyName(name.try_into().unwrap_or_default());
        let master = self.0.keys.iter().find(|key| key.name == name);
        let master = master.ok_or(Locked::NoKey(name))?;
        let changed = |_| Locked::Changed(name);
        let tag = Tag::try_from(tag).map_err(|_| Locked::Changed(name))?;
        let index = index & !ENCRYPTED;
        let key = master.sound_key(salt, id);
        let opened = key.open_in_place_separate_tag(nonce(index), aad(id, index), tag, text, 0..);
        opened.map_err(changed).map(|samples| samples.len())
    }
}

/// How many samples there are in a chunk of so many bytes; `None`: no chunk is so short.
pub fn samples_in(index: u32, bytes: usize) -> Option<usize> {
    match index & ENCRYPTED {
        0 => Some(bytes),
        _ => bytes.checked_sub(TRAILER_BYTES).filter(|n| *n > 0),
    }
}

fn nonce(index: u32) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn aad(id: Id, index: u32) -> Aad<[u8; ID_BYTES + 4]> {
    let mut bytes = [0; ID_BYTES + 4];
    bytes[..ID_BYTES].copy_from_slice(&id_bytes(id));
    bytes[ID_BYTES..].copy_from_slice(&index.to_be_bytes());
    Aad::from(bytes)
}

fn id_bytes(id: Id) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    bytes[..16].copy_from_slice(&id.node.to_bytes());
    bytes[16..20].copy_from_slice(&id.epoch.to_be_bytes());
    bytes[20..].copy_from_slice(&id.number.to_be_bytes());
    bytes
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.name)
    }
}

impl KeyName {
    /// As it is shown; zeros for what is no name.
    fn of(shown: &str) -> KeyName {
        let bytes = u64::from_str_radix(shown, 16).unwrap_or(0);
        KeyName(bytes.to_be_bytes())
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::CHUNK_SAMPLES_MAX;

    fn key(byte: u8) -> MasterKey {
        MasterKey::new([byte; KEY_BYTES])
    }

    fn ring(byte: u8) -> Keyring {
        Keyring::new(Some(key(byte)), Vec::new(), [byte; SALT_BYTES])
    }

    fn id(number: u64) -> Id {
        let node = "a".parse().unwrap();
        let epoch = 1;
        Id {
            node,
            epoch,
            number,
        }
    }

    fn spoken(samples: usize) -> Vec<u8> {
        (0..samples).map(|n| (n % 251) as u8).collect()
    }

    /// The index and bytes that are written.
    fn written(ring: &Keyring, id: Id, index: u32, samples: usize) -> (u32, Vec<u8>) {
        let mut block = ChunkBlock::new();
        assert_eq!(block.push(&spoken(samples)), samples);
        let index = ring.encrypt(id, index, &mut block);
        (index, block.samples().to_vec())
    }

    fn read(ring: &Keyring, id: Id, index: u32, bytes: &[u8]) -> Result<Vec<u8>, Locked> {
        let mut bytes = bytes.to_vec();
        let samples = ring.decrypt(id, index, &mut bytes)?;
        bytes.truncate(samples);
        Ok(bytes)
    }

    #[test]
    fn what_was_spoken_is_heard_with_the_key_and_is_nowhere_in_what_is_written() {
        for samples in [1, 15, 160, CHUNK_SAMPLES_MAX] {
            let (index, bytes) = written(&ring(7), id(1), 3, samples);
            assert_eq!(
                (index, bytes.len()),
                (3 | ENCRYPTED, samples + TRAILER_BYTES)
            );
            assert_eq!(samples_in(index, bytes.len()), Some(samples));
            let plain = spoken(samples);
            let shows = bytes.windows(8).any(|w| plain.windows(8).any(|p| p == w));
            assert!(!shows, "{samples}");
            assert_eq!(read(&ring(7), id(1), index, &bytes), Ok(plain));
        }
    }

    #[test]
    fn without_a_key_nothing_is_encrypted_and_plain_sound_is_heard_with_any() {
        let (index, bytes) = written(&Keyring::default(), id(1), 3, 160);
        assert_eq!((index, &bytes), (3, &spoken(160)));
        assert_eq!(read(&ring(7), id(1), index, &bytes), Ok(bytes.clone()));
    }

    #[test]
    fn another_key_is_named_and_an_old_one_still_reads() {
        let (index, bytes) = written(&ring(7), id(1), 0, 160);
        for without in [Keyring::default(), ring(8)] {
            let missing = Err(Locked::NoKey(key(7).name()));
            assert_eq!(read(&without, id(1), index, &bytes), missing);
        }
        let rotated = Keyring::new(Some(key(8)), vec![key(7)], [0; SALT_BYTES]);
        assert_eq!(read(&rotated, id(1), index, &bytes), Ok(spoken(160)));
        let reads_only = Keyring::new(None, vec![key(7)], [0; SALT_BYTES]);
        assert_eq!(read(&reads_only, id(1), index, &bytes), Ok(spoken(160)));
        assert_eq!(reads_only.writes_with(), None);
        assert_eq!(written(&reads_only, id(1), 0, 160).0, 0);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let (index, bytes) = written(&ring(7), id(1), 5, 40);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&ring(7), id(1), index, &other).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(
                read(&ring(7), id(1), index, &bytes[..cut]).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn chunks_that_changed_places_are_refused() {
        let (index, bytes) = written(&ring(7), id(1), 5, 160);
        let changed = Err(Locked::Changed(key(7).name()));
        assert_eq!(read(&ring(7), id(1), 6 | ENCRYPTED, &bytes), changed);
        assert_eq!(read(&ring(7), id(2), index, &bytes), changed);
    }

    #[test]
    fn the_same_words_look_different_in_each_sound_chunk_and_start() {
        let again = Keyring::new(Some(key(7)), Vec::new(), [9; SALT_BYTES]);
        let mut seen = vec![
            written(&ring(7), id(1), 0, 160).1,
            written(&ring(7), id(1), 1, 160).1,
            written(&ring(7), id(2), 0, 160).1,
            written(&again, id(1), 0, 160).1,
        ];
        seen.iter_mut().for_each(|bytes| bytes.truncate(160));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn what_was_not_taken_is_as_it_was_and_becomes_the_same_again() {
        let ring = ring(7);
        let mut block = ChunkBlock::new();
        block.push(&spoken(CHUNK_SAMPLES_MAX));
        let index = ring.encrypt(id(1), 2, &mut block);
        let first = block.samples().to_vec();
        assert_eq!(ring.take_back(id(1), index, &mut block), 2);
        assert_eq!(block.samples(), spoken(CHUNK_SAMPLES_MAX));
        ring.encrypt(id(1), 2, &mut block);
        assert_eq!(block.samples(), first);
    }

    #[test]
    fn a_key_is_not_shown() {
        let ring = Keyring::new(Some(key(0xab)), Vec::new(), [1; SALT_BYTES]);
        let shown = format!("{:?} {ring:?}", key(0xab));
        assert!(
            !shown.contains("171, 171") && !shown.contains("abab"),
            "{shown}"
        );
        assert!(shown.contains(&key(0xab).name().to_string()));
    }
}
