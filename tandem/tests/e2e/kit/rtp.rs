//! A telephone's sound: an RTP socket with a thread of its own that speaks every 20 ms and keeps
//! whatever it hears, packet by packet, so that a test can ask afterwards what was there and when.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{place, sound};

const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 160;
/// After so much time without a packet, what was said is over for now.
const QUIET: Duration = Duration::from_millis(200);
/// The payload type of telephone-event in our offers; not the usual 101, so that a node that
/// assumes 101 is found out.
pub const EVENT_TYPE: u8 = 97;

/// One packet that came.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// From where.
    pub from: SocketAddr,
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP synchronisation source.
    pub ssrc: u32,
    /// RTP payload type.
    pub payload_type: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

/// What is said.
#[derive(Debug, Default)]
enum Speech {
    /// Nothing is sent at all.
    #[default]
    Mute,
    /// Samples, round and round.
    Round { samples: Vec<i16>, at: usize },
    /// Samples once, then silence that is sent.
    Once { samples: Vec<i16>, at: usize },
    /// The counting sound, from frame `n`.
    Counting { n: u16 },
}

#[derive(Debug)]
struct State {
    remote: Option<SocketAddr>,
    payload_type: u8,
    speech: Speech,
    /// Keys to press; the first is being pressed, in its `step`th packet.
    keys: VecDeque<char>,
    step: u16,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    sent: u64,
    /// When each frame of the counting sound had been sent.
    counted_at: Vec<Instant>,
    heard: Vec<Packet>,
    stop: bool,
}

