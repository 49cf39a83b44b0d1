//! A worker's thread: carries datagrams, commands and the time to the core, and out what it says.
//!
//! A round: take commands, serve timers, carry out, enter the ring, hand over what has come. While
//! there are legs there is a round each millisecond (`pace.rs`), however many packets come in it:
//! not waking for each packet saves more than anything else. Without legs the thread sleeps until
//! the control thread wakes it.

mod arrivals;
mod legs;
mod messages;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError};
use tandem_storage::time::Time;

pub(crate) use self::messages::{Message, Moved, Setup, Wake};
use super::machine;
use super::outage::Outage;
use super::reader_thread::Request;
use super::ring::{BUFFER_BYTES, COMPLETIONS, Completion, Received, Ring};
use super::socket::{self, KernelAddress, Pair};
use super::store::SoundStore;
use crate::awaited::Awaited;
use crate::leg;
use crate::output::{Channel, Output, Slot};
use crate::pace::{Pace, ROUND};
use crate::seam::{Command, Event, LegId, LegReport};
use crate::worker::{Forward, LEGS_MAX};

/// The longest sleep without legs.
const SLEEP: Duration = Duration::from_secs(1);
/// Commands taken in one round.
const COMMANDS_PER_ROUND: usize = 256;
/// Legs from other workers taken in one round.
const ARRIVALS_PER_ROUND: usize = 256;
/// How often the figures are published, and whether the worker keeps up is judged.
const PUBLISH: Duration = Duration::from_millis(50);
/// How long a stopping worker waits for its legs to be gone.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Datagrams read at once from a socket that has just been connected: more than its queue holds.
const DRAIN_MAX: usize = 2048;

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
    /// It is among the starved.
    is_starved: bool,
    ending: Option<Ending>,
}

/// Why a leg's receiving is being ended.
enum Ending {
    Close(LegId, LegReport),
    Move(Box<leg::Leg>, Sender<Moved>, Arc<Wake>),
}

struct Thread<S, E> {
    /// Dropped first: it names the sockets and the pipe that follow.
    ring: Ring,
    setup: Setup<S, E>,
    legs: Vec<Option<Leg>>,
    legs_open: usize,
    /// Requests the reader had no room for, in order; a leg has a handful under way at most.
    requests_waiting: VecDeque<Request>,
    publish_at: Time,
    pace: Pace,
    awaited: Awaited<Message>,
    /// Legs of which a receive ended for want of buffers; each is in it once.
    starved: VecDeque<Slot>,
    /// What has come, while it is looked through for what is too old.
    batch: Vec<Completion>,
    /// How many of them are each slot's.
    here: Vec<u32>,
    outage: Outage,
    stopping: Option<Time>,
}

