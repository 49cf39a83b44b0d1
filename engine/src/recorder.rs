//! Writes down what a party says, as it says it.
//!
//! The leg hands over every packet of sound; in order, each is copied once, into the chunk that
//! goes to disk. The sound is as long as the time it took: what was lost, and what the party was
//! silent through without sending, becomes silence. At most half a second after its first sample a
//! chunk goes to the log, full or not, so a power cut costs no more than that.
//!
//! Where silence may end it, chunks in which nothing at all can be heard are kept back until
//! something is said again: a message does not end in the seconds that ended it.
//!
//! The end is one of: asked for, the limit, silence for as long as allowed, the log's refusal.
//!
//! A tap is a recorder with a [`Book`]: it keeps our time and not the party's, silence does not end it,
//! and it can be paused.
//!
//! ```text
//! packet ─> Jitter ─> place() ─> ChunkBlock ─> take_chunk() ─> log
//!                        └─> Level: was that speech?
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::jitter::{Jitter, Offer};
use crate::level::{Level, Loudness};
use crate::seam::{Codec, RecordEnd, TapReport};
use crate::seq::CLOCK_HZ;
use crate::stream::samples_in;
use crate::tap::Book;

/// A chunk goes out this long after its first sample.
const CHUNK_AGE_MAX: Duration = Duration::from_millis(500);
/// Nothing came for this long: the party pauses, and silence is written. Longer than networks
/// usually stall, since what comes late then finds its place taken.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a recorder looks at the time.
const TICK: Duration = Duration::from_millis(20);
/// Chunks the log would not take at once: two seconds and a half, and what was kept back. With
/// more the recording ends.
const WAITING_MAX: usize = QUIET_MAX + 5;
/// Quiet chunks kept back: eight seconds. More silence than that is given to the log.
const QUIET_MAX: usize = 16;
/// Quiet chunks left at the end of a recording that silence ended.
const QUIET_TAIL: usize = 1;
/// How long a finished recording waits for the log to take its last chunk.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// A timestamp this far from its place (one second) is not believed.
const LEAP_SAMPLES_MAX: i32 = CLOCK_HZ as i32;

/// One recording.
#[derive(Debug)]
pub struct Recorder {
    sound: Id,
    codec: Codec,
    began: Time,
    limit_samples: u64,
    silence_samples: Option<u64>,
    jitter: Box<Jitter>,
    /// The timestamp that would follow without a gap.
    timestamp_next: Option<u32>,
    /// Since the last packet, silence was written for a pause.
    paused: bool,
    heard: Time,
    chunk: ChunkBlock,
    spare: Option<ChunkBlock>,
    chunk_began: Time,
    chunk_index: u32,
    /// Nothing in `chunk` can be heard.
    chunk_is_quiet: bool,
    /// Chunks in which nothing can be heard, since the last in which something can: not for the log
    /// if they turn out to be the silence that ends the recording.
    quiet: VecDeque<ChunkBlock>,
    waiting: VecDeque<(u32, ChunkBlock)>,
    samples: u64,
    speech_end: u64,
    level: Level,
    tick: Time,
    end: Option<RecordEnd>,
    /// Since when nothing more is written.
    finished: Option<Time>,
    /// Chunks taken whose fate is not known yet.
    offered: usize,
    /// Of a tap.
    book: Option<Box<Book>>,
}

/// What a recording came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The sound.
    pub sound: Id,
    /// Samples given to the log.
    pub samples: u64,
    /// Up to the end of the last speech.
    pub samples_speech: u64,
    /// Why it ended.
    pub end: RecordEnd,
}

