//! A worker's thread: carries datagrams, commands and the time to the core, and out what it says.
//!
//! A round: take commands, serve timers, carry out, enter the ring, hand over what has come. While
//! there are legs a round takes about a millisecond, however many packets come in it: not waking
//! for each packet saves more than anything else. Without legs the thread sleeps until the control
//! thread wakes it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError};
use tandem_storage::time::Time;

use super::cpu;
use super::reader_thread::{Piece, Request};
use super::ring::{Completion, Ring};
use super::socket::{self, KernelAddress, Pair};
use super::store::SoundStore;
use crate::leg;
use crate::output::{Channel, Output, PACKET_BYTES_MAX, Slot};
use crate::seam::{Command, Event, LegId, LegReport};
use crate::stats::Published;
use crate::worker::{Forward, Worker};

/// The rhythm of the loop while there are legs.
const ROUND: Duration = Duration::from_millis(1);
/// The longest sleep without legs.
const SLEEP: Duration = Duration::from_secs(1);
/// Commands taken in one round.
const COMMANDS_PER_ROUND: usize = 256;
/// How often the figures are published.
const PUBLISH: Duration = Duration::from_millis(50);
/// How long a leg that moves is waited for; it takes a round or two.
const AWAIT_MAX: Duration = Duration::from_secs(1);
/// How long a stopping worker waits for its legs to be gone.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Datagrams read at once from a socket that has just been connected: more than its queue holds.
const DRAIN_MAX: usize = 2048;

/// What the control thread tells a worker.
pub(crate) enum Message {
    Open {
        leg: LegId,
        pair: Pair,
        port: u16,
    },
    Command(Command),
    /// The leg goes to another worker.
    Move {
        leg: LegId,
        to: Sender<Moved>,
        wake: Arc<Wake>,
    },
    /// A leg is on its way here; what follows waits for it.
    Await,
    Reports(Sender<Vec<(LegId, LegReport)>>),
    Stop,
}

/// A leg on its way from one worker to another; `None` if it was gone.
pub(crate) struct Moved(Option<(Box<leg::Leg>, Leg)>);

/// Wakes a worker that sleeps.
pub(crate) struct Wake {
    asleep: AtomicBool,
    pipe: PipeWriter,
}

impl Wake {
    pub(crate) fn new() -> io::Result<(Wake, PipeReader)> {
        let (reader, pipe) = io::pipe()?;
        Ok((
            Wake {
                asleep: AtomicBool::new(false),
                pipe,
            },
            reader,
        ))
    }

    /// To be called after something was put where the worker looks.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A byte a sleep at most, so the pipe cannot fill.
            let _ = (&self.pipe).write_all(&[1]);
        }
    }
}

/// What a worker's thread is given.
pub(crate) struct Setup<S, E> {
    pub(crate) core: Worker,
    pub(crate) pin_to: Option<usize>,
    pub(crate) bind: IpAddr,
    pub(crate) clock: Instant,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) woken: PipeReader,
    pub(crate) moved: Receiver<Moved>,
    pub(crate) pieces: (Sender<Piece>, Receiver<Piece>),
    pub(crate) requests: Sender<Request>,
    pub(crate) ports_back: Sender<u16>,
    pub(crate) published: Arc<Published>,
    pub(crate) store: S,
    pub(crate) events: E,
}

/// How a leg's RTP is received.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    WithAddress,
    Connected,
}

/// A leg's sockets and what is under way on them.
pub(crate) struct Leg {
    sockets: Pair,
    port: u16,
    address: Option<KernelAddress>,
    /// How RTP should be received, and how it is being.
    mode: Mode,
    rtp_armed: Option<Mode>,
    rtcp_armed: bool,
    ending: Option<Ending>,
}

/// Why a leg's receiving is being ended.
enum Ending {
    Close(LegId, LegReport),
    Move(Box<leg::Leg>, Sender<Moved>, Arc<Wake>),
}

