//! `tandem calls`, and `tandem calls log`: pages of the call log put together.

use super::lists;
use crate::admin::Client;
use crate::admin::call_log::{self, CallRecord, PAGE_MAX, csv_header, csv_row};
use crate::cli::{CallLog, Calls, CallsOf};
use crate::out::say;

/// Records that people are shown if they do not say how many.
const SHOWN: usize = 50;

pub(crate) fn run(calls: &Calls) -> Result<(), String> {
    match &calls.which {
        None => lists::calls(&calls.ask),
        Some(CallsOf::Log(which)) => log(which),
    }
}

fn log(which: &CallLog) -> Result<(), String> {
    let all = if which.csv || which.ask.json {
        usize::MAX
    } else {
        SHOWN
    };
    let records = records(which, which.limit.unwrap_or(all))?;
    if which.csv {
        let rows = records.iter().map(csv_row);
        let table: String = std::iter::once(csv_header()).chain(rows).collect();
        say!("{}", table.trim_end());
        return Ok(());
    }
    if which.ask.json {
        return lists::print_json(&serde_json::json!(records));
    }
    let rows = records.into_iter().map(|record| {
        let way = match record.direction.as_str() {
            "out" => "to",
            _ => "from",
        };
        let line = record.user.unwrap_or_else(|| "outside".into());
        let quality = record.quality.map(|quality| {
            let heard = quality.packets_received.max(1) as f64;
            let lost = quality.packets_lost.max(0) as f64;
            let jitter_ms = f64::from(quality.jitter_us) / 1000.0;
            format!(
                "{:.1} % lost, {jitter_ms:.0} ms",
                100.0 * lost / (heard + lost)
            )
        });
        vec![
            lists::when(record.started),
            format!("{way} {line}"),
            lists::party(&record.from),
            record.to,
            record.outcome.replace('_', " "),
            format!("{} s", record.talked_s),
            lists::or_dash(quality),
        ]
    });
    let header = ["BEGAN", "LINE", "FROM", "TO", "OUTCOME", "TALKED", "SOUND"];
    lists::print_table(&header, rows, "no calls have ended");
    Ok(())
}

fn records(which: &CallLog, limit: usize) -> Result<Vec<CallRecord>, String> {
    let node = Client::of(which.ask.node.data());
    let mut records = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let page = PAGE_MAX.min(limit - records.len());
        let since = which.since.map(|at| at.as_millisecond().max(0).to_string());
        let query = [
            ("limit", Some(page.to_string())),
            ("user", which.user.clone()),
            ("since", since),
            ("before", before),
        ];
        let query: Vec<(&str, String)> = query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let page: call_log::CallLog = node.get_with(&["calls", "log"], &query)?;
        records.extend(page.records);
        before = page.next;
        if before.is_none() || records.len() >= limit {
            return Ok(records);
        }
    }
}
