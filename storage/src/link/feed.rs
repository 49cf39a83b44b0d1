//! The feeder's side: one author's records of one kind, taken from the own log and sent to a follower.
//!
//! A feed has a cursor in the own log. While it is behind, pieces are read from the disk; once it has
//! reached the tip it is live: commits are handed on from memory, as they become durable. A feed that
//! falls behind (its window is full, or a commit was missed) reads from the disk again from its cursor.
//!
//! What is sent: records of the author that count and that the follower did not say it holds. Dead
//! ones may be among them; they change nothing there. Only at the tip is it told what is held: until
//! then a record can have been moved forward past the place where the tip was when the feed began.

use std::sync::Arc;

use super::copies::Copies;
use super::copies::covers;
use super::frame::{self, Epochs, Follow, Frame, LogCursor, Message, RecordClass};
use super::seam::{LogFound, LogPiece, Position, READ_BYTES_MAX};
use super::walk::walk;
use crate::batch::{Wrote, WroteRecord};
use crate::block::BLOCK_BYTES;
use crate::name::NodeName;
use crate::record::{Body, Record};
use crate::seam::{LOCAL_REGISTERS, Payload, Stamp};

/// The most bytes of one feed that are sent and not yet done with.
pub(super) const WINDOW_BYTES: u64 = 4 << 20;

/// What of the own log is known.
#[derive(Debug)]
pub(super) struct LocalLog {
    /// Whose it is.
    pub(super) node: NodeName,
    /// The epoch that is written.
    pub(super) epoch: u32,
    /// What was found when it was opened.
    pub(super) found: LogFound,
    /// Behind the last durable record that was heard of.
    pub(super) tip: LogCursor,
    /// There are later ones, nobody knows how many.
    pub(super) is_behind: bool,
}

/// See the chapter above.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) number: u32,
    pub(super) author: NodeName,
    pub(super) lane: RecordClass,
    /// What the follower holds.
    skip: Epochs,
    /// Behind the last record looked at.
    cursor: LogCursor,
    /// Where the last frame with records ended.
    sent: Position,
    sent_bytes: u64,
    acked: Position,
    acked_bytes: u64,
    /// A piece of the log is being read for it.
    pub(super) is_reading: bool,
    /// What was told to be held.
    told: Option<Epochs>,
}

impl LocalLog {
    /// The log as it was when this place was in it is still the one that is here.
    fn knows(&self, place: &LogCursor) -> bool {
        let position = place.position;
        let counts = if position.epoch == self.epoch {
            position.seq <= self.tip.position.seq
        } else {
            covers(&self.found.epochs, position)
        };
        counts && (place.segment, place.offset) <= (self.tip.segment, self.tip.offset)
    }

    /// How far a place is from the tip, in bytes.
    pub(super) fn behind_bytes(&self, place: &LogCursor, segment_bytes: u64) -> u64 {
        let segments = u64::from(self.tip.segment.saturating_sub(place.segment));
        (segments * segment_bytes + self.tip.offset).saturating_sub(place.offset)
    }

    /// A record with this number was durable and counts.
    fn counts(&self, position: Position) -> bool {
        if position.epoch == self.epoch {
            position.seq <= self.tip.position.seq
        } else {
            covers(&self.found.epochs, position)
        }
    }
}

impl Feed {
    /// As a follower wants it.
    pub(super) fn new(follow: Follow, own: &LocalLog) -> Feed {
        let cursor = Some(follow.place).filter(|place| own.knows(place));
        let cursor = cursor.unwrap_or_default();
        Feed {
            number: follow.feed,
            author: follow.author,
            lane: follow.lane,
            skip: follow.holds,
            cursor,
            sent: cursor.position,
            sent_bytes: 0,
            acked: cursor.position,
            acked_bytes: 0,
            is_reading: false,
            told: None,
        }
    }

    /// It is at the tip.
    pub(super) fn is_live(&self, own: &LocalLog) -> bool {
        let is_known = own.tip.segment > 0 && !own.is_behind;
        is_known && (self.cursor.segment, self.cursor.offset) >= (own.tip.segment, own.tip.offset)
    }

    /// What should be read next, if anything: segment, offset, bytes.
    pub(super) fn wants(&self, own: &LocalLog) -> Option<(u32, u64, usize)> {
        let at_tip = (self.cursor.segment, self.cursor.offset) >= (own.tip.segment, own.tip.offset);
        if self.is_reading || at_tip || self.is_full() {
            return None;
        }
        let LogCursor {
            segment, offset, ..
        } = self.cursor;
        let left = if segment == own.tip.segment {
            own.tip.offset - offset
        } else {
            u64::MAX
        };
        Some((segment, offset, left.min(READ_BYTES_MAX as u64) as usize))
    }

