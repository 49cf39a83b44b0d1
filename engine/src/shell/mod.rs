//! The engine as the control thread sees it: starts workers, opens legs, routes commands.
//!
//! Ports are bound here, on the caller's thread, so that a leg's port is known before anything is
//! said to the party; then the sockets belong to a worker. Everything else goes through bounded
//! queues. A command that finds its worker's queue full waits here, in order, and is tried again
//! with the next one or by [`Engine::flush`].

mod machine;
mod outage;
mod prompt_files;
mod reader_thread;
mod ring;
mod room_homes;
mod socket;
mod store;
mod worker_thread;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::ports::Ports;
use crate::seam::{Command, EngineConfig, Event, LegId, LegReport, OpenError};
use crate::stats::{Counters, EngineStats, Published};
use crate::worker::{LEGS_MAX, Worker};
use room_homes::RoomHomes;
use socket::Pair;
pub use store::{SoundStore, TOKEN_CHUNK, Unread};
use worker_thread::{Message, Moved, Setup, Wake};

/// The most workers.
const WORKERS_MAX: usize = 256;
/// Commands a worker has not taken yet.
const INBOX_MAX: usize = 4096;
/// Commands waiting here for a worker whose queue is full.
const OVERFLOW_MAX: usize = 65_536;
/// Pieces of sounds asked for and not read yet.
const REQUESTS_MAX: usize = 1024;
/// How long [`Engine::reports`] waits for a worker.
const REPORTS_MAX: Duration = Duration::from_millis(200);

/// The media engine, owned by the control thread.
pub struct Engine {
    config: EngineConfig,
    ports: Ports,
    ports_back: Receiver<u16>,
    homes: BTreeMap<LegId, usize>,
    rooms: RoomHomes,
    workers: Vec<Handle>,
    reader: Option<JoinHandle<()>>,
    commands_delayed: u64,
    commands_dropped: u64,
    legs_refused: u64,
    prompts: usize,
}

/// What the workers count, for whoever has not the engine itself.
#[derive(Clone, Debug)]
pub struct WorkerFigures(Vec<Arc<Published>>);

/// Why the engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The range has no even port with the odd one above it.
    #[error("[rtp] ports {first}-{last}: not even one pair of an even port and the one above it")]
    Ports {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// The address is none of this machine's.
    #[error("[rtp] bind {address}: {error}; it must be an address of this machine")]
    Bind {
        /// The address.
        address: IpAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The operating system refused a thread or a ring.
    #[error(
        "starting a media worker: {0} (io_uring of Linux 6.1 or newer is needed, and must not be disabled by kernel.io_uring_disabled)"
    )]
    Os(#[from] io::Error),
}