impl Recorder {
    /// A recording that begins now.
    pub fn new(
        now: Time,
        sound: Id,
        codec: Codec,
        limit: Duration,
        silence: Option<Duration>,
    ) -> Recorder {
        let samples_of = |d: Duration| (d.as_millis() as u64).saturating_mul(CLOCK_HZ / 1000);
        Recorder {
            sound,
            codec,
            began: now,
            limit_samples: samples_of(limit),
            silence_samples: silence.map(samples_of),
            jitter: Box::default(),
            timestamp_next: None,
            paused: false,
            heard: now,
            chunk: ChunkBlock::new(),
            spare: None,
            chunk_began: now,
            chunk_index: 0,
            chunk_is_quiet: true,
            quiet: VecDeque::new(),
            waiting: VecDeque::with_capacity(WAITING_MAX + 1),
            samples: 0,
            speech_end: 0,
            level: Level::default(),
            tick: now + TICK,
            end: None,
            finished: None,
            offered: 0,
            book: None,
        }
    }

    /// A tap that begins now.
    pub fn tap(now: Time, sound: Id, codec: Codec, limit: Duration) -> Recorder {
        Recorder {
            book: Some(Box::default()),
            ..Recorder::new(now, sound, codec, limit, None)
        }
    }

    /// The sound it writes.
    pub fn sound(&self) -> Id {
        self.sound
    }

    /// A packet of sound in the leg's codec.
    pub fn on_sound(&mut self, now: Time, seq: u16, timestamp: u32, payload: &[u8]) {
        if self.takes_nothing() {
            return;
        }
        match self.jitter.offer(now, seq, timestamp, payload) {
            Offer::InOrder => {
                self.note_packet(seq);
                self.place(now, timestamp, payload);
            }
            Offer::Held => {}
            Offer::Dropped => return self.note_late(),
        }
        self.release(now);
        self.heard = now;
    }

    /// What was decoded of a packet, in order and without a gap but for pauses. [`Recorder::note_packet`]
    /// comes before it.
    pub fn on_decoded(&mut self, now: Time, timestamp: u32, payload: &[u8]) {
        if !self.takes_nothing() {
            self.place(now, timestamp, payload);
            self.heard = now;
        }
    }

    /// A packet is about to be written.
    pub fn note_packet(&mut self, seq: u16) {
        if let Some(book) = self.book.as_mut().filter(|book| !book.is_paused()) {
            book.placed(seq);
        }
    }

    /// A packet came too late.
    pub fn note_late(&mut self) {
        if let Some(book) = &mut self.book {
            book.late();
        }
    }

    fn takes_nothing(&self) -> bool {
        self.finished.is_some() || self.book.as_ref().is_some_and(|book| book.is_paused())
    }

    /// A tap writes silence from now on, or again what it hears.
    pub fn pause(&mut self, now: Time, is_paused: bool) {
        if self.finished.is_some() {
            return;
        }
        self.release_all();
        let at_sample = u64::from(samples_in(self.began, now));
        if let Some(book) = &mut self.book {
            book.pause(is_paused, at_sample);
            self.jitter.reset();
            self.timestamp_next = None;
        }
    }

