//! One party's media: what comes from it, what goes to it.
//!
//! The worker hands a leg its packets, commands and the time; the leg says what to send and what
//! to tell. What a leg takes from its party, the worker lets another leg [`Leg::relay`].
//!
//! Who is heard by the party, in this order: a key press being sent, what is played, the bridge or
//! the room.
//! Who hears none of these is sent silence.
//!
//! Invariants: nothing is sent before an address is known, nor while `send` is off; nothing is
//! taken while `receive` is off; a packet of a stranger has no effect but a counter.

mod packets;
mod room;
mod samples;
mod timers;

pub use self::room::Wanted;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::ChunkPlace;
use tandem_storage::time::Time;

use self::samples::RecordingTranscoder;
use crate::codec::inbound::{Flow, Inbound};
use crate::codec::outbound::Outbound;
use crate::codec::transcode;
use crate::dtmf::{self, Detector, Payload, Press};
use crate::jitter::PAYLOAD_BYTES_MAX;
use crate::latch::{Latch, RtcpAddress, Source, port_above};
use crate::output::{Channel, MADE_BYTES_MAX, Outbox, Output, Slot};
use crate::player::{Filled, Player, Read};
use crate::playout::Playout;
use crate::random::Random;
use crate::recorder::Recorder;
use crate::rtcp::{self, Ourselves, Reporter};
use crate::rtp::{self, Header};
use crate::seam::{
    Codec, Event, LegId, LegReport, MediaParams, OpusConfig, PlayId, Receives, RecordEnd, TAPS_MAX,
    TapPackets, TapReport,
};
use crate::seq::{Order, Reception};
use crate::stats::Counters;
use crate::stream::Stream;

/// Keys waiting to be sent.
const PRESSES_MAX: usize = 32;
/// Between the packets of a press.
const PRESS_STEP: Duration = Duration::from_millis(20);
/// A held party that nothing came for during this time is sent silence.
const HELD_AFTER: Duration = Duration::from_millis(100);
/// A leg that is further behind than this does not make up for it.
const BEHIND_MAX: Duration = Duration::from_millis(100);
/// Packet times taken: what is out of these bounds is brought into them.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;

/// A leg.
#[derive(Debug)]
pub struct Leg {
    id: LegId,
    params: Option<MediaParams>,
    /// What the party speaks at present.
    codec_in: Codec,
    /// It has just begun to speak another: decoders must be made ready.
    codec_changed: bool,
    rtp: Latch,
    rtcp: RtcpAddress,
    /// The shell was told to connect the RTP socket.
    connected: bool,
    reception: Reception,
    detector: Detector,
    stream: Stream,
    /// Who hears this leg's party; the leg itself, for an echo.
    pub to: Option<Slot>,
    /// Who it is bridged to holds it.
    is_held: bool,
    /// While it is in a room: what it says, until the room takes it.
    playout: Option<Box<Playout>>,
    /// While its sound is needed as samples.
    inbound: Option<Box<Inbound>>,
    /// While it hears what does not come in its codec.
    outbound: Option<Box<Outbound>>,
    /// While it is recorded in another codec than it speaks.
    recording_transcoder: Option<Box<RecordingTranscoder>>,
    /// The listener has another codec: it is sent what was decoded here, encoded again.
    transcode: bool,
    /// The listener's DTMF events are made anew from the digits detected here.
    regenerate_dtmf: bool,
    player: Option<Player>,
    /// Which play it is, for pieces that arrive after it was stopped.
    play_serial: u32,
    packet_due: Time,
    presses: VecDeque<char>,
    press: Option<Press>,
    press_due: Time,
    recorder: Option<Box<Recorder>>,
    /// Those that write while it is heard by others; at most [`TAPS_MAX`].
    taps: Vec<Recorder>,
    reporter: Reporter,
    heard: Time,
    timeout_told: bool,
    report: LegReport,
    closing: bool,
    /// The timer the worker has set for it.
    pub timer: Option<Time>,
}

/// A packet that was taken from the party.
#[derive(Clone, Debug)]
pub struct RxPacket {
    header: Header,
    payload: Range<usize>,
    /// `None`: it is a telephone-event.
    codec: Option<Codec>,
    /// The key that was pressed with it.
    digit: Option<char>,
    /// How its samples follow, if it was decoded.
    flow: Option<Flow>,
    /// It may be passed on as it is.
    pub direct: bool,
}

/// What a leg works with besides itself.
pub struct LegContext<'a> {
    /// Where this leg is.
    pub slot: Slot,
    /// What is to be done and told.
    pub out: &'a mut Outbox,
    /// The worker's counters.
    pub counters: &'a mut Counters,
    /// The worker's random numbers.
    pub random: &'a mut Random,
    /// How long silence on the wire is borne.
    pub media_timeout: Duration,
    /// How much work encoders may take at present, 0 to 10.
    pub complexity: u8,
}