struct Thread<S, E> {
    setup: Setup<S, E>,
    ring: Ring,
    legs: Vec<Option<Leg>>,
    legs_open: usize,
    /// Requests the reader had no room for.
    requests_waiting: std::collections::VecDeque<Request>,
    publish_at: Time,
    /// Since when a leg from another worker is waited for.
    awaiting: Option<Time>,
    stopping: Option<Time>,
}

/// Runs until it is told to stop. `ready` hears whether the ring could be made.
pub(crate) fn run<S: SoundStore, E: Fn(Event)>(setup: Setup<S, E>, ready: &Sender<io::Result<()>>) {
    if let Some(nth) = setup.pin_to {
        cpu::pin(nth);
    }
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let mut thread = Thread {
        setup,
        ring,
        legs: Vec::new(),
        legs_open: 0,
        requests_waiting: Default::default(),
        publish_at: Time(0),
        awaiting: None,
        stopping: None,
    };
    thread
        .ring
        .read_event(thread.setup.woken.as_raw_fd(), MARK_WOKEN);
    let _ = ready.send(Ok(()));
    while thread.round() {}
}

impl<S: SoundStore, E: Fn(Event)> Thread<S, E> {
    /// One round; false when it was the last.
    fn round(&mut self) -> bool {
        let now = self.now();
        self.take_messages(now);
        self.take_pieces();
        self.setup.core.on_time(now);
        self.carry_out(now);
        self.publish(now);
        if self.is_over(now) {
            return false;
        }
        let (wait, first) = self.patience(now);
        if let Err(error) = self.ring.enter(wait, first) {
            tracing::error!(%error, "the media ring failed");
            std::thread::sleep(ROUND);
        }
        self.setup.wake.asleep.store(false, Ordering::SeqCst);
        self.take_completions();
        true
    }

    fn now(&self) -> Time {
        Time(self.setup.clock.elapsed().as_nanos() as u64)
    }

    /// How long to wait in the ring, and whether the first thing that comes ends it.
    fn patience(&mut self, now: Time) -> (Duration, bool) {
        let until = |t: Time| t.since(now);
        let deadline = self.setup.core.deadline().map_or(SLEEP, until);
        if self.legs_open > 0 {
            return (deadline.min(ROUND), false);
        }
        self.setup.wake.asleep.store(true, Ordering::SeqCst);
        let nothing = self.setup.inbox.is_empty() && self.setup.moved.is_empty();
        (
            if nothing {
                deadline.min(SLEEP)
            } else {
                Duration::ZERO
            },
            true,
        )
    }

    fn take_messages(&mut self, now: Time) {
        if let Ok(Moved(leg)) = self.setup.moved.try_recv() {
            self.awaiting = None;
            self.adopt(now, leg);
        }
        for _ in 0..COMMANDS_PER_ROUND {
            if self
                .awaiting
                .is_some_and(|since| now.since(since) < AWAIT_MAX)
            {
                return;
            }
            let Ok(message) = self.setup.inbox.try_recv() else {
                return;
            };
            match message {
                Message::Open { leg, pair, port } => self.open(now, leg, pair, port),
                Message::Command(command) => self.setup.core.on_command(now, command),
                Message::Move { leg, to, wake } => self.release(leg, to, wake),
                Message::Await => self.awaiting = Some(now),
                Message::Reports(to) => drop(to.try_send(self.setup.core.reports())),
                Message::Stop => self.stop(now),
            }
            self.carry_out(now);
        }
    }

    fn take_pieces(&mut self) {
        while let Ok(piece) = self.setup.pieces.1.try_recv() {
            let Piece {
                slot,
                serial,
                samples,
                readable,
            } = piece;
            self.setup.core.on_piece(slot, serial, samples, readable);
        }
        while let Some(request) = self.requests_waiting.pop_front() {
            if !self.request(request) {
                return;
            }
        }
    }

    fn stop(&mut self, now: Time) {
        self.stopping = Some(now);
        for leg in self.setup.core.leg_ids() {
            self.setup.core.on_command(now, Command::Close { leg });
        }
    }

