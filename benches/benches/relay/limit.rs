//! How many legs a core can carry: the engine, and the bare path, in one run.
//!
//! Each has as many legs open as there are to be tried, and the generator sends to the first so
//! many of them. A number of legs is carried if 99 of 100 packets come back within [`P99_MAX`] and
//! less than [`LOSS_MAX`] of them never do; the most is found by halving. A machine that others use
//! as well has bad moments, so a number is tried again before it is taken as too many.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use tandem_engine::rtp::{self, HEADER_BYTES, Header};

use super::{Bare, PACKET_BYTES, Relay, pin, receive_queue};

const P99_MAX: Duration = Duration::from_millis(5);
const LOSS_MAX: f64 = 0.001;
/// Legs open on the engine, the most there can be on a worker, and on the bare path.
const ENGINE_LEGS: usize = 8192;
const BARE_LEGS: usize = 12_288;
const LEGS_MIN: usize = 512;
/// As near as the halving goes.
const STEP: usize = 256;
const TRIES: usize = 2;
/// Trials in which the generator itself was held up are not counted, so many of them for each number.
const VOID_MAX: usize = 3;
const SETTLE: Duration = Duration::from_millis(200);
const TRIAL: Duration = Duration::from_millis(500);
/// What is still under way after a trial.
const DRAIN: Duration = Duration::from_millis(100);
/// Datagrams in one system call.
const BATCH: usize = 64;
/// Batches taken for one that is sent.
const DRAINS: usize = 4;
/// A generator this late is the limit itself.
const GENERATOR_LATE_MAX: Duration = Duration::from_millis(3);

/// Prints the most legs of both, and their ratio.
pub(crate) fn compare() {
    let peer = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    peer.set_nonblocking(true)
        .expect("sockets can be non-blocking");
    receive_queue(peer.as_raw_fd());
    let to = peer.local_addr().expect("it is bound");
    let (engine_legs, bare_legs) = affordable();
    go_first();
    pin(0);
    let engine = Relay::start(engine_legs, to);
    let bare = Bare::start(bare_legs, to);
    pin(1);
    let mut trials = Trials::new(&peer);
    let mut halving_bare = Halving::new(bare_legs);
    let mut halving_engine = Halving::new(engine_legs);
    // In turns, so that both meet the same machine.
    println!();
    while !(halving_bare.is_over() && halving_engine.is_over()) {
        halving_bare.step(|legs| trials.run("bare", &bare.ports[..legs]));
        halving_engine.step(|legs| trials.run("engine", &engine.ports[..legs]));
    }
    println!("most legs on one core with p99 < {P99_MAX:?} and loss < {LOSS_MAX}:");
    halving_bare.print("bare");
    halving_engine.print("engine");
    let (bare_legs, engine_legs) = (halving_bare.carried, halving_engine.carried);
    println!(
        "engine/bare {:.2}",
        engine_legs as f64 / bare_legs.max(1) as f64
    );
    let total = engine.engine.stats().total;
    println!(
        "engine: {} rounds late of {}, {} receives short of buffers, {} packets stale",
        total.rounds_late, total.rounds, total.buffers_short, total.packets_stale
    );
    bare.stop();
    engine.engine.stop();
}

/// What a trial gave.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    p50: Duration,
    p99: Duration,
    loss: f64,
    /// How late the generator was at most.
    generator_late: Duration,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.p99 < P99_MAX && self.loss < LOSS_MAX
    }
}

/// Legs that can be open, on both: an engine's has two sockets, a bare one has one.
fn affordable() -> (usize, usize) {
    let wanted = 2 * ENGINE_LEGS + BARE_LEGS + 200;
    let files = open_files(wanted as u64) as usize;
    let part = |legs: usize| (legs * files.min(wanted) / wanted) & !1;
    (part(ENGINE_LEGS), part(BARE_LEGS))
}

/// Puts all threads started from now on before what else the machine does, as far as that is allowed.
fn go_first() {
    // SAFETY: no memory is passed.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// Raises what this process may have open as far as it is allowed to.
fn open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: wanted,
        rlim_max: wanted,
    };
    // SAFETY: the pointer is to a live structure of the right kind, in each call.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
    limit.rlim_cur
}

/// The search for the most legs.
struct Halving {
    most: usize,
    carried: usize,
    at_best: Outcome,
    too_many: usize,
    failed: Outcome,
}

