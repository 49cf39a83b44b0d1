//! The thread that carries out what the link's core asks for.
//!
//! It takes what comes from connections, from the log and from whoever holds a [`Linking`], hands it to
//! the core, and does what that asks. Reading the log, and asking where a sound lies, is done by a
//! second thread (`pieces.rs`), so that acknowledgements never wait for a disk.
//!
//! Order: a commit is handed in before what it made durable is told of. Both come through the tap, in
//! the order in which the log thread put them in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Select, Sender};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::ca::Fingerprint;
use super::door::{Arrival, Door, DoorStats, dial};
use super::members::{Member, Members};
use super::pieces::{Ask, Reader};
use super::site::{Site, SiteError};
use super::wires::{Waiting, Wire};
use crate::link::{
    CloseReason, ConnId, Link, LinkConfig, LinkEvent, LinkInput, LinkOutput, LinkStatus, Position,
};
use crate::name::{Id, NodeName};
use crate::seam::{Append, ChunkPlace, LogEvent, Owner, Token};
use crate::shell::log::Log;
use crate::shell::open::Tap;
use crate::time::Time;

/// The log's queue is full: when it is tried again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(2);
/// The longest wait, so that what is shown of the link is not old.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// How often that is.
const SHOWN_EVERY: Duration = Duration::from_millis(50);

/// What comes to the link's thread.
#[derive(Debug)]
pub(super) enum In {
    Link(LinkInput),
    Frame(ConnId, Waiting),
    Opened(NodeName, Fingerprint, Opened),
    NotConnected(NodeName, CloseReason),
    Members(Members),
    Stop,
}

/// A connection that is up.
pub(super) enum Opened {
    Dialled(Box<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>),
    Arrived(Box<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

/// Where things for the link's thread go.
#[derive(Clone, Debug)]
pub(super) struct Inbox(Sender<In>);

impl Inbox {
    pub(super) fn put(&self, input: In) {
        // If the thread is gone nobody waits for it.
        let _ = self.0.send(input);
    }
}

/// How others reach the link. It is there before the log is opened, so that the log can tell it of all
/// that it writes.
#[derive(Clone, Debug)]
pub struct Linker {
    inbox: Inbox,
    tap: Tap,
    status: Arc<Mutex<(LinkStatus, LinkStats)>>,
}

/// What its threads have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// What has been seen at the door.
    pub door: DoorStats,
    /// Commits that found no room on their way to the link, and were read from the disk instead.
    pub commits_missed: u64,
    /// Connections closed because their peer did not take what was sent.
    pub wires_full: u64,
}

/// The link's end of a [`Linker`], until it is started.
#[derive(Debug)]
pub struct LinkSeat {
    linker: Linker,
    inputs: Receiver<In>,
    tap: Receiver<LinkInput>,
}

/// Who helps the link. Called on its threads.
pub trait LinkHelp: Send + Sync + 'static {
    /// Where the chunks of a sound lie, in their order; may wait.
    fn places(&self, sound: Id) -> Vec<ChunkPlace>;
    /// Something happened; must not wait.
    fn event(&self, event: LinkEvent);
}

/// What a link needs to start.
pub struct LinkParts {
    /// Its core's.
    pub config: LinkConfig,
    /// The own log.
    pub log: Log,
    /// This machine's part in the cluster.
    pub site: Arc<Site>,
    /// Who belongs to it.
    pub members: Members,
    /// Tells the door of changes.
    pub watch: watch::Sender<Members>,
    /// The door, and who comes in by it.
    pub door: (Door, mpsc::Receiver<Arrival>),
    /// Where connections are served.
    pub runtime: Handle,
}

/// A link at work, until this is stopped.
#[derive(Debug)]
pub struct Linking {
    linker: Linker,
    threads: [JoinHandle<()>; 2],
}

/// A way to a link that is not started yet: for the log's events, its tap, and the link itself.
pub fn link() -> (Linker, Tap, LinkSeat) {
    let (sender, inputs) = channel::unbounded();
    let (tap, tapped) = Tap::new();
    let not_started = LinkStatus {
        is_mending: true,
        ..LinkStatus::default()
    };
    let linker = Linker {
        inbox: Inbox(sender),
        tap: tap.clone(),
        status: Arc::new(Mutex::new((not_started, LinkStats::default()))),
    };
    let seat = LinkSeat {
        linker: linker.clone(),
        inputs,
        tap: tapped,
    };
    (linker, tap, seat)
}