struct Handle {
    inbox: Sender<Message>,
    moved: Sender<Moved>,
    wake: Arc<Wake>,
    overflow: VecDeque<Message>,
    published: Arc<Published>,
    legs: usize,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads the prompts and starts the workers. `events` is called on their threads and must
    /// return at once. `log` is the node's [`tandem_storage::Log`].
    pub fn start(
        config: EngineConfig,
        log: impl SoundStore,
        events: impl Fn(Event) + Send + Clone + 'static,
    ) -> Result<Engine, StartError> {
        let ports = Ports::new(config.ports);
        if ports.free() == 0 {
            let (first, last) = config.ports;
            return Err(StartError::Ports { first, last });
        }
        let address = config.bind;
        UdpSocket::bind((address, 0)).map_err(|error| StartError::Bind { address, error })?;
        machine::allow_open_files();
        let prompts = Arc::new(prompt_files::load(&config.prompts_dir));
        let (requests, requests_taken) = bounded(REQUESTS_MAX);
        // Holds no more than the range has pairs.
        let (ports_return, ports_back) = unbounded();
        let mut engine = Engine {
            ports,
            ports_back,
            homes: BTreeMap::new(),
            rooms: RoomHomes::default(),
            workers: Vec::new(),
            reader: Some(reader_thread::start(log.clone(), requests_taken)?),
            commands_delayed: 0,
            commands_dropped: 0,
            legs_refused: 0,
            prompts: prompts.len(),
            config,
        };
        let count = engine.config.workers.clamp(1, WORKERS_MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let clock = Instant::now();
        for nth in 0..count {
            let (wake, woken) = Wake::new()?;
            let (inbox, inbox_taken) = bounded(INBOX_MAX);
            // Holds no more than there are legs.
            let (moved, moved_taken) = unbounded();
            let (wake, published) = (Arc::new(wake), Arc::new(Published::default()));
            let media_timeout = engine.config.media_timeout;
            let mut core = Worker::new(prompts.clone(), media_timeout, seed());
            core.set_opus(engine.config.opus);
            let setup = Setup {
                core,
                pin_to: (count > 1 && count <= cores).then_some(nth),
                bind: engine.config.bind,
                clock,
                inbox: inbox_taken,
                moved: moved_taken,
                wake: wake.clone(),
                woken,
                // Holds no more than the legs' players have asked for.
                pieces: unbounded(),
                requests: requests.clone(),
                ports_back: ports_return.clone(),
                published: published.clone(),
                store: log.clone(),
                events: events.clone(),
            };
            let thread = start_worker(nth, setup)?;
            let (overflow, legs) = (VecDeque::new(), 0);
            engine.workers.push(Handle {
                inbox,
                moved,
                wake,
                overflow,
                published,
                legs,
                thread: Some(thread),
            });
        }
        Ok(engine)
    }

    /// Opens a leg: gives its RTP port; RTCP is the port above.
    pub fn open(&mut self, leg: LegId) -> Result<u16, OpenError> {
        if self.homes.contains_key(&leg) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let home = (0..self.workers.len())
            .filter(|i| self.workers[*i].takes_legs())
            .min_by_key(|i| self.workers[*i].legs);
        let Some(home) = home else {
            self.legs_refused += 1;
            return Err(OpenError::Overloaded);
        };
        let (pair, port) = self.bind()?;
        let message = Message::Open { leg, pair, port };
        if self.workers[home].inbox.try_send(message).is_err() {
            self.ports.give_back(port);
            self.legs_refused += 1;
            return Err(OpenError::Overloaded);
        }
        self.workers[home].wake.wake();
        self.workers[home].legs += 1;
        self.homes.insert(leg, home);
        Ok(port)
    }

    /// Routes a command to its leg's worker.
    pub fn send(&mut self, command: Command) {
        self.flush();
        let leg = command.leg();
        let Some(&home) = self.homes.get(&leg) else {
            self.commands_dropped += 1;
            return;
        };
        if matches!(command, Command::Close { .. }) {
            self.homes.remove(&leg);
            self.workers[home].legs -= 1;
        }
        match command {
            Command::Bridge { a, b } => {
                self.rooms.leave(a);
                self.rooms.leave(b);
                self.bring_together(a, b);
            }
            Command::Join { leg, room, .. } => {
                let to = self.rooms.join(leg, room, home);
                self.move_leg(leg, home, to);
            }
            Command::Close { leg } | Command::Unbridge { leg } | Command::Echo { leg } => {
                self.rooms.leave(leg);
            }
            _ => {}
        }
        let home = self.homes.get(&leg).copied().unwrap_or(home);
        self.post(home, Message::Command(command));
    }

    /// Tries again what had to wait. To be called now and then while `stats` shows that something
    /// waits; every [`Engine::send`] does it, too.
    pub fn flush(&mut self) {
        for worker in &mut self.workers {
            worker.flush();
        }
    }

    /// The local address of every leg.
    pub fn bind_address(&self) -> IpAddr {
        self.config.bind
    }

    /// The engine's figures.
    pub fn stats(&self) -> EngineStats {
        let mut stats = EngineStats {
            workers: self.workers.iter().map(|w| w.published.read()).collect(),
            ports_free: self.ports.free() + self.ports_back.len(),
            commands_delayed: self.commands_delayed,
            commands_dropped: self.commands_dropped,
            legs_refused: self.legs_refused,
            prompts: self.prompts,
            workers_dead: self.workers.iter().filter(|w| w.is_dead()).count(),
            ..EngineStats::default()
        };
        for worker in &stats.workers {
            stats.total.add(worker);
        }
        stats
    }

    /// To read what the workers count from another thread.
    pub fn worker_figures(&self) -> WorkerFigures {
        WorkerFigures(self.workers.iter().map(|w| w.published.clone()).collect())
    }

    /// The figures of every leg, as they are now. A worker that does not answer within a fifth of
    /// a second is left out.
    pub fn reports(&self) -> Vec<(LegId, LegReport)> {
        let answers = self.workers.iter().map(|worker| {
            let (answer, answered) = bounded(1);
            let _ = worker.inbox.try_send(Message::Reports(answer));
            worker.wake.wake();
            answered
        });
        let answers: Vec<_> = answers.collect();
        let until = Instant::now() + REPORTS_MAX;
        answers
            .into_iter()
            .flat_map(|a| a.recv_deadline(until).unwrap_or_default())
            .collect()
    }

    /// Closes all legs, flushes their recordings, and ends the threads.
    pub fn stop(mut self) {
        for worker in &mut self.workers {
            worker.flush();
            // A worker that takes nothing for so long is beyond being stopped in good order.
            let _ = worker
                .inbox
                .send_timeout(Message::Stop, Duration::from_secs(1));
            worker.wake.wake();
        }
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|t| t.join().is_err()) {
                tracing::error!("a media worker had panicked");
            }
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Legs that hear each other live on one worker, so that a packet never changes cores: the one
    /// on the busier worker moves to the other's.
    fn bring_together(&mut self, a: LegId, b: LegId) {
        let (Some(&home_a), Some(&home_b)) = (self.homes.get(&a), self.homes.get(&b)) else {
            return;
        };
        if self.workers[home_a].legs > self.workers[home_b].legs {
            self.move_leg(a, home_a, home_b);
        } else {
            self.move_leg(b, home_b, home_a);
        }
    }

    fn move_leg(&mut self, leg: LegId, from: usize, home: usize) {
        if from == home {
            return;
        }
        self.workers[from].legs -= 1;
        self.workers[home].legs += 1;
        self.homes.insert(leg, home);
        let (to, wake) = (
            self.workers[home].moved.clone(),
            self.workers[home].wake.clone(),
        );
        // In this order: what a message waits for was always asked for before it, so workers
        // cannot wait for each other for ever.
        self.post(home, Message::Await(leg));
        self.post(from, Message::Move { leg, to, wake });
    }

    fn post(&mut self, home: usize, message: Message) {
        let worker = &mut self.workers[home];
        if worker.overflow.is_empty() {
            match worker.inbox.try_send(message) {
                Ok(()) => worker.wake.wake(),
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                    self.commands_delayed += 1;
                    worker.overflow.push_back(message);
                }
            }
        } else if worker.overflow.len() < OVERFLOW_MAX {
            self.commands_delayed += 1;
            worker.overflow.push_back(message);
        } else {
            self.commands_dropped += 1;
        }
    }

