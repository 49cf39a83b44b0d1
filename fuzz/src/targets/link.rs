//! A hostile peer: any frames, at any time, on a link that is up.
//!
//! Nothing panics; what the link asks to be stored was said by the author that was asked for, or is of
//! the sound that was wanted; what it sends is a frame that reads back; and it never waits for more
//! reads and appends than its windows allow.

use std::sync::Arc;
use std::time::Duration;

use tandem_storage::batch::{Batch, Wrote, WroteRecord};
use tandem_storage::link::frame::{self, Message};
use tandem_storage::link::{
    CloseReason, ConnId, Link, LinkConfig, LinkInput, LinkOutput, LogFound, LogPiece, PeerConfig,
    Position,
};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::record;
use tandem_storage::seam::{Append, Refusal, Token};
use tandem_storage::time::Time;

use crate::feed::Feed;

/// What a link may have under way: some windows' worth.
const UNDER_WAY_MAX: usize = 100_000;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    // As it comes, a frame is decoded first: whatever it is, what was read can be written again.
    if let Ok(message) = frame::decode(bytes) {
        let again = frame::encode(&message).to_vec();
        assert_eq!(frame::decode(&again), Ok(message));
    }
    let mut world = World::new();
    while !feed.is_empty() {
        world.act(&mut feed);
        world.carry();
    }
}

struct World {
    link: Link,
    now: Time,
    conns: Vec<ConnId>,
    conn_last: u64,
    reads: Vec<Token>,
    finds: Vec<Token>,
    stores: Vec<Token>,
    seq: u64,
    offset: u64,
}

fn name(n: usize) -> NodeName {
    ["a", "b", "c", "d"][n % 4].parse().expect("a node name")
}

impl World {
    fn new() -> World {
        let now = Time(0);
        let config = LinkConfig {
            node: name(0),
            epoch: 7,
            found: LogFound::default(),
            kept: Vec::new(),
            send_bytes_per_s: 0,
            away_after: Duration::from_secs(1),
            segment_bytes: 1 << 20,
            versions: frame::VERSIONS,
            seed: 1,
        };
        let mut link = Link::new(config, now);
        let peers = (1..3).map(|n| PeerConfig {
            name: name(n),
            keep_sound: n == 1,
        });
        link.handle(now, LinkInput::Peers(peers.collect()));
        World {
            link,
            now,
            conns: Vec::new(),
            conn_last: 0,
            reads: Vec::new(),
            finds: Vec::new(),
            stores: Vec::new(),
            seq: 0,
            offset: 4096,
        }
    }

