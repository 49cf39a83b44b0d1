//! `tandem events`: a line for each thing that happens, until the node ends.

use serde_json::Value;

use super::lists::when;
use crate::admin::Client;
use crate::cli::Ask;
use crate::out::say;

pub(crate) fn run(how: &Ask) -> Result<(), String> {
    let print = |data: &str| {
        if how.json {
            say!("{data}");
        } else if let Ok(event) = serde_json::from_str(data) {
            say!("{}", line(&event));
        }
        true
    };
    Client::of(how.node.data()).follow(&["events"], print)
}

/// For people: when, what, and what it happened to.
fn line(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    if kind == "lost" {
        let count = match event["count"].as_u64() {
            Some(count) => count.to_string(),
            None => "some".into(),
        };
        return format!("{:<19}  lost  {count} events are missing here", "");
    }
    let body = &event["body"];
    let of = |name: &str| match &body[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let what = if kind.starts_with("leg.") {
        let end = match of("outcome") {
            outcome if outcome.is_empty() => of("place"),
            outcome => outcome.replace('_', " "),
        };
        format!("{} {} to {}, {end}", of("leg"), of("from"), of("to"))
    } else {
        let shown = [
            "mailbox",
            "extension",
            "name",
            "set",
            "id",
            "what",
            "node",
            "alarm",
        ];
        let parts = shown.map(of);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    };
    let at = when(event["at"].as_u64());
    format!("{at}  {kind}  {what}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_says_what_happened_to_whom() {
        let body = json!({ "leg": "a.1.1", "from": "101", "to": "102", "place": "ringing" });
        let said = line(&json!({ "type": "leg.begin", "at": 0, "body": body }));
        assert!(
            said.ends_with("  leg.begin  a.1.1 101 to 102, ringing"),
            "{said}"
        );
        let body = json!({ "extension": "101", "name": "Ann", "set": "dnd" });
        let said = line(&json!({ "type": "user.changed", "at": 0, "body": body }));
        assert!(said.ends_with("  user.changed  101 Ann dnd"), "{said}");
        assert!(line(&json!({ "type": "lost", "count": 7 })).contains("7 events are missing"));
    }
}
