//! One party's media: what comes from it, what goes to it.
//!
//! The worker hands a leg its packets, commands and the time; the leg says what to send and what
//! to tell. What a leg takes from its party, the worker lets another leg [`Leg::relay`].
//!
//! Who is heard by the party, in this order: a key press being sent, what is played, the bridge.
//!
//! Invariants: nothing is sent before an address is known, nor while `send` is off; nothing is
//! taken while `receive` is off; a packet of a stranger has no effect but a counter.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tandem_storage::block::ChunkBlock;
use tandem_storage::time::Time;

use crate::codec::transcode;
use crate::dtmf::{self, Detector, Payload, Press};
use crate::jitter::PAYLOAD_BYTES_MAX;
use crate::latch::{Latch, Source};
use crate::output::{Channel, Output, Packet, Slot};
use crate::player::{Filled, Player};
use crate::random::Random;
use crate::recorder::Recorder;
use crate::rtcp::{self, Ourselves, Reporter};
use crate::rtp::{self, Header};
use crate::seam::{Codec, Event, LegId, LegReport, MediaParams, RecordEnd};
use crate::seq::{Order, Reception};
use crate::stats::Counters;
use crate::stream::Stream;

/// Keys waiting to be sent.
const PRESSES_MAX: usize = 32;
/// Between the packets of a press.
const PRESS_STEP: Duration = Duration::from_millis(20);
/// A leg that is further behind than this does not make up for it.
const BEHIND_MAX: Duration = Duration::from_millis(100);
/// Packet times taken: what is out of these bounds is brought into them.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;

/// A leg.
#[derive(Debug)]
pub struct Leg {
    id: LegId,
    params: Option<MediaParams>,
    rtp: Latch,
    rtcp: Latch,
    /// The shell was told to connect the RTP socket.
    connected: bool,
    reception: Reception,
    detector: Detector,
    stream: Stream,
    /// Who hears this leg's party; the leg itself, for an echo.
    pub to: Option<Slot>,
    player: Option<Player>,
    /// Which play it is, for pieces that arrive after it was stopped.
    play_serial: u32,
    packet_due: Time,
    presses: VecDeque<char>,
    press: Option<Press>,
    press_due: Time,
    recorder: Option<Box<Recorder>>,
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
pub struct Taken {
    header: Header,
    payload: Range<usize>,
    /// `None`: it is a telephone-event.
    codec: Option<Codec>,
}

/// What a leg works with besides itself.
pub struct Around<'a> {
    /// Where this leg is.
    pub slot: Slot,
    /// What is to be done and told.
    pub out: &'a mut VecDeque<Output>,
    /// The worker's counters.
    pub counters: &'a mut Counters,
    /// The worker's random numbers.
    pub random: &'a mut Random,
    /// How long silence on the wire is borne.
    pub media_timeout: Duration,
}

