//! Whatever is going on: the caller may hang up, the node may stop, the power may fail. After
//! that nothing is left over, and what was sealed is still there.
#![allow(clippy::unwrap_used)]

use tandem_pbx::PbxConfig;
use tandem_pbx::sim::World;

/// A day in which most things happen.
const DAY: &str = "
    call 1 101 102
    ringing 2
    ended 2 busy
    confirmed 1
    keys 1 #
    played 1
    speak 1 3000
    keys 1 #
    keys 1 2
    played 1
    keys 1 3
    played 1
    speak 1 2500
    recorded 1 limit
    keys 1 4
    log hold
    keys 1 1
    log go
    played 1
    call 3 102 *97
    confirmed 3
    keys 3 1102#
    pin 3 right
    keys 3 1
    played 3
    wait 3500
    keys 3 0
    keys 3 0
    keys 3 92
    keys 3 7
    keys 3 01
    played 3
    speak 3 4000
    keys 3 #
    keys 3 2
    log hold
    keys 3 1
    log go
    keys 3 5
    keys 3 4711#4711#
    hash 3 ok
    keys 3 *35103#
    played 3
    played 3
    speak 3 2000
    call 5 103 *78
    confirmed 5
    played 5
    call 7 101 103
    confirmed 7
    keys 7 *
    call 9 ~5551234 101
    answered 4
    info 9 5
    call 11 103 *60
    confirmed 11
    call 13 103 *43
    call 15 101 *98103
    confirmed 15
    keys 15 1#2#3#
    pin 15 wrong
    pin 15 wrong
    log hold
    pin 15 wrong
    log go
    played 15
";

/// Calls that are recorded.
const RECORDED: &str = "
    user 103 record=always
    call 1 101 102
    answered 2
    confirmed 1
    keys 1 *3
    speak 1 1000
    log hold
    refer 2 103
    log go
    answered 4
    speak 4 500
    keys 4 *3
    keys 4 *3
    call 3 103 101
    answered 6
    confirmed 3
    refer 4 68
    call 5 102 681
    confirmed 5
    log hold
    keys 3 *3
    refer 3 *102
    log go
    refer 5 *103
";

fn check(end: &[&str]) {
    check_day(DAY, end);
    check_day(RECORDED, end);
}

fn check_day(day: &str, end: &[&str]) {
    let lines: Vec<&str> = day
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    for length in 0..=lines.len() {
        let mut world = World::new(PbxConfig::default(), &["101", "102", "103"]);
        for line in lines[..length].iter().chain(end) {
            world.tell(line);
        }
        world.finish();
        world.check_rest();
        let last = lines[..length].last();
        assert_eq!(world.faults, Vec::<String>::new(), "{end:?} after {last:?}");
    }
}

#[test]
fn everybody_hangs_up() {
    check(&[]);
}

#[test]
fn callers_hang_up_and_their_recordings_are_told_first() {
    check(&[
        "cut 1 normal",
        "cut 3 normal",
        "cut 7 normal",
        "cut 9 normal",
    ]);
}

#[test]
fn callers_fall_silent() {
    check(&[
        "vanish 1",
        "vanish 3",
        "vanish 5",
        "vanish 7",
        "vanish 9",
        "vanish 11",
        "vanish 13",
    ]);
}

#[test]
fn nothing_more_is_heard_of_anybody() {
    check(&["wait 10000000"]);
}

#[test]
fn the_disk_is_full_from_then_on() {
    check(&["disk full", "speak 1 1000", "speak 3 1000", "wait 100000"]);
}

#[test]
fn the_power_fails() {
    check(&["power cut"]);
}

#[test]
fn the_node_stops() {
    let lines: Vec<&str> = DAY
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    for length in 0..=lines.len() {
        let mut world = World::new(PbxConfig::default(), &["101", "102", "103"]);
        for line in &lines[..length] {
            world.tell(line);
        }
        world.tell("stop");
        world.tell("log go");
        assert!(world.is_stopped(), "after {:?}", lines[..length].last());
        world.check_rest();
        assert_eq!(
            world.faults,
            Vec::<String>::new(),
            "after {:?}",
            lines[..length].last()
        );
    }
}
