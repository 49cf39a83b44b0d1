//! The phrases that callers hear are all there, and as phrases should be.

use crate::kit::sound::{level_db, prompts_dir};

#[test]
fn every_phrase_is_recorded_at_an_even_level_without_silence_around_it() {
    let list = std::fs::read_to_string(prompts_dir().join("prompts.txt")).unwrap();
    let mut wrong = Vec::new();
    for line in list.lines() {
        let (name, text) = line.split_once('\t').expect("name, tab, text");
        assert!(!text.trim().is_empty(), "{name} says nothing");
        if let Err(what) = check(name) {
            wrong.push(format!("{name}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "run `make prompts`: {wrong:#?}");
}

fn check(name: &str) -> Result<(), String> {
    let path = prompts_dir().join(format!("{name}.wav"));
    let mut reader = hound::WavReader::open(&path).map_err(|error| error.to_string())?;
    let spec = reader.spec();
    if (spec.sample_rate, spec.channels, spec.bits_per_sample) != (16_000, 1, 16) {
        return Err(format!("not 16 kHz mono 16 bit but {spec:?}"));
    }
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let peak = samples
        .iter()
        .map(|s| i32::from(*s).abs())
        .max()
        .unwrap_or(0);
    if peak > 30_000 {
        return Err(format!("a peak of {peak} is close to clipping"));
    }
    let level = level_db(&samples);
    if !(-26.0..=-14.0).contains(&level) {
        return Err(format!("{level:.1} dB below full scale"));
    }
    let loud = |s: &i16| i32::from(*s).abs() > 64;
    let before = samples.iter().position(loud).unwrap_or(samples.len());
    let after = samples.iter().rev().position(loud).unwrap_or(samples.len());
    match (before / 16, after / 16) {
        (0..=100, 0..=100) => Ok(()),
        (before, after) => Err(format!("silence of {before} and {after} ms")),
    }
}
