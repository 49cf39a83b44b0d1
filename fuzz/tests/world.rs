//! The simulated world, as many days as fit into a minute.
//!
//! `WORLD_SEED=n` plays exactly that one; `WORLD_FIRST=n` begins there, `WORLD_SECONDS=n` goes on for
//! longer or shorter. A failure prints the seed and what happened last.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use tandem_fuzz::world::{self, Summary, Trace};

#[test]
fn every_promise_holds_on_every_day() {
    if let Some(seed) = number("WORLD_SEED") {
        println!("seed {seed}: {:?}", play(seed));
        return;
    }
    let (began, limit) = (
        Instant::now(),
        Duration::from_secs(number("WORLD_SECONDS").unwrap_or(50)),
    );
    let first = number("WORLD_FIRST").unwrap_or(0);
    let mut days = 0;
    let mut all = Summary::default();
    while began.elapsed() < limit {
        all = all + play(first + days);
        days += 1;
    }
    println!("{days} days: {all:?}");
    let happened = [all.saved, all.restarts, all.connected, all.vanished];
    let mut happened = happened.into_iter().chain(all.deposits).chain(all.logins);
    let is_dull = days > 20 && happened.any(|count| count == 0);
    assert!(!is_dull, "a dull world: {all:?}");
}

#[test]
fn one_seed_is_one_world() {
    assert_eq!(
        world::run(7, &Trace::default()),
        world::run(7, &Trace::default())
    );
}

fn play(seed: u64) -> Summary {
    let quiet = AssertUnwindSafe(|| world::run(seed, &Trace::default()));
    panic::catch_unwind(quiet).unwrap_or_else(|why| {
        // Once more, this time taking notes.
        let trace = Trace::kept();
        let again = AssertUnwindSafe(|| world::run(seed, &trace));
        let again = panic::catch_unwind(again).map(|_| "the second time nothing happened");
        eprintln!(
            "{trace}\nWORLD_SEED={seed} {}",
            again.unwrap_or("(the above happened last)")
        );
        panic::resume_unwind(why)
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|v| v.parse().expect("a number"))
}
