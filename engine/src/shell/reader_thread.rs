//! Reads sounds for the players, so that no worker ever waits for a disk.

use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender};

use super::store::{SoundStore, Unread};
use crate::output::Slot;
use crate::player::{Read, Want};
use crate::seam::Codec;

/// What a worker wants read.
pub(crate) struct Request {
    pub(crate) slot: Slot,
    pub(crate) serial: u32,
    pub(crate) want: Want,
    /// To whom it goes.
    pub(crate) to: Sender<Piece>,
}

/// What was read.
pub(crate) struct Piece {
    pub(crate) slot: Slot,
    pub(crate) serial: u32,
    pub(crate) samples: Vec<u8>,
    pub(crate) read: Read,
}

/// Starts the thread. It ends when the last worker is gone.
pub(crate) fn start(
    store: impl SoundStore,
    requests: Receiver<Request>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("sound-reader".into())
        .spawn(move || {
            for request in requests {
                let (samples, read) = read(&store, &request.want);
                let Request {
                    slot, serial, to, ..
                } = request;
                // A worker that is gone wants nothing any more.
                let _ = to.send(Piece {
                    slot,
                    serial,
                    samples,
                    read,
                });
            }
        })
}

/// Always as many samples as were promised.
fn read(store: &impl SoundStore, want: &Want) -> (Vec<u8>, Read) {
    let places = &want.places[want.first..want.first + want.count];
    let silence = Codec::of_sound(want.codec).silence();
    let mut samples = Vec::with_capacity(places.iter().map(|p| p.samples as usize).sum());
    let mut read = Read::Whole;
    for place in places {
        let end = samples.len() + place.samples as usize;
        if let Err(unread) = store.read(place, &mut samples) {
            let (how, error) = match unread {
                Unread::Broken(error) => (Read::Partly, error),
                Unread::Locked(error) => (Read::Locked, error),
            };
            read = read.max(how);
            tracing::warn!(
                segment = place.segment,
                offset = place.offset,
                error,
                "unreadable"
            );
        }
        samples.resize(end, silence);
    }
    (samples, read)
}
