//! The datagram socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Counts;
use crate::message_builder;
use crate::validate::{Garbage, read_datagram};
use crate::wire::{Flow, WireIn};

/// A burst of 4,000 INVITEs of 1 KiB must fit while the receiver is at something else. The kernel
/// grants what `net.core.rmem_max` allows.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams taken before others on the runtime get their turn.
const TURN_MAX: usize = 64;

/// The side that sends, from any thread.
#[derive(Clone, Debug)]
pub(super) struct Sender(Arc<std::net::UdpSocket>);

/// The side that receives, on the runtime.
pub(super) struct Receiver {
    pub(super) socket: UdpSocket,
    pub(super) sender: Sender,
    pub(super) wire_in: super::Receiver,
}

pub(super) fn open(address: SocketAddr) -> io::Result<(Sender, UdpSocket)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Smaller buffers than asked for are no reason not to start.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket: std::net::UdpSocket = socket.into();
    let receiver = UdpSocket::from_std(socket.try_clone()?)?;
    Ok((Sender(Arc::new(socket)), receiver))
}

impl Sender {
    /// `false`: the socket's buffer is full. Other failures (no route, say) are the network's:
    /// transactions time out on them.
    pub(super) fn send(&self, peer: SocketAddr, bytes: &[u8]) -> bool {
        match self.0.send_to(bytes, peer) {
            Err(e) => e.kind() != ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }
}

impl Receiver {
    pub(super) async fn run(self, counts: Arc<Counts>, retry_after_s: u32) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            if self.socket.readable().await.is_err() {
                return;
            }
            for _ in 0..TURN_MAX {
                match self.socket.try_recv_from(&mut buffer) {
                    Ok((length, peer)) => {
                        self.take(&counts, retry_after_s, &buffer[..length], peer)
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier send; the next datagram is none the worse.
                    Err(_) => {}
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn take(&self, counts: &Counts, retry_after_s: u32, bytes: &[u8], peer: SocketAddr) {
        super::count(&counts.datagrams_in);
        let flow = Flow::udp(peer);
        match read_datagram(bytes) {
            Ok(message) => {
                if !(self.wire_in)(WireIn::Message { flow, message }) {
                    super::count(&counts.receiver_full);
                    if let Some((to, text)) =
                        message_builder::overloaded(bytes, flow, retry_after_s)
                    {
                        self.sender.send(to.peer, &text);
                    }
                }
            }
            Err(Garbage::KeepAlive) => {}
            Err(_) => super::count(&counts.garbage),
        }
    }
}
