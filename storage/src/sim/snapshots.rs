//! Snapshots on a simulated disk, and the promise held against every one of them: a log that is read
//! with one says what it says read whole.

use super::*;
use crate::seam::Hlc;
use crate::snapshot::{self, MAGIC, Snapshot, Title};
use crate::view::rows::Walk;

/// Rows in a part: few, so that much happens while one is made.
const ROWS: usize = 7;

/// Makes snapshots of one log, a part at each turn, as `shell/snapshot.rs` does.
#[derive(Debug)]
pub struct SimSnapshots {
    node: NodeName,
    epochs: BTreeMap<u32, u64>,
    last: u32,
    segments_between: u32,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    walk: Walk,
    segment: u32,
    /// With the title, once there is one.
    file: Vec<u8>,
}

impl SimSnapshots {
    /// Of a log that was read from segment `last` on.
    pub fn new(node: NodeName, loaded: &Loaded, last: u32, segments_between: u32) -> SimSnapshots {
        SimSnapshots {
            node,
            epochs: loaded.found.epochs.clone(),
            last,
            segments_between,
            under_way: None,
        }
    }

    /// Goes on with one, or begins one if it is time.
    pub fn turn(&mut self, view: &View, disk: &mut SimDisk) {
        let segment = view.heard().segment;
        let Some(under_way) = &mut self.under_way else {
            if segment >= self.last.saturating_add(self.segments_between) {
                self.last = segment;
                self.under_way = Some(UnderWay {
                    walk: Walk::by(ROWS),
                    segment,
                    file: Vec::new(),
                });
            }
            return;
        };
        // The title is a turn later than the first part: so is the thread that writes it.
        let part = under_way.walk.next(view).map(|part| {
            let bytes = snapshot::encode_part(&part).expect("a short part");
            snapshot::frame(&bytes).expect("a short frame")
        });
        if under_way.file.is_empty() {
            let title = disk.title(self.node, under_way.segment, &self.epochs);
            under_way.file = [&MAGIC[..], &title].concat();
        }
        match part {
            Some(frame) => under_way.file.extend(frame),
            None => disk.snapshot = self.under_way.take().map(|done| done.file),
        }
    }
}

impl SimDisk {
    fn title(&self, node: NodeName, segment: u32, epochs: &BTreeMap<u32, u64>) -> Vec<u8> {
        let start = &self.segments[&segment];
        let before = self.segments.range(..segment);
        let before = before.map(|(number, bytes)| (*number, bytes.len() as u64));
        let title = Title::new(node, segment, start, before.collect(), epochs.clone());
        let title = title.unwrap_or_else(|| panic!("segment {segment} has no header"));
        snapshot::encode_title(&title).expect("a short title")
    }

    /// Reads the log whole; and if there is a snapshot that fits, also with it, and holds one against
    /// the other. The last figure is the segment it was read from then; 0: there was none.
    pub(super) fn read_both_ways(&self, node: NodeName) -> Result<(View, Loaded, u32), NotOurs> {
        let mut whole = View::new();
        let loaded_whole = self.read(node, |record| whole.apply(record))?;
        let Some(snapshot) = self.fitting_snapshot(node) else {
            return Ok((whole, loaded_whole, 0));
        };
        let mut reading = Reading::new(node)
            .with_retired(self.retired())
            .after(&snapshot);
        let (mut view, from) = (snapshot.view, snapshot.segment);
        for (number, bytes) in &self.segments {
            if !reading.pass(*number, bytes.len() as u64) {
                reading.take(*number, bytes, &mut |record| view.apply(record))?;
            }
        }
        let loaded = reading.finish(&mut |record| view.apply(record));
        let there: Vec<u32> = loaded_whole.segments.iter().map(|s| s.number).collect();
        assert_eq!(view.difference(&whole, &there), None);
        assert_eq!(known(&loaded), known(&loaded_whole));
        // Of what was moved, a snapshot knows things that the log no longer shows.
        let [found, of_whole] = [&loaded, &loaded_whole].map(|loaded| &loaded.found);
        let is_known = |(epoch, last): (&u32, &u64)| found.epochs.get(epoch) >= Some(last);
        assert!(
            of_whole.epochs.iter().all(is_known),
            "{found:?}, {of_whole:?}"
        );
        assert!(found.authors.is_superset(&of_whole.authors));
        assert!(loaded.ending.hlc >= loaded_whole.ending.hlc);
        Ok((view, loaded, from))
    }

    fn fitting_snapshot(&self, node: NodeName) -> Option<Snapshot> {
        let file = self.snapshot.as_ref()?;
        let (title, frames) = snapshot::open(file).expect("a whole snapshot");
        let start = self.segments.get(&title.segment)?;
        let lengths = self
            .segments
            .iter()
            .map(|(n, bytes)| (*n, bytes.len() as u64));
        let there: Vec<(u32, u64)> = lengths.collect();
        if !title.fits(node, start, &there, &self.retired()) {
            return None;
        }
        let lots = frames
            .chunks(3)
            .map(|lot| snapshot::read_lot(lot).expect("whole frames"));
        let restored = title.finish(lots, |number| self.segments.contains_key(&number));
        Some(restored.expect("a whole snapshot"))
    }
}

/// What must be the same however a log was read.
fn known(loaded: &Loaded) -> impl PartialEq + std::fmt::Debug {
    let ending = &loaded.ending;
    let end = (
        ending.epoch,
        ending.last,
        ending.damages,
        ending.records_lost,
    );
    let numbers: Vec<u32> = loaded.segments.iter().map(|s| s.number).collect();
    (end, numbers, loaded.left_over.clone(), loaded.go_on_in())
}

/// The rows of a snapshot file that can be read; `None`: it can't.
pub fn snapshot_rows(file: &[u8]) -> Option<usize> {
    let (title, frames) = snapshot::open(file)?;
    let lot = snapshot::read_lot(&frames)?;
    let view = title.finish([lot], |_| true)?.view;
    let _: Hlc = view.heard().hlc;
    Some(view.sounds().count() + view.registers("").count())
}

/// What is packed in the frames of a snapshot file, the title first.
pub fn snapshot_parts(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    snapshot::unpacked(file)
}

/// A snapshot file with these parts, whatever they are, in frames as they should be.
pub fn snapshot_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut file = MAGIC.to_vec();
    for part in parts {
        file.extend(snapshot::frame(part)?);
    }
    Some(file)
}
