//! The simulated world: the same days in each run, and one nobody has seen yet.
//!
//! `WORLD_SEED=n` plays exactly that one. `WORLD_SECONDS=n` plays as many days as fit, from
//! `WORLD_FIRST=n` on. A failure prints the seed and what happened last.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tandem_fuzz::world::{self, Summary, Trace};

/// Days in each run: a minute or so of one core.
const DAYS: u64 = 240;

#[test]
fn every_promise_holds_on_every_day() {
    if let Some(seed) = number("WORLD_SEED") {
        println!("seed {seed}: {:?}", play(seed));
        return;
    }
    let began = Instant::now();
    let seconds = number("WORLD_SECONDS").map(Duration::from_secs);
    let first = number("WORLD_FIRST").unwrap_or(0);
    let goes_on = |days: u64| seconds.map_or(days < DAYS, |limit| began.elapsed() < limit);
    let mut days = 0;
    let mut all = Summary::default();
    while goes_on(days) {
        all = all + play(first + days);
        days += 1;
    }
    if seconds.is_none() {
        let fresh = fresh_seed();
        println!("a fresh day: WORLD_SEED={fresh}");
        all = all + play(fresh);
    }
    println!("{days} days: {all:?}");
    let happened = [
        all.saved,
        all.saved_twice,
        all.disks_lost,
        all.removed,
        all.restarts,
        all.connected,
        all.vanished,
    ];
    let mut happened = happened
        .into_iter()
        .chain(all.deposits)
        .chain(all.moves)
        .chain(all.logins);
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

/// A day that no run has had before.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |since| since.as_millis() as u64)
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
