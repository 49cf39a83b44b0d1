//! Inputs made from other inputs: what the plain tests use in place of a coverage-guided fuzzer.
//!
//! Everything comes from the random numbers handed in, so that a seed is an input.

use rand::{Rng, RngExt};

/// The longest input made.
pub const INPUT_BYTES_MAX: usize = 8 * 1024;

/// Numbers at which parsers break.
const EDGES: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0xff, b' ', b'\n', b'9'];

/// An input made from one or two of `seeds`, or from nothing.
pub fn input(rng: &mut impl Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if seeds.is_empty() || rng.random_ratio(1, 8) {
        let mut bytes = vec![0; rng.random_range(0..512)];
        rng.fill_bytes(&mut bytes);
        return bytes;
    }
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    if rng.random_ratio(1, 8) {
        let other = &seeds[rng.random_range(0..seeds.len())];
        splice(rng, &mut bytes, other);
    }
    for _ in 0..rng.random_range(1..=6) {
        change(rng, &mut bytes);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// The head of one and the tail of the other.
fn splice(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    bytes.truncate(rng.random_range(0..=bytes.len()));
    bytes.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
}

/// One small change somewhere.
fn change(rng: &mut impl Rng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..=bytes.len());
    let run = rng.random_range(0..=16.min(bytes.len() - at));
    match (rng.random_range(0..7), bytes.get_mut(at)) {
        (0, Some(byte)) => *byte ^= 1 << rng.random_range(0..8),
        (1, Some(byte)) => *byte = EDGES[rng.random_range(0..EDGES.len())],
        (2, Some(byte)) => *byte = rng.random(),
        (3, _) => drop(bytes.drain(at..at + run)),
        (4, _) => {
            let again = bytes[at..at + run].to_vec();
            bytes.splice(at..at, again.repeat(rng.random_range(1..=4)));
        }
        (5, _) => bytes.truncate(at),
        _ => bytes.insert(at, EDGES[rng.random_range(0..EDGES.len())]),
    }
}