    /// The leg's codec changed; the sound keeps its own.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Another source speaks: its numbers are its own.
    pub fn on_source_change(&mut self) {
        self.jitter.reset();
        self.timestamp_next = None;
        if let Some(book) = &mut self.book {
            book.new_source();
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Time) {
        if now < self.tick {
            return;
        }
        self.tick = now + TICK;
        if self.finished.is_some() {
            return;
        }
        self.release(now);
        if now.since(self.heard) >= PAUSE {
            self.write_pause(now);
        }
        if now.since(self.chunk_began) >= CHUNK_AGE_MAX {
            self.end_chunk(now);
        }
    }

    /// When [`Recorder::on_time`] wants to be called.
    pub fn deadline(&self) -> Time {
        self.tick
    }

    /// Why it should end, if it should.
    pub fn end(&self) -> Option<RecordEnd> {
        self.end
    }

    /// A chunk for the log. [`Recorder::on_taken`] or [`Recorder::on_refused`] must follow.
    pub fn take_chunk(&mut self) -> Option<(u32, ChunkBlock)> {
        let chunk = self.waiting.pop_front()?;
        self.offered += 1;
        if let Some(book) = &mut self.book {
            book.given(chunk.0, chunk.1.samples());
        }
        Some(chunk)
    }

    /// The log took a chunk, and gave an empty one for it.
    pub fn on_taken(&mut self, empty: ChunkBlock) {
        self.offered -= 1;
        self.spare = Some(empty);
    }

    /// The log had no room for a chunk just now; it is offered again.
    pub fn on_refused(&mut self, index: u32, block: ChunkBlock) {
        self.offered -= 1;
        let place = self.waiting.partition_point(|(i, _)| *i < index);
        self.waiting.insert(place, (index, block));
        self.check_waiting();
    }

    /// Ends it for this reason, or for the one it had found itself.
    pub fn finish(&mut self, now: Time, why: RecordEnd) {
        if self.finished.is_some() {
            return;
        }
        self.release_all();
        if self.takes_nothing() {
            let elapsed = u64::from(samples_in(self.began, now));
            self.write_silence(now, elapsed.saturating_sub(self.samples));
        }
        self.end_chunk(now);
        if *self.end.get_or_insert(why) == RecordEnd::Silence {
            let cut = self.quiet.drain(QUIET_TAIL.min(self.quiet.len())..);
            self.samples -= cut.map(|block| block.samples().len() as u64).sum::<u64>();
        }
        self.release_quiet();
        self.finished = Some(now);
    }

    /// What it came to, once it is finished and the log has it all, or has had its time.
    pub fn done(&self, now: Time) -> Option<Recorded> {
        let finished = self.finished?;
        let gave_up = now.since(finished) >= FINISH_MAX || self.end == Some(RecordEnd::LogRefused);
        if self.offered > 0 || !(self.waiting.is_empty() || gave_up) {
            return None;
        }
        let not_given: usize = self
            .waiting
            .iter()
            .map(|(_, block)| block.samples().len())
            .sum();
        let samples = self.samples - not_given as u64;
        let end = if not_given > 0 {
            RecordEnd::LogRefused
        } else {
            self.end?
        };
        let samples_speech = self.speech_end.min(samples);
        Some(Recorded {
            sound: self.sound,
            samples,
            samples_speech,
            end,
        })
    }

    /// The same of a tap.
    pub fn report(&self, now: Time) -> Option<TapReport> {
        let done = self.done(now)?;
        let kept = self.book.as_ref()?.kept(done.samples);
        let is_all_taken = done.end != RecordEnd::LogRefused;
        Some(TapReport {
            sound: done.sound,
            samples: done.samples,
            end: done.end,
            packets: kept.packets,
            gaps: kept.gaps,
            gaps_more: kept.gaps_more,
            pauses: kept.pauses,
            sha256: is_all_taken.then_some(kept.sha256),
        })
    }

    fn release_all(&mut self) {
        while self.jitter.deadline().is_some() {
            self.release(Time(u64::MAX));
        }
    }

    fn release(&mut self, now: Time) {
        while let Some(held) = self.jitter.pop(now) {
            // The borrow of the buffer ends with this copy; only what was out of order pays it.
            let held = *held;
            self.note_packet(held.seq);
            self.place(now, held.timestamp, held.payload());
        }
    }

    /// Puts samples where their timestamp says, or where time says if that is not to be believed.
    fn place(&mut self, now: Time, timestamp: u32, payload: &[u8]) {
        let elapsed = samples_in(self.began, now) as u64;
        let ahead = match self.timestamp_next {
            Some(next) => timestamp.wrapping_sub(next) as i32,
            None => i32::MAX,
        };
        // Who goes on after a pause as if there had been none is put where it is now, by a tap.
        let is_leap = self.book.is_some() && self.paused && ahead < 0;
        let believed = ahead.unsigned_abs() <= LEAP_SAMPLES_MAX as u32 && !is_leap;
        let mut skip = 0;
        if believed && ahead >= 0 {
            self.write_silence(now, ahead as u64);
        } else if believed && !self.paused {
            skip = payload.len().min(ahead.unsigned_abs() as usize);
        } else if !believed {
            let start = elapsed.saturating_sub(payload.len() as u64);
            self.write_silence(now, start.saturating_sub(self.samples));
        }
        // Believed, but its place was taken by a pause: the network stalled. The speech is worth
        // more than the exact length, so it follows the silence.
        self.paused = false;
        let payload_len = payload.len() as u32;
        self.write_heard(now, &payload[skip..]);
        self.timestamp_next = Some(timestamp.wrapping_add(payload_len));
        if let Some(book) = &mut self.book {
            book.written(elapsed, self.samples);
        }
    }

    /// Silence up to where a sender who pauses must have been silent.
    fn write_pause(&mut self, now: Time) {
        let elapsed = u64::from(samples_in(self.began, now));
        let settled = elapsed.saturating_sub(PAUSE.as_millis() as u64 * CLOCK_HZ / 1000);
        let silence = settled.saturating_sub(self.samples);
        self.write_silence(now, silence);
        self.paused = true;
        self.timestamp_next = self.timestamp_next.map(|t| t.wrapping_add(silence as u32));
    }

    fn write_heard(&mut self, now: Time, payload: &[u8]) {
        if let Some(book) = &mut self.book {
            let (count, twice) = book.fit(payload.len());
            self.write(now, &payload[..count]);
            if twice {
                self.write(now, &payload[count - 1..count]);
            }
            return;
        }
        let loudness = self.level.judge(self.codec, payload);
        // A packet may lie in two chunks; then both have something in them that can be heard.
        self.chunk_is_quiet &= loudness == Loudness::Quiet;
        self.write(now, payload);
        self.chunk_is_quiet &= loudness == Loudness::Quiet || self.chunk.is_empty();
        if loudness == Loudness::Speech {
            self.speech_end = self.samples;
        }
        self.check_silence();
    }

    fn check_silence(&mut self) {
        let quiet = self.samples - self.speech_end;
        if self.end.is_none() && self.silence_samples.is_some_and(|allowed| quiet >= allowed) {
            self.end = Some(RecordEnd::Silence);
        }
    }

    fn write_silence(&mut self, now: Time, samples: u64) {
        const PIECE: usize = 160;
        let piece = [self.codec.silence(); PIECE];
        let mut left = samples;
        while left > 0 && self.end.is_none() {
            let count = left.min(PIECE as u64);
            self.write(now, &piece[..count as usize]);
            left -= count;
        }
        self.check_silence();
    }

    fn write(&mut self, now: Time, samples: &[u8]) {
        let room = self.limit_samples.saturating_sub(self.samples);
        let mut rest = &samples[..samples
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX))];
        while !rest.is_empty() && self.end != Some(RecordEnd::LogRefused) {
            if self.chunk.is_empty() {
                self.chunk_began = now;
            }
            let taken = self.chunk.push(rest);
            self.samples += taken as u64;
            rest = &rest[taken..];
            if self.chunk.is_full() {
                self.end_chunk(now);
            }
        }
        if self.samples >= self.limit_samples && self.end.is_none() {
            self.end = Some(RecordEnd::Limit);
        }
    }

    fn end_chunk(&mut self, now: Time) {
        self.chunk_began = now;
        if self.chunk.is_empty() {
            return;
        }
        let empty = self.spare.take().unwrap_or_default();
        let block = std::mem::replace(&mut self.chunk, empty);
        let is_quiet = std::mem::replace(&mut self.chunk_is_quiet, true);
        if is_quiet && self.silence_samples.is_some() && self.quiet.len() < QUIET_MAX {
            self.quiet.push_back(block);
            return;
        }
        self.release_quiet();
        self.give(block);
    }

    fn release_quiet(&mut self) {
        while let Some(block) = self.quiet.pop_front() {
            self.give(block);
        }
    }

    fn give(&mut self, block: ChunkBlock) {
        self.waiting.push_back((self.chunk_index, block));
        self.chunk_index += 1;
    }

    fn check_waiting(&mut self) {
        if self.waiting.len() > WAITING_MAX {
            self.end = Some(RecordEnd::LogRefused);
        }
    }
}

#[cfg(test)]
mod tests;
