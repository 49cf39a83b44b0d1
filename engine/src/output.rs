//! What a worker's core asks its shell to do.

use std::collections::VecDeque;
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

/// Where a packet that we made lies: [`Worker::packet`](crate::worker::Worker::packet) gives its
/// bytes, until there is no output any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet {
    start: u32,
    len: u16,
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

/// What is to be done, and the packets of it.
///
/// Packets are made where they lie until they are sent, one behind the other, and are not moved
/// with the outputs that name them. Their room is used anew once all that is to be done was taken;
/// it grows to what one round makes, and stays.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: VecDeque<Output>,
    packets: Vec<u8>,
    /// So much of it is in use.
    used: usize,
}

impl Outbox {
    /// Something is to be done, after all that was before.
    pub fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Room for the next packet; what is in it is left from earlier ones.
    pub fn draft(&mut self) -> &mut [u8; PACKET_BYTES_MAX] {
        let end = self.used + PACKET_BYTES_MAX;
        if self.packets.len() < end {
            self.packets.resize(end, 0);
        }
        self.packets[self.used..]
            .first_chunk_mut()
            .expect("there is room")
    }

    /// The first `len` bytes of the draft are to be sent.
    pub fn send(&mut self, slot: Slot, channel: Channel, len: usize) {
        assert!(len <= PACKET_BYTES_MAX, "we make no larger packets");
        let packet = Packet {
            start: self.used as u32,
            len: len as u16,
        };
        self.used += len;
        self.push(Output::Send {
            slot,
            channel,
            packet,
        });
    }

    /// What is to be done next. When there is nothing, no packet is left.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.used = 0;
        }
        output
    }

    /// The bytes of a packet that is to be sent.
    pub fn packet(&self, packet: &Packet) -> &[u8] {
        let start = packet.start as usize;
        &self.packets[start..start + usize::from(packet.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot(3);

    fn send(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.draft()[..bytes.len()].copy_from_slice(bytes);
        outbox.send(SLOT, Channel::Rtp, bytes.len());
    }

    fn sent(outbox: &mut Outbox) -> Vec<u8> {
        match outbox.poll() {
            Some(Output::Send { packet, .. }) => outbox.packet(&packet).to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_output_is_small_since_it_is_moved_more_than_once() {
        assert!(size_of::<Output>() <= 96, "{}", size_of::<Output>());
    }

    #[test]
    fn packets_keep_their_bytes_until_all_is_done() {
        let mut outbox = Outbox::default();
        send(&mut outbox, &[1; 172]);
        send(&mut outbox, &[2; PACKET_BYTES_MAX]);
        assert_eq!(sent(&mut outbox), [1; 172]);
        // Made while others wait.
        send(&mut outbox, &[3; 40]);
        outbox.draft().fill(9);
        assert_eq!(sent(&mut outbox), [2; PACKET_BYTES_MAX]);
        assert_eq!(sent(&mut outbox), [3; 40]);
    }

    #[test]
    fn room_is_used_anew() {
        let mut outbox = Outbox::default();
        for round in 0..100 {
            for n in 0..10 {
                send(&mut outbox, &[round + n; 172]);
            }
            for n in 0..10 {
                assert_eq!(sent(&mut outbox), [round + n; 172]);
            }
            assert!(outbox.poll().is_none());
        }
        assert!(outbox.packets.len() <= 10 * 172 + PACKET_BYTES_MAX);
    }
}
