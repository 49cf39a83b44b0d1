//! A log as text that does not change when the program's own types do.

use std::path::Path;

use tandem_storage::cipher::ENCRYPTED;
use tandem_storage::record::Body;
use tandem_storage::seam::{Payload, Stamp};
use tandem_storage::{SoundReader, View, show};

/// Every record as it lies, one a line: where, which, and what it says.
pub(crate) fn records(dir: &Path) -> String {
    let mut text = String::new();
    show(dir, |shown| {
        let record = shown.record.as_ref().expect("only records");
        let header = record.header;
        let said = match &record.body {
            Body::Epoch { before, last } => format!("epoch after {before} until {last}"),
            Body::Mark => "mark".to_owned(),
            Body::Retired(gone) => {
                let gaps = gone.gaps().iter();
                let gaps = gaps.map(|gap| format!("{}-{}", gap.first, gap.last));
                format!("retired {}", gaps.collect::<Vec<_>>().join(" "))
            }
            Body::Said(what) => what_says(what),
            Body::Replica(stamp, what) => {
                format!("restated {} {}", stamp_text(stamp), what_says(what))
            }
        };
        text += &format!(
            "{}:{} {}.{} durable {} clock {} {said}\n",
            shown.segment, shown.offset, header.epoch, header.seq, header.durable, header.hlc.0
        );
    })
    .unwrap();
    text
}

fn stamp_text(stamp: &Stamp) -> String {
    let Stamp {
        hlc,
        node,
        epoch,
        seq,
    } = stamp;
    format!("({node} {epoch}.{seq} clock {})", hlc.0)
}

fn what_says(what: &Payload) -> String {
    match what {
        Payload::Begin {
            id,
            codec,
            at,
            about,
        } => format!("begin {id} {codec:?} at {} {about:?}", at.0),
        Payload::Chunk { id, index, place } => {
            let encrypted = if index & ENCRYPTED == 0 {
                ""
            } else {
                " encrypted"
            };
            let index = index & !ENCRYPTED;
            format!("chunk {id} {index}{encrypted} of {} samples", place.samples)
        }
        Payload::Seal { id, kind, about } => format!("seal {id} {kind:?} {about:?}"),
        Payload::Register { key, value } => match value {
            Some(value) => format!("register {key} = {value:?}"),
            None => format!("register {key} removed"),
        },
        Payload::Entry { topic, body } => format!("entry {topic} {body:?}"),
    }
}

/// What the records come to, sound included: its length, and each run of equal samples.
pub(crate) fn view(view: &View, reader: &SoundReader) -> String {
    let mut text = String::new();
    for sound in view.sounds() {
        let mut samples = Vec::new();
        for place in &sound.chunks {
            reader.read(place, &mut samples).unwrap();
        }
        let runs = samples.chunk_by(|a, b| a == b);
        let runs: Vec<_> = runs
            .map(|run| format!("{}x{}", run.len(), run[0]))
            .collect();
        let seal = sound.seal.as_ref().map(|(kind, about)| (kind, &**about));
        let (id, about) = (sound.id, &sound.about);
        text += &format!("sound {id} {about:?} {seal:?} {}\n", runs.join(" "));
    }
    for (key, value) in view.registers("") {
        text += &format!("register {key} = {value:?}\n");
    }
    for (stamp, body) in view.entries("call", usize::MAX) {
        text += &format!("entry {} {body:?}\n", stamp_text(&stamp));
    }
    text
}