/// Runs until it is told to stop. `ready` hears whether the ring could be made.
pub(crate) fn run<S: SoundStore, E: Fn(Event)>(setup: Setup<S, E>, ready: &Sender<io::Result<()>>) {
    if let Some(nth) = setup.pin_to {
        machine::pin(nth);
    }
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let mut thread = Thread {
        ring,
        setup,
        legs: Vec::new(),
        legs_open: 0,
        requests_waiting: VecDeque::new(),
        publish_at: Time(0),
        pace: Pace::default(),
        awaited: Awaited::default(),
        starved: VecDeque::new(),
        batch: Vec::with_capacity(COMPLETIONS as usize),
        here: Vec::with_capacity(LEGS_MAX),
        outage: Outage::default(),
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
        self.take_arrivals(now);
        self.take_messages(now);
        self.take_pieces();
        self.setup.core.on_time(now);
        self.carry_out(now);
        self.publish(now);
        if self.is_over(now) {
            return false;
        }
        let (wait, first) = self.patience();
        if let Err(error) = self.ring.enter(wait, first) {
            self.setup.core.counters().rounds_failed += 1;
            // The enter did not wait.
            std::thread::sleep(ROUND);
            if self.outage.begins() {
                tracing::error!(%error, "the media ring fails; the worker goes on");
            }
        } else if let Some(rounds) = self.outage.ends() {
            tracing::info!(rounds, "the media ring works again");
        }
        self.setup.wake.asleep.store(false, Ordering::SeqCst);
        self.arm_starved();
        self.take_completions();
        true
    }

    fn now(&self) -> Time {
        Time(self.setup.clock.elapsed().as_nanos() as u64)
    }

    /// How long to wait in the ring, and whether the first thing that comes ends it.
    fn patience(&mut self) -> (Duration, bool) {
        // The work of the round is behind us.
        let now = self.now();
        if self.legs_open > 0 {
            let more = self.knows_of_more();
            return (self.pace.wait(now, more), false);
        }
        self.pace.rest();
        let deadline = self.setup.core.deadline().map_or(SLEEP, |t| t.since(now));
        self.setup.wake.asleep.store(true, Ordering::SeqCst);
        let wait = if self.knows_of_more() {
            Duration::ZERO
        } else {
            deadline.min(SLEEP)
        };
        (wait, true)
    }

    /// Something lies there and was not taken, for want of buffers or so that the round has an end.
    fn knows_of_more(&mut self) -> bool {
        !self.starved.is_empty()
            || !self.setup.moved.is_empty()
            || (!self.setup.inbox.is_empty() && !self.awaited.is_full())
            || self.ring.ready() > 0
    }

    fn take_arrivals(&mut self, now: Time) {
        for _ in 0..ARRIVALS_PER_ROUND {
            let Ok(Moved(id, leg)) = self.setup.moved.try_recv() else {
                break;
            };
            let has_come = leg.is_some();
            self.adopt(leg);
            let closed = self.awaited.arrived(id) || self.stopping.is_some();
            if closed && has_come {
                self.setup.core.on_command(now, Command::Close { leg: id });
            }
        }
        self.awaited.expire(now);
    }

    fn take_messages(&mut self, now: Time) {
        for _ in 0..COMMANDS_PER_ROUND {
            // Nothing may overtake what was parked and is looked at again.
            let message = match self.awaited.next_free() {
                Some(message) => message,
                None if self.awaited.is_full() => return,
                None => {
                    let Ok(message) = self.setup.inbox.try_recv() else {
                        return;
                    };
                    let Some(message) = self.awaited.admit(message) else {
                        continue;
                    };
                    message
                }
            };
            match message {
                Message::Open { leg, pair, port } => self.open(now, leg, pair, port),
                Message::Command(Command::Close { leg }) if self.awaited.close(leg) => {}
                Message::Command(command) => self.setup.core.on_command(now, command),
                Message::Move { leg, to, wake } => self.release(leg, to, wake),
                Message::Await(leg) => self.awaited.announce(now, leg),
                Message::Reports(to) => drop(to.try_send(self.setup.core.reports())),
                Message::Stop => self.stop(now),
            }
            self.carry_out(now);
        }
    }

    fn take_pieces(&mut self) {
        while let Ok(piece) = self.setup.pieces.1.try_recv() {
            let core = &mut self.setup.core;
            core.on_piece(piece.slot, piece.serial, piece.samples, piece.read);
        }
        while let Some(request) = self.requests_waiting.pop_front() {
            if let Err(request) = self.offer(request) {
                return self.requests_waiting.push_front(request);
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
        counters.submissions_refused += self.ring.take_refusals();
        // Before a long sleep everything is said.
        if now >= self.publish_at || self.legs_open == 0 {
            self.publish_at = now + PUBLISH;
            counters.cpu_ns = machine::thread_ns();
            self.pace.judge(now, counters.cpu_ns);
            counters.rounds_late = self.pace.rounds_late();
            counters.behind = u64::from(self.pace.is_behind());
            counters.commands_parked = self.awaited.parked_ever();
            self.setup.published.publish(counters);
        }
    }

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
                    let bytes = self.setup.core.packet(&packet);
                    match channel {
                        Channel::Rtp => {
                            let to = leg.unless_connected();
                            self.ring.send_copy(leg.rtp_fd(), bytes, to);
                        }
                        Channel::Rtcp(to) => {
                            let to = KernelAddress::new(to, self.setup.bind);
                            self.ring.send_copy(leg.rtcp_fd(), bytes, Some(&to));
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
                    self.setup.core.on_chunk(now, (slot, sound), fate);
                }
                Output::Close { slot, leg, report } => {
                    self.end(slot, Ending::Close(leg, report));
                }
            }
        }
    }

    /// Asks the reader, behind what waits already: a player takes its pieces in the order in
    /// which it asked for them.
    fn request(&mut self, request: Request) {
        let refused = if self.requests_waiting.is_empty() {
            self.offer(request).err()
        } else {
            Some(request)
        };
        self.requests_waiting.extend(refused);
    }

    /// Gives the request back if the reader has no room now.
    fn offer(&self, request: Request) -> Result<(), Request> {
        match self.setup.requests.try_send(request) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(request)) => Err(request),
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
