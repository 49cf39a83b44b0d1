//! Streams: accepted from phones, opened to phones, cut into messages.
//!
//! Each stream has a task that reads and one that writes, with a bounded queue before the latter.
//! A stream is known by a number and by its peer; when it ends, for whatever reason, the core is
//! told once ([`WireIn::Closed`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::patience::{Limit, Limits, Patience};
use super::{Counts, Receiver, SipShellConfig};
use crate::message_builder;
use crate::validate::{Frame, Garbage, frame, read_datagram};
use crate::wire::{Flow, Transport, WireIn};

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long what is queued may take to be written when we close.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// All streams.
pub(super) struct Streams {
    table: Mutex<Table>,
    runtime: Handle,
    wire_in: Receiver,
    counts: Arc<Counts>,
    connections_max: usize,
    per_source_max: usize,
    message_bytes_max: usize,
    queue_max: usize,
    retry_after_s: u32,
    limits: Limits,
}

#[derive(Default)]
struct Table {
    by_number: BTreeMap<u64, Stream>,
    by_peer: BTreeMap<SocketAddr, u64>,
    numbers: u64,
}

struct Stream {
    peer: SocketAddr,
    queue: mpsc::Sender<Arc<[u8]>>,
    /// Somebody on it has shown who they are, or we opened it.
    is_known: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// What the tasks of a stream need of it.
struct Entered {
    number: u64,
    queue: mpsc::Receiver<Arc<[u8]>>,
    is_known: Arc<AtomicBool>,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

/// Accepts streams until the shell is closed.
pub(super) async fn accept(streams: Arc<Streams>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => streams.admit(stream, peer),
            // Out of file descriptors, say: others may close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Streams {
    pub(super) fn new(config: &SipShellConfig, wire_in: Receiver, counts: Arc<Counts>) -> Streams {
        Streams {
            table: Mutex::default(),
            runtime: Handle::current(),
            wire_in,
            counts,
            connections_max: config.connections_max,
            per_source_max: config.connections_per_source_max,
            message_bytes_max: config.message_bytes_max,
            queue_max: config.stream_queue_max,
            retry_after_s: config.retry_after_s,
            limits: Limits {
                idle: Duration::from_secs(config.idle_s),
                message: Duration::from_secs(config.message_s),
                stranger: Duration::from_secs(config.stranger_s),
            },
        }
    }

    /// Queues a message on its stream, or on another to the same peer, or on a new one. `false`:
    /// there is no room.
    pub(super) fn send(self: &Arc<Self>, flow: Flow, bytes: Arc<[u8]>) -> bool {
        let mut table = self.table();
        let number = match flow.connection {
            0 => table.by_peer.get(&flow.peer).copied(),
            number => Some(number),
        };
        match number {
            Some(number) => table
                .by_number
                .get(&number)
                .is_some_and(|s| s.queue.try_send(bytes).is_ok()),
            None => self.open(&mut table, flow.peer, bytes),
        }
    }

    /// Opens a stream, with a first message in its queue.
    fn open(self: &Arc<Self>, table: &mut Table, peer: SocketAddr, first: Arc<[u8]>) -> bool {
        let Some(entered) = self.enter(table, peer, true) else {
            return false;
        };
        let number = entered.number;
        let Some(stream) = table.by_number.get_mut(&number) else {
            return false;
        };
        let taken = stream.queue.try_send(first).is_ok();
        let streams = self.clone();
        stream.reader = Some(self.runtime.spawn(async move {
            match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(peer)).await {
                Ok(Ok(stream)) => streams.serve(stream, peer, entered).await,
                _ => {
                    streams
                        .leave(
                            number,
                            Flow {
                                transport: Transport::Tcp,
                                peer,
                                connection: 0,
                            },
                        )
                        .await
                }
            }
        }));
        taken
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let mut table = self.table();
        let Some(entered) = self.enter(&mut table, peer, false) else {
            super::count(&self.counts.connections_refused);
            return;
        };
        let number = entered.number;
        let streams = self.clone();
        let task = self.runtime.spawn(async move {
            streams.serve(stream, peer, entered).await;
        });
        if let Some(entry) = table.by_number.get_mut(&number) {
            entry.reader = Some(task);
        }
    }

    /// The core says that a stream may stay.
    pub(super) fn keep(&self, flow: Flow) {
        if let Some(stream) = self.table().by_number.get(&flow.connection) {
            stream.is_known.store(true, Ordering::Relaxed);
        }
    }

    fn enter(&self, table: &mut Table, peer: SocketAddr, is_known: bool) -> Option<Entered> {
        let same_source = |s: &&Stream| s.peer.ip() == peer.ip();
        let full = table.by_number.len() >= self.connections_max
            || table.by_number.values().filter(same_source).count() >= self.per_source_max;
        if full {
            return None;
        }
        let (queue, receiver) = mpsc::channel(self.queue_max);
        let is_known = Arc::new(AtomicBool::new(is_known));
        table.numbers += 1;
        let number = table.numbers;
        table.by_number.insert(
            number,
            Stream {
                peer,
                queue,
                is_known: is_known.clone(),
                reader: None,
            },
        );
        table.by_peer.insert(peer, number);
        self.counts
            .connections
            .store(table.by_number.len() as u64, Ordering::Relaxed);
        Some(Entered {
            number,
            queue: receiver,
            is_known,
        })
    }

