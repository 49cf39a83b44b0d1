//! The text of an RFC, as sections of paragraphs, and the sentences in it that bind us.
//!
//! What stands in `docs/rfc` is the RFC's own text with its page breaks. A footer and a header of a
//! page are no part of a sentence, nor are the line breaks; both are taken out here. A paragraph
//! that goes on over a page break is one, which
//! shows by its not ending in a full stop.

use std::collections::BTreeMap;

/// Sections of one RFC, by their numbers, each as its paragraphs without line breaks.
#[derive(Debug, Default)]
pub(crate) struct Rfc {
    sections: BTreeMap<String, Vec<String>>,
}

impl Rfc {
    /// Reads an excerpt. What stands in front of the first section does not count.
    pub(crate) fn parse(text: &str) -> Rfc {
        let mut rfc = Rfc::default();
        let mut section: Option<String> = None;
        let mut lines: Vec<&str> = Vec::new();
        for line in text.lines().chain(["Full Copyright Statement"]) {
            let line = line.trim_start_matches('\x0c').trim_end();
            let ends = line.starts_with("Full Copyright Statement");
            let heading = heading(line);
            if heading.is_some() || ends {
                if let Some(section) = section.take() {
                    rfc.sections.insert(section, paragraphs(&lines));
                }
                lines.clear();
                section = heading;
            } else {
                lines.push(line);
            }
        }
        rfc
    }

    /// Is this in that section, word for word?
    pub(crate) fn holds(&self, section: &str, quote: &str) -> bool {
        let paragraphs = self.sections.get(section);
        paragraphs.is_some_and(|p| p.join(" ").contains(quote))
    }

    /// Every sentence of a section that says MUST; `None`: there is no such section.
    pub(crate) fn musts(&self, section: &str) -> Option<Vec<String>> {
        let binding = |sentence: &String| {
            let mut words = sentence.split(|c: char| !c.is_alphanumeric());
            words.any(|word| word == "MUST")
        };
        let paragraphs = self.sections.get(section)?;
        let sentences = paragraphs.iter().flat_map(|p| sentences(p));
        Some(sentences.filter(binding).collect())
    }
}

/// The number of the section that a line opens: headings stand at the line's beginning.
fn heading(line: &str) -> Option<String> {
    let (number, title) = line.split_once(' ')?;
    let number = number.trim_end_matches('.');
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let numbered = number.split('.').all(is_number);
    (numbered && !title.trim().is_empty()).then(|| number.to_owned())
}

/// The lines without page breaks. A blank line stays in one's place where a sentence ended there.
fn without_pages<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut whole: Vec<&str> = Vec::new();
    let mut turning = false;
    for line in lines {
        let is_footer = line.contains("[Page ") && !line.starts_with(' ');
        if is_footer || line.starts_with("RFC ") {
            turning = true;
            continue;
        }
        if turning && line.is_empty() {
            continue;
        }
        if turning {
            while whole.last().is_some_and(|line| line.is_empty()) {
                whole.pop();
            }
            if whole
                .last()
                .is_some_and(|line| line.ends_with(['.', ':', ';']))
            {
                whole.push("");
            }
            turning = false;
        }
        whole.push(line);
    }
    whole
}

fn paragraphs(lines: &[&str]) -> Vec<String> {
    let lines = without_pages(lines);
    let blocks = lines.split(|line| line.is_empty());
    let joined = blocks.map(|block| {
        let mut text = String::new();
        for word in block.iter().flat_map(|line| spaced(line)) {
            text.push_str(word);
        }
        text.trim_end().to_owned()
    });
    joined.filter(|text| !text.is_empty()).collect()
}

/// A line's words, each with the blank after it. A word that is broken at the line's end has none.
fn spaced(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for word in line.split_ascii_whitespace() {
        words.extend([word, " "]);
    }
    if line.ends_with('-') {
        words.pop();
    }
    words
}

/// A paragraph's sentences. One ends at a full stop or a colon, where the next begins with a capital.
fn sentences(paragraph: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = String::new();
    for word in paragraph.split(' ') {
        let ended = open.ends_with(['.', ':', ';']) || open.ends_with(".)");
        if ended && word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || c == '(') {
            done.push(std::mem::take(&mut open));
        }
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(word);
    }
    done.push(open);
    let bare = |s: String| s.strip_prefix("o ").map(str::to_owned).unwrap_or(s);
    done.into_iter().map(bare).collect()
}

/// A made-up document with what makes reading the real ones hard.
#[cfg(test)]
pub(crate) const SAMPLE: &str = "# Sections of RFC 9999, made up for this test.\n\n\
    2.1. Bells\n\n   A bell MUST ring.  It SHOULD ring\n   twice.  It MUST NOT\n\n\n\
    Nobody                     Standards Track                      [Page 3]\n\x0c\n\
    RFC 9999                       Bells                           June 2002\n\n\n   \
    crack after 32-\n   bit strokes.\n\n2.2 Towers\n\n   o  A tower MUST stand.\n\n\
    Full Copyright Statement\n\n   This MUST not count.\n";

#[test]
fn sentences_that_bind_are_found_across_lines_and_pages() {
    let rfc = Rfc::parse(SAMPLE);
    let bells = rfc.musts("2.1").unwrap();
    let cracked = "It MUST NOT crack after 32-bit strokes.";
    assert_eq!(bells, ["A bell MUST ring.", cracked]);
    assert_eq!(rfc.musts("2.2").unwrap(), ["A tower MUST stand."]);
    assert_eq!(rfc.musts("2.3"), None);
}

#[test]
fn a_quote_is_found_in_its_own_section_only() {
    let rfc = Rfc::parse(SAMPLE);
    assert!(rfc.holds("2.1", "It SHOULD ring twice."));
    assert!(!rfc.holds("2.2", "It SHOULD ring twice."));
    assert!(!rfc.holds("2.1", "It SHOULD ring thrice."));
    assert!(!rfc.holds("7", "A bell MUST ring."));
}
