//! Citations in the sources, and the list of what an RFC demands and we do not do.
//!
//! A citation is a comment of its own lines:
//!
//! ```text
//! //= RFC 3261 §17.2.1
//! //# A sentence of that section, word for word,
//! //# over as many lines as it needs.
//! ```
//!
//! It stands beside the code that does what the sentence says. Beside the test that shows it the
//! first line ends in ` type=test`. Several sentences of one section may follow one another.
//!
//! Each RFC has a file of rules: the sections of which every MUST has to be cited twice, by code and
//! by a test, and the exceptions, each with its reason in a plain sentence.

/// One citation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Citation {
    /// The file and line of it.
    pub(crate) place: String,
    /// Of which RFC.
    pub(crate) rfc: u32,
    /// Of which section.
    pub(crate) section: String,
    /// It stands beside a test.
    pub(crate) is_test: bool,
    /// The sentences, without line breaks.
    pub(crate) quote: String,
}

/// What is demanded of us from one RFC.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Sections whose every MUST counts.
    pub(crate) sections: Vec<String>,
    /// Sentences that are not cited by both, each with its section and the reason.
    pub(crate) exceptions: Vec<(String, String, String)>,
}

/// All citations in a source, whose path tells whether it is all tests.
pub(crate) fn citations(path: &str, text: &str) -> Result<Vec<Citation>, String> {
    let mut found: Vec<Citation> = Vec::new();
    let mut open = false;
    let mut in_tests = path.split('/').any(|p| p == "tests" || p == "tests.rs");
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        let place = format!("{path}:{number}");
        in_tests |= line == "#[cfg(test)]";
        if let Some(head) = line.strip_prefix("//= ") {
            let citation = head_of(head, place.clone());
            let citation = citation.ok_or(format!("{place}: not `//= RFC 1 §2`"))?;
            if citation.is_test != in_tests {
                return Err(format!(
                    "{place}: type=test is for tests, and only for them"
                ));
            }
            found.push(citation);
            open = true;
        } else if let Some(words) = line.strip_prefix("//# ") {
            let citation = found.last_mut().filter(|_| open);
            let citation = citation.ok_or(format!("{place}: a quote of nothing"))?;
            let join = !(citation.quote.is_empty() || citation.quote.ends_with('-'));
            citation.quote += if join { " " } else { "" };
            citation.quote += words.trim();
        } else {
            open = false;
        }
    }
    match found.iter().find(|c| c.quote.is_empty()) {
        Some(empty) => Err(format!("{}: nothing is quoted", empty.place)),
        None => Ok(found),
    }
}

fn head_of(head: &str, place: String) -> Option<Citation> {
    let mut parts = head.split(' ');
    let ("RFC", rfc) = (parts.next()?, parts.next()?.parse().ok()?) else {
        return None;
    };
    let section = parts.next()?.strip_prefix('§')?.to_owned();
    let is_test = match parts.next() {
        None => false,
        Some("type=test") => true,
        Some(_) => return None,
    };
    Some(Citation {
        place,
        rfc,
        section,
        is_test,
        quote: String::new(),
    })
}

/// Reads a file of rules: paragraphs, of which one is `sections: …`, those that begin with `§` are
/// exceptions, and the lines with `#` are comments. The reason follows `Because: `.
pub(crate) fn rules(text: &str) -> Result<Rules, String> {
    let mut rules = Rules::default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    for paragraph in lines.split(|line| line.trim().is_empty()) {
        let words = paragraph.join(" ");
        let words = words.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            continue;
        }
        if let Some(sections) = words.strip_prefix("sections: ") {
            rules.sections = sections.split(' ').map(str::to_owned).collect();
            continue;
        }
        let exception = words.strip_prefix('§').and_then(|rest| {
            let (section, rest) = rest.split_once(' ')?;
            let (sentence, reason) = rest.split_once(" Because: ")?;
            let whole = reason.len() > 20 && reason.ends_with('.');
            whole.then(|| [section, sentence, reason].map(str::to_owned))
        });
        let [section, sentence, reason] = exception.ok_or(format!("no rule: {words}"))?;
        rules.exceptions.push((section, sentence, reason));
    }
    Ok(rules)
}

#[test]
fn a_citation_is_read() {
    let text = "//= RFC 9999 §2.1\n//# A bell\n//# MUST ring.\nfn ring() {}\n#[cfg(test)]\n\
        mod tests {\n    //= RFC 9999 §2.1 type=test\n    //# A bell MUST ring.\n";
    let found = citations("bell/src/lib.rs", text).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|c| c.quote == "A bell MUST ring."));
    assert_eq!((found[0].is_test, found[1].is_test), (false, true));
    assert_eq!(found[1].place, "bell/src/lib.rs:7");
}

#[test]
fn what_only_looks_like_a_citation_is_refused() {
    let wrong = [
        ("a/src/b.rs", "//= RFC 9999\n//# A bell MUST ring.\n"),
        ("a/src/b.rs", "//# A bell MUST ring.\n"),
        ("a/src/b.rs", "//= RFC 9999 §2.1\n\n//# A bell MUST ring.\n"),
        (
            "a/src/b.rs",
            "//= RFC 9999 §2.1 type=test\n//# A bell MUST ring.\n",
        ),
        ("a/tests/b.rs", "//= RFC 9999 §2.1\n//# A bell MUST ring.\n"),
        (
            "a/src/b.rs",
            "//= RFC 9999 §2.1 type=todo\n//# A bell MUST ring.\n",
        ),
    ];
    for (path, text) in wrong {
        assert!(citations(path, text).is_err(), "{text}");
    }
}

#[test]
fn a_reason_is_a_sentence() {
    let read = rules(
        "# Bells.\nsections: 2.1 2.2\n\n§2.1 A bell MUST ring.\n\
        Because: We have no bell\n  in any house.\n",
    );
    let read = read.unwrap();
    assert_eq!(read.sections, ["2.1", "2.2"]);
    let (section, sentence, reason) = &read.exceptions[0];
    assert_eq!((&**section, &**sentence), ("2.1", "A bell MUST ring."));
    assert_eq!(reason, "We have no bell in any house.");
    assert!(rules("§2.1 A bell MUST ring.\n").is_err());
    assert!(rules("§2.1 A bell MUST ring. Because: no.\n").is_err());
}