impl Leg {
    /// A leg about whose party nothing is known yet.
    pub fn new(now: Time, id: LegId, random: &mut Random) -> Leg {
        let [ssrc, numbers] = [random.draw() as u32, random.draw() as u32];
        Leg {
            id,
            params: None,
            codec_in: Codec::Pcmu,
            codec_changed: false,
            rtp: Latch::default(),
            rtcp: RtcpAddress::default(),
            connected: false,
            reception: Reception::default(),
            detector: Detector::default(),
            stream: Stream::new(now, ssrc, numbers as u16, random.draw() as u32),
            to: None,
            is_held: false,
            playout: None,
            inbound: None,
            outbound: None,
            recording_transcoder: None,
            transcode: false,
            regenerate_dtmf: false,
            player: None,
            play_serial: 0,
            packet_due: now,
            presses: VecDeque::new(),
            press: None,
            press_due: now,
            recorder: None,
            taps: Vec::new(),
            reporter: Reporter::new(now, random),
            heard: now,
            timeout_told: false,
            report: LegReport::default(),
            closing: false,
            timer: None,
        }
    }

    /// Its name.
    pub fn id(&self) -> LegId {
        self.id
    }

    /// Its figures so far.
    pub fn report(&self) -> LegReport {
        LegReport {
            packets_sent: self.stream.packets(),
            packets_lost: self.reception.lost(),
            jitter_us: self.reception.jitter_us(),
            ..self.report
        }
    }

    /// What was agreed on with the party.
    pub fn set(&mut self, now: Time, params: MediaParams, context: &mut LegContext<'_>) {
        let before = self.rtp.address();
        self.rtp.set(params.remote_rtp, params.learning);
        let rtcp = params
            .remote_rtcp
            .or(params.remote_rtp.and_then(port_above));
        self.rtcp.set(rtcp, params.learning);
        let talked = self.params.as_ref().is_some_and(talks);
        if talks(&params) && !talked {
            self.heard = now;
            self.timeout_told = false;
        }
        let speaks = |codec| {
            params
                .receives
                .iter()
                .any(|r| r.1 == Receives::Sound(codec))
        };
        if !self.is_spoken_to() {
            self.packet_due = in_phase(now, self.ptime(), context.slot);
        }
        let codec_before = self.params.as_ref().map(|p| p.codec);
        if codec_before != Some(params.codec) || !speaks(self.codec_in) {
            self.speaks(params.codec);
        }
        let clock_hz = params.codec.clock_hz();
        let ssrc = context.random.draw() as u32;
        self.stream.set_clock(now, clock_hz, ssrc);
        self.params = Some(params);
        if self.rtp.address() != before || self.connected && !self.rtp.settled() {
            self.connected = false;
            self.tell_address(context);
        }
        self.settle(context);
    }

    /// The party speaks this codec from now on.
    fn speaks(&mut self, codec: Codec) {
        if codec != self.codec_in {
            self.codec_in = codec;
            self.detector.reset();
            self.recorders().for_each(|r| r.on_source_change());
        }
        self.reception.set_clock(codec.clock_hz());
    }

    /// All that write what it says.
    fn recorders(&mut self) -> impl Iterator<Item = &mut Recorder> {
        self.recorder
            .as_deref_mut()
            .into_iter()
            .chain(&mut self.taps)
    }

    /// Something writes what it says. One branch for a packet that is only passed on.
    fn is_recorded(&self) -> bool {
        self.recorder.is_some() | !self.taps.is_empty()
    }

    /// Did the party begin to speak another codec? Its packet waits to be handed in again.
    pub fn take_codec_change(&mut self) -> bool {
        std::mem::take(&mut self.codec_changed)
    }

    /// Somebody else, or nobody, is to be heard from now on.
    pub fn change_source(&mut self) {
        self.player = None;
        self.playout = None;
        self.is_held = false;
        self.pause();
    }

    /// Does the party not want to hear anybody?
    pub fn holds(&self) -> bool {
        self.params.as_ref().is_some_and(|p| !p.send)
    }

    /// What was said to the party ends; what follows begins anew.
    fn pause(&mut self) {
        self.stream.pause();
        if let Some(outbound) = &mut self.outbound {
            outbound.clear();
        }
    }