impl Linker {
    /// From the log thread alone: tells the link what became of its own appends. True: the event
    /// concerns nobody else.
    pub fn on_log(&self, event: &LogEvent) -> bool {
        let is_link = |token: &Token| token.owner == Owner::Link;
        match event {
            LogEvent::Committed { token, .. } if is_link(token) => {
                let token = *token;
                self.tap.answer(LinkInput::Stored { token });
                false
            }
            LogEvent::Refused { token, why } if is_link(token) => {
                let (token, why) = (*token, *why);
                self.tap.answer(LinkInput::NotStored { token, why });
                true
            }
            _ => false,
        }
    }

    /// Somebody wants to hear a sound that its node sealed there, of which so many chunks are here.
    pub fn want(&self, sound: Id, sealed: Position, chunks: u32) {
        let want = LinkInput::Want {
            sound,
            sealed,
            chunks,
        };
        self.inbox.put(In::Link(want));
    }

    /// The cluster has changed.
    pub fn members(&self, members: Members) {
        self.inbox.put(In::Members(members));
    }

    /// How it stands, or stood a moment ago.
    pub fn status(&self) -> LinkStatus {
        let shown = self.status.lock();
        shown.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Because of damage in the own log all is asked of the others again, and has not come yet. So it is
    /// as long as the link has not started.
    pub fn is_mending(&self) -> bool {
        self.status().is_mending
    }

    /// What its threads have counted, up to now or a moment ago.
    pub fn stats(&self) -> LinkStats {
        let shown = self.status.lock();
        shown.unwrap_or_else(PoisonError::into_inner).1
    }
}

impl Linking {
    /// Starts the link.
    pub fn start(
        seat: LinkSeat,
        parts: LinkParts,
        help: impl LinkHelp,
    ) -> std::io::Result<Linking> {
        let linker = seat.linker.clone();
        let help: Arc<dyn LinkHelp> = Arc::new(help);
        let (asks, asked) = channel::unbounded();
        let reader = Reader::new(parts.log.dir(), help.clone(), linker.inbox.clone());
        let reading = std::thread::Builder::new()
            .name("link-read".into())
            .spawn(move || reader.run(&asked))?;
        let link = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || Worker::new(seat, parts, help, asks).run())?;
        Ok(Linking {
            linker,
            threads: [link, reading],
        })
    }

    /// The cluster has changed.
    pub fn members(&self, members: Members) {
        self.linker.members(members);
    }