    fn act(&mut self, feed: &mut Feed<'_>) {
        let what = feed.byte() % 12;
        let conn = (!self.conns.is_empty()).then(|| self.conns[feed.below(self.conns.len())]);
        match (what, conn) {
            (0, _) => {
                self.conn_last += 1;
                let conn = ConnId(self.conn_last);
                self.conns.push(conn);
                let peer = name(1 + feed.below(3));
                let dialled = feed.one_in(2);
                self.hand_in(LinkInput::Connected {
                    conn,
                    peer,
                    dialled,
                });
                if !feed.one_in(4) {
                    let hello = frame::Hello {
                        versions: (1, 1 + u16::from(feed.byte() % 2)),
                        node: peer,
                        epoch: 3,
                        known: Position::default(),
                    };
                    let bytes = frame::encode(&Message::Hello(hello)).to_vec();
                    self.hand_in(LinkInput::Frame { conn, bytes });
                }
            }
            (1..=4, Some(conn)) => {
                let len = feed.u16() as usize % 600;
                let bytes = feed.take(len).to_vec();
                self.hand_in(LinkInput::Frame { conn, bytes });
            }
            (5, Some(conn)) => {
                // Records with a right checksum, whatever they say.
                let len = record::HEADER_BYTES + feed.below(300);
                let mut summed = feed.take(len).to_vec();
                summed.resize(summed.len().max(record::HEADER_BYTES), 0);
                record::seal(&mut summed);
                let bytes = frame::encode(&Message::Records {
                    feed: u32::from(feed.byte() % 8),
                    place: frame::LogCursor::default(),
                    records: &summed,
                });
                let bytes = bytes.to_vec();
                self.hand_in(LinkInput::Frame { conn, bytes });
            }
            (6, Some(conn)) => {
                self.conns.retain(|c| *c != conn);
                self.hand_in(LinkInput::Disconnected { conn });
            }
            (7, _) => self.wrote(feed),
            (8, _) => {
                self.now = self.now + Duration::from_millis(u64::from(feed.u16()));
                self.hand_in(LinkInput::Tick);
            }
            (9, _) => {
                for token in std::mem::take(&mut self.reads) {
                    let piece = match feed.byte() % 4 {
                        0 => LogPiece::Gone {
                            next: Some(feed.u16().into()),
                        },
                        1 => LogPiece::Failed,
                        _ => {
                            let len = feed.u16() as usize % 9000;
                            LogPiece::Bytes(feed.take(len).to_vec())
                        }
                    };
                    self.hand_in(LinkInput::Read { token, piece });
                }
                for token in std::mem::take(&mut self.finds) {
                    let places = Vec::new();
                    self.hand_in(LinkInput::Places { token, places });
                }
            }
            (10, _) => {
                for token in std::mem::take(&mut self.stores) {
                    let input = if feed.one_in(8) {
                        let why = Refusal::DiskFull;
                        LinkInput::NotStored { token, why }
                    } else {
                        LinkInput::Stored { token }
                    };
                    self.hand_in(input);
                }
            }
            _ => {
                let sound = Id {
                    node: name(feed.below(4)),
                    epoch: 1,
                    number: feed.byte().into(),
                };
                let sealed = Position { epoch: 1, seq: 9 };
                self.hand_in(LinkInput::Want {
                    sound,
                    sealed,
                    chunks: 0,
                });
            }
        }
    }

    /// A commit of the own log; what is in it does not matter here.
    fn wrote(&mut self, feed: &mut Feed<'_>) {
        if feed.one_in(8) {
            return self.hand_in(LinkInput::Missed);
        }
        self.seq += 1 + u64::from(feed.one_in(8));
        let batch = Batch {
            segment: 1,
            offset: self.offset,
            blocks: Vec::new(),
        };
        self.offset += u64::from(feed.byte()) * 4096;
        let record = WroteRecord {
            seq: self.seq,
            offset: 0,
            bytes: 0,
            stamp: None,
            is_chunk: false,
        };
        let wrote = Wrote {
            batch,
            epoch: 7,
            records: vec![record],
        };
        self.hand_in(LinkInput::Wrote(Arc::new(wrote)));
    }

    fn hand_in(&mut self, input: LinkInput) {
        self.link.handle(self.now, input);
    }

    fn carry(&mut self) {
        while let Some(output) = self.link.poll() {
            match output {
                LinkOutput::Send { frame, .. } => {
                    assert!(frame.len() <= frame::FRAME_BYTES_MAX);
                    assert!(frame::decode(&frame.to_vec()).is_ok());
                }
                LinkOutput::Close { conn, .. } => self.conns.retain(|c| *c != conn),
                LinkOutput::Store { token, append } => {
                    let is_kept =
                        matches!(&append, Append::Register { key, .. } if key.starts_with("link/"));
                    assert!(
                        is_kept || matches!(append, Append::Replica { .. }),
                        "{append:?}"
                    );
                    self.stores.push(token);
                }
                LinkOutput::ReadLog { token, .. } => self.reads.push(token),
                LinkOutput::FindSound { token, .. } => self.finds.push(token),
                LinkOutput::Dial { peer } => self.hand_in(LinkInput::NotConnected {
                    peer,
                    why: CloseReason::Unreachable,
                }),
                LinkOutput::Event(_) => {}
            }
        }
        assert!(self.reads.len() + self.finds.len() + self.stores.len() < UNDER_WAY_MAX);
    }
}
