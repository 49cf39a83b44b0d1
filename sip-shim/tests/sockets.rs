//! The shell on real sockets: SIPp as phones and gateway over UDP, streams by hand.
//!
//! Around the core stands the smallest call control there is: numbers that begin with 4 are
//! answered, others are called at their user's phones.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{header, id, mended, user};
use tandem_engine::seam::LegId;
use tandem_pbx::seam::{CallHistory, SipCommand, SipEvent, Target};
use tandem_sip_shim::{Shim, ShimConfig, ShimInput, ShimOutput, SipShell, SipShellConfig, WireIn};
use tandem_storage::time::{Now, Time};

const PATIENCE: Duration = Duration::from_secs(20);

struct Program {
    shell: Option<Arc<SipShell>>,
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// Extensions and sources of registered phones, and calls, as of the last input.
    state: Arc<Mutex<(Vec<SocketAddr>, usize)>>,
    address: SocketAddr,
}

impl Program {
    fn start(queue_max: usize, slow: Duration) -> Program {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, receiver) = sync_channel(queue_max);
        let shell = Arc::new(bind(&runtime, &sender));
        let address = shell.udp_address();
        let stop = Arc::new(AtomicBool::new(false));
        let state = Arc::new(Mutex::new((Vec::new(), 0)));
        let control = {
            let (shell, stop, state) = (shell.clone(), stop.clone(), state.clone());
            std::thread::spawn(move || control(&shell, &receiver, &stop, &state, slow))
        };
        let (shell, runtime, control) = (Some(shell), Some(runtime), Some(control));
        Program {
            shell,
            runtime,
            control,
            stop,
            state,
            address,
        }
    }

    fn shell(&self) -> &SipShell {
        self.shell.as_ref().unwrap()
    }

    fn wait_for(&self, what: &str, done: impl Fn(&(Vec<SocketAddr>, usize)) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.state.lock().unwrap()) {
            assert!(Instant::now() < end, "waited for {what}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.control.take().unwrap().join();
        let shell = Arc::into_inner(self.shell.take().unwrap()).unwrap();
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(shell.close());
    }
}

/// UDP and TCP on the same free port.
fn bind(runtime: &tokio::runtime::Runtime, sender: &SyncSender<WireIn>) -> SipShell {
    for _ in 0..50 {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let sender = sender.clone();
        let config = SipShellConfig::new(address, Some(address));
        let bound = SipShell::bind(config, move |wire| sender.try_send(wire).is_ok());
        if let Ok(shell) = runtime.block_on(bound) {
            return shell;
        }
    }
    panic!("no free port");
}

