//! What the RFCs demand, quoted beside the code that does it and the tests that show it.
//!
//! ```text
//! docs/rfc/rfcN.txt    the sections that are quoted, as the RFC has them ──┐
//! docs/rfc/rfcN.rules  of which sections every MUST counts, exceptions ────┼──► faults
//! sources              //= RFC N §S, //# sentence ─────────────────────────┘
//! ```
//!
//! A quote has to occur in its section, word for word. Each sentence of the listed sections that
//! says MUST has to be cited by code and by a test, or stand among the exceptions with its reason;
//! an exception that is cited by both is none any more. How a citation is written: `cite.rs`.
#![allow(clippy::unwrap_used)]

mod cite;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cite::{Citation, Rules};
use text::Rfc;

/// The folders with sources of ours.
const CRATES: [&str; 6] = ["storage", "engine", "pbx", "sip-shim", "portal", "tandem"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All citations of the workspace. This checker's own examples do not count.
fn cited() -> Vec<Citation> {
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|c| root().join(c)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        if folder.ends_with("storage/tests/quotes") {
            continue;
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
                let citations = cite::citations(name, &read(&path));
                found.extend(citations.unwrap_or_else(|e| panic!("{e}")));
            }
        }
    }
    found
}

/// The RFCs of `docs/rfc`, each with its rules.
fn rfcs() -> BTreeMap<u32, (Rfc, Rules)> {
    let entries = fs::read_dir(root().join("docs/rfc")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts = paths.filter(|path| path.extension().is_some_and(|e| e == "txt"));
    let pairs = texts.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let number = name.strip_prefix("rfc").unwrap().parse().unwrap();
        let rules = cite::rules(&read(&path.with_extension("rules")));
        let rules = rules.unwrap_or_else(|e| panic!("{name}: {e}"));
        (number, (Rfc::parse(&read(&path)), rules))
    });
    pairs.collect()
}

/// Quotes that are not in the RFC where they say.
fn misquoted(rfcs: &BTreeMap<u32, (Rfc, Rules)>, cited: &[Citation]) -> Vec<String> {
    let wrong = cited.iter().filter(|c| {
        let rfc = rfcs.get(&c.rfc);
        !rfc.is_some_and(|(rfc, _)| rfc.holds(&c.section, &c.quote))
    });
    let say = |c: &Citation| format!("{}: not in RFC {} §{}", c.place, c.rfc, c.section);
    wrong.map(say).collect()
}

/// What is demanded and not cited by both code and a test, and exceptions that are none.
fn missing(number: u32, rfc: &Rfc, rules: &Rules, cited: &[Citation]) -> Vec<String> {
    let mut faults = Vec::new();
    let has = |section: &str, sentence: &str, is_test: bool| {
        let mut of_it = cited.iter().filter(|c| c.rfc == number);
        of_it.any(|c| c.section == section && c.is_test == is_test && c.quote.contains(sentence))
    };
    for section in &rules.sections {
        let Some(musts) = rfc.musts(section) else {
            faults.push(format!("docs/rfc has no RFC {number} §{section}"));
            continue;
        };
        for must in musts {
            let excepted = rules.exceptions.iter();
            let excepted = excepted.filter(|(s, e, _)| s == section && *e == must);
            let (code, test) = (has(section, &must, false), has(section, &must, true));
            let lacks = match (code, test, excepted.count() > 0) {
                (true, true, true) => "is cited by both and needs no exception",
                (true, true, false) | (_, _, true) => continue,
                (false, true, false) => "is cited by no code",
                (true, false, false) => "is cited by no test",
                (false, false, false) => "is cited by neither code nor test",
            };
            faults.push(format!("RFC {number} §{section} {lacks}: {must}"));
        }
    }
    for (section, sentence, _) in &rules.exceptions {
        if !rfc.musts(section).is_some_and(|m| m.contains(sentence)) {
            faults.push(format!("no MUST of RFC {number} §{section}: {sentence}"));
        }
    }
    faults
}

#[test]
fn every_quote_is_in_its_rfc() {
    let cited = cited();
    assert!(cited.len() > 20, "only {} citations", cited.len());
    let faults = misquoted(&rfcs(), &cited);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_must_is_cited_by_code_and_by_a_test() {
    let cited = cited();
    for (number, (rfc, rules)) in &rfcs() {
        assert!(!rules.sections.is_empty(), "RFC {number} lists no sections");
        let faults = missing(*number, rfc, rules, &cited);
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

fn sample(rules: &str) -> BTreeMap<u32, (Rfc, Rules)> {
    let rfc = Rfc::parse(text::SAMPLE);
    BTreeMap::from([(9999, (rfc, cite::rules(rules).unwrap()))])
}

fn quoting(section: &str, is_test: bool, quote: &str) -> Citation {
    Citation {
        place: "here:1".to_owned(),
        rfc: 9999,
        section: section.to_owned(),
        is_test,
        quote: quote.to_owned(),
    }
}

#[test]
fn a_wrong_quote_is_found() {
    let rfcs = sample("sections: 2.1");
    let right = quoting("2.1", false, "A bell MUST ring.");
    assert!(misquoted(&rfcs, std::slice::from_ref(&right)).is_empty());
    let wrong = quoting("2.1", false, "A bell MUST rings.");
    let elsewhere = quoting("2.2", false, "A bell MUST ring.");
    let unknown = Citation { rfc: 1, ..right };
    let found = misquoted(&rfcs, &[wrong, elsewhere, unknown]);
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn what_is_not_cited_by_both_needs_a_reason() {
    let reason = "Because: No tower of ours has ever fallen.";
    let rules = format!("sections: 2.2\n\n§2.2 A tower MUST stand. {reason}\n");
    let faults = |rules: &str, cited: &[Citation]| {
        let (rfc, rules) = &sample(rules)[&9999];
        missing(9999, rfc, rules, cited)
    };
    let code = quoting("2.2", false, "A tower MUST stand.");
    let test = quoting("2.2", true, "A tower MUST stand.");
    let both = [code.clone(), test.clone()];
    assert!(faults("sections: 2.2", &[])[0].contains("neither"));
    assert!(faults("sections: 2.2", &[code])[0].contains("no test"));
    assert!(faults("sections: 2.2", &[test])[0].contains("no code"));
    assert!(faults("sections: 2.2", &both).is_empty());
    assert!(faults(&rules, &[]).is_empty());
    assert!(faults(&rules, &both)[0].contains("needs no exception"));
    assert!(faults("sections: 9", &[])[0].contains("has no RFC 9999 §9"));
    let stale = rules.replace("stand. ", "lean. ");
    assert!(faults(&stale, &both)[0].contains("no MUST"));
}
