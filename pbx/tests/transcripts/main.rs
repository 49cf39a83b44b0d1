//! What call control does, as transcripts: lines that begin with `>` happen (see
//! `tandem_pbx::sim`), the others are what it asks for in return.
#![allow(clippy::unwrap_used)]

mod calls;
mod codes;
mod deposit;
mod events;
mod greetings;
mod groups;
mod hearing;
mod login;
mod moves;
mod node;
mod outward;
mod quota;
mod recordings;
mod records;
mod rooms;
mod schedules;
mod unwanted;
mod watched;
mod when_free;

use tandem_pbx::PbxConfig;
use tandem_pbx::sim::World;

fn check(story: &str) {
    check_with(PbxConfig::default(), story);
}

/// Plays the story's happenings and holds what is asked for against the rest of its lines; and once
/// more, with all calls written down and read again before each happening.
fn check_with(config: PbxConfig, story: &str) {
    play(config.clone(), story, false);
    play(config, story, true);
}

fn play(config: PbxConfig, story: &str, is_reread: bool) {
    let mut world = World::new(config, &["101", "102", "103"]);
    let lines = story.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected: Vec<String> = lines.map(str::to_owned).collect();
    let mut seen = Vec::new();
    for line in expected.iter().filter(|line| line.starts_with('>')) {
        if is_reread {
            world.reread();
        }
        seen.push(line.clone());
        seen.extend(world.tell(line.trim_start_matches('>')));
    }
    let (seen, expected) = (seen.join("\n"), expected.join("\n"));
    assert!(
        seen == expected,
        "\n--- expected\n{expected}\n--- seen\n{seen}\n--- (read again: {is_reread})\n"
    );
    assert_eq!(world.faults, Vec::<String>::new());
}
