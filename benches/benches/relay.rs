//! What a relayed packet costs the engine, beside the least the same path can cost.
//!
//! Two relays stand on one core with equally many connected sockets: the engine's worker, and a
//! bare loop that does nothing but what cannot be left out (multishot receive, one byte of the
//! header touched, send from the same buffer, one `enter` a millisecond). A generator on another
//! core sends 50 packets a second to each leg of the one whose turn it is. Absolute figures of a
//! shared machine drift; so the turns alternate, and the ratio of the medians is what counts.
//!
//! Then the most legs that one core carries are found, in the same way (`relay/limit.rs`).
//!
//! `cargo bench --bench relay`, and with `-- limit` that alone; bounded: some two minutes.

#[path = "relay/limit.rs"]
mod limit;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use tandem_engine::rtp::{self, HEADER_BYTES, Header};
use tandem_engine::seam::{Codec, Command, EngineConfig, LegId, MediaParams, OpusConfig};
use tandem_engine::{Engine, SoundStore, Unread};
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::ChunkPlace;

/// Alternating turns of each.
const PAIRS: usize = 9;
const TURN: Duration = Duration::from_millis(900);
/// Before a turn is measured: the queues fill, the caches warm.
const SETTLE: Duration = Duration::from_millis(200);
const LEGS: [usize; 2] = [200, 1000];
const PACKET_BYTES: usize = HEADER_BYTES + 160;
const RELAY: Ipv4Addr = Ipv4Addr::new(127, 78, 0, 1);
const BARE: Ipv4Addr = Ipv4Addr::new(127, 78, 0, 2);

fn main() {
    // `cargo test --benches` runs this, too: it is no test.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    if !std::env::args().any(|a| a == "limit") {
        compare_cost();
    }
    limit::compare();
}

fn compare_cost() {
    println!(
        "{:>5}  {:>14} {:>14} {:>10}  loss",
        "legs", "bare ns/packet", "engine", "bare/engine"
    );
    for legs in LEGS {
        let figures = compare(legs);
        let (bare, engine) = (median(&figures.bare), median(&figures.engine));
        println!(
            "{legs:>5}  {bare:>14.0} {engine:>14.0} {:>10.2}  {:.4}   {}",
            bare / engine,
            figures.loss,
            spread(&figures)
        );
    }
}

#[derive(Default)]
struct Figures {
    bare: Vec<f64>,
    engine: Vec<f64>,
    loss: f64,
}

fn compare(legs: usize) -> Figures {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    peer.set_nonblocking(true)
        .expect("sockets can be non-blocking");
    receive_queue(peer.as_raw_fd());
    let to = peer.local_addr().expect("it is bound");
    // Threads inherit the core of the one that starts them.
    pin(0);
    let bare = Bare::start(legs, to);
    let engine = Relay::start(legs, to);
    pin(1);
    let mut generator = [
        Generator::new(&peer, &bare.ports),
        Generator::new(&peer, &engine.ports),
    ];
    let mut figures = Figures::default();
    for _ in 0..PAIRS {
        figures.bare.push(generator[0].turn(|| bare.used()));
        figures.engine.push(generator[1].turn(|| engine.used()));
    }
    // The two share the socket that what was relayed comes back to.
    let sent = generator[0].sent + generator[1].sent;
    let back = generator[0].back + generator[1].back;
    figures.loss = 1.0 - back as f64 / sent as f64;
    bare.stop();
    engine.engine.stop();
    figures
}

/// Processor time used and packets relayed, read at the same moment.
type Used = (u64, u64);

// ---- the engine

struct Relay {
    engine: Engine,
    ports: Vec<SocketAddr>,
}

impl Relay {
    fn start(legs: usize, to: SocketAddr) -> Relay {
        let config = EngineConfig {
            bind: IpAddr::V4(RELAY),
            ports: (10_000, 59_999),
            workers: 1,
            prompts_dir: std::env::temp_dir().join("no-prompts-here"),
            media_timeout: Duration::from_secs(600),
            dscp: 0,
            opus: OpusConfig::default(),
        };
        let mut engine = Engine::start(config, NoStore, |_| {}).expect("the engine starts");
        let mut ports = Vec::with_capacity(legs);
        for pair in 0..legs as u64 / 2 {
            let (a, b) = (LegId(2 * pair), LegId(2 * pair + 1));
            let opened = [a, b].map(|leg| open(&mut engine, leg, to));
            ports.extend(opened.map(|port| SocketAddr::new(IpAddr::V4(RELAY), port)));
            // At once: a leg that hears nobody is sent silence.
            engine.send(Command::Bridge { a, b });
        }
        Relay { engine, ports }
    }

    fn used(&self) -> Used {
        let total = self.engine.stats().total;
        (total.cpu_ns, total.packets_relayed)
    }
}