    fn is_over(&self, now: Time) -> bool {
        let Some(since) = self.stopping else {
            return false;
        };
        let empty = self.legs_open == 0 && !self.setup.core.has_legs();
        empty || now.since(since) > STOP_MAX
    }

    fn publish(&mut self, now: Time) {
        let counters = self.setup.core.counters();
        counters.rounds += 1;
        counters.sends_failed += self.ring.take_failed();
        // Before a long sleep everything is said.
        if now >= self.publish_at || self.legs_open == 0 {
            self.publish_at = now + PUBLISH;
            counters.cpu_ns = cpu::thread_ns();
            self.setup.published.publish(counters);
        }
    }

    // ---- sockets

    fn open(&mut self, now: Time, leg: LegId, sockets: Pair, port: u16) {
        let Some(slot) = self.setup.core.open(now, leg) else {
            tracing::error!(leg = leg.0, "no room for a leg");
            drop(sockets);
            let _ = self.setup.ports_back.send(port);
            (self.setup.events)(Event::Closed {
                leg,
                report: LegReport::default(),
            });
            return;
        };
        let leg = Leg {
            sockets,
            port,
            address: None,
            mode: Mode::WithAddress,
            rtp_armed: None,
            rtcp_armed: false,
            ending: None,
        };
        self.put(slot, leg);
    }

    /// Sends a leg to another worker, once nothing is under way for it here.
    fn release(&mut self, id: LegId, to: Sender<Moved>, wake: Arc<Wake>) {
        match self.setup.core.release(id) {
            Some((slot, leg)) => self.end(slot, Ending::Move(leg, to, wake)),
            None => {
                let _ = to.send(Moved(None));
                wake.wake();
            }
        }
    }

    fn adopt(&mut self, now: Time, moved: Option<(Box<leg::Leg>, Leg)>) {
        let Some((leg, sockets)) = moved else { return };
        match self.setup.core.adopt(now, leg) {
            Ok(slot) => self.put(slot, sockets),
            Err(leg) => {
                let (id, port, report) = (leg.id(), sockets.port, leg.report());
                drop(sockets);
                let _ = self.setup.ports_back.send(port);
                (self.setup.events)(Event::Closed { leg: id, report });
            }
        }
    }

    fn put(&mut self, slot: Slot, leg: Leg) {
        let index = slot.0 as usize;
        if self.legs.len() <= index {
            self.legs.resize_with(index + 1, || None);
        }
        self.legs[index] = Some(leg);
        self.legs_open += 1;
        self.arm(slot);
    }

