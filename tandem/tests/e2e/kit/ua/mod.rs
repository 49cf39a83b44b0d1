//! A telephone whose every move the test decides: SIP over UDP, one thread, no surprises.
//!
//! It answers by itself only what every telephone answers by itself: OPTIONS, NOTIFY (kept for the
//! test to read), repeated requests and repeated 200s.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::SOON;
use super::node::Node;
use super::rtp::{EVENT_TYPE, Media};
use super::sip::{Algorithm, Challenge, Message, Sdp, parameter, uri};

mod called;
mod calling;
mod registering;
mod talking;
mod wire;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A word no other message of this test run has.
fn unique() -> String {
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}x{count:x}", std::process::id())
}

/// A telephone.
pub struct Ua {
    /// Its user part.
    pub user: String,
    /// Its password, if it has one to show.
    pub password: String,
    /// Where it is.
    pub local: SocketAddr,
    /// The digest it uses.
    pub algorithm: Algorithm,
    /// The payload types it offers and accepts, in order.
    pub formats: Vec<u8>,
    /// The NOTIFYs that came.
    pub notifies: Vec<Message>,
    server: SocketAddr,
    socket: UdpSocket,
    inbox: VecDeque<Message>,
    answered: HashMap<String, String>,
    acked: HashMap<String, String>,
    transcript: Vec<String>,
    registration: (String, u32),
    challenge: Option<(Challenge, u32)>,
}

/// A call, from one end.
#[derive(Debug)]
pub struct Call {
    /// Its sound.
    pub media: Media,
    /// What the other side last described.
    pub theirs: Option<Sdp>,
    /// Call-ID.
    pub id: String,
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    invite: Option<Message>,
    request: Option<Request>,
    version: u64,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    uri: String,
    branch: String,
    head: String,
    cseq: u32,
    extra: String,
    body: String,
}

impl Ua {
    /// The telephone of a demo user, at an address of its own beside the node's.
    pub fn of(node: &Node, user: &str) -> Ua {
        Ua::at(node, user, node.setup.ip)
    }

    /// A gateway that the demo trusts: at 127.0.0.1, without a password.
    pub fn gateway(node: &Node, number: &str) -> Ua {
        let mut ua = Ua::at(node, number, Ipv4Addr::LOCALHOST);
        ua.password.clear();
        ua
    }

    /// It calls by this proxy from now on.
    pub fn calls_by(&mut self, proxy: SocketAddr) {
        self.server = proxy;
    }

    /// A telephone at `ip`.
    pub fn at(node: &Node, user: &str, ip: Ipv4Addr) -> Ua {
        let socket = UdpSocket::bind((ip, 0)).expect("a free UDP port on loopback");
        Ua {
            user: user.into(),
            password: format!("demo-{user}"),
            local: socket.local_addr().unwrap(),
            algorithm: Algorithm::Md5,
            formats: vec![0, 8],
            notifies: Vec::new(),
            server: node.sip(),
            socket,
            inbox: VecDeque::new(),
            answered: HashMap::new(),
            acked: HashMap::new(),
            transcript: Vec::new(),
            registration: (format!("reg-{}", unique()), 0),
            challenge: None,
        }
    }
}

impl Call {
    /// The INVITE that came.
    pub fn invite(&self) -> &Message {
        self.invite.as_ref().expect("the call came in")
    }

    /// The call as a Replaces header names it to the node (RFC 3891).
    pub fn replaces(&self) -> String {
        let tag = |address: &str| parameter(address, "tag").unwrap_or_default();
        let (to, from) = (tag(&self.remote), tag(&self.local));
        format!("{};to-tag={to};from-tag={from}", self.id)
    }

    fn head(&self) -> String {
        let (local, remote, id) = (&self.local, &self.remote, &self.id);
        format!("From: {local}\r\nTo: {remote}\r\nCall-ID: {id}\r\n")
    }
}

/// What makes a request the same when it is repeated.
fn once(request: &Message) -> String {
    format!("{} {}", branch(request), request.header("CSeq"))
}

fn branch(message: &Message) -> String {
    let branch = parameter(message.header("Via"), "branch").unwrap_or_default();
    branch.trim_start_matches("z9hG4bK").to_string()
}

fn ipv4(at: SocketAddr) -> Ipv4Addr {
    match at.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => unreachable!("telephones of the tests are at IPv4 addresses"),
    }
}
