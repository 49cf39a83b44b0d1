//! Sound from files: a WAV file of any bytes is refused or becomes no more sound than allowed, for
//! the mailbox and for prompts.

use std::io::Cursor;

use tandem_engine::prompts::Prompt;
use tandem_engine::seam::Codec;
use tandem_storage::wav;

const SECONDS_MAX: u32 = 2;

pub(super) fn run(bytes: &[u8]) {
    if let Ok(samples) = wav::import(Cursor::new(bytes), SECONDS_MAX) {
        assert!(!samples.is_empty());
        assert!(
            samples.len() <= (SECONDS_MAX * wav::RATE_HZ) as usize + 1,
            "longer than allowed"
        );
        assert!(samples.len() <= bytes.len(), "more sound than there was");
    }
    if let Ok(prompt) = Prompt::from_wav(Cursor::new(bytes)) {
        assert!(prompt.samples() <= bytes.len(), "more sound than there was");
        for codec in [Codec::Pcmu, Codec::Pcma] {
            assert_eq!(prompt.bytes(codec).len(), prompt.samples());
        }
    }
}