impl Leg {
    /// A leg about whose party nothing is known yet.
    pub fn new(now: Time, id: LegId, random: &mut Random) -> Leg {
        let [ssrc, numbers] = [random.draw() as u32, random.draw() as u32];
        Leg {
            id,
            params: None,
            rtp: Latch::default(),
            rtcp: Latch::default(),
            connected: false,
            reception: Reception::default(),
            detector: Detector::default(),
            stream: Stream::new(now, ssrc, numbers as u16, random.draw() as u32),
            to: None,
            player: None,
            play_serial: 0,
            packet_due: now,
            presses: VecDeque::new(),
            press: None,
            press_due: now,
            recorder: None,
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

    // ---- commands

    /// What was agreed on with the party.
    pub fn set(&mut self, now: Time, params: MediaParams, around: &mut Around<'_>) {
        let before = self.rtp.address();
        self.rtp.set(params.remote_rtp, params.latch);
        let rtcp = params
            .remote_rtcp
            .or(params.remote_rtp.and_then(port_above));
        self.rtcp.set(rtcp, params.latch);
        let listened = self.params.as_ref().is_some_and(|p| p.receive);
        if params.receive && !listened {
            self.heard = now;
            self.timeout_told = false;
        }
        self.params = Some(params);
        if self.rtp.address() != before || self.connected && !self.rtp.settled(now) {
            self.connected = false;
            self.tell_address(now, around);
        }
        self.settle(now, around);
    }

    /// Somebody else, or nobody, is to be heard from now on.
    pub fn change_source(&mut self) {
        self.player = None;
        self.stream.pause();
    }

    /// Plays; whatever was being played ends.
    pub fn play(&mut self, now: Time, player: Player, serial: u32, around: &mut Around<'_>) {
        self.player = Some(player);
        self.play_serial = serial;
        self.stream.pause();
        self.packet_due = in_phase(now, self.ptime(), around.slot);
        self.read_ahead(around);
    }

    /// Ends what is being played.
    pub fn stop_play(&mut self) {
        if self.player.take().is_some() {
            self.stream.pause();
        }
    }

    /// A piece of a sound was read.
    pub fn on_piece(&mut self, serial: u32, samples: Vec<u8>, around: &mut Around<'_>) {
        if serial != self.play_serial {
            return;
        }
        if let Some(player) = &mut self.player {
            player.on_piece(samples);
            self.read_ahead(around);
        }
    }

    /// Records. A recording that runs is ended first.
    pub fn record(&mut self, now: Time, recorder: Recorder, around: &mut Around<'_>) {
        self.finish_recording(now, RecordEnd::Stopped, around);
        if self.recorder.is_some() {
            // The log has not taken the old one's end yet, so it has no room for a new one either.
            around.tell(Event::RecordDone {
                leg: self.id,
                sound: recorder.sound(),
                samples: 0,
                samples_speech: 0,
                end: RecordEnd::LogRefused,
            });
            return;
        }
        self.recorder = Some(Box::new(recorder));
    }

    /// The codec that is spoken.
    pub fn codec(&self) -> Codec {
        self.params.as_ref().map_or(Codec::Pcmu, |p| p.codec)
    }

    /// Ends a recording, if one runs.
    pub fn finish_recording(&mut self, now: Time, why: RecordEnd, around: &mut Around<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.finish(now, why);
            self.after_recording(now, around);
        }
    }

    /// What the log did with a chunk: took it, for an empty one, or gave it back.
    pub fn on_chunk(
        &mut self,
        now: Time,
        fate: Result<ChunkBlock, (u32, ChunkBlock)>,
        around: &mut Around<'_>,
    ) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        match fate {
            Ok(empty) => recorder.on_taken(empty),
            Err((index, block)) => {
                around.counters.chunks_refused += 1;
                recorder.on_refused(index, block);
            }
        }
        self.report_recording(now, around);
    }

    /// Sends a key to the party.
    pub fn press(&mut self, now: Time, digit: char, around: &mut Around<'_>) {
        let takes = self
            .params
            .as_ref()
            .is_some_and(|p| p.dtmf_payload_type.is_some());
        if !takes || self.presses.len() >= PRESSES_MAX {
            around.counters.digits_dropped += 1;
            return;
        }
        self.presses.push_back(digit);
        self.press_due = self.press_due.max(now);
    }

    /// Begins to close: says goodbye, ends the recording.
    pub fn close(&mut self, now: Time, around: &mut Around<'_>) {
        self.closing = true;
        self.player = None;
        self.to = None;
        self.send_report(now, true, around);
        self.finish_recording(now, RecordEnd::Stopped, around);
    }

    /// It was closed, and nothing is left to be done.
    pub fn is_over(&self) -> bool {
        self.closing && self.recorder.is_none()
    }

    // ---- packets

    /// A datagram on the RTP port. `from` is `None` once the kernel keeps strangers out. Gives the
    /// packet, if it is one of the party's that others may hear.
    pub fn on_rtp(
        &mut self,
        now: Time,
        from: Option<SocketAddr>,
        bytes: &[u8],
        around: &mut Around<'_>,
    ) -> Option<Taken> {
        let params = self.params.as_ref().filter(|p| p.receive && !self.closing);
        let Some(params) = params else {
            around.counters.packets_unused += 1;
            return None;
        };
        let Some(taken) = understand(bytes, params) else {
            self.report.packets_malformed += 1;
            around.counters.packets_malformed += 1;
            return None;
        };
        if let Some(from) = from {
            self.check_source(now, from, around)?;
        }
        let h = &taken.header;
        let order = self.reception.on_packet(now, h.ssrc, h.seq, h.timestamp);
        if order == Order::Stray {
            around.counters.packets_unused += 1;
            return None;
        }
        self.on_heard(now);
        self.report.packets_received += 1;
        around.counters.packets_received += 1;
        if order == Order::First {
            self.detector.reset();
            if let Some(recorder) = &mut self.recorder {
                recorder.on_source_change();
            }
        }
        match taken.codec {
            Some(codec) => self.record_sound(now, &taken, codec, bytes),
            None => self.on_event(&taken, bytes, around),
        }
        Some(taken)
    }

