//! Where a test lives: a loopback address of its own and ports that are free there, so that tests
//! run side by side, and beside whatever else the machine does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(1);
/// The ports that were given out in this process.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address in 127.0.0.0/8 that no other test uses: made of the process id and a counter.
pub fn loopback() -> Ipv4Addr {
    let process = std::process::id();
    let count = NEXT.fetch_add(1, Ordering::Relaxed) % 254;
    let high = 64 + (process >> 8) % 128;
    Ipv4Addr::new(127, high as u8, process as u8, count as u8 + 1)
}

/// A port that is free for UDP and TCP at `ip` at this moment, another one each time.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    for _ in 0..100 {
        let tcp = TcpListener::bind((ip, 0)).expect("a free TCP port on loopback");
        let port = tcp.local_addr().unwrap().port();
        let is_free = UdpSocket::bind((ip, port)).is_ok();
        // The system may choose one twice, since nothing listens there yet.
        let mut given = GIVEN.lock().expect("no test panics here");
        if is_free && given.insert(port) {
            return port;
        }
    }
    panic!("no port is free for both UDP and TCP at {ip}");
}

/// A pair of UDP sockets on an even port and the next one, as RTP and RTCP like it.
pub fn even_pair(ip: Ipv4Addr) -> (UdpSocket, UdpSocket) {
    for _ in 0..200 {
        let first = UdpSocket::bind((ip, 0)).expect("a free UDP port on loopback");
        let port = first.local_addr().unwrap().port();
        if !port.is_multiple_of(2) || port == u16::MAX - 1 {
            continue;
        }
        if let Ok(second) = UdpSocket::bind((ip, port + 1)) {
            return (first, second);
        }
    }
    panic!("no even pair of ports is free at {ip}");
}

/// `ip:port` as a socket address.
pub fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}
