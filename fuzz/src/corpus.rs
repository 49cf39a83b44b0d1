//! The inputs each target starts from, and where those that broke it are put.
//!
//! `fuzz/corpus/<target>/` holds small inputs made for it. The SIP targets also read the torture
//! messages of RFC 4475 where they are present: in the folder that `TANDEM_VECTORS` names, or in
//! `shared/vectors` beside the repository.

use std::path::{Path, PathBuf};

/// Inputs of one target, in the order of their names, so that a seed means the same everywhere.
pub fn inputs(target: &str, wants_torture: bool) -> Vec<Vec<u8>> {
    let mut inputs = files(&home().join("corpus").join(target));
    if wants_torture {
        inputs.extend(files(&vectors().join("rfc4475")));
    }
    inputs
}

/// Keeps an input that broke a target; returns where.
pub fn keep(target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = home().join("artifacts").join(target);
    std::fs::create_dir_all(&folder)?;
    let sum = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let file = folder.join(format!("crash-{sum:016x}"));
    std::fs::write(&file, input)?;
    Ok(file)
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn vectors() -> PathBuf {
    match std::env::var_os("TANDEM_VECTORS") {
        Some(folder) => folder.into(),
        None => home().join("../../shared/vectors"),
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .collect()
}