    /// What was read. `asked`: how much it was to be.
    pub(super) fn on_piece(
        &mut self,
        own: &LocalLog,
        asked: usize,
        piece: LogPiece,
    ) -> Option<Frame> {
        self.is_reading = false;
        let bytes = match piece {
            LogPiece::Bytes(bytes) => bytes,
            LogPiece::Gone { next: None } => {
                // The files are gone, the tip's included: this feed ends with its connection.
                self.is_reading = true;
                return None;
            }
            LogPiece::Gone { next: Some(next) } => {
                self.enter(next);
                return None;
            }
            LogPiece::Failed => {
                // One block is passed over; what was in it the follower gets from elsewhere.
                self.cursor.offset += BLOCK_BYTES as u64;
                return None;
            }
        };
        let is_short = bytes.len() < asked;
        let reaches_tip = self.cursor.segment == own.tip.segment
            && self.cursor.offset + bytes.len() as u64 >= own.tip.offset;
        let mut records = Vec::new();
        let mut last = self.cursor.position;
        let is_last = is_short || reaches_tip;
        let done = walk(self.cursor.segment, &bytes, is_last, |record, raw| {
            let position = Position {
                epoch: record.header.epoch,
                seq: record.header.seq,
            };
            if own.counts(position) {
                last = position;
                if self.takes(own, record) {
                    records.extend_from_slice(raw);
                }
            }
        });
        self.cursor.position = last;
        self.cursor.offset += done as u64;
        if is_short && self.cursor.segment < own.tip.segment {
            self.enter(self.cursor.segment + 1);
        }
        self.records_frame(records)
    }

    fn enter(&mut self, segment: u32) {
        self.cursor.segment = segment;
        self.cursor.offset = BLOCK_BYTES as u64;
    }

    /// A commit is durable, `own` knows it already; `follows`: none was missed before it.
    pub(super) fn on_wrote(
        &mut self,
        own: &LocalLog,
        before: &LogCursor,
        wrote: &Arc<Wrote>,
        follows: bool,
    ) -> Option<Frame> {
        let was_live = (self.cursor.segment, self.cursor.offset) >= (before.segment, before.offset);
        if !was_live || !follows || self.is_full() || self.is_reading {
            return None;
        }
        self.cursor = own.tip;
        let mut frame: Option<Frame> = None;
        for record in &wrote.records {
            if self.takes_of_wrote(record) {
                let frame = frame.get_or_insert_with(|| self.records_front());
                frame.push_record(wrote, *record);
                self.sent_bytes += u64::from(record.bytes);
            }
        }
        if frame.is_some() {
            self.sent = self.cursor.position;
        }
        frame
    }

    /// At the tip: what is held, as far as that was not told yet.
    pub(super) fn whole(&mut self, own: &LocalLog, copies: &Copies) -> Option<Frame> {
        if !self.is_live(own) {
            return None;
        }
        let is_first = self.told.is_none();
        let told = self.told.get_or_insert_default();
        let mut news: Epochs = copies.of(self.author, self.lane).clone();
        if self.author == own.node {
            // Of what a node says now its followers see by themselves how far they are.
            news.remove(&own.epoch);
            if is_first {
                news.insert(own.epoch, own.tip.position.seq);
            }
        }
        news.retain(|epoch, seq| told.get(epoch) != Some(seq));
        if news.is_empty() && !is_first {
            return None;
        }
        told.extend(&news);
        let message = Message::CaughtUp {
            feed: self.number,
            place: self.cursor,
            holds: news,
        };
        Some(frame::encode(&message))
    }

    /// So much is durable at the follower.
    pub(super) fn on_ack(&mut self, position: Position, bytes: u64) {
        self.acked = self.acked.max(position);
        self.acked_bytes = bytes.clamp(self.acked_bytes, self.sent_bytes);
    }

    /// Everything up to here is durable at the follower or does not concern it.
    pub(super) fn acked(&self) -> Position {
        if self.acked_bytes == self.sent_bytes && self.acked >= self.sent {
            self.cursor.position
        } else {
            self.acked
        }
    }

    /// Where in the own log it is.
    pub(super) fn cursor(&self) -> LogCursor {
        self.cursor
    }

    /// How far the cursor is from the tip, in bytes.
    pub(super) fn behind_bytes(&self, own: &LocalLog, segment_bytes: u64) -> u64 {
        own.behind_bytes(&self.cursor, segment_bytes)
    }

    fn is_full(&self) -> bool {
        self.sent_bytes - self.acked_bytes >= WINDOW_BYTES
    }

    fn takes(&self, own: &LocalLog, record: Record) -> bool {
        let is_local = matches!(
            &record.body,
            Body::Said(Payload::Register { key, .. }) if key.starts_with(LOCAL_REGISTERS)
        );
        let Some(said) = record.said(own.node).filter(|_| !is_local) else {
            return false;
        };
        let is_chunk = matches!(said.what, Payload::Chunk { .. });
        self.is_wanted(&said.stamp, is_chunk)
    }

    fn takes_of_wrote(&self, record: &WroteRecord) -> bool {
        let stamp = record.stamp.as_ref();
        stamp.is_some_and(|stamp| self.is_wanted(stamp, record.is_chunk))
    }

    fn is_wanted(&self, stamp: &Stamp, is_chunk: bool) -> bool {
        let position = Position {
            epoch: stamp.epoch,
            seq: stamp.seq,
        };
        stamp.node == self.author
            && RecordClass::of(is_chunk) == self.lane
            && !covers(&self.skip, position)
    }

    fn records_front(&self) -> Frame {
        frame::encode(&Message::Records {
            feed: self.number,
            place: self.cursor,
            records: &[],
        })
    }

    fn records_frame(&mut self, records: Vec<u8>) -> Option<Frame> {
        if records.is_empty() {
            return None;
        }
        let mut frame = self.records_front();
        frame.push_bytes(&records);
        self.sent_bytes += records.len() as u64;
        self.sent = self.cursor.position;
        Some(frame)
    }
}
