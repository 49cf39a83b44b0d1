//! What is said, made shorter for a slow line.
//!
//! Metadata is JSON under names that repeat: in frames of the size that catching up makes, zstd leaves
//! a fifth of it, and takes a microsecond for a kilobyte. Sound is sent as it is (speech in G.711 keeps
//! most of its length), and so is a frame too short to gain by it. Each frame is packed by itself, so that nothing
//! depends on what came before.
//!
//! A packed frame is u8 11, u32 length of the frame inside, then that frame as one zstd frame (RFC 8878).
//! Only versions from [`VERSION_PACKED`] on know it.

use zstd::bulk::{Compressor, Decompressor};

use super::frame::{FRAME_BYTES_MAX, Frame, Nonsense};

/// The first version of the protocol that has packed frames.
pub(super) const VERSION_PACKED: u16 = 2;
/// The kind of a packed frame.
pub(super) const PACKED: u8 = 11;
/// Shorter ones stay as they are.
const PACK_BYTES_MIN: usize = 512;
/// Kind and length.
const FRONT_BYTES: usize = 5;
/// The fastest: the levels above it gain little on such frames.
const LEVEL: i32 = 1;

/// Packs and unpacks; keeps its memory between frames.
#[derive(Default)]
pub(super) struct Packer {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// The frame, packed if that makes it shorter by an eighth.
    pub(super) fn pack(&mut self, frame: Frame) -> Frame {
        if frame.len() < PACK_BYTES_MIN {
            return frame;
        }
        self.packed(&frame).unwrap_or(frame)
    }

    fn packed(&mut self, frame: &Frame) -> Option<Frame> {
        if self.compressor.is_none() {
            self.compressor = Compressor::new(LEVEL).ok();
        }
        let room = frame.len() - frame.len() / 8;
        let mut packed = vec![0; room];
        let (front, body) = packed.split_at_mut_checked(FRONT_BYTES)?;
        front[0] = PACKED;
        front[1..].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        let compressor = self.compressor.as_mut()?;
        // An error is that it does not fit.
        let bytes = compressor.compress_to_buffer(&frame.to_vec(), body).ok()?;
        packed.truncate(FRONT_BYTES + bytes);
        Some(Frame::new(packed))
    }

    /// The frame inside one that is packed.
    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<Vec<u8>, Nonsense> {
        const FAULT: Nonsense = Nonsense("a packed frame that cannot be unpacked");
        let (front, body) = packed.split_first_chunk::<FRONT_BYTES>().ok_or(FAULT)?;
        let [PACKED, length @ ..] = front else {
            return Err(FAULT);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(Nonsense("a packed frame is too long"));
        }
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        let mut frame = vec![0; length];
        let decompressor = self.decompressor.as_mut().ok_or(FAULT)?;
        let bytes = decompressor.decompress_to_buffer(body, &mut frame);
        match bytes {
            Ok(bytes) if bytes == length && frame.first() != Some(&PACKED) => Ok(frame),
            _ => Err(FAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(count: usize) -> Vec<u8> {
        let said = |n| format!(r#"{{"kind":"message","mailbox":"a.1.{n}","from":"0791234567"}}"#);
        (0..count).flat_map(|n| said(n).into_bytes()).collect()
    }

    #[test]
    fn what_is_said_is_a_third_at_most_and_comes_out_as_it_was() {
        let (mut packer, frame) = (Packer::default(), told(100));
        let packed = packer.pack(Frame::new(frame.clone())).to_vec();
        assert!(packed.len() * 3 < frame.len(), "{}", packed.len());
        assert_eq!(packer.unpack(&packed), Ok(frame));
    }

    #[test]
    fn what_would_not_become_shorter_stays_as_it_is() {
        let mut packer = Packer::default();
        let mut state = 1u64;
        let noise = (0..4000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
            (state >> 56) as u8
        });
        for frame in [told(1), noise.collect()] {
            assert!(packer.pack(Frame::new(frame.clone())).to_vec() == frame);
        }
    }

    #[test]
    fn a_frame_that_tells_another_length_or_holds_another_packed_one_is_refused() {
        let mut packer = Packer::default();
        let packed = packer.pack(Frame::new(told(100))).to_vec();
        for length in [0, 1, told(100).len() as u32 - 1, u32::MAX] {
            let mut lying = packed.clone();
            lying[1..5].copy_from_slice(&length.to_le_bytes());
            assert!(packer.unpack(&lying).is_err(), "{length}");
        }
        let mut inside = told(100);
        inside[0] = PACKED;
        let twice = packer.pack(Frame::new(inside)).to_vec();
        assert!(packer.unpack(&twice).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), garbled: bool) {
            let mut packer = Packer::default();
            if garbled {
                let mut packed = packer.pack(Frame::new(told(60))).to_vec();
                for (n, byte) in bytes.iter().enumerate().take(8) {
                    let at = (n * 53 + usize::from(*byte)) % packed.len();
                    packed[at] ^= byte;
                }
                bytes = packed;
            }
            let _ = packer.unpack(&bytes);
        }
    }
}
