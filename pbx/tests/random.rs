//! Thousands of things happen at random: nothing panics, no promise is broken, and when all legs
//! have ended nothing is left. A failure names its seed and the last lines before it.
#![allow(clippy::unwrap_used)]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tandem_pbx::sim::World;
use tandem_pbx::{KeyMap, PbxConfig};

/// Plays a world; how many transfers, pickups, parkings, comings into rooms, pages and calls
/// outside there were in it.
fn run(seed: u64, config: PbxConfig) -> [u64; 7] {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(config, &["101", "102", "103"]);
    world.tell("trunk p host=192.0.2.1 calls_max=3 numbers=555:101 otherwise=102");
    world.tell("route 9. strip=1 trunks=p");
    world.tell("group 750 members=101,102,103 strategy=page");
    let mut story = Vec::new();
    for _ in 0..1000 {
        let (line, said) = world.stir(dice.next_u64());
        story.push(format!("> {line}"));
        story.extend(said);
        if !world.faults.is_empty() {
            break;
        }
    }
    if world.faults.is_empty() {
        world.finish();
        world.check_rest();
    }
    let last = story[story.len().saturating_sub(40)..].join("\n");
    assert!(
        world.faults.is_empty(),
        "seed {seed}: {:?}\nafter\n{last}",
        world.faults
    );
    let seen = world.pbx.counters();
    let rooms = [seen.rooms_entered, seen.pages];
    [
        seen.transfers,
        seen.pickups,
        seen.parked,
        rooms[0],
        rooms[1],
        seen.calls_outward,
        seen.recordings_begun,
    ]
}

#[test]
fn a_hundred_random_worlds_keep_every_promise() {
    let mut seen = [0; 7];
    for seed in 0..100 {
        let moves = run(seed, PbxConfig::default());
        seen.iter_mut()
            .zip(moves)
            .for_each(|(all, one)| *all += one);
    }
    // Transfers, pickups, parkings, comings into rooms, pages, calls outside, recordings.
    assert!(
        seen.iter().all(|moves| *moves > 20),
        "too few moves: {seen:?}"
    );
}

#[test]
fn so_do_worlds_with_other_keys_and_little_room() {
    for seed in 1000..1040 {
        let config = PbxConfig {
            keys: KeyMap::Intuity,
            messages_max: 3,
            calls_max: 5,
            ..PbxConfig::default()
        };
        run(seed, config);
    }
}

#[test]
fn one_seed_is_one_world() {
    let tell = |seed| {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::new(PbxConfig::default(), &["101", "102", "103"]);
        (0..500)
            .flat_map(|_| world.stir(dice.next_u64()).1)
            .collect::<Vec<_>>()
    };
    assert_eq!(tell(7), tell(7));
    assert_ne!(tell(7), tell(8));
}

#[test]
fn stopping_at_any_moment_comes_to_an_end() {
    for seed in 2000..2040 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::new(PbxConfig::default(), &["101", "102", "103"]);
        for _ in 0..dice.next_u64() % 200 {
            world.stir(dice.next_u64());
        }
        world.tell("log go");
        world.tell("stop");
        world.tell("wait 10000");
        world.check_rest();
        assert!(world.is_stopped(), "seed {seed}");
        assert_eq!(world.faults, Vec::<String>::new(), "seed {seed}");
    }
}
