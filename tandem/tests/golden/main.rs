//! What `tandem --help` and the help of every command say, compared with a golden file: a change of
//! the command line shows in a review, and none happens by accident.
//!
//! The commands are found as a user finds them: each help lists those below it. The default
//! configuration is held against its own golden file in `tandem/src/config/golden.rs`.
#![allow(clippy::unwrap_used)]

mod compare;

use std::process::Command;

fn help(command: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "tandem {command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help lists, in its order.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let named = lines.filter(|line| !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_ascii_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The help of this command and of all below it.
fn describe(command: &[String], all: &mut String) {
    let text = help(command);
    let name = [&["tandem".to_owned()], command].concat().join(" ");
    *all += &format!("$ {name} --help\n{}\n\n", text.trim_end());
    for below in listed(&text) {
        describe(&[command, &[below]].concat(), all);
    }
}

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let mut all = String::new();
    describe(&[], &mut all);
    assert!(all.matches("$ tandem ").count() > 25, "{all}");
    compare::compare("help.txt", &format!("{}\n", all.trim_end()));
}