    /// Passes another leg's packet on to this party: where it lies, under our header.
    pub fn relay(
        &mut self,
        now: Time,
        taken: Taken,
        bytes: &mut [u8],
        counters: &mut Counters,
    ) -> Option<Range<usize>> {
        let params = self.params.as_ref()?;
        let busy = self.player.is_some() || self.press.is_some();
        if !params.send || busy || self.rtp.address().is_none() {
            return None;
        }
        let payload_type = match taken.codec {
            Some(_) => params.payload_type,
            None => params.dtmf_payload_type?,
        };
        let mut header = self
            .stream
            .relay(now, &taken.header, taken.payload.len() as u32)?;
        header.payload_type = payload_type;
        if let Some(theirs) = taken.codec {
            transcode(theirs, params.codec, &mut bytes[taken.payload.clone()]);
        }
        counters.packets_sent += 1;
        counters.packets_relayed += 1;
        Some(rtp::rewrite(bytes, &header, taken.payload))
    }

    /// A datagram on the RTCP port.
    pub fn on_rtcp(&mut self, now: Time, from: SocketAddr, bytes: &[u8], around: &mut Around<'_>) {
        let Ok(heard) = rtcp::parse(bytes, self.stream.ssrc()) else {
            self.report.packets_malformed += 1;
            around.counters.packets_malformed += 1;
            return;
        };
        // Who does not even have the party's address does not get to teach us one.
        let beside = self.rtp.address().is_some_and(|rtp| rtp.ip() == from.ip());
        let likely = beside || self.rtcp.address() == Some(from);
        if self.params.is_none() || !likely || self.rtcp.on_packet(now, from) == Source::Stranger {
            self.count_stranger(around);
            return;
        }
        around.counters.reports_received += 1;
        self.on_heard(now);
        if let Some(about) = heard.about_us {
            self.report.fraction_lost_by_peer = about.fraction_lost;
        }
        let ntp_mid = (ntp(now) >> 16) as u32;
        if let Some(trip_us) = self.reporter.on_heard(now, ntp_mid, &heard) {
            self.report.round_trip_us = trip_us;
        }
    }

    fn on_heard(&mut self, now: Time) {
        self.heard = now;
        self.timeout_told = false;
    }

    fn check_source(&mut self, now: Time, from: SocketAddr, around: &mut Around<'_>) -> Option<()> {
        match self.rtp.on_packet(now, from) {
            Source::Party => {}
            Source::PartyMoved => self.tell_address(now, around),
            Source::Stranger => {
                self.count_stranger(around);
                return None;
            }
        }
        self.settle(now, around);
        Some(())
    }

    fn count_stranger(&mut self, around: &mut Around<'_>) {
        self.report.packets_from_strangers += 1;
        around.counters.packets_from_strangers += 1;
    }

    fn on_event(&mut self, taken: &Taken, bytes: &[u8], around: &mut Around<'_>) {
        let Some(payload) = Payload::parse(&bytes[taken.payload.clone()]) else {
            return;
        };
        if let Some(digit) = self.detector.on_packet(taken.header.timestamp, payload) {
            around.tell(Event::Digit {
                leg: self.id,
                digit,
            });
        }
    }

