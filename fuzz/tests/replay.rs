//! Every fuzz target, without a fuzzer: its corpus, and a bounded run of mutated inputs from one
//! seed. `FUZZ_SEED=n` chooses another seed, `FUZZ_RUNS=n` more or fewer inputs.

use std::panic::{self, AssertUnwindSafe};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tandem_fuzz::targets::{TARGETS, Target};
use tandem_fuzz::{corpus, mutate};

/// Inputs of one target: a second or two. As many on every machine, so that a quicker one meets nothing
/// that a slower one does not.
const RUNS: u64 = 8_000;

#[test]
fn every_target_survives_its_corpus_and_what_is_made_from_it() {
    let (seed, runs) = (number("FUZZ_SEED", 1), number("FUZZ_RUNS", RUNS));
    for target in TARGETS {
        let seeds = corpus::inputs(target.name, target.wants_torture);
        assert!(!seeds.is_empty(), "{} has no corpus", target.name);
        for input in &seeds {
            check(target, input, "from the corpus");
        }
        (0..runs).for_each(|run| mutated(target, &seeds, seed, run));
        println!("{}: {} + {runs} inputs", target.name, seeds.len());
    }
}

fn mutated(target: &Target, seeds: &[Vec<u8>], seed: u64, run: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(run);
    let input = mutate::input(&mut rng, seeds);
    check(target, &input, &format!("FUZZ_SEED={seed}, input {run}"));
}

fn check(target: &Target, input: &[u8], from: &str) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if let Err(why) = outcome {
        let kept = corpus::keep(target.name, input);
        eprintln!(
            "target {} broke on an input {from}, kept at {kept:?}",
            target.name
        );
        panic::resume_unwind(why);
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |v| v.parse().expect("a number"))
}
