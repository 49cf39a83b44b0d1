//! The rules of the house that the compiler does not check: which crate may use which, what a core
//! must not touch, where unsafe code may be, and that ARCHITECTURE.md and `docs/decisions` name files that exist.
//!
//! The sources are read as text: comments and a file's tests, which stand last, do not count.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate, and the others of the workspace that it may use outside its tests.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("storage", &[]),
    ("engine", &["storage"]),
    ("pbx", &["storage", "engine"]),
    ("sip-shim", &["storage", "engine", "pbx"]),
    ("node", &["storage", "engine", "pbx", "sip-shim"]),
    ("portal", &["storage", "pbx"]),
];

/// Crates whose code outside `shell` is a pure core.
const CORES: [&str; 5] = ["storage", "engine", "pbx", "sip-shim", "node"];

/// What a core must not touch, and what it does instead.
const BANNED: [(&str, &str); 18] = [
    ("Instant", "time is handed in, as Time or Now"),
    ("SystemTime", "time is handed in, as WallTime or Now"),
    ("std::fs", "files are read and written in shell"),
    ("File::", "files are read and written in shell"),
    ("UdpSocket", "sockets belong to shell"),
    ("TcpListener", "sockets belong to shell"),
    ("TcpStream", "sockets belong to shell"),
    ("std::thread", "threads are started in shell"),
    ("thread::sleep", "say when in deadline()"),
    ("std::process", "a core has no process"),
    ("std::env", "what can be set is handed in"),
    ("Mutex", "one owner, and messages"),
    ("RwLock", "one owner, and messages"),
    ("crossbeam", "what comes is handed in, what goes is polled"),
    ("tokio", "what comes is handed in, what goes is polled"),
    (
        "rand::rng",
        "randomness comes from a seed that is handed in",
    ),
    (
        "rand::random",
        "randomness comes from a seed that is handed in",
    ),
    (
        "RandomState",
        "randomness comes from a seed that is handed in",
    ),
];

/// The only files that may hold unsafe code.
const UNSAFE: [&str; 6] = [
    "engine/src/shell/machine.rs",
    "engine/src/shell/ring.rs",
    "engine/src/shell/ring/buffers.rs",
    "engine/src/shell/ring/memory.rs",
    "engine/src/shell/socket.rs",
    "storage/src/shell/sys.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All sources below a folder of the workspace, by their paths in it.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap();
                found.push((name.to_str().unwrap().to_owned(), read(&path)));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// The lines of code before a file's tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|l| *l != "#[cfg(test)]");
    (1..).zip(lines).filter(|(_, line)| !line.starts_with("//"))
}

fn is_core(path: &str) -> bool {
    let parts: Vec<&str> = path.split(['/', '.']).collect();
    !["shell", "sim", "tests"]
        .iter()
        .any(|outside| parts.contains(outside))
}

#[test]
fn dependencies_point_one_way() {
    for (user, may_use) in MAY_USE {
        let manifest = read(&root().join(user).join("Cargo.toml"));
        let own = manifest
            .split("\n[")
            .find(|s| s.starts_with("dependencies]"));
        for line in own.unwrap().lines() {
            let Some(used) = line.strip_prefix("tandem-") else {
                continue;
            };
            let used = used.split(['.', ' ']).next().unwrap();
            assert!(may_use.contains(&used), "{user} must not use {used}");
        }
    }
}

#[test]
fn cores_touch_nothing_outside() {
    for (path, text) in CORES.iter().flat_map(|c| sources(&format!("{c}/src"))) {
        for (number, line) in code(&text).filter(|_| is_core(&path)) {
            for (banned, instead) in BANNED {
                assert!(
                    !line.contains(banned),
                    "{path}:{number}: {banned}: {instead}"
                );
            }
        }
    }
}

#[test]
fn unsafe_code_is_where_it_is_said_to_be() {
    let crates = MAY_USE.map(|(name, _)| name);
    for (path, text) in crates
        .iter()
        .chain(&["tandem"])
        .flat_map(|c| sources(&format!("{c}/src")))
    {
        let allows = text.contains("#![allow(unsafe_code)]");
        assert_eq!(allows, UNSAFE.contains(&path.as_str()), "{path}");
        if path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") {
            let guarded = ["#![forbid(unsafe_code)]", "#![deny(unsafe_code)]"];
            assert!(
                guarded.iter().any(|g| text.contains(g)),
                "{path} allows unsafe code"
            );
        }
    }
}

/// A field or a variant needs a comment only if its name does not say enough, so the compiler's own lint is
/// of no use here.
#[test]
fn every_public_item_says_what_it_is() {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let is_item = |line: &str| {
        let words = line.strip_prefix("pub ").into_iter();
        let mut words = words.flat_map(|rest| rest.split([' ', '(', '<']));
        words
            .find(|word| !["async", "unsafe", "const"].contains(word) || line.contains(": "))
            .is_some_and(|word| kinds.contains(&word))
    };
    let mut items = 0;
    for (path, text) in CORES.iter().flat_map(|c| sources(&format!("{c}/src"))) {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .take_while(|line| *line != "#[cfg(test)]")
            .collect();
        for (number, line) in (0..).zip(&lines).filter(|(_, line)| is_item(line)) {
            items += 1;
            let mut above = number;
            // Attributes and quotes of an RFC stand between an item and its comment.
            while above > 0 && !lines[above - 1].starts_with("///") {
                if lines[above - 1].starts_with("//") {
                    above -= 1;
                    continue;
                }
                let is_attribute = lines[above - 1].ends_with(']');
                assert!(is_attribute, "{path}:{}: {line}: no comment", number + 1);
                above -= 1;
                while !lines[above].starts_with("#[") {
                    above -= 1;
                }
            }
        }
    }
    assert!(items > 500, "{items}");
}

#[test]
fn architecture_names_what_exists() {
    let mut files = vec![root().join("ARCHITECTURE.md")];
    let decisions = fs::read_dir(root().join("docs/decisions")).unwrap();
    files.extend(decisions.map(|entry| entry.unwrap().path()));
    for file in files {
        names_what_exists(&file);
    }
    let text = read(&root().join("ARCHITECTURE.md"));
    assert!(text.matches("](docs/decisions/").count() > 10);
    let linked = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for path in linked {
        assert!(
            root().join(path).exists(),
            "ARCHITECTURE.md links to {path}"
        );
    }
}

fn names_what_exists(file: &Path) {
    let text = read(file);
    let named = text.split('`').skip(1).step_by(2);
    let paths = named.filter(|n| {
        n.split_once('/')
            .is_some_and(|(top, _)| root().join(top).is_dir())
    });
    let paths: Vec<String> = paths
        .filter(|path| !path.contains([' ', '*']))
        .flat_map(alternatives)
        .collect();
    for path in paths {
        let (file, exists) = (file.display(), root().join(&path).exists());
        assert!(exists, "{file} names {path}");
    }
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (each, after) = rest.split_once('}').unwrap();
    each.split(',')
        .map(|one| format!("{before}{one}{after}"))
        .collect()
}