    fn record_sound(&mut self, now: Time, taken: &Taken, codec: Codec, bytes: &[u8]) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let (h, payload) = (&taken.header, &bytes[taken.payload.clone()]);
        if codec == recorder.codec() {
            recorder.on_sound(now, h.seq, h.timestamp, payload);
            return;
        }
        let mut copy = [0; PAYLOAD_BYTES_MAX];
        let copy = &mut copy[..payload.len()];
        copy.copy_from_slice(payload);
        transcode(codec, recorder.codec(), copy);
        recorder.on_sound(now, h.seq, h.timestamp, copy);
    }

    // ---- time

    /// When the leg wants to be called next.
    pub fn deadline(&self, now: Time, media_timeout: Duration) -> Time {
        let receives = self.params.as_ref().is_some_and(|p| p.receive);
        let pressing = self.press.is_some() || !self.presses.is_empty();
        let latch = if self.connected {
            None
        } else {
            self.rtp.deadline(now)
        };
        [
            Some(self.reporter.deadline()),
            self.player.as_ref().map(|_| self.packet_due),
            pressing.then_some(self.press_due),
            self.recorder.as_ref().map(|r| r.deadline()),
            (receives && !self.timeout_told).then(|| self.heard + media_timeout),
            latch,
        ]
        .into_iter()
        .flatten()
        .min()
        .expect("the reporter always has a deadline")
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Time, around: &mut Around<'_>) {
        self.settle(now, around);
        self.send_presses(now, around);
        self.send_played(now, around);
        if let Some(recorder) = &mut self.recorder {
            recorder.on_time(now);
            self.after_recording(now, around);
        }
        if now >= self.reporter.deadline() {
            self.send_report(now, false, around);
            self.reporter.schedule(now, around.random);
        }
        self.check_timeout(now, around);
    }

    fn check_timeout(&mut self, now: Time, around: &mut Around<'_>) {
        let expected = self.params.as_ref().is_some_and(|p| p.receive) && !self.closing;
        if expected && !self.timeout_told && now >= self.heard + around.media_timeout {
            self.timeout_told = true;
            around.tell(Event::MediaTimeout { leg: self.id });
        }
    }

    fn send_played(&mut self, now: Time, around: &mut Around<'_>) {
        let ptime = self.ptime();
        while self.player.is_some() && now >= self.packet_due {
            if now.since(self.packet_due) > BEHIND_MAX {
                around.counters.packets_skipped += 1;
                self.packet_due = in_phase(now, ptime, around.slot);
                return;
            }
            self.packet_due = self.packet_due + ptime;
            if self.press.is_none() {
                self.send_played_packet(now, ptime, around);
            }
        }
    }

    fn send_played_packet(&mut self, now: Time, ptime: Duration, around: &mut Around<'_>) {
        let codec = self.codec();
        let Some(player) = &mut self.player else {
            return;
        };
        let samples = ptime.as_millis() as usize * 8;
        let mut packet = Packet::with_len(rtp::HEADER_BYTES + samples);
        let filled = player.fill(codec, &mut packet.bytes_mut()[rtp::HEADER_BYTES..]);
        around.counters.sounds_late += player.take_late();
        if filled == Filled::Nothing {
            let play = player.play();
            self.stop_play();
            around.tell(Event::PlayDone { leg: self.id, play });
            return;
        }
        self.read_ahead(around);
        let Some(params) = self.may_send() else {
            return;
        };
        let header = self.stream.own(now, params.payload_type, samples as u32);
        self.send(header, packet, around);
    }

    fn send_presses(&mut self, now: Time, around: &mut Around<'_>) {
        if now < self.press_due {
            return;
        }
        if self.press.is_none() {
            let Some(digit) = self.presses.pop_front() else {
                return;
            };
            self.press = Press::new(now, digit);
            if self.press.is_none() {
                around.counters.digits_dropped += 1;
                return;
            }
            self.stream.begin_event(now);
        }
        match self.press.as_mut().and_then(|press| press.next(now)) {
            Some(event) => {
                self.press_due = now + PRESS_STEP;
                let Some(payload_type) = self.may_send().and_then(|p| p.dtmf_payload_type) else {
                    return;
                };
                let header = self.stream.event(now, payload_type, event.marker);
                let mut packet = Packet::with_len(rtp::HEADER_BYTES + dtmf::PAYLOAD_BYTES);
                packet.bytes_mut()[rtp::HEADER_BYTES..].copy_from_slice(&event.payload.to_bytes());
                self.send(header, packet, around);
            }
            None => {
                self.press = None;
                self.press_due = now + dtmf::GAP;
            }
        }
    }

    fn may_send(&self) -> Option<&MediaParams> {
        let address = self.rtp.address();
        self.params.as_ref().filter(|p| p.send && address.is_some())
    }

    fn send(&mut self, header: Header, mut packet: Packet, around: &mut Around<'_>) {
        let fixed = packet
            .bytes_mut()
            .first_chunk_mut()
            .expect("made with room for a header");
        rtp::write(&header, fixed);
        around.counters.packets_sent += 1;
        around.out.push_back(Output::Send {
            slot: around.slot,
            channel: Channel::Rtp,
            packet,
        });
    }

    fn send_report(&mut self, now: Time, bye: bool, around: &mut Around<'_>) {
        let Some(to) = self.rtcp_address() else {
            return;
        };
        let us = Ourselves {
            ssrc: self.stream.ssrc(),
            ntp: ntp(now),
            timestamp: self.stream.timestamp_now(now),
            packets: self.stream.packets(),
            octets: self.stream.octets(),
        };
        let mut bytes = [0; rtcp::COMPOUND_BYTES_MAX];
        let block = self.reception.take_block();
        let len = self.reporter.write(now, &us, block, bye, &mut bytes);
        let mut packet = Packet::with_len(len);
        packet.bytes_mut().copy_from_slice(&bytes[..len]);
        around.counters.reports_sent += 1;
        around.out.push_back(Output::Send {
            slot: around.slot,
            channel: Channel::Rtcp(to),
            packet,
        });
    }

    /// Where it was learned; else beside the RTP that was learned to be elsewhere than signalled
    /// (behind a router the signalled address leads nowhere); else as signalled.
    fn rtcp_address(&self) -> Option<SocketAddr> {
        self.params.as_ref()?;
        let rtp = self.rtp.address()?;
        match self.rtcp.address() {
            Some(address) if address.ip() == rtp.ip() || self.rtcp.is_learned() => Some(address),
            _ => port_above(rtp),
        }
    }

    fn after_recording(&mut self, now: Time, around: &mut Around<'_>) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if let Some(end) = recorder.end() {
            recorder.finish(now, end);
        }
        let sound = recorder.sound();
        while let Some((index, block)) = recorder.take_chunk() {
            around.out.push_back(Output::Chunk {
                slot: around.slot,
                sound,
                index,
                block,
            });
        }
        self.report_recording(now, around);
    }

    fn report_recording(&mut self, now: Time, around: &mut Around<'_>) {
        let Some(done) = self.recorder.as_ref().and_then(|r| r.done(now)) else {
            return;
        };
        self.recorder = None;
        around.tell(Event::RecordDone {
            leg: self.id,
            sound: done.sound,
            samples: done.samples,
            samples_speech: done.samples_speech,
            end: done.end,
        });
    }

    fn read_ahead(&mut self, around: &mut Around<'_>) {
        let Some(player) = &mut self.player else {
            return;
        };
        while let Some(want) = player.wants() {
            let serial = self.play_serial;
            around.out.push_back(Output::Read {
                slot: around.slot,
                serial,
                want,
            });
        }
    }

    fn tell_address(&mut self, now: Time, around: &mut Around<'_>) {
        self.connected = self.rtp.settled(now);
        around.out.push_back(Output::Address {
            slot: around.slot,
            address: self.rtp.address(),
            connect: self.connected,
        });
    }

    fn settle(&mut self, now: Time, around: &mut Around<'_>) {
        if !self.connected && self.rtp.settled(now) {
            self.tell_address(now, around);
        }
    }

    fn ptime(&self) -> Duration {
        let ms = self.params.as_ref().map_or(20, |p| p.ptime_ms);
        Duration::from_millis(u64::from(ms.clamp(*PTIME_MS.start(), *PTIME_MS.end())))
    }
}

impl Around<'_> {
    fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

/// Reads a datagram as RTP of a type that was agreed on.
fn understand(bytes: &[u8], params: &MediaParams) -> Option<Taken> {
    let rtp::Parsed { header, payload } = rtp::parse(bytes).ok()?;
    let codec = if header.payload_type == params.payload_type {
        Some(params.codec)
    } else if Some(header.payload_type) == params.dtmf_payload_type {
        None
    } else {
        return None;
    };
    let fits = (1..=PAYLOAD_BYTES_MAX).contains(&payload.len());
    fits.then_some(Taken {
        header,
        payload,
        codec,
    })
}

/// Where RTCP is, unless something else was said (RFC 3550 §11).
fn port_above(rtp: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?))
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