    /// Binds the pair that was used the longest time ago; if another program has it, the next.
    fn bind(&mut self) -> Result<(Pair, u16), OpenError> {
        while let Ok(port) = self.ports_back.try_recv() {
            self.ports.give_back(port);
        }
        let mut taken_by_others = Vec::new();
        let result = loop {
            let Some(port) = self.ports.take() else {
                let (first, last) = self.ports.range();
                break Err(OpenError::PortsUsedUp { first, last });
            };
            match Pair::bind(self.config.bind, port, self.config.dscp) {
                Ok(pair) => break Ok((pair, port)),
                Err(e) => {
                    taken_by_others.push(port);
                    if e.kind() != io::ErrorKind::AddrInUse {
                        break Err(e.into());
                    }
                }
            }
        };
        for port in taken_by_others {
            self.ports.give_back(port);
        }
        result
    }
}

impl WorkerFigures {
    /// All workers together.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for worker in &self.0 {
            total.add(&worker.read());
        }
        total
    }
}

impl Handle {
    fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// There is room for a leg, and time for its packets.
    fn takes_legs(&self) -> bool {
        self.legs < LEGS_MAX && self.overflow.is_empty() && !self.published.is_behind()
    }

    fn flush(&mut self) {
        while let Some(message) = self.overflow.pop_front() {
            match self.inbox.try_send(message) {
                Ok(()) => self.wake.wake(),
                Err(TrySendError::Full(message)) => return self.overflow.push_front(message),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
    }
}

fn start_worker<S: SoundStore, E: Fn(Event) + Send + 'static>(
    nth: usize,
    setup: Setup<S, E>,
) -> io::Result<JoinHandle<()>> {
    let (ready, is_ready) = bounded(1);
    let thread = std::thread::Builder::new()
        .name(format!("media-{nth}"))
        .spawn(move || worker_thread::run(setup, &ready))?;
    is_ready
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
    Ok(thread)
}

/// The standard library seeds its hashers from the system's random source.
#[allow(clippy::disallowed_types, reason = "what is random is the point")]
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