    /// Ends it and all its connections.
    pub fn stop(self) {
        self.linker.inbox.put(In::Stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

struct Worker {
    core: Link,
    seat: LinkSeat,
    parts: LinkParts,
    help: Arc<dyn LinkHelp>,
    asks: Sender<Ask>,
    wires: BTreeMap<ConnId, (NodeName, Fingerprint, Wire)>,
    conn_last: u64,
    missed: u64,
    wires_full: u64,
    /// Waits for the log's queue to have room, in order.
    stores: VecDeque<(Token, Append)>,
    /// When others were last shown how it stands.
    shown_at: Time,
}

impl Worker {
    fn new(seat: LinkSeat, parts: LinkParts, help: Arc<dyn LinkHelp>, asks: Sender<Ask>) -> Worker {
        let now = parts.log.clocks().mono();
        Worker {
            core: Link::new(parts.config.clone(), now),
            seat,
            parts,
            help,
            asks,
            wires: BTreeMap::new(),
            conn_last: 0,
            missed: 0,
            wires_full: 0,
            stores: VecDeque::new(),
            shown_at: now,
        }
    }

    fn run(mut self) {
        self.keep_epoch(self.parts.config.epoch);
        let members = self.parts.members.clone();
        self.on_members(members);
        while self.turn() {
            let now = self.parts.log.clocks().mono();
            if self.core.deadline().is_some_and(|at| at <= now) {
                self.hand_in(LinkInput::Tick);
            }
            self.carry_out();
            if self.shown_at + SHOWN_EVERY <= now {
                self.shown_at = now;
                let wall = self.parts.log.clocks().now().wall;
                self.hand_in(LinkInput::Clock(wall));
                self.publish();
            }
        }
    }

    /// Waits for something and takes all there is. False: the link is to end.
    fn turn(&mut self) -> bool {
        self.wait();
        self.take_arrivals();
        self.take_tap();
        while let Ok(input) = self.seat.inputs.try_recv() {
            if matches!(input, In::Stop) {
                self.hand_in(LinkInput::Ending);
                self.carry_out();
                return false;
            }
            self.take(input);
        }
        self.retry_stores();
        true
    }

    fn wait(&mut self) {
        let now = self.parts.log.clocks().mono();
        let deadline = self.core.deadline().map(|at| at.since(now));
        let retry = (!self.stores.is_empty()).then_some(QUEUE_FULL_WAIT);
        let limit = [deadline, retry].into_iter().flatten().min();
        let mut select = Select::new();
        select.recv(&self.seat.inputs);
        select.recv(&self.seat.tap);
        // What came is taken by `turn`, in its order.
        let _ = select.ready_timeout(limit.unwrap_or(WAIT_MAX).min(WAIT_MAX));
    }

    fn take_arrivals(&mut self) {
        while let Ok(arrival) = self.parts.door.1.try_recv() {
            let Arrival { peer, cert, stream } = arrival;
            self.open(peer, cert, Opened::Arrived(stream));
        }
    }

    fn take_tap(&mut self) {
        while let Ok(input) = self.seat.tap.try_recv() {
            self.look_for_missed();
            self.hand_in(input);
        }
        self.look_for_missed();
    }

    /// What an answer tells of may lie in a commit that found no room.
    fn look_for_missed(&mut self) {
        let missed = self.seat.linker.tap.missed();
        if missed != self.missed {
            self.missed = missed;
            self.hand_in(LinkInput::Missed);
        }
    }

    fn take(&mut self, input: In) {
        match input {
            In::Link(input) => {
                if let LinkInput::Disconnected { conn } = &input {
                    self.wires.remove(conn);
                }
                self.hand_in(input);
            }
            In::Frame(conn, waiting) => {
                let bytes = waiting.bytes;
                self.give_spare(bytes.len());
                self.hand_in(LinkInput::Frame { conn, bytes });
            }
            In::Opened(peer, cert, opened) => self.open(peer, cert, opened),
            In::NotConnected(peer, why) => self.hand_in(LinkInput::NotConnected { peer, why }),
            In::Members(members) => self.on_members(members),
            In::Stop => {}
        }
    }

    /// Sound in a frame goes into memory that the log is done with, as far as there is some.
    fn give_spare(&mut self, frame_bytes: usize) {
        for _ in 0..self.core.spare_wanted(frame_bytes) {
            let Some(chunk) = self.parts.log.spare_chunk() else {
                return;
            };
            self.core.give_spare(chunk);
        }
    }

    fn hand_in(&mut self, input: LinkInput) {
        let now = self.parts.log.clocks().mono();
        self.core.handle(now, input);
    }

    fn open(&mut self, peer: NodeName, cert: Fingerprint, opened: Opened) {
        // It was a member's when hands were shaken.
        if !self.parts.members.has(peer, &cert) {
            if matches!(opened, Opened::Dialled(_)) {
                let why = CloseReason::OtherCertificate;
                self.hand_in(LinkInput::NotConnected { peer, why });
            }
            return;
        }
        self.conn_last += 1;
        let conn = ConnId(self.conn_last);
        let inbox = self.seat.linker.inbox.clone();
        let runtime = &self.parts.runtime;
        let dialled = matches!(opened, Opened::Dialled(_));
        let wire = match opened {
            Opened::Dialled(stream) => Wire::start(runtime, conn, stream, inbox),
            Opened::Arrived(stream) => Wire::start(runtime, conn, stream, inbox),
        };
        self.wires.insert(conn, (peer, cert, wire));
        self.hand_in(LinkInput::Connected {
            conn,
            peer,
            dialled,
        });
    }

    fn on_members(&mut self, members: Members) {
        let own = self.parts.site.node();
        let peers = members.iter().filter(|(name, _)| *name != own);
        let peers = peers
            .map(|(name, member)| member.as_peer(name, own))
            .collect();
        self.parts.members = members.clone();
        self.parts.watch.send_replace(members.clone());
        if let Err(e) = self.parts.site.keep_members(&members) {
            tracing::warn!("the cluster's nodes are not written down: {e}");
        }
        // Closes the connections of those who are gone.
        self.hand_in(LinkInput::Peers(peers));
        // With a certificate that is no longer the member's nobody else stays, either.
        let members = &self.parts.members;
        let void = self
            .wires
            .iter()
            .filter(|(_, (peer, cert, _))| !members.has(*peer, cert));
        let void: Vec<ConnId> = void.map(|(conn, _)| *conn).collect();
        for conn in void {
            self.wires.remove(&conn);
            self.hand_in(LinkInput::Disconnected { conn });
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                LinkOutput::Dial { peer } => self.dial(peer),
                LinkOutput::Close { conn, why } => {
                    let peer = self.wires.remove(&conn).map(|(peer, _, _)| peer);
                    tracing::info!(peer = ?peer.map(|p| p.to_string()), %why, "a connection of the link is closed");
                }
                LinkOutput::Send {
                    conn,
                    frame,
                    is_told,
                    is_bulk,
                } => {
                    if let Some((_, _, wire)) = self.wires.get(&conn)
                        && !wire.send(frame, is_told, is_bulk)
                    {
                        self.wires_full += 1;
                        self.wires.remove(&conn);
                        self.hand_in(LinkInput::Disconnected { conn });
                    }
                }
                LinkOutput::Store { token, append } => {
                    self.stores.push_back((token, append));
                    self.retry_stores();
                }
                LinkOutput::ReadLog {
                    token,
                    segment,
                    offset,
                    bytes,
                } => self.ask(Ask::Read {
                    token,
                    segment,
                    offset,
                    bytes,
                }),
                LinkOutput::FindSound { token, sound } => self.ask(Ask::Find { token, sound }),
                LinkOutput::Event(event) => {
                    if let LinkEvent::Contradiction { epoch, .. } = event {
                        self.keep_epoch(epoch);
                    }
                    self.help.event(event);
                }
            }
        }
    }

    fn keep_epoch(&self, epoch: u32) {
        if let Err(e) = self.parts.site.keep_epoch(epoch) {
            tracing::warn!("the epoch of the log is not written down: {e}");
        }
    }

    fn ask(&self, ask: Ask) {
        // The reading thread ends after this one.
        let _ = self.asks.send(ask);
    }

    fn retry_stores(&mut self) {
        while let Some((token, append)) = self.stores.pop_front() {
            if let Err(append) = self.parts.log.submit(token, append) {
                self.stores.push_front((token, append));
                return;
            }
        }
    }

    fn dial(&self, peer: NodeName) {
        let inbox = self.seat.linker.inbox.clone();
        let member = self.parts.members.get(peer);
        let cert = member.and_then(|member| member.cert.clone());
        let addresses = member.map_or(Vec::new(), Member::addresses);
        let Some(cert) = cert.filter(|_| !addresses.is_empty()) else {
            return inbox.put(In::NotConnected(peer, CloseReason::NoAddress));
        };
        let site = self.parts.site.clone();
        self.parts.runtime.spawn(async move {
            let mut why = CloseReason::Unreachable;
            for address in addresses {
                match dial(&site, peer, &address, &cert).await {
                    Ok(stream) => {
                        return inbox.put(In::Opened(peer, cert, Opened::Dialled(stream)));
                    }
                    Err(e) => {
                        tracing::debug!(%peer, "not reached: {e}");
                        if matches!(e, SiteError::Refused(..)) {
                            why = CloseReason::OtherCertificate;
                        }
                    }
                }
            }
            inbox.put(In::NotConnected(peer, why));
        });
    }

    fn publish(&self) {
        let now = self.parts.log.clocks().mono();
        let status = self.core.status(now);
        let stats = LinkStats {
            door: self.parts.door.0.stats(),
            commits_missed: self.missed,
            wires_full: self.wires_full,
        };
        let shown = &self.seat.linker.status;
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = (status, stats);
    }
}

#[cfg(test)]
mod tests;