    /// Plays; whatever was being played ends.
    pub fn play(&mut self, now: Time, player: Player, serial: u32, context: &mut LegContext<'_>) {
        self.player = Some(player);
        self.play_serial = serial;
        self.pause();
        self.packet_due = in_phase(now, self.ptime(), context.slot);
        self.read_ahead(context);
    }

    /// More has come of what is being played.
    pub fn play_more(
        &mut self,
        play: PlayId,
        places: Arc<[ChunkPlace]>,
        is_last: bool,
        context: &mut LegContext<'_>,
    ) {
        if let Some(player) = self.player.as_mut().filter(|p| p.play() == play) {
            player.on_more(places, is_last);
            self.read_ahead(context);
        }
    }

    /// Ends what is being played.
    pub fn stop_play(&mut self) {
        if self.player.take().is_some() {
            self.pause();
        }
    }

    /// A piece of a sound was read.
    pub fn on_piece(
        &mut self,
        serial: u32,
        samples: Vec<u8>,
        read: Read,
        context: &mut LegContext<'_>,
    ) {
        if serial != self.play_serial {
            return;
        }
        if let Some(player) = &mut self.player {
            player.on_piece(samples);
            if read == Read::Locked {
                let (leg, play) = (self.id, player.play());
                context.tell(Event::SoundLocked { leg, play });
            }
            self.read_ahead(context);
        }
    }

    /// Records. A recording that runs is ended first.
    pub fn record(&mut self, now: Time, recorder: Recorder, context: &mut LegContext<'_>) {
        self.finish_recording(now, RecordEnd::Stopped, context);
        if self.recorder.is_some() {
            // The log has not taken the old one's end yet, so it has no room for a new one either.
            context.tell(Event::RecordDone {
                leg: self.id,
                sound: recorder.sound(),
                samples: 0,
                samples_speech: 0,
                end: RecordEnd::LogRefused,
            });
            return;
        }
        self.recorder = Some(Box::new(recorder));
        if self.player.is_none() {
            self.packet_due = in_phase(now, self.ptime(), context.slot);
        }
    }

    /// Taps it.
    pub fn tap(&mut self, tap: Recorder, context: &mut LegContext<'_>) {
        let is_there = self.taps.iter().any(|t| t.sound() == tap.sound());
        if is_there || self.closing || self.taps.len() >= TAPS_MAX {
            let report = TapReport::refused(tap.sound());
            return context.tell_tap(self.id, report);
        }
        self.taps.push(tap);
    }

    /// A tap writes silence from now on, or again what is said.
    pub fn pause_tap(&mut self, now: Time, sound: Id, is_paused: bool) {
        if let Some(tap) = self.taps.iter_mut().find(|t| t.sound() == sound) {
            tap.pause(now, is_paused);
        }
    }

    /// Ends a tap, if it runs.
    pub fn untap(&mut self, now: Time, sound: Id, context: &mut LegContext<'_>) {
        if let Some(tap) = self.taps.iter_mut().find(|t| t.sound() == sound) {
            tap.finish(now, RecordEnd::Stopped);
            self.after_recording(now, context);
        }
    }

    /// The codec that the party hears.
    pub fn codec(&self) -> Codec {
        self.params.as_ref().map_or(Codec::Pcmu, |p| p.codec)
    }

