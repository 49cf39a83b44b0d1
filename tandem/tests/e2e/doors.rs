//! Floods at every door, while a call is up that must not notice: the portal, the command socket, SIP over TCP,
//! calls from everywhere.

use std::io::{ErrorKind, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use crate::kit::node::Node;
use crate::kit::rtp::hear;
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, place, until};
use crate::site::JOINED;

/// A node with a call up: the echo's, so that what is said comes back.
struct Up {
    node: Node,
    phone: Ua,
    call: Call,
}

impl Up {
    fn call() -> Up {
        let node = Node::demo();
        let mut phone = Ua::of(&node, "101");
        phone.register();
        let call = phone.call("*43");
        call.media.hum(700.0, -20.0);
        call.media.wait_tone(0, 700.0);
        Up { node, phone, call }
    }

    /// What comes in now, two seconds of it, is whole; and so is a new call.
    fn is_not_disturbed(&mut self) {
        let from = self.call.media.mark();
        let heard = hear(&self.call.media.wait_packets(from, 100));
        assert_eq!(heard.lost, 0, "packets were lost");
        let mut other = Ua::of(&self.node, "102");
        other.register();
        let mut call = other.call("*43");
        other.hang_up(&mut call);
    }

    fn ends(mut self) {
        self.phone.hang_up(&mut self.call);
        assert!(self.node.runs());
    }
}

#[test]
fn requests_that_never_end_take_nothing_from_calls_and_the_portal_is_back_soon() {
    let mut up = Up::call();
    let portal = place::at(up.node.setup.ip, up.node.setup.http_port);
    let files = up.node.open_files();
    let slow: Vec<TcpStream> = (0..500)
        .filter_map(|_| TcpStream::connect(portal).ok())
        .filter_map(|mut stream| {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHo")
                .ok()
                .map(|()| stream)
        })
        .collect();
    assert!(slow.len() > 100, "a flood of only {}", slow.len());
    up.is_not_disturbed();
    let taken = up.node.open_files().saturating_sub(files);
    assert!(taken <= 100, "{taken} descriptors");
    until("those who are slow are let go", JOINED, || {
        let stream = TcpStream::connect(portal).ok()?;
        asks_health(stream).then_some(())
    });
    assert!(up.node.metric("tandem_portal_refused_total") > 100.0);
    up.ends();
}

fn asks_health(mut stream: TcpStream) -> bool {
    use std::io::Read;
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut said = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut said).is_ok()
        && said.starts_with("HTTP/1.1 200")
}

#[test]
fn askers_who_ask_nothing_are_let_go_and_others_are_answered() {
    let mut up = Up::call();
    let socket = up.node.data().join("control.sock");
    let silent: Vec<UnixStream> = (0..100)
        .map_while(|_| {
            let stream = UnixStream::connect(&socket).ok()?;
            Some(stream)
        })
        .collect();
    assert!(silent.len() >= 32, "only {}", silent.len());
    up.is_not_disturbed();
    // The first of them have their time; then it is the turn of others.
    drop(silent);
    until("a command is answered", JOINED, || {
        (up.node.cli(&["status"]).code == 0).then_some(())
    });
    up.ends();
}

#[test]
fn streams_that_dribble_take_nothing_from_calls() {
    let mut up = Up::call();
    let files = up.node.open_files();
    let streams: Vec<TcpStream> = (0..600)
        .filter_map(|_| TcpStream::connect(up.node.sip()).ok())
        .filter_map(|mut stream| stream.write_all(b"I").ok().map(|()| stream))
        .collect();
    assert!(streams.len() > 100, "a flood of only {}", streams.len());
    up.is_not_disturbed();
    let taken = up.node.open_files().saturating_sub(files);
    assert!(taken <= 300, "{taken} descriptors");
    until("they are closed", JOINED * 2, || {
        let left = up.node.open_files().saturating_sub(files);
        (left <= 20).then_some(())
    });
    up.ends();
}

#[test]
fn calls_from_everywhere_get_one_small_answer_each_and_disturb_nobody() {
    let mut up = Up::call();
    let sockets: Vec<UdpSocket> = (0..20)
        .map(|_| UdpSocket::bind((place::loopback(), 0)).unwrap())
        .collect();
    let mut sent = 0;
    for round in 0..100 {
        for (nth, socket) in sockets.iter().enumerate() {
            let text = invite(&up.node, socket, round * 1000 + nth);
            socket.send_to(text.as_bytes(), up.node.sip()).unwrap();
            sent += text.len();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    up.is_not_disturbed();
    let (mut answers, mut bytes) = (0, 0);
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let said = String::from_utf8_lossy(&buffer[..length]);
                    assert!(
                        said.starts_with("SIP/2.0 401") || said.starts_with("SIP/2.0 503"),
                        "{said}"
                    );
                    (answers, bytes) = (answers + 1, bytes + length);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("{e}"),
            }
        }
    }
    assert!(answers > 100, "{answers} answers");
    assert!(answers <= 2000, "{answers} answers to 2000 requests");
    assert!(bytes < 2 * sent, "{bytes} bytes for {sent}");
    up.ends();
}

fn invite(node: &Node, from: &UdpSocket, n: usize) -> String {
    let (at, ip) = (from.local_addr().unwrap(), node.sip().ip());
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
               m=audio 4000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:102@{ip} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKs{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:101@{ip}>;tag=s{n}\r\nTo: <sip:102@{ip}>\r\n\
         Call-ID: s{n}@{at}\r\nCSeq: 1 INVITE\r\nContact: <sip:101@{at}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}
