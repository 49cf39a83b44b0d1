//! The sockets: datagrams and streams in, parsed messages out, and back.
//!
//! [`SipShell::bind`] opens them on the tokio runtime it is called in. What arrives passes
//! [`crate::validate`] here, on the runtime's threads, and is handed to the program's queue; what
//! the core wants sent comes in by [`SipShell::send`], from any thread. Nothing is decided here
//! but what is dropped when a queue is full, and that is counted.

mod patience;
mod tcp;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::wire::{Transport, WireIn, WireOut};

/// How the sockets are set up.
#[derive(Clone, Debug)]
pub struct SipShellConfig {
    /// Where datagrams are received and sent.
    pub udp: SocketAddr,
    /// Where streams are accepted, if at all.
    pub tcp: Option<SocketAddr>,
    /// Streams open at once; further ones are closed at once.
    pub connections_max: usize,
    /// Streams open at once from one address.
    pub connections_per_source_max: usize,
    /// Bytes in one message.
    pub message_bytes_max: usize,
    /// Messages that wait to be written to one stream.
    pub stream_queue_max: usize,
    /// A stream on which nothing has come for so long is closed.
    pub idle_s: u64,
    /// A message that has begun to come on a stream must be there after so long.
    pub message_s: u64,
    /// A stream on which nobody has shown who they are is closed after so long.
    pub stranger_s: u64,
    /// `Retry-After` of the 503 with which requests are refused that `wire_in` has no room for.
    pub retry_after_s: u32,
}

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The datagram socket.
    #[error("SIP over UDP cannot listen on {address}: {source}")]
    Udp {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// The stream socket.
    #[error("SIP over TCP cannot listen on {address}: {source}")]
    Tcp {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// What the shell has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShellStats {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Messages that came over streams.
    pub stream_messages_in: u64,
    /// Dropped: not SIP, or so broken that no answer is possible.
    pub garbage: u64,
    /// Dropped or refused 503 because the receiver had no room.
    pub receiver_full: u64,
    /// Not sent because the socket or the stream's queue was full.
    pub send_full: u64,
    /// Streams open now.
    pub connections: u64,
    /// Streams refused because there were too many.
    pub connections_refused: u64,
    /// Streams closed because a message took too long to come.
    pub streams_slow: u64,
    /// Streams closed because nobody on them showed who they are.
    pub streams_unknown: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
struct Counts {
    datagrams_in: AtomicU64,
    stream_messages_in: AtomicU64,
    garbage: AtomicU64,
    receiver_full: AtomicU64,
    send_full: AtomicU64,
    connections: AtomicU64,
    connections_refused: AtomicU64,
    streams_slow: AtomicU64,
    streams_unknown: AtomicU64,
}

/// What the open sockets count, for whoever has not the [`SipShell`] itself.
#[derive(Clone, Debug)]
pub struct ShellFigures(Arc<Counts>);

/// The open sockets. Dropping it closes them; [`SipShell::close`] waits for that.
#[derive(Debug)]
pub struct SipShell {
    udp: udp::Sender,
    tcp: Arc<tcp::Streams>,
    udp_address: SocketAddr,
    tcp_address: Option<SocketAddr>,
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

/// Takes what has arrived; `false` says that its queue is full.
type Receiver = Arc<dyn Fn(WireIn) -> bool + Send + Sync>;

impl SipShell {
    /// Opens the sockets and begins to receive. Must be called within a tokio runtime.
    ///
    /// `wire_in` is called from the runtime's threads and must not wait; it returns whether it
    /// took the message. `false` says its queue is full.
    pub async fn bind<F>(config: SipShellConfig, wire_in: F) -> Result<SipShell, BindError>
    where
        F: Fn(WireIn) -> bool + Send + Sync + Clone + 'static,
    {
        let counts = Arc::new(Counts::default());
        let wire_in: Receiver = Arc::new(wire_in);
        let udp_error = |source| BindError::Udp {
            address: config.udp,
            source,
        };
        let (sender, receiver) = udp::open(config.udp).map_err(udp_error)?;
        let udp_address = receiver.local_addr().map_err(udp_error)?;
        let tcp = Arc::new(tcp::Streams::new(&config, wire_in.clone(), counts.clone()));
        let mut tasks = Vec::with_capacity(2);
        let mut tcp_address = None;
        if let Some(address) = config.tcp {
            let tcp_error = |source| BindError::Tcp { address, source };
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .map_err(tcp_error)?;
            tcp_address = Some(listener.local_addr().map_err(tcp_error)?);
            tasks.push(tokio::spawn(tcp::accept(tcp.clone(), listener)));
        }
        let udp = udp::Receiver {
            socket: receiver,
            sender: sender.clone(),
            wire_in,
        };
        tasks.push(tokio::spawn(udp.run(counts.clone(), config.retry_after_s)));
        Ok(SipShell {
            udp: sender,
            tcp,
            udp_address,
            tcp_address,
            counts,
            tasks,
        })
    }

    /// Does what the core asks of the network, from any thread, without waiting.
    pub fn send(&self, out: WireOut) {
        let (flow, bytes) = match out {
            WireOut::Send { flow, bytes } => (flow, bytes),
            WireOut::Keep { flow } => return self.tcp.keep(flow),
        };
        let taken = match flow.transport {
            Transport::Udp => self.udp.send(flow.peer, &bytes),
            Transport::Tcp => self.tcp.send(flow, bytes),
        };
        if !taken {
            count(&self.counts.send_full);
        }
    }

    /// The address datagrams are received on.
    pub fn udp_address(&self) -> SocketAddr {
        self.udp_address
    }

    /// The address streams are accepted on.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// To read the counts from another thread.
    pub fn figures(&self) -> ShellFigures {
        ShellFigures(self.counts.clone())
    }

    /// The counts so far.
    pub fn stats(&self) -> ShellStats {
        self.figures().stats()
    }

    /// Stops receiving, writes out what is queued for streams, closes.
    pub async fn close(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Aborted or ended: either way it is gone.
            let _ = task.await;
        }
        self.tcp.close().await;
    }
}

impl ShellFigures {
    /// The counts so far.
    pub fn stats(&self) -> ShellStats {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let c = &self.0;
        ShellStats {
            datagrams_in: read(&c.datagrams_in),
            stream_messages_in: read(&c.stream_messages_in),
            garbage: read(&c.garbage),
            receiver_full: read(&c.receiver_full),
            send_full: read(&c.send_full),
            connections: read(&c.connections),
            connections_refused: read(&c.connections_refused),
            streams_slow: read(&c.streams_slow),
            streams_unknown: read(&c.streams_unknown),
        }
    }
}

impl Drop for SipShell {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.tcp.abort();
    }
}

impl SipShellConfig {
    /// The usual limits for these addresses.
    pub fn new(udp: SocketAddr, tcp: Option<SocketAddr>) -> SipShellConfig {
        SipShellConfig {
            udp,
            tcp,
            connections_max: 4096,
            connections_per_source_max: 256,
            message_bytes_max: 64 * 1024,
            stream_queue_max: 256,
            // Longer than the longest registration, so that a silent phone stays reachable.
            idle_s: 2 * 3600,
            message_s: 30,
            stranger_s: 30,
            retry_after_s: 5,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
