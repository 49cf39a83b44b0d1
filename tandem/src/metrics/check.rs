//! A reader of the Prometheus text format (version 0.0.4) that is stricter than Prometheus, to check what
//! the library wrote.

use std::collections::{BTreeMap, BTreeSet};

/// A family as it was read.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    /// By name and labels, as written.
    pub(super) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads a page. `Err`: the line that is wrong, and why.
pub(super) fn read(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut now = String::new();
    if !page.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in page.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else {
                return wrong("a name without help");
            };
            if families.contains_key(name) {
                return wrong("a family in two places");
            }
            now = name.to_owned();
            families.entry(now.clone()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else {
                return wrong("a name without kind");
            };
            if name != now || !families[name].kind.is_empty() {
                return wrong("a kind that does not follow its help");
            }
            families.entry(now.clone()).or_default().kind = kind.to_owned();
        } else {
            let Some((name, labels, value)) = sample(line) else {
                return wrong("not a sample");
            };
            let Some(family) = families.get_mut(&now) else {
                return wrong("a sample before any family");
            };
            let suffix = name.strip_prefix(now.as_str());
            let belongs = match (family.kind.as_str(), suffix) {
                ("counter", Some("")) => now.ends_with("_total") && value >= 0.0,
                ("gauge", Some("")) => !now.ends_with("_total"),
                ("histogram", Some("_bucket")) => labels.contains_key("le"),
                ("histogram", Some("_sum" | "_count")) => true,
                _ => false,
            };
            if !belongs {
                return wrong("a sample that is not of its family");
            }
            family.samples.push((name, labels, value));
        }
    }
    for (name, family) in &families {
        whole(family).map_err(|why| format!("{why}: {name}"))?;
    }
    Ok(families)
}

/// A line's name, labels and value.
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next()?.1 {
                        'n' => text.push('\n'),
                        c @ ('\\' | '"') => text.push(c),
                        _ => return None,
                    },
                    (_, c) => text.push(c),
                }
            };
            if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
                return None;
            }
            rest = &value[end + 1..];
            match rest.split_at_checked(1)? {
                (",", more) => rest = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn whole(family: &Family) -> Result<(), &'static str> {
    if family.help.is_empty() || family.samples.is_empty() {
        return Err("no help, or no samples");
    }
    let all: BTreeSet<_> = family.samples.iter().map(|(n, l, _)| (n, l)).collect();
    if all.len() != family.samples.len() {
        return Err("a sample twice");
    }
    if family.kind == "histogram" {
        let bucket = |(_, labels, value): &(_, BTreeMap<String, String>, f64)| {
            let bound: f64 = labels.get("le")?.parse().ok()?;
            Some((bound, *value))
        };
        let buckets: Vec<(f64, f64)> = family.samples.iter().filter_map(bucket).collect();
        let rise = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        let count = family.samples.iter().find(|(n, ..)| n.ends_with("_count"));
        if !buckets.windows(2).all(rise) {
            return Err("buckets that do not rise");
        }
        if buckets.last() != count.map(|(_, _, n)| (f64::INFINITY, *n)).as_ref() {
            return Err("buckets that do not end with the count");
        }
    }
    Ok(())
}

#[test]
fn it_tells_wrong_pages_from_right_ones() {
    let right = "# HELP a Help.\n# TYPE a gauge\na{b=\"x\\\"y, z\",c=\"\"} 1.5\na -2\n";
    let read_right = read(right).unwrap();
    assert_eq!(read_right["a"].samples[0].1["b"], "x\"y, z");
    for wrong in [
        "a 1\n",
        "# HELP a Help.\n# TYPE a gauge\na 1",
        "# HELP a Help.\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a Help.\n# TYPE a gauge\nb 1\n",
        "# HELP a Help.\n# TYPE a counter\na 1\n",
        "# HELP a Help.\n# TYPE a gauge\na{b=\"} 1\n",
        "# HELP a \n# TYPE a gauge\na 1\n",
        "# HELP a Help.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_count 1\na_sum 1\n",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
