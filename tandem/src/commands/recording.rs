//! `tandem recording list | show | verify | export | delete`.

use std::path::{Path, PathBuf};

use axum::http::Method;
use tandem_pbx::recordings::PAGE_MAX;

use crate::admin::Client;
use crate::admin::bodies::{self, RecordingVerified};
use crate::cli::{Ask, Recording};
use crate::commands::lists::{print_json, print_table, show, when};
use crate::out::say;

pub(crate) fn run(recording: &Recording) -> Result<(), String> {
    match recording {
        Recording::List(how) => list(how),
        Recording::Show { id, ask } => show(ask, &["recordings", id], print_recording),
        Recording::Verify { id, ask } => verify(id, ask),
        Recording::Export {
            id,
            file,
            tracks,
            overwrite,
            node,
        } => export(&Client::of(node.data()), id, file, *tracks, *overwrite),
        Recording::Delete { id, node } => {
            Client::of(node.data()).carry_out(Method::DELETE, &["recordings", id])
        }
    }
}

/// All of them, page by page.
fn list(how: &Ask) -> Result<(), String> {
    let node = Client::of(how.node.data());
    let mut all: Vec<bodies::Recording> = Vec::new();
    loop {
        let mut query = vec![("limit", PAGE_MAX.to_string())];
        query.extend(all.last().map(|last| ("before", last.id.clone())));
        let page: Vec<bodies::Recording> = node.get_with(&["recordings"], &query)?;
        let is_last = page.len() < PAGE_MAX;
        all.extend(page);
        if is_last {
            break;
        }
    }
    if how.json {
        return print_json(&serde_json::json!(all));
    }
    print_recordings(all);
    Ok(())
}

fn verify(id: &str, how: &Ask) -> Result<(), String> {
    let node = Client::of(how.node.data());
    let found: RecordingVerified = node.get(&["recordings", id, "verified"])?;
    let is_whole = found.whole;
    if how.json {
        print_json(&serde_json::json!(found))?;
    } else {
        for line in lines(&found) {
            say!("{line}");
        }
    }
    match is_whole {
        true => Ok(()),
        false => Err(format!("recording {id} is not whole")),
    }
}

/// What was found, in lines.
fn lines(found: &RecordingVerified) -> Vec<String> {
    let mut lines = Vec::new();
    if found.whole {
        lines.push("whole".to_owned());
    }
    lines.extend(found.faults.iter().cloned());
    for track in &found.tracks {
        let (number, side) = (track.track, &track.side);
        for gap in &track.gaps {
            let (from, to) = (clock(gap.from_ms), clock(gap.to_ms));
            lines.push(format!(
                "track {number} ({side}), {from} to {to}: {}",
                gap.why
            ));
        }
        for pause in &track.pauses {
            let (from, to) = (clock(pause.from_ms), clock(pause.to_ms));
            lines.push(format!("track {number} ({side}), {from} to {to}: paused"));
        }
    }
    lines
}

/// Minutes, seconds and milliseconds.
fn clock(ms: u64) -> String {
    format!("{}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
}

fn export(
    node: &Client,
    id: &str,
    file: &Path,
    in_tracks: bool,
    overwrite: bool,
) -> Result<(), String> {
    let sound = ["recordings", id, "sound"];
    let files = match in_tracks {
        false => vec![(file.to_owned(), None)],
        true => {
            let recording: bodies::Recording = node.get(&["recordings", id])?;
            let numbers = recording.tracks.iter().map(|track| track.track);
            numbers.map(|n| (of_track(file, n), Some(n))).collect()
        }
    };
    for (file, _) in files.iter().filter(|_| !overwrite) {
        if file.exists() {
            return Err(format!(
                "{} is there already; name another file, or say --overwrite",
                file.display()
            ));
        }
    }
    for (file, number) in files {
        let query = number.map_or(String::new(), |number| format!("?track={number}"));
        let (wav, is_incomplete) = node.sound_with(&sound, &query)?;
        if is_incomplete {
            eprintln!(
                "some of recording {id} cannot be read and is silence in the file; tandem recording \
                 verify {id} tells what"
            );
        }
        std::fs::write(&file, wav).map_err(|e| format!("{}: {e}", file.display()))?;
        if in_tracks {
            say!("{}", file.display());
        }
    }
    Ok(())
}

/// `call.wav`, of the second track: `call-2.wav`.
fn of_track(file: &Path, number: u32) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    file.with_file_name(name)
}

fn print_recordings(recordings: Vec<bodies::Recording>) {
    let rows = recordings.into_iter().map(|recording| {
        let parties = recording.tracks.iter().map(|track| match &*track.number {
            "" => "?".to_owned(),
            number => number.to_owned(),
        });
        let parties: Vec<String> = parties.collect();
        vec![
            recording.id,
            when(recording.began),
            parties.join(", "),
            format!("{} s", recording.length_ms.unwrap_or(0).div_ceil(1000)),
            recording.why,
            recording.state,
        ]
    });
    let header = ["ID", "WHEN", "PARTIES", "LENGTH", "WHY", ""];
    print_table(&header, rows, "no recordings");
}

fn print_recording(recording: bodies::Recording) {
    let by = recording.by.map_or(String::new(), |by| format!(" by {by}"));
    let fields = [
        ("call", recording.call),
        ("why", format!("{}{by}", recording.why)),
        ("began", when(recording.began)),
        ("ended", recording.ended.map_or("-".to_owned(), when)),
        ("state", recording.state),
        ("sha256", recording.sha256.unwrap_or("-".to_owned())),
    ];
    for (what, said) in fields {
        say!("{what:<10}{said}");
    }
    let rows = recording.tracks.into_iter().map(|track| {
        let packets = track.packets;
        vec![
            track.track.to_string(),
            track.side,
            format!("{} {}", track.number, track.name).trim().to_owned(),
            clock(track.from_ms),
            clock(track.length_ms),
            format!(
                "{} of {}, {} late, {} concealed",
                packets.come, packets.expected, packets.late, packets.concealed
            ),
            if track.cut_short { "cut short" } else { "" }.to_owned(),
        ]
    });
    let header = ["TRACK", "SIDE", "WHO", "FROM", "LENGTH", "PACKETS", ""];
    print_table(&header, rows, "no tracks");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_each_track_is_named_after_the_one_that_was_typed() {
        let named = |file: &str| of_track(Path::new(file), 2).display().to_string();
        assert_eq!(named("/a/call.wav"), "/a/call-2.wav");
        assert_eq!(named("call"), "call-2");
        assert_eq!(named("a.b/call.x.wav"), "a.b/call.x-2.wav");
    }

    #[test]
    fn what_is_missing_is_told_with_its_place() {
        let found: RecordingVerified = serde_json::from_value(serde_json::json!({
            "id": "a.1.1", "whole": false, "faults": ["its end was not written"], "sha256": "",
            "tracks": [{
                "track": 1, "side": "left", "length_ms": 70_000, "sha256": "",
                "gaps": [{ "from_ms": 61_500, "to_ms": 61_560, "why": "3 packets" }],
                "pauses": [{ "from_ms": 5, "to_ms": 1000 }],
            }],
        }))
        .unwrap();
        let expected = [
            "its end was not written",
            "track 1 (left), 1:01.500 to 1:01.560: 3 packets",
            "track 1 (left), 0:00.005 to 0:01.000: paused",
        ];
        assert_eq!(lines(&found), expected);
    }
}
