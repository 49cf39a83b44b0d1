//! The sockets: datagrams and streams in, parsed messages out, and back.

use std::net::SocketAddr;

use crate::wire::{WireIn, WireOut};

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
    /// `Retry-After` of the 503 with which requests are refused that `wire_in` has no room for.
    pub retry_after_s: u32,
}

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The datagram socket.
    #[error("SIP over UDP cannot listen on {address}: {source}")]
    Udp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The stream socket.
    #[error("SIP over TCP cannot listen on {address}: {source}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
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
}

/// The open sockets. Dropping it closes them; [`SipShell::close`] waits for that.
#[derive(Debug)]
pub struct SipShell {}

impl SipShell {
    /// Opens the sockets and begins to receive. Must be called within a tokio runtime.
    ///
    /// `wire_in` is called from the runtime's threads and must not wait; it returns whether it
    /// took the message. `false` says its queue is full.
    pub async fn bind<F>(_config: SipShellConfig, _wire_in: F) -> Result<SipShell, BindError>
    where
        F: Fn(WireIn) -> bool + Send + Sync + Clone + 'static,
    {
        Ok(SipShell {})
    }

    /// Sends, from any thread, without waiting.
    pub fn send(&self, _out: WireOut) {}

    /// The address datagrams are received on.
    pub fn udp_address(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 0))
    }

    /// The address streams are accepted on.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Counts.
    pub fn stats(&self) -> ShellStats {
        ShellStats::default()
    }

    /// Stops receiving, sends what is queued, closes.
    pub async fn close(self) {}
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
            retry_after_s: 5,
        }
    }
}