fn open(engine: &mut Engine, leg: LegId, to: SocketAddr) -> u16 {
    let port = engine.open(leg).expect("a pair of ports is free");
    let params = MediaParams {
        remote_rtp: Some(to),
        // A port nobody listens on would answer each report with an error.
        remote_rtcp: None,
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf_payload_type: Some(101),
        receives: vec![
            (0, tandem_engine::seam::Receives::Sound(Codec::Pcmu)),
            (101, tandem_engine::seam::Receives::Keys),
        ],
        dtmf_clock_hz: 8000,
        ptime_ms: 20,
        send: true,
        receive: true,
        learning: tandem_engine::seam::Learning::OFF,
    };
    engine.send(Command::Set { leg, params });
    port
}

/// Nothing is recorded or played here.
#[derive(Clone)]
struct NoStore;

impl SoundStore for NoStore {
    fn submit(&self, _: Id, _: u32, block: ChunkBlock) -> Result<(), ChunkBlock> {
        Err(block)
    }
    fn chunk(&self) -> ChunkBlock {
        ChunkBlock::new()
    }
    fn read(&self, _: &ChunkPlace, _: &mut Vec<u8>) -> Result<(), Unread> {
        Err(Unread::Broken("nothing is kept".into()))
    }
}

// ---- the bare path

struct Bare {
    ports: Vec<SocketAddr>,
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    cpu_ns: AtomicU64,
    packets: AtomicU64,
}

impl Bare {
    fn start(legs: usize, to: SocketAddr) -> Bare {
        let bound = || UdpSocket::bind((BARE, 0)).expect("a port is free");
        let sockets: Vec<UdpSocket> = (0..legs).map(|_| bound()).collect();
        for socket in &sockets {
            socket.connect(to).expect("loopback can be reached");
        }
        let ports = sockets
            .iter()
            .map(|s| s.local_addr().expect("it is bound"))
            .collect();
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || run_bare(&sockets, &for_thread));
        Bare {
            ports,
            shared,
            thread,
        }
    }

    fn used(&self) -> Used {
        (
            self.shared.cpu_ns.load(Ordering::Relaxed),
            self.shared.packets.load(Ordering::Relaxed),
        )
    }

    fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the bare relay does not panic");
    }
}

const BUFFERS: u16 = 4096;
const BUFFER_BYTES: usize = 256;
const BARE_CQ: u32 = 16_384;
const ROUND: Duration = Duration::from_millis(1);

fn run_bare(sockets: &[UdpSocket], shared: &Shared) {
    let mut ring: IoUring = IoUring::builder()
        .setup_cqsize(BARE_CQ)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(1024)
        .expect("io_uring is there");
    let fds: Vec<RawFd> = sockets.iter().map(|s| s.as_raw_fd()).collect();
    ring.submitter()
        .register_files(&fds)
        .expect("files can be registered");
    // As many as the engine lends: fewer stay in the cache.
    let lent = (2 * fds.len()).next_power_of_two().max(512);
    let mut buffers = Buffers::new(&ring, lent.min(usize::from(BUFFERS)) as u16);
    for leg in 0..fds.len() {
        push(&mut ring, &receive(leg));
    }
    let mut spent = Vec::with_capacity(usize::from(BUFFERS));
    let (mut packets, mut rounds) = (0, 0u32);
    let mut due = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        // A cadence kept by the clock, as the engine's.
        let now = Instant::now();
        let time = types::Timespec::from(due.saturating_duration_since(now));
        due += ROUND;
        while due <= now {
            due += ROUND;
        }
        let args = types::SubmitArgs::new().timespec(&time);
        let _ = ring.submitter().submit_with_args(BARE_CQ as usize, &args);
        buffers.provide(&mut spent);
        let ready = ring.completion().len();
        for _ in 0..ready {
            let Some(done) = ring.completion().next() else {
                break;
            };
            if done.user_data() == u64::MAX {
                continue;
            }
            let leg = done.user_data() as usize;
            if let (Some(buffer), Ok(len)) = (
                cqueue::buffer_select(done.flags()),
                u32::try_from(done.result()),
            ) {
                let start = buffers.touch(buffer);
                let to = types::Fixed((leg ^ 1) as u32);
                let send = opcode::Send::new(to, start, len)
                    .flags(libc::MSG_DONTWAIT)
                    .build();
                push(
                    &mut ring,
                    &send.flags(squeue::Flags::SKIP_SUCCESS).user_data(u64::MAX),
                );
                spent.push(buffer);
                packets += 1;
            }
            if !cqueue::more(done.flags()) {
                push(&mut ring, &receive(leg));
            }
        }
        rounds += 1;
        if rounds.is_multiple_of(16) {
            shared.packets.store(packets, Ordering::Relaxed);
            shared.cpu_ns.store(thread_ns(), Ordering::Relaxed);
        }
    }
}

fn receive(leg: usize) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fixed(leg as u32), 0)
        .build()
        .user_data(leg as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: buffers are given back only after the enter that sends from them.
    while unsafe { ring.submission().push(entry) }.is_err() {
        let _ = ring.submit();
    }
}