fn control(
    shell: &SipShell,
    receiver: &Receiver<WireIn>,
    stop: &AtomicBool,
    state: &Mutex<(Vec<SocketAddr>, usize)>,
    slow: Duration,
) {
    let start = Instant::now();
    let now = || Now {
        mono: Time(start.elapsed().as_nanos() as u64),
        ..Now::default()
    };
    let config = ShimConfig {
        sip_port: shell.udp_address().port(),
        trusted: vec![tandem_sip_shim::Trusted::gateway(
            "127.0.0.1".parse().unwrap(),
        )],
        ..ShimConfig::default()
    };
    let mut shim = Shim::new(config, [3; 32]);
    for number in 101..=102 {
        let user = Some(user(number));
        shim.handle(
            now(),
            ShimInput::User {
                id: id(number),
                user,
            },
        );
    }
    while !stop.load(Ordering::Relaxed) {
        match receiver.recv_timeout(Duration::from_millis(5)) {
            Ok(wire) => {
                std::thread::sleep(slow);
                shim.handle(now(), ShimInput::Wire(wire));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        shim.tick(now());
        while let Some(output) = shim.poll() {
            match output {
                ShimOutput::Wire(out) => shell.send(out),
                ShimOutput::Media(_) => {}
                ShimOutput::OpenMedia { leg } => {
                    let port = Ok(20_000 + (leg.0 % 10_000) as u16 * 2);
                    shim.handle(now(), ShimInput::MediaOpened { leg, port });
                }
                ShimOutput::Pbx(event) => {
                    for command in Pbx::on(event) {
                        shim.handle(now(), ShimInput::Pbx(command));
                    }
                }
            }
        }
        let sources = shim.phones(now()).into_iter().map(|p| p.source).collect();
        *state.lock().unwrap() = (sources, shim.dialogs());
    }
}

/// Calls in twos: leg n in, leg n + 1 out. It remembers nothing.
struct Pbx;

impl Pbx {
    fn on(event: SipEvent) -> Vec<SipCommand> {
        match event {
            SipEvent::Incoming { leg, dialed, .. } if dialed.starts_with('4') => {
                vec![SipCommand::Answer { leg, like: None }]
            }
            SipEvent::Incoming {
                leg,
                caller,
                dialed,
                ..
            } => {
                let user = id(dialed.parse().unwrap());
                let out = LegId(leg.0 + 1);
                vec![SipCommand::Call {
                    leg: out,
                    target: Target::User(user),
                    caller,
                    like: Some(leg),
                    auto_answer: false,
                    history: CallHistory::default(),
                }]
            }
            SipEvent::Ringing { leg } => vec![SipCommand::Ring {
                leg: LegId(leg.0 - 1),
            }],
            SipEvent::Answered { leg, .. } => {
                vec![SipCommand::Answer {
                    leg: LegId(leg.0 - 1),
                    like: Some(leg),
                }]
            }
            SipEvent::Ended { leg, cause } => {
                let other = if leg.0 % 2 == 0 { leg.0 - 1 } else { leg.0 + 1 };
                vec![SipCommand::End {
                    leg: LegId(other),
                    cause,
                }]
            }
            _ => Vec::new(),
        }
    }
}

/// `None`, and said so, where there is no SIPp.
fn sipp(args: &[&str]) -> Option<Child> {
    let child = Command::new("sipp")
        .args(args)
        .args([
            "-i",
            "127.0.0.1",
            "-nostdin",
            "-timeout",
            "20s",
            "-timeout_error",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if child.is_err() {
        println!("skipped: SIPp is not installed");
    }
    child.ok()
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn sipp_registers() {
    let program = Program::start(1000, Duration::ZERO);
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/register.xml");
    let target = program.address.to_string();
    let Some(mut child) = sipp(&[&target, "-sf", scenario, "-m", "20", "-r", "100"]) else {
        return;
    };
    assert!(child.wait().unwrap().success());
    assert_eq!(program.state.lock().unwrap().0.len(), 1);
}

#[test]
fn sipp_calls_the_echo() {
    for transport in ["u1", "t1"] {
        let program = Program::start(1000, Duration::ZERO);
        let target = program.address.to_string();
        let args = [
            &target, "-sn", "uac", "-s", "43", "-m", "200", "-r", "200", "-t", transport,
        ];
        let Some(mut child) = sipp(&args) else { return };
        assert!(child.wait().unwrap().success(), "{transport}");
        program.wait_for("every call to end", |s| s.1 == 0);
    }
}

#[test]
fn sipp_calls_sipp() {
    let program = Program::start(1000, Duration::ZERO);
    let target = program.address.to_string();
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    register_by_hand(&program, &at);
    let port = port.to_string();
    let Some(mut phone) = sipp(&["-sn", "uas", "-p", &port, "-m", "50"]) else {
        return;
    };
    let args = [&target, "-sn", "uac", "-s", "102", "-m", "50", "-r", "50"];
    let mut caller = sipp(&args).unwrap();
    let called = caller.wait().unwrap().success();
    let answered = phone.wait().unwrap().success();
    assert!(called && answered, "caller {called}, phone {answered}");
    program.wait_for("every call to end", |s| s.1 == 0);
}

/// Registers 102 from the port at which SIPp will then be called.
fn register_by_hand(program: &Program, at: &str) {
    let socket = UdpSocket::bind(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |text: &str| {
        socket
            .send_to(mended(text).as_bytes(), program.address)
            .unwrap();
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let challenge = header(
        &ask(&common::register_text(102, at, 1, "")),
        "WWW-Authenticate",
    );
    let uri = "sip:10.0.0.9";
    let proof =
        tandem_sip_shim::digest::answer(&challenge, "REGISTER", uri, "102", "demo-102", 1).unwrap();
    let answer = ask(&common::register_text(102, at, 2, &proof));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

fn options(n: u32) -> String {
    mended(&format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKo{n}\n\
         From: <sip:a@b>;tag=1\nTo: <sip:a@b>\nCall-ID: o{n}\nCSeq: 1 OPTIONS\n\
         Content-Length: 0\n\n"
    ))
}

/// Reads until so many answers have come.
fn answers(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while text.matches("SIP/2.0 200").count() < count || !text.ends_with("\r\n\r\n") {
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    text
}

#[test]
fn a_stream_carries_messages_however_it_is_cut() {
    let program = Program::start(1000, Duration::ZERO);
    let mut stream = TcpStream::connect(program.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    let three = format!("{}{}{}", options(1), options(2), options(3));
    stream.write_all(three.as_bytes()).unwrap();
    answers(&mut stream, 3);
    for byte in options(4).as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    answers(&mut stream, 1);
    assert_eq!(program.shell().stats().connections, 1);
    // What makes no sense ends the stream, and only that one.
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap_or(0), 0);
    let mut other = TcpStream::connect(program.address).unwrap();
    other.write_all(options(5).as_bytes()).unwrap();
    answers(&mut other, 1);
}

#[test]
fn a_phone_whose_stream_broke_is_called_where_it_listens() {
    let program = Program::start(1000, Duration::ZERO);
    let phone = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = phone.local_addr().unwrap().to_string();
    let mut stream = TcpStream::connect(program.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut ask = |text: String| {
        let text = mended(&text.replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
        stream.write_all(text.as_bytes()).unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let challenge = header(
        &ask(common::register_text(102, &at, 1, "")),
        "WWW-Authenticate",
    );
    let uri = "sip:10.0.0.9";
    let proof =
        tandem_sip_shim::digest::answer(&challenge, "REGISTER", uri, "102", "demo-102", 1).unwrap();
    let answer = ask(common::register_text(102, &at, 2, &proof));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    drop(stream);
    let at: SocketAddr = at.parse().unwrap();
    program.wait_for("the broken stream to be noticed", |s| s.0 == [at]);
    let caller = UdpSocket::bind("127.0.0.1:0").unwrap();
    let invite =
        common::invite(1, "").replace("10.7.0.1:5060", &caller.local_addr().unwrap().to_string());
    caller
        .send_to(mended(&invite).as_bytes(), program.address)
        .unwrap();
    let (mut called, _) = phone.accept().unwrap();
    called.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    let length = called.read(&mut bytes).unwrap();
    assert!(bytes[..length].starts_with(b"INVITE sip:102@"));
}

#[test]
fn a_full_queue_is_answered_503() {
    let program = Program::start(1, Duration::from_millis(20));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let via = format!("UDP {};rport", socket.local_addr().unwrap());
    for n in 0..200 {
        let text = options(n).replace("TCP 127.0.0.1", &via);
        socket.send_to(text.as_bytes(), program.address).unwrap();
    }
    let mut bytes = [0; 4096];
    loop {
        let length = socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]);
        if text.starts_with("SIP/2.0 503") {
            assert!(!header(&text, "Retry-After").is_empty());
            break;
        }
    }
    assert!(program.shell().stats().receiver_full > 0);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.block_on(SipShell::bind(SipShellConfig::new(address, None), |_| true));
    let message = bound.unwrap_err().to_string();
    assert!(message.contains(&address.to_string()), "{message}");
}