    /// Begins whatever receiving should be and is not.
    fn arm(&mut self, slot: Slot) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let (rtp, rtcp) = (leg.rtp_fd(), leg.rtcp_fd());
        if leg.rtp_armed.is_none() {
            leg.rtp_armed = Some(leg.mode);
            match leg.mode {
                Mode::WithAddress => self.ring.receive_with_address(rtp, mark(slot, Kind::Rtp)),
                Mode::Connected => self.ring.receive(rtp, mark(slot, Kind::RtpConnected)),
            }
        }
        if !leg.rtcp_armed {
            leg.rtcp_armed = true;
            self.ring.receive_with_address(rtcp, mark(slot, Kind::Rtcp));
        }
    }

    fn set_address(&mut self, slot: Slot, address: Option<SocketAddr>, connect: bool) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let bind = self.setup.bind;
        leg.address = address.map(|a| KernelAddress::new(a, bind));
        let to = leg.address.as_ref().filter(|_| connect);
        if to.is_none() && leg.mode == Mode::WithAddress {
            return;
        }
        // A network that cannot be reached just now: go on by address.
        let connected = socket::connect(&leg.sockets.rtp, to).is_ok() && to.is_some();
        leg.mode = if connected {
            Mode::Connected
        } else {
            Mode::WithAddress
        };
        match leg.rtp_armed {
            Some(Mode::WithAddress) if connected => self.ring.cancel(mark(slot, Kind::Rtp)),
            Some(Mode::Connected) if !connected => {
                self.ring.cancel(mark(slot, Kind::RtpConnected));
            }
            _ => {}
        }
    }

    /// Ends all receiving of a leg.
    fn end(&mut self, slot: Slot, ending: Ending) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        leg.ending = Some(ending);
        match leg.rtp_armed {
            Some(Mode::WithAddress) => self.ring.cancel(mark(slot, Kind::Rtp)),
            Some(Mode::Connected) => self.ring.cancel(mark(slot, Kind::RtpConnected)),
            None => {}
        }
        if leg.rtcp_armed {
            self.ring.cancel(mark(slot, Kind::Rtcp));
        }
    }

    /// A receive has ended: begin the next, or close if that was the last.
    fn on_receive_ended(&mut self, slot: Slot, kind: Kind) {
        let Some(place) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let Some(leg) = place else { return };
        let mut drain = false;
        match kind {
            Kind::Rtcp => leg.rtcp_armed = false,
            Kind::Rtp => {
                leg.rtp_armed = None;
                drain = leg.mode == Mode::Connected;
            }
            Kind::RtpConnected => leg.rtp_armed = None,
        }
        if leg.ending.is_none() {
            if drain {
                self.drain(slot);
            }
            return self.arm(slot);
        }
        if leg.rtp_armed.is_none()
            && !leg.rtcp_armed
            && let Some(mut leg) = place.take()
            && let Some(ending) = leg.ending.take()
        {
            self.legs_open -= 1;
            self.on_ended(slot, leg, ending);
        }
    }

    fn on_ended(&mut self, slot: Slot, leg: Leg, ending: Ending) {
        match ending {
            Ending::Close(id, report) => {
                let port = leg.port;
                drop(leg);
                let _ = self.setup.ports_back.send(port);
                self.setup.core.on_closed(slot, id, report);
            }
            Ending::Move(core_leg, to, wake) => {
                self.setup.core.on_left(slot);
                let _ = to.send(Moved(Some((core_leg, leg))));
                wake.wake();
            }
        }
    }

    /// What was queued before the socket was connected may be a stranger's: it is read with its
    /// address.
    fn drain(&mut self, slot: Slot) {
        let mut bytes = [0; PACKET_BYTES_MAX * 2];
        for _ in 0..DRAIN_MAX {
            let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
                return;
            };
            let Ok((len, from)) = leg.sockets.rtp.recv_from(&mut bytes) else {
                return;
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let now = self.now();
            let forward = self
                .setup
                .core
                .on_rtp(now, slot, Some(from), &mut bytes[..len]);
            if let Some(Forward { slot, range }) = forward
                && let Some(Some(to)) = self.legs.get(slot.0 as usize)
            {
                self.ring
                    .send_copy(to.rtp_fd(), &bytes[range], to.unless_connected());
            }
        }
    }

    // ---- what has come

    fn take_completions(&mut self) {
        let now = self.now();
        for _ in 0..self.ring.ready() {
            let Some(done) = self.ring.next() else { return };
            if done.mark == MARK_WOKEN {
                let _ = self.setup.woken.read(&mut [0; 64]);
                self.ring
                    .read_event(self.setup.woken.as_raw_fd(), MARK_WOKEN);
                continue;
            }
            let (slot, kind) = unmark(done.mark);
            if let Some(buffer) = done.buffer {
                self.on_datagram(now, slot, kind, buffer, done.result);
                self.ring.give_back(buffer);
            }
            if !done.more {
                self.count_ending(&done);
                self.on_receive_ended(slot, kind);
            }
        }
        self.carry_out(now);
    }

    fn count_ending(&mut self, done: &Completion) {
        let short = done.result == -libc::ENOBUFS;
        self.setup.core.counters().buffers_short += u64::from(short);
    }

    fn on_datagram(&mut self, now: Time, slot: Slot, kind: Kind, buffer: u16, result: i32) {
        let Ok(len) = usize::try_from(result) else {
            return;
        };
        let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        if kind == Kind::RtpConnected {
            // Received while the socket was being disconnected: nobody knows from whom.
            if leg.mode != Mode::Connected {
                return;
            }
            let bytes = self.ring.datagram(buffer, len);
            let forward = self.setup.core.on_rtp(now, slot, None, bytes);
            return self.forward(buffer, 0, forward);
        }
        let Some((from, range)) = self.ring.with_address(buffer, len) else {
            self.setup.core.counters().packets_malformed += 1;
            return;
        };
        let start = range.start;
        let bytes = &mut self.ring.datagram(buffer, len)[range];
        if kind == Kind::Rtcp {
            return self.setup.core.on_rtcp(now, slot, from, bytes);
        }
        let forward = self.setup.core.on_rtp(now, slot, Some(from), bytes);
        self.forward(buffer, start, forward);
    }

    fn forward(&mut self, buffer: u16, start: usize, forward: Option<Forward>) {
        let Some(Forward { slot, range }) = forward else {
            return;
        };
        let Some(Some(to)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        let range = range.start + start..range.end + start;
        self.ring
            .send_from(to.rtp_fd(), buffer, range, to.unless_connected());
    }

    // ---- what the core wants

    fn carry_out(&mut self, now: Time) {
        while let Some(output) = self.setup.core.poll() {
            match output {
                Output::Send {
                    slot,
                    channel,
                    packet,
                } => {
                    let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
                        continue;
                    };
                    match channel {
                        Channel::Rtp => {
                            let to = leg.unless_connected();
                            self.ring.send_copy(leg.rtp_fd(), packet.bytes(), to);
                        }
                        Channel::Rtcp(to) => {
                            let to = KernelAddress::new(to, self.setup.bind);
                            self.ring
                                .send_copy(leg.rtcp_fd(), packet.bytes(), Some(&to));
                        }
                    }
                }
                Output::Address {
                    slot,
                    address,
                    connect,
                } => {
                    self.set_address(slot, address, connect);
                }
                Output::Event(event) => (self.setup.events)(event),
                Output::Read { slot, serial, want } => {
                    let to = self.setup.pieces.0.clone();
                    self.request(Request {
                        slot,
                        serial,
                        want,
                        to,
                    });
                }
                Output::Chunk {
                    slot,
                    sound,
                    index,
                    block,
                } => {
                    let store = &self.setup.store;
                    let fate = match store.submit(sound, index, block) {
                        Ok(()) => Ok(store.chunk()),
                        Err(block) => Err((index, block)),
                    };
                    self.setup.core.on_chunk(now, slot, fate);
                }
                Output::Close { slot, leg, report } => {
                    self.end(slot, Ending::Close(leg, report));
                }
            }
        }
    }

    /// Asks the reader; false if it has no room now, and the request waits.
    fn request(&mut self, request: Request) -> bool {
        match self.setup.requests.try_send(request) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => true,
            Err(TrySendError::Full(request)) => {
                self.requests_waiting.push_back(request);
                false
            }
        }
    }
}

impl Leg {
    fn rtp_fd(&self) -> RawFd {
        UdpSocket::as_raw_fd(&self.sockets.rtp)
    }

    fn rtcp_fd(&self) -> RawFd {
        UdpSocket::as_raw_fd(&self.sockets.rtcp)
    }

    /// Where to send, if the socket does not know.
    fn unless_connected(&self) -> Option<&KernelAddress> {
        self.address
            .as_ref()
            .filter(|_| self.mode != Mode::Connected)
    }
}

/// What a receive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rtp = 0,
    RtpConnected = 1,
    Rtcp = 2,
}

/// The wake-up pipe's mark. Slots are far from it.
const MARK_WOKEN: u64 = 3;

fn mark(slot: Slot, kind: Kind) -> u64 {
    u64::from(slot.0) << 2 | kind as u64
}

fn unmark(mark: u64) -> (Slot, Kind) {
    let kind = match mark & 3 {
        0 => Kind::Rtp,
        1 => Kind::RtpConnected,
        _ => Kind::Rtcp,
    };
    (Slot((mark >> 2) as u32), kind)
}