/// A provided buffer ring as the kernel wants it; kept for as long as the program runs.
struct Buffers {
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new(ring: &IoUring, lent: u16) -> Buffers {
        let entries_bytes = usize::from(BUFFERS) * 16;
        let bytes = entries_bytes + usize::from(BUFFERS) * BUFFER_BYTES;
        let layout = std::alloc::Layout::from_size_align(bytes, 4096).expect("a sane layout");
        // SAFETY: the size is not zero; the memory is never freed, so it outlives the ring.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        // SAFETY: page-aligned and large enough for its entries.
        let registered = unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(memory as u64, BUFFERS, 0, 0)
        };
        registered.expect("buffers can be provided");
        let mut buffers = Buffers { memory, tail: 0 };
        buffers.provide(&mut (0..lent).collect());
        buffers
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        let offset = usize::from(BUFFERS) * 16 + usize::from(buffer) * BUFFER_BYTES;
        // SAFETY: within the allocation for every buffer the kernel was given.
        unsafe { self.memory.add(offset) }
    }

    /// The least a relay does to a header.
    fn touch(&mut self, buffer: u16) -> *const u8 {
        let start = self.start(buffer);
        // SAFETY: the buffer is ours until it is provided again, and longer than four bytes.
        unsafe { *start.add(3) = (*start.add(3)).wrapping_add(1) };
        start
    }

    fn provide(&mut self, spent: &mut Vec<u16>) {
        for buffer in spent.drain(..) {
            let address = self.start(buffer) as u64;
            let index = usize::from(self.tail % BUFFERS);
            // SAFETY: the index is within the entries; the kernel reads them up to the tail.
            let entry = unsafe { &mut *self.memory.cast::<types::BufRingEntry>().add(index) };
            entry.set_addr(address);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail is two aligned bytes within the first entry.
        unsafe {
            let tail = types::BufRingEntry::tail(self.memory.cast()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

// ---- the generator

struct Generator<'a> {
    peer: &'a UdpSocket,
    ports: &'a [SocketAddr],
    packets: Vec<[u8; PACKET_BYTES]>,
    headers: Vec<Header>,
    next: usize,
    sent: u64,
    back: u64,
}

impl<'a> Generator<'a> {
    fn new(peer: &'a UdpSocket, ports: &'a [SocketAddr]) -> Generator<'a> {
        let header = |n: usize| Header {
            marker: false,
            payload_type: 0,
            seq: n as u16,
            timestamp: 0,
            ssrc: n as u32,
        };
        Generator {
            peer,
            ports,
            packets: vec![[0xd5; PACKET_BYTES]; ports.len()],
            headers: (0..ports.len()).map(header).collect(),
            next: 0,
            sent: 0,
            back: 0,
        }
    }

    /// One turn: nanoseconds of processor time a packet.
    fn turn(&mut self, used: impl Fn() -> Used) -> f64 {
        self.send_for(SETTLE);
        let (cpu_before, packets_before) = used();
        self.send_for(TURN);
        let (cpu_after, packets_after) = used();
        // What is still under way must not be the other's load.
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {
            self.drain();
        }
        (cpu_after - cpu_before) as f64 / (packets_after - packets_before).max(1) as f64
    }

    /// Evenly spaced, 50 packets a second and leg.
    fn send_for(&mut self, time: Duration) {
        let (start, rate) = (Instant::now(), 50.0 * self.ports.len() as f64);
        let mut sent = 0;
        while start.elapsed() < time {
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            for _ in sent..due {
                self.send_one();
            }
            sent = due.max(sent);
            self.drain();
        }
    }

    fn send_one(&mut self) {
        let (packet, header) = (&mut self.packets[self.next], &mut self.headers[self.next]);
        rtp::write(header, packet.first_chunk_mut().expect("long enough"));
        header.seq = header.seq.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(160);
        self.sent += u64::from(self.peer.send_to(packet, self.ports[self.next]).is_ok());
        self.next = (self.next + 1) % self.ports.len();
    }

    fn drain(&mut self) {
        let mut bytes = [0; 256];
        while self.peer.recv_from(&mut bytes).is_ok() {
            self.back += 1;
        }
    }
}

// ---- the machine

fn pin(core: usize) {
    // SAFETY: a CPU set is plain bits, and the size is its own.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

fn receive_queue(fd: RawFd) {
    let bytes: libc::c_int = 16 << 20;
    // SAFETY: the pointer and length are those of a live integer.
    unsafe {
        let value = (&raw const bytes).cast();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value, 4);
    }
}

fn thread_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live structure of the right kind.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn spread(figures: &Figures) -> String {
    let ratios: Vec<f64> = figures
        .bare
        .iter()
        .zip(&figures.engine)
        .map(|(b, e)| b / e)
        .collect();
    let least = ratios.iter().copied().fold(f64::MAX, f64::min);
    let most = ratios.iter().copied().fold(f64::MIN, f64::max);
    format!(
        "ratio of pairs: median {:.2}, {least:.2} to {most:.2}",
        median(&ratios)
    )
}
