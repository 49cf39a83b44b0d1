//! What passes between the shim's core and the network: parsed messages in, bytes out.
//!
//! The shell (or the simulated world) makes a [`WireIn`] of whatever arrives and carries out each
//! [`WireOut`]. Neither is of interest to anyone in between: a program only passes them on.

use std::net::SocketAddr;

use crate::message::Incoming;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams: we retransmit.
    Udp,
    /// A stream: the kernel does.
    Tcp,
}

/// One way between us and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub transport: Transport,
    /// The other end, as seen from here.
    pub peer: SocketAddr,
    /// The stream connection, numbered by the shell from 1; 0 for datagrams, and for a stream
    /// that the shell has yet to open.
    pub connection: u64,
}

/// What the network tells.
#[derive(Debug)]
pub enum WireIn {
    /// A message that passed the sanity checks, or one that deserves an error answer.
    Message { flow: Flow, message: Incoming },
    /// A connection is gone, or could not be opened: nothing sent on it from now on arrives.
    Closed { flow: Flow },
}

/// What the network is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireOut {
    /// Send a whole message.
    Send {
        /// Where to. With connection 0 and TCP the shell uses a connection to that peer, or
        /// opens one.
        flow: Flow,
        /// The message. Retransmissions share it.
        bytes: std::sync::Arc<[u8]>,
    },
    /// Somebody on this stream has shown who they are: it is kept as long as any phone's. Others are
    /// closed soon.
    Keep { flow: Flow },
}

impl Flow {
    /// Datagrams to and from `peer`.
    pub fn udp(peer: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Udp,
            peer,
            connection: 0,
        }
    }

    /// Does the transport deliver without our help?
    pub fn is_reliable(&self) -> bool {
        self.transport != Transport::Udp
    }
}

impl Transport {
    /// As in a Via header.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }
}