/// A telephone's sound.
#[derive(Debug)]
pub struct Media {
    /// Where it hears.
    pub local: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
    socket: UdpSocket,
    _rtcp: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Media {
    /// At `ip`, on a free even port. It is mute and sends nowhere until told.
    pub fn at(ip: Ipv4Addr) -> Media {
        let (socket, rtcp) = place::even_pair(ip);
        let local = socket.local_addr().unwrap();
        let state = State {
            remote: None,
            payload_type: 0,
            speech: Speech::Mute,
            keys: VecDeque::new(),
            step: 0,
            seq: local.port().wrapping_mul(7919),
            timestamp: u32::from(local.port()).wrapping_mul(2_654_435_761),
            ssrc: 0x7a00_0000 | u32::from(local.port()),
            sent: 0,
            counted_at: Vec::new(),
            heard: Vec::new(),
            stop: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let (theirs, socket_theirs) = (shared.clone(), socket.try_clone().unwrap());
        let thread = std::thread::spawn(move || work(&theirs, &socket_theirs));
        Media {
            local,
            shared,
            socket,
            _rtcp: rtcp,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Sends to `remote` as payload type 0 (PCMU) or 8 (PCMA) from now on.
    pub fn send_to(&self, remote: SocketAddr, payload_type: u8) {
        let mut state = self.state();
        state.remote = Some(remote);
        state.payload_type = payload_type;
    }

    /// Says a tone without end.
    pub fn hum(&self, hz: f64, level_db: f64) {
        // A whole number of periods, so that the round has no seam.
        let samples = sound::sine(hz, level_db, sound::RATE);
        self.state().speech = Speech::Round { samples, at: 0 };
    }

    /// Says `samples`, then silence (which is sent).
    pub fn say(&self, samples: Vec<i16>) {
        self.state().speech = Speech::Once { samples, at: 0 };
    }

    /// Sends silence.
    pub fn hush(&self) {
        self.say(Vec::new());
    }

    /// Waits until it has spoken for so long.
    pub fn speak_for(&self, seconds: u64) {
        self.speak_frames(seconds * 50);
    }

    /// Waits until it has spoken so many frames of 20 ms.
    pub fn speak_frames(&self, frames: u64) {
        let enough = self.state().sent + frames;
        self.wait("speaking", super::SOON, |state| {
            (state.sent >= enough).then_some(())
        });
    }

    /// Counts (see [`sound::counting_frame`]). The frame said last can be asked with [`Self::count`].
    pub fn count_up(&self) {
        let mut state = self.state();
        state.speech = Speech::Counting { n: 0 };
        state.counted_at.clear();
    }

    /// How many frames have been counted.
    pub fn count(&self) -> u16 {
        match self.state().speech {
            Speech::Counting { n } => n,
            _ => 0,
        }
    }

    /// How many of them had been sent by `then`. On a busy machine a telephone falls behind, too, and
    /// makes up for it: what it sent a moment ago may be the words of a whole second.
    pub fn counted_by(&self, then: Instant) -> usize {
        self.state().counted_at.partition_point(|at| *at <= then)
    }

    /// When the `n`th had been sent, the first being the 0th.
    pub fn counted_at(&self, n: usize) -> Option<Instant> {
        self.state().counted_at.get(n).copied()
    }

    /// Sends nothing.
    pub fn mute(&self) {
        self.state().speech = Speech::Mute;
    }

    /// Presses keys (RFC 4733) and waits until the last has been let go.
    pub fn press(&self, keys: &str) {
        self.state().keys.extend(keys.chars());
        self.wait("the keys to be pressed", super::SOON, |state| {
            state.keys.is_empty().then_some(())
        });
    }

    /// Sends `bytes` as they are from this telephone's socket.
    pub fn send_raw(&self, bytes: &[u8], to: SocketAddr) {
        self.socket.send_to(bytes, to).unwrap();
    }

    fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut(&mut State) -> Option<T>,
    ) -> T {
        let end = Instant::now() + limit;
        let mut state = self.state();
        loop {
            if let Some(answer) = ask(&mut state) {
                return answer;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited {limit:?} in vain for {what}; heard {} packets",
                state.heard.len()
            );
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// All packets that came since the `from`th.
    pub fn heard(&self, from: usize) -> Vec<Packet> {
        self.state().heard[from..].to_vec()
    }

    /// How many packets came: a mark to listen from.
    pub fn mark(&self) -> usize {
        self.state().heard.len()
    }

    /// Waits until `count` packets have come since the mark `from`.
    pub fn wait_packets(&self, from: usize, count: usize) -> Vec<Packet> {
        self.wait("packets", super::SOON, |state| {
            let new = &state.heard[from..];
            (new.len() >= count).then(|| new.to_vec())
        })
    }

    /// Waits until two tenths of a second in a row since the mark are the tone.
    pub fn wait_tone(&self, from: usize, hz: f64) {
        self.wait("a tone", super::SOON, |state| {
            let samples = hear(&state.heard[from..]).samples;
            let last = samples.len().checked_sub(1600)?;
            sound::is_tone(&samples[last..], hz).then_some(())
        });
    }

    /// Waits until the phrase has been said since the mark; gives a mark behind it.
    pub fn wait_phrase(&self, from: usize, name: &str, limit: Duration) -> usize {
        let phrase = sound::Phrase::named(name);
        let mut searched = 0;
        self.wait_heard(from, name, limit, |hearing| {
            // What was looked through is not looked through again.
            let start = searched;
            searched = (hearing.samples.len() + 1)
                .saturating_sub(phrase.needs())
                .max(start);
            let end = phrase.end_in(&hearing.samples[start..])?;
            Some(from + hearing.packets_to(start + end))
        })
    }

    /// Waits until `count` frames of the counting sound in a row have been heard since the mark.
    pub fn wait_counted(&self, from: usize, count: usize) {
        self.wait_heard(from, "counting", super::SOON * 2, |hearing| {
            (sound::counted_frames(&hearing.samples).len() >= count).then_some(())
        });
    }

    /// Asks about all sound since the mark, each time there is half a second more of it or it has
    /// ended.
    fn wait_heard<T>(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut(&Hearing) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        let end = began + limit;
        let mut asked = 0;
        loop {
            let packets = self.wait(what, limit * 2, |state| {
                let new = state.heard.len().saturating_sub(from + asked);
                let quiet = state.heard.last().is_some_and(|p| p.at.elapsed() > QUIET);
                let enough = new >= 25 || new > 0 && quiet || Instant::now() > end;
                enough.then(|| state.heard[from..].to_vec())
            });
            asked = packets.len();
            let hearing = hear(&packets);
            if let Some(answer) = ask(&hearing) {
                println!("{what} was heard after {:?}", began.elapsed());
                return answer;
            }
            if Instant::now() > end {
                let path = std::env::temp_dir().join(format!("heard-{}.wav", std::process::id()));
                sound::write_wav(&path, &hearing.samples);
                panic!("{what} was not heard within {limit:?}: {}", path.display());
            }
        }
    }

    /// Waits for a beep since the mark; gives a mark behind it.
    pub fn wait_beep(&self, from: usize) -> usize {
        let mut searched = 0;
        self.wait("a beep", super::SOON * 2, |state| {
            // A second is enough to know a beep by, and pieces must stay where they are.
            let start = searched;
            let packets = state.heard.len() - from;
            searched = packets.saturating_sub(50).max(start);
            let hearing = hear(&state.heard[from + start..]);
            let end = sound::beep_end(&hearing.samples, 240)?;
            // It may still be sounding: it is over when something else or nothing follows.
            let quiet = state
                .heard
                .last()
                .is_some_and(|p| p.at.elapsed() > QUIET / 2);
            let over = end < hearing.samples.len() || quiet;
            over.then(|| from + start + hearing.packets_to(end))
        })
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.state().stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sound put together from packets.
#[derive(Debug, Default)]
pub struct Hearing {
    /// The samples, with silence where packets are missing.
    pub samples: Vec<i16>,
    /// Packets missing by sequence number.
    pub lost: usize,
    /// Packets that came twice or late.
    pub disordered: usize,
    /// Jumps of the timestamp that the sequence numbers do not explain.
    pub jumps: usize,
    /// How many synchronisation sources there were.
    pub sources: usize,
    /// The longest time between two packets.
    pub longest_wait: Duration,
    /// How many samples there were after each packet.
    after_packets: Vec<usize>,
}

impl Hearing {
    /// How many packets it takes to hear so many samples; fewer than their length says where silence
    /// was not sent.
    fn packets_to(&self, samples: usize) -> usize {
        let before = self.after_packets.partition_point(|&after| after < samples);
        (before + 1).min(self.after_packets.len())
    }

    /// One more packet; false: it came too late to be heard.
    fn add(&mut self, last: Option<&Packet>, packet: &Packet) -> bool {
        if let Some(before) = last {
            self.longest_wait = self.longest_wait.max(packet.at - before.at);
            let step = packet.seq.wrapping_sub(before.seq);
            if packet.ssrc != before.ssrc {
                self.sources += 1;
            } else if step == 0 || step > 0x8000 {
                self.disordered += 1;
                return false;
            } else {
                self.lost += usize::from(step) - 1;
                let passed = packet.timestamp.wrapping_sub(before.timestamp) as usize;
                let silence = passed.saturating_sub(before.payload.len());
                if silence > 0 && step == 1 {
                    self.jumps += 1;
                }
                let silence = silence.min(sound::RATE * 60);
                self.samples.extend(std::iter::repeat_n(0, silence));
            }
        } else {
            self.sources = 1;
        }
        let decode = match packet.payload_type {
            8 => sound::from_alaw,
            _ => sound::from_ulaw,
        };
        self.samples
            .extend(packet.payload.iter().map(|&b| decode(b)));
        true
    }
}

/// Puts packets together as a phone would, by sequence number and timestamp.
pub fn hear(packets: &[Packet]) -> Hearing {
    let mut hearing = Hearing::default();
    let mut last = None;
    for packet in packets {
        if packet.payload_type < 96 && hearing.add(last, packet) {
            last = Some(packet);
        }
        hearing.after_packets.push(hearing.samples.len());
    }
    hearing
}

/// The thread: speak when it is time, keep what comes.
fn work(shared: &(Mutex<State>, Condvar), socket: &UdpSocket) {
    let mut next = Instant::now();
    let mut bytes = [0; 2048];
    loop {
        let now = Instant::now();
        if now >= next {
            let mut state = shared.0.lock().unwrap();
            if state.stop {
                return;
            }
            if let Some((packet, to)) = speak(&mut state) {
                // Nobody listening there any more is no matter of this thread.
                let _ = socket.send_to(&packet, to);
                state.sent += 1;
                if let Speech::Counting { n } = state.speech {
                    state.counted_at.resize(usize::from(n), Instant::now());
                }
            }
            shared.1.notify_all();
            next += FRAME;
            continue;
        }
        socket.set_read_timeout(Some(next - now)).unwrap();
        let Ok((length, from)) = socket.recv_from(&mut bytes) else {
            continue;
        };
        if let Some(packet) = parse(&bytes[..length], from) {
            shared.0.lock().unwrap().heard.push(packet);
            shared.1.notify_all();
        }
    }
}

fn parse(bytes: &[u8], from: SocketAddr) -> Option<Packet> {
    if bytes.len() < 12 || bytes[0] >> 6 != 2 {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    Some(Packet {
        at: Instant::now(),
        from,
        seq: u16::from_be_bytes([bytes[2], bytes[3]]),
        timestamp: word(4),
        ssrc: word(8),
        payload_type: bytes[1] & 0x7f,
        payload: bytes[12..].to_vec(),
    })
}

/// The packet of this 20 ms, if there is one.
fn speak(state: &mut State) -> Option<(Vec<u8>, SocketAddr)> {
    let to = state.remote?;
    let packet = match state.keys.front().copied() {
        Some(key) => press_on(state, key),
        None => frame(state).map(|payload| {
            let payload_type = state.payload_type;
            header(state, payload_type, false, state.timestamp, &payload)
        }),
    };
    state.timestamp = state.timestamp.wrapping_add(FRAME_SAMPLES as u32);
    Some((packet?, to))
}

fn header(state: &mut State, kind: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    state.seq = state.seq.wrapping_add(1);
    let mut packet = vec![0x80, kind | if marker { 0x80 } else { 0 }];
    packet.extend(state.seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(state.ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A key: five updates 20 ms apart, the end three times, and a pause of 60 ms before the next (RFC 4733
/// §2.5.1).
fn press_on(state: &mut State, key: char) -> Option<Vec<u8>> {
    const UPDATES: u16 = 5;
    let step = state.step;
    state.step += 1;
    if step >= UPDATES + 3 + 2 {
        state.step = 0;
        state.keys.pop_front();
    }
    if step >= UPDATES + 3 {
        return None;
    }
    let code = "0123456789*#ABCD".find(key).expect("a key of a telephone") as u8;
    let ended = step >= UPDATES;
    let duration = (step.min(UPDATES - 1) + 1) * FRAME_SAMPLES as u16;
    let began = state
        .timestamp
        .wrapping_sub(u32::from(step) * FRAME_SAMPLES as u32);
    let [high, low] = duration.to_be_bytes();
    let payload = [code, if ended { 0x8a } else { 0x0a }, high, low];
    Some(header(state, EVENT_TYPE, step == 0, began, &payload))
}

fn frame(state: &mut State) -> Option<Vec<u8>> {
    let encode = match state.payload_type {
        8 => sound::to_alaw,
        _ => sound::to_ulaw,
    };
    match &mut state.speech {
        Speech::Mute => None,
        Speech::Round { samples, at } => {
            let piece = (0..FRAME_SAMPLES).map(|n| encode(samples[(*at + n) % samples.len()]));
            let piece = piece.collect();
            *at = (*at + FRAME_SAMPLES) % samples.len();
            Some(piece)
        }
        Speech::Once { samples, at } => {
            let piece = (0..FRAME_SAMPLES).map(|n| samples.get(*at + n).copied().unwrap_or(0));
            let piece = piece.map(encode).collect();
            *at += FRAME_SAMPLES;
            Some(piece)
        }
        Speech::Counting { n } => {
            let piece = sound::counting_frame(*n).to_vec();
            *n += 1;
            Some(piece)
        }
    }
}