impl Halving {
    fn new(most: usize) -> Halving {
        Halving {
            most,
            carried: 0,
            at_best: Outcome::default(),
            too_many: most + STEP,
            failed: Outcome::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.too_many - self.carried <= STEP || self.carried == self.most
    }

    fn step(&mut self, mut run: impl FnMut(usize) -> Outcome) {
        if self.is_over() {
            return;
        }
        let middle = usize::midpoint(self.carried, self.too_many) & !1;
        let legs = middle.clamp(LEGS_MIN.min(self.too_many - 2), self.most);
        let (mut failed, mut void) = (0, 0);
        while failed < TRIES {
            let outcome = run(legs);
            if outcome.is_good() {
                (self.carried, self.at_best) = (legs, outcome);
                return;
            }
            if outcome.generator_late > GENERATOR_LATE_MAX && void < VOID_MAX {
                void += 1;
            } else {
                failed += 1;
            }
            self.failed = outcome;
        }
        self.too_many = legs;
    }

    fn print(&self, name: &str) {
        let Outcome { p50, p99, loss, .. } = self.at_best;
        let limit = if self.carried == self.most {
            " (as many as were tried)"
        } else if self.failed.generator_late > GENERATOR_LATE_MAX {
            " (the generator could not send more)"
        } else {
            ""
        };
        println!(
            "{name:>6} {:>5} legs: p50 {p50:?}, p99 {p99:?}, loss {loss:.5}{limit}; beyond: p50 {:?}, p99 {:?}, loss {:.4}, generator late {:?}",
            self.carried,
            self.failed.p50,
            self.failed.p99,
            self.failed.loss,
            self.failed.generator_late
        );
    }
}

/// The generator: sends in batches and measures how long what it sent takes to come back.
struct Trials<'a> {
    peer: &'a UdpSocket,
    began: Instant,
    number: u32,
    headers: Vec<Header>,
    out: Box<[[u8; PACKET_BYTES]; BATCH]>,
    back: Box<[[u8; 256]; BATCH]>,
    latencies_us: Vec<u32>,
}

/// Where the time of sending and the number of the trial are.
const STAMP: std::ops::Range<usize> = HEADER_BYTES..HEADER_BYTES + 8;
const NUMBER: std::ops::Range<usize> = HEADER_BYTES + 8..HEADER_BYTES + 12;

impl<'a> Trials<'a> {
    fn new(peer: &'a UdpSocket) -> Trials<'a> {
        let header = |n: usize| Header {
            marker: false,
            payload_type: 0,
            seq: n as u16,
            timestamp: 0,
            ssrc: n as u32,
        };
        Trials {
            peer,
            began: Instant::now(),
            number: 0,
            headers: (0..BARE_LEGS).map(header).collect(),
            out: Box::new([[0xd5; PACKET_BYTES]; BATCH]),
            back: Box::new([[0; 256]; BATCH]),
            latencies_us: Vec::with_capacity(BARE_LEGS * 60),
        }
    }

    /// 50 packets a second to each, evenly spaced.
    fn run(&mut self, name: &str, ports: &[SocketAddr]) -> Outcome {
        let addresses: Vec<libc::sockaddr_in> = ports.iter().map(kernel_address).collect();
        let per_packet = Duration::from_nanos(20_000_000 / ports.len() as u64);
        let mut generator_late = Duration::ZERO;
        let (mut next, mut sent, mut sent_measured) = (0, 0u32, 0u64);
        self.number += 1;
        let start = Instant::now();
        let mut back_measured = 0;
        self.latencies_us.clear();
        let end = SETTLE + TRIAL;
        while start.elapsed() < end {
            let due = (start.elapsed().as_nanos() / per_packet.as_nanos()) as u32;
            let is_measured = start.elapsed() >= SETTLE;
            // Two packets at the same moment are no worse than what a network does.
            while sent < due {
                let count = (due - sent).min(BATCH as u32) as usize;
                let at = per_packet * sent;
                generator_late = generator_late.max(start.elapsed().saturating_sub(at));
                let went = self.send(&addresses, next, count, is_measured);
                next = (next + count) % addresses.len();
                sent += count as u32;
                sent_measured += if is_measured { went as u64 } else { 0 };
                back_measured += self.drain();
            }
            back_measured += self.drain();
        }
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            back_measured += self.drain();
        }
        self.latencies_us.sort_unstable();
        let at = |part: f64| {
            let index = (self.latencies_us.len().saturating_sub(1) as f64 * part) as usize;
            let us = self.latencies_us.get(index).copied().unwrap_or(u32::MAX);
            Duration::from_micros(u64::from(us))
        };
        let outcome = Outcome {
            p50: at(0.5),
            p99: at(0.99),
            loss: 1.0 - back_measured as f64 / sent_measured.max(1) as f64,
            generator_late,
        };
        println!("  {name:>6} {:>5}: {outcome:?}", ports.len());
        outcome
    }