    /// Reads and writes until either side has enough.
    async fn serve(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, entered: Entered) {
        // Messages are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let flow = Flow {
            transport: Transport::Tcp,
            peer,
            connection: entered.number,
        };
        let (read, write) = stream.into_split();
        let writer = write_all(write, entered.queue);
        tokio::select! {
            () = self.read_all(read, flow, &entered.is_known) => {}
            () = writer => {}
        }
        self.leave(entered.number, flow).await;
    }

    async fn read_all<R>(&self, mut read: R, flow: Flow, is_known: &AtomicBool)
    where
        R: AsyncRead + Unpin,
    {
        let mut bytes: Vec<u8> = Vec::with_capacity(4096);
        let mut patience = Patience::new(self.limits, Instant::now());
        loop {
            let (until, limit) = patience.until(is_known.load(Ordering::Relaxed));
            // Whoever never stops sending is measured as well.
            if until <= Instant::now() {
                return self.note(limit);
            }
            match tokio::time::timeout_at(until, read.read_buf(&mut bytes)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return,
                // The stream may have become known meanwhile, and is measured again.
                Err(_) => continue,
            }
            let before = bytes.len();
            if !self.take_messages(&mut bytes, flow) {
                return;
            }
            let (took, rest) = (bytes.len() < before, !bytes.is_empty());
            patience.heard(Instant::now(), took, rest);
        }
    }

    /// A stream is closed because of a limit.
    fn note(&self, limit: Limit) {
        match limit {
            // A phone that has long gone.
            Limit::Idle => {}
            Limit::Message => super::count(&self.counts.streams_slow),
            Limit::Stranger => super::count(&self.counts.streams_unknown),
        }
    }

    /// Takes whole messages off the front. `false`: the stream makes no sense any more.
    fn take_messages(&self, bytes: &mut Vec<u8>, flow: Flow) -> bool {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            if rest.is_empty() {
                break;
            }
            match frame(rest, self.message_bytes_max) {
                Frame::Partial => break,
                Frame::Broken => return false,
                Frame::Blank(length) => at += length,
                Frame::Ping(length) => {
                    at += length;
                    // RFC 5626 §3.5.1. A queue that is full tells the peer soon enough that we are alive.
                    self.answer(flow, Arc::from(*b"\r\n"));
                }
                Frame::Message(length) => {
                    self.take(&rest[..length], flow);
                    at += length;
                }
            }
        }
        bytes.drain(..at);
        true
    }

    fn take(&self, bytes: &[u8], flow: Flow) {
        super::count(&self.counts.stream_messages_in);
        match read_datagram(bytes) {
            Ok(message) => {
                if !(self.wire_in)(WireIn::Message { flow, message }) {
                    super::count(&self.counts.receiver_full);
                    let refusal = message_builder::overloaded(bytes, flow, self.retry_after_s);
                    let sent = refusal.is_none_or(|(to, text)| self.answer(to, text));
                    if !sent {
                        super::count(&self.counts.send_full);
                    }
                }
            }
            Err(Garbage::KeepAlive) => {}
            Err(_) => super::count(&self.counts.garbage),
        }
    }

    /// Queues something on the stream it answers. `false`: there is no room.
    fn answer(&self, flow: Flow, bytes: Arc<[u8]>) -> bool {
        let table = self.table();
        let stream = table.by_number.get(&flow.connection);
        stream.is_some_and(|s| s.queue.try_send(bytes).is_ok())
    }

    async fn leave(&self, number: u64, flow: Flow) {
        {
            let mut table = self.table();
            table.by_number.remove(&number);
            if table.by_peer.get(&flow.peer) == Some(&number) {
                table.by_peer.remove(&flow.peer);
            }
            self.counts
                .connections
                .store(table.by_number.len() as u64, Ordering::Relaxed);
        }
        // This must not be lost, however full the queue is.
        while !(self.wire_in)(WireIn::Closed { flow }) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the queues run empty, for a while, and ends every stream.
    pub(super) async fn close(&self) {
        let streams: Vec<Stream> = std::mem::take(&mut self.table().by_number)
            .into_values()
            .collect();
        let tasks: Vec<JoinHandle<()>> = streams.into_iter().filter_map(|s| s.reader).collect();
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        // With its queue gone, a writer writes what is left and ends, and its reader with it.
        let ended = async {
            for task in tasks {
                // However it ended, it is gone.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_MAX, ended).await;
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
    }

    pub(super) fn abort(&self) {
        for stream in self.table().by_number.values() {
            if let Some(task) = &stream.reader {
                task.abort();
            }
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing that holds the lock can leave the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_all(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Arc<[u8]>>) {
    while let Some(bytes) = queue.recv().await {
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

#[cfg(test)]
mod tests;