    /// Ends a recording, if one runs.
    pub fn finish_recording(&mut self, now: Time, why: RecordEnd, context: &mut LegContext<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.finish(now, why);
            self.after_recording(now, context);
        }
    }

    /// What the log did with a chunk: took it, for an empty one, or gave it back.
    pub fn on_chunk(
        &mut self,
        now: Time,
        sound: Id,
        fate: Result<ChunkBlock, (u32, ChunkBlock)>,
        context: &mut LegContext<'_>,
    ) {
        let Some(recorder) = self.recorders().find(|r| r.sound() == sound) else {
            return;
        };
        match fate {
            Ok(empty) => recorder.on_taken(empty),
            Err((index, block)) => {
                context.counters.chunks_refused += 1;
                recorder.on_refused(index, block);
            }
        }
        self.report_recording(now, context);
    }

    /// Sends a key to the party.
    pub fn press(&mut self, now: Time, digit: char, context: &mut LegContext<'_>) {
        let takes = self
            .params
            .as_ref()
            .is_some_and(|p| p.dtmf_payload_type.is_some());
        if !takes || self.presses.len() >= PRESSES_MAX {
            context.counters.digits_dropped += 1;
            return;
        }
        self.presses.push_back(digit);
        self.press_due = self.press_due.max(now);
    }

    /// Begins to close: says goodbye, ends the recording and the taps.
    pub fn close(&mut self, now: Time, context: &mut LegContext<'_>) {
        self.closing = true;
        self.player = None;
        self.to = None;
        self.send_report(now, true, context);
        self.recorders()
            .for_each(|r| r.finish(now, RecordEnd::Stopped));
        self.after_recording(now, context);
    }

    /// It was closed, and nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.closing && !self.is_recorded()
    }

    fn tell_address(&mut self, context: &mut LegContext<'_>) {
        self.connected = self.rtp.settled();
        context.out.push(Output::Address {
            slot: context.slot,
            address: self.rtp.address(),
            connect: self.connected,
        });
    }

    fn settle(&mut self, context: &mut LegContext<'_>) {
        if !self.connected && self.rtp.settled() {
            self.tell_address(context);
        }
    }

    fn ptime(&self) -> Duration {
        let ms = self.params.as_ref().map_or(20, |p| p.ptime_ms);
        Duration::from_millis(u64::from(ms.clamp(*PTIME_MS.start(), *PTIME_MS.end())))
    }

    fn read_ahead(&mut self, context: &mut LegContext<'_>) {
        let Some(player) = &mut self.player else {
            return;
        };
        while let Some(want) = player.wants() {
            let serial = self.play_serial;
            context.out.push(Output::Read {
                slot: context.slot,
                serial,
                want,
            });
        }
    }

    fn after_recording(&mut self, now: Time, context: &mut LegContext<'_>) {
        for recorder in self.recorders() {
            if let Some(end) = recorder.end() {
                recorder.finish(now, end);
            }
            let sound = recorder.sound();
            while let Some((index, block)) = recorder.take_chunk() {
                context.out.push(Output::Chunk {
                    slot: context.slot,
                    sound,
                    index,
                    block,
                });
            }
        }
        self.report_recording(now, context);
    }

    fn report_recording(&mut self, now: Time, context: &mut LegContext<'_>) {
        let leg = self.id;
        self.taps.retain(|tap| match tap.report(now) {
            Some(report) => {
                context.tell_tap(leg, report);
                false
            }
            None => true,
        });
        let Some(done) = self.recorder.as_ref().and_then(|r| r.done(now)) else {
            return;
        };
        self.recorder = None;
        context.tell(Event::RecordDone {
            leg: self.id,
            sound: done.sound,
            samples: done.samples,
            samples_speech: done.samples_speech,
            end: done.end,
        });
    }

    fn may_send(&self) -> Option<&MediaParams> {
        let address = self.rtp.address();
        self.params.as_ref().filter(|p| p.send && address.is_some())
    }
}

impl TapReport {
    /// A tap that could not begin.
    fn refused(sound: Id) -> TapReport {
        TapReport {
            sound,
            samples: 0,
            end: RecordEnd::LogRefused,
            packets: TapPackets::default(),
            gaps: Vec::new(),
            gaps_more: 0,
            pauses: Vec::new(),
            sha256: None,
        }
    }
}

impl LegContext<'_> {
    fn tell_tap(&mut self, leg: LegId, report: TapReport) {
        let report = Box::new(report);
        self.tell(Event::TapDone { leg, report });
    }

    fn tell(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// Where the payload of the leg's next packet is made.
    fn payload(&mut self) -> &mut [u8; MADE_BYTES_MAX] {
        let (_, payload) = self.out.draft().split_at_mut(rtp::HEADER_BYTES);
        payload.first_chunk_mut().expect("what is not header")
    }

    /// Sends so much of the payload under this header.
    fn send(&mut self, header: &Header, payload_bytes: usize) {
        let fixed = self.out.draft().first_chunk_mut();
        rtp::write(header, fixed.expect("room for a header"));
        self.counters.packets_sent += 1;
        let len = rtp::HEADER_BYTES + payload_bytes;
        self.out.send(self.slot, Channel::Rtp, len);
    }
}

/// Both ways are open. Who holds the other may send nothing for as long as it likes.
fn talks(params: &MediaParams) -> bool {
    params.send && params.receive
}

/// The next moment that is this slot's own: work of many legs is spread over the packet time.
fn in_phase(now: Time, ptime: Duration, slot: Slot) -> Time {
    let ptime_ns = ptime.as_nanos() as u64;
    // Seven is prime to every packet time, so neighbours lie apart and all phases are used.
    let phase_ns = u64::from(slot.0) * 7_000_000 % ptime_ns;
    let into = (now.0 + ptime_ns - phase_ns) % ptime_ns;
    if into == 0 {
        now
    } else {
        Time(now.0 + ptime_ns - into)
    }
}

/// An NTP timestamp that runs with the monotonic clock: only differences of it are ever used.
fn ntp(now: Time) -> u64 {
    ((u128::from(now.0) << 32) / 1_000_000_000) as u64
}
