//! `tandem log verify | show`: reads the files themselves, whether or not a node runs on them.

use serde_json::{Value, json};
use tandem_storage::cipher::ENCRYPTED;
use tandem_storage::record::{Body, Record};
use tandem_storage::seam::{Payload, Stamp};
use tandem_storage::{ShownRecord, VerifyReport};

use crate::cli::Log;
use crate::commands::lists::print_json;
use crate::out::say;

pub(crate) fn run(log: &Log) -> Result<(), String> {
    match log {
        Log::Verify(how) => {
            let dir = log_dir(&how.node.data())?;
            let report = tandem_storage::verify(&dir).map_err(|e| unreadable(&dir, &e))?;
            print_report(&report, how.json)
        }
        Log::Show(how) => {
            let dir = log_dir(&how.node.data())?;
            let print = |shown: &ShownRecord| match how.json {
                true => say!("{}", as_json(shown)),
                false => say!("{}", as_line(shown)),
            };
            tandem_storage::show(&dir, print).map_err(|e| unreadable(&dir, &e))
        }
    }
}

fn log_dir(data: &std::path::Path) -> Result<std::path::PathBuf, String> {
    let dir = data.join("log");
    match dir.is_dir() {
        true => Ok(dir),
        false => Err(format!(
            "there is no log in {}; name another with --data",
            data.display()
        )),
    }
}

fn unreadable(dir: &std::path::Path, error: &std::io::Error) -> String {
    format!("the log in {} cannot be read: {error}", dir.display())
}

fn print_report(report: &VerifyReport, as_json: bool) -> Result<(), String> {
    let ending = &report.ending;
    let damages: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    if as_json {
        print_json(&json!({
            "node": report.node.map(|n| n.to_string()),
            "running": report.is_running,
            "epoch": ending.epoch,
            "segments": report.segments,
            "records": ending.records,
            "records_lost": ending.records_lost,
            "torn": ending.torn,
            "sounds": report.sounds,
            "sounds_open": report.sounds_open,
            "damages": damages,
            "clean": report.is_clean(),
        }))?;
    } else {
        say!(
            "{} records and {} sounds in {} segments; the last start is epoch {}",
            ending.records,
            report.sounds,
            report.segments,
            ending.epoch
        );
        damages.iter().for_each(|damage| say!("damaged: {damage}"));
        if ending.torn > 0 {
            say!(
                "{} torn by a crash while being written, promised to nobody",
                ending.torn
            );
        }
        if report.is_clean() {
            say!("every record is whole");
        }
    }
    match report.is_clean() {
        true => Ok(()),
        false => Err(format!(
            "{} damaged places, {} records lost; everything else can be read",
            ending.damages, ending.records_lost
        )),
    }
}

fn as_json(shown: &ShownRecord) -> Value {
    let mut value = match &shown.record {
        Ok(record) => {
            let (kind, detail) = describe(record);
            json!({
                "epoch": record.header.epoch,
                "seq": record.header.seq,
                "at_ms": record.header.hlc.0 >> 16,
                "bytes": record.bytes,
                "kind": kind,
                "says": detail,
            })
        }
        Err(fault) => json!({ "fault": fault.to_string() }),
    };
    value["segment"] = json!(shown.segment);
    value["offset"] = json!(shown.offset);
    value
}

fn as_line(shown: &ShownRecord) -> String {
    let place = format!("{:>4}:{:<9}", shown.segment, shown.offset);
    match &shown.record {
        Ok(record) => {
            let (kind, detail) = describe(record);
            let (epoch, seq) = (record.header.epoch, record.header.seq);
            format!("{place} {epoch}.{seq:<8} {kind:<8} {detail}")
        }
        Err(fault) => format!("{place} not a record: {fault}"),
    }
}

fn describe(record: &Record) -> (&'static str, String) {
    match &record.body {
        Body::Epoch { before: 0, .. } => ("start", "the first".into()),
        Body::Epoch { before, last } => ("start", format!("after epoch {before}, up to {last}")),
        Body::Mark => ("mark", String::new()),
        Body::Retired(retired) => ("retired", format!("segments {retired}")),
        Body::Said(what) => describe_what(what),
        Body::Replica(stamp, what) => {
            let (kind, detail) = describe_what(what);
            let Stamp {
                node, epoch, seq, ..
            } = stamp;
            (kind, format!("{detail} (said by {node} as {epoch}.{seq})"))
        }
    }
}

fn describe_what(what: &Payload) -> (&'static str, String) {
    match what {
        Payload::Begin {
            id, codec, about, ..
        } => ("begin", format!("{id} {codec:?} {about}")),
        Payload::Chunk { id, index, place } => {
            let encrypted = match index & ENCRYPTED {
                0 => "",
                _ => ", encrypted",
            };
            let (index, samples) = (index & !ENCRYPTED, place.samples);
            (
                "chunk",
                format!("{id} #{index}, {samples} samples{encrypted}"),
            )
        }
        Payload::Seal { id, kind, about } => ("seal", format!("{id} {kind:?} {about}")),
        Payload::Register {
            key,
            value: Some(value),
        } => ("set", format!("{key} = {value}")),
        Payload::Register { key, value: None } => ("unset", key.to_string()),
        Payload::Entry { topic, body } => ("entry", format!("{topic} {body}")),
    }
}