    fn send(
        &mut self,
        addresses: &[libc::sockaddr_in],
        first: usize,
        count: usize,
        is_measured: bool,
    ) -> usize {
        let stamp = self.began.elapsed().as_nanos() as u64;
        let number = if is_measured { self.number } else { 0 };
        let mut parts = [const { empty_part() }; BATCH];
        let mut messages = [const { empty_message() }; BATCH];
        for n in 0..count {
            let leg = (first + n) % addresses.len();
            let (packet, header) = (&mut self.out[n], &mut self.headers[leg]);
            rtp::write(header, packet.first_chunk_mut().expect("long enough"));
            header.seq = header.seq.wrapping_add(1);
            header.timestamp = header.timestamp.wrapping_add(160);
            packet[STAMP].copy_from_slice(&stamp.to_ne_bytes());
            packet[NUMBER].copy_from_slice(&number.to_ne_bytes());
            parts[n].iov_base = packet.as_mut_ptr().cast();
            parts[n].iov_len = PACKET_BYTES;
            let message = &mut messages[n].msg_hdr;
            message.msg_name = (&raw const addresses[leg]).cast_mut().cast();
            message.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            message.msg_iov = &raw mut parts[n];
            message.msg_iovlen = 1;
        }
        let mut went = 0;
        while went < count {
            // SAFETY: each message names a live address and a live packet, which are only read.
            let result = unsafe {
                let rest = messages.as_mut_ptr().add(went);
                libc::sendmmsg(self.peer.as_raw_fd(), rest, (count - went) as u32, 0)
            };
            if result <= 0 {
                break;
            }
            went += result as usize;
        }
        went
    }

    /// Takes what has come back, more of it than is sent meanwhile; how many of them count.
    fn drain(&mut self) -> u64 {
        let mut counted = 0;
        for _ in 0..DRAINS {
            let (came, of_this_trial) = self.drain_batch();
            counted += of_this_trial;
            if came < BATCH {
                break;
            }
        }
        counted
    }

    fn drain_batch(&mut self) -> (usize, u64) {
        let mut parts = [const { empty_part() }; BATCH];
        let mut messages = [const { empty_message() }; BATCH];
        for n in 0..BATCH {
            parts[n].iov_base = self.back[n].as_mut_ptr().cast();
            parts[n].iov_len = self.back[n].len();
            messages[n].msg_hdr.msg_iov = &raw mut parts[n];
            messages[n].msg_hdr.msg_iovlen = 1;
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: each message has room of its own to be received into, and all of it is live.
        let came = unsafe {
            let none = std::ptr::null_mut();
            let first = messages.as_mut_ptr();
            libc::recvmmsg(self.peer.as_raw_fd(), first, BATCH as u32, flags, none)
        };
        let now = self.began.elapsed().as_nanos() as u64;
        let mut counted = 0;
        for bytes in self.back.iter().take(came.max(0) as usize) {
            let number = u32::from_ne_bytes(bytes[NUMBER].try_into().expect("four bytes"));
            if number == self.number {
                let stamp = u64::from_ne_bytes(bytes[STAMP].try_into().expect("eight bytes"));
                self.latencies_us
                    .push((now.saturating_sub(stamp) / 1000) as u32);
                counted += 1;
            }
        }
        (came.max(0) as usize, counted)
    }
}

const fn empty_part() -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }
}

const fn empty_message() -> libc::mmsghdr {
    // SAFETY: all zeros is a valid message header without address, data or control.
    unsafe { std::mem::zeroed() }
}

fn kernel_address(address: &SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(v4) = address else {
        unreachable!("all of them are of IPv4")
    };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: v4.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(v4.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}
