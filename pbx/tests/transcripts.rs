//! What call control does, as transcripts: lines that begin with `>` happen, the others are what
//! it asks for in return.
#![allow(clippy::unwrap_used)]

use tandem_pbx::PbxConfig;
use tandem_pbx::sim::World;

mod story {
    use super::*;

    pub(super) fn check(story: &str) {
        check_with(PbxConfig::default(), story);
    }

    /// Plays the story's happenings and holds what is asked for against the rest of its lines.
    pub(super) fn check_with(config: PbxConfig, story: &str) {
        let mut world = World::new(config, &["101", "102", "103"]);
        let lines = story.lines().map(str::trim).filter(|line| !line.is_empty());
        let expected: Vec<String> = lines.map(str::to_owned).collect();
        let mut seen = Vec::new();
        for line in expected.iter().filter(|line| line.starts_with('>')) {
            seen.push(line.clone());
            seen.extend(world.tell(line.trim_start_matches('>')));
        }
        let (seen, expected) = (seen.join("\n"), expected.join("\n"));
        assert!(seen == expected, "\n--- expected\n{expected}\n--- seen\n{seen}\n");
        assert_eq!(world.faults, Vec::<String>::new());
    }
}

use story::check;

#[test]
fn a_call_between_two_people() {
    check(
        "
        > call 1 101 102
        > ringing 2
        > answered 2
        > confirmed 1
        > ended 1 normal
        ",
    );
}
