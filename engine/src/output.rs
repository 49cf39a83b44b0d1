//! What a worker's core asks its shell to do.

use std::net::SocketAddr;

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;

use crate::player::Want;
use crate::rtp::HEADER_BYTES;
use crate::seam::{Event, LegId, LegReport};

/// A leg's place in its worker: where core and shell both keep what they know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// By which of a leg's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The even one, to the address last told.
    Rtp,
    /// The odd one, to this address.
    Rtcp(SocketAddr),
}

/// The most payload in a packet we make: 60 ms of G.711.
pub const MADE_BYTES_MAX: usize = 480;
/// The largest packet we make.
pub const PACKET_BYTES_MAX: usize = HEADER_BYTES + MADE_BYTES_MAX;

/// A packet we made.
#[derive(Clone, Debug)]
pub struct Packet {
    len: usize,
    bytes: [u8; PACKET_BYTES_MAX],
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send {
        /// By whose port.
        slot: Slot,
        /// Which one.
        channel: Channel,
        /// What.
        packet: Packet,
    },
    /// The party's RTP address, from now on.
    Address {
        /// Whose.
        slot: Slot,
        /// Where; `None`: nowhere, for the time being.
        address: Option<SocketAddr>,
        /// It is certain: let the kernel keep everybody else out.
        connect: bool,
    },
    /// Tell call control.
    Event(Event),
    /// Read a piece of a sound; `Worker::on_piece` gets it.
    Read {
        /// For whom.
        slot: Slot,
        /// For which play.
        serial: u32,
        /// What.
        want: Want,
    },
    /// Give a chunk to the log; `Worker::on_chunk` hears whether it was taken.
    Chunk {
        /// Whose.
        slot: Slot,
        /// Of which sound.
        sound: Id,
        /// Which of its chunks.
        index: u32,
        /// The samples.
        block: ChunkBlock,
    },
    /// The leg is over: close its sockets, then tell `Worker::on_closed`.
    Close {
        /// Whose.
        slot: Slot,
        /// Its name.
        leg: LegId,
        /// Its figures.
        report: LegReport,
    },
}

impl Packet {
    /// A packet of `len` zeros.
    pub fn with_len(len: usize) -> Packet {
        assert!(len <= PACKET_BYTES_MAX, "we make no larger packets");
        Packet {
            len,
            bytes: [0; PACKET_BYTES_MAX],
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}
