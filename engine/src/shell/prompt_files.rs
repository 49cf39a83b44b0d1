//! The folder of prompts: its WAV files, read at start.
//!
//! A file that cannot be used is named and skipped; an administrator's bad file must not keep the
//! telephones dead.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use tandem_storage::wav::WavError;

use crate::prompts::{PROMPTS_MAX, Prompt, Prompts};

/// The largest file: five minutes of stereo at 48 kHz, 32 bits.
const FILE_BYTES_MAX: u64 = 120 << 20;
/// Folders within folders.
const DEPTH_MAX: usize = 4;

/// Loads every WAV file under a folder.
pub(super) fn load(folder: &Path) -> Prompts {
    let mut prompts = Prompts::default();
    let mut files = Vec::new();
    collect(folder, 0, &mut files);
    files.sort();
    for file in files {
        match load_file(&file) {
            Ok(prompt) => prompts.insert(&name_of(folder, &file), prompt),
            Err(error) => tracing::warn!(file = %file.display(), %error, "prompt skipped"),
        }
    }
    prompts
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "prompts cannot be listed");
            return;
        }
    };
    for path in entries.flatten().map(|e| e.path()) {
        if files.len() >= PROMPTS_MAX {
            return;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, files);
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("wav"))
        {
            files.push(path);
        }
    }
}

fn name_of(folder: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(folder).unwrap_or(file).with_extension("");
    relative.to_string_lossy().into_owned()
}

fn load_file(path: &Path) -> Result<Prompt, WavError> {
    let file = File::open(path)?;
    Prompt::from_wav(BufReader::new(file.take(FILE_BYTES_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::Codec;

    fn wav(samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        samples
            .iter()
            .for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_folder_of_prompts_is_named_by_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("digits")).unwrap();
        std::fs::write(folder.path().join("digits/7.wav"), wav(&[1000; 8000])).unwrap();
        std::fs::write(folder.path().join("bad.wav"), b"RIFFnonsense").unwrap();
        std::fs::write(folder.path().join("readme.txt"), b"-").unwrap();
        let prompts = load(folder.path());
        assert_eq!(prompts.len(), 1);
        let seven = prompts.get("digits/7").unwrap();
        assert_eq!(
            (seven.samples(), seven.bytes(Codec::Pcma).len()),
            (4000, 4000)
        );
    }
}
