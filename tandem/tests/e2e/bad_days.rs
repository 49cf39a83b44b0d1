//! The bad days: the disk is full, somebody floods, something is taken.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::kit::node::{Node, Said};
use crate::kit::rtp::hear;
use crate::kit::sip::Message;
use crate::kit::sound::{counted_frames, is_tone};
use crate::kit::ua::{Call, Ua};
use crate::kit::{SOON, until};
use crate::mailbox::{at_the_beep, sound_of, wait_messages};

/// Numbers that look random and are the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A caller who speaks after the beep (the greeting is skipped).
pub fn speaking(caller: &mut Ua) -> Call {
    let call = caller.call("*102");
    call.media.hush();
    call.media.wait_packets(0, 10);
    call.media.press("#");
    call.media.wait_beep(0);
    call.media.count_up();
    call
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let node = Node::demo();
    let strip = |response: &Message| {
        let mut lines: Vec<String> = response.headers.iter().map(|(n, _)| n.clone()).collect();
        lines.insert(0, response.start.clone());
        lines
    };
    let mut wrong = Ua::of(&node, "101");
    wrong.password = "guess".into();
    let mut unknown = Ua::of(&node, "199");
    let first = wrong.register_for(300);
    let second = unknown.register_for(300);
    assert!(matches!(first.status(), Some(401 | 403)), "{first:?}");
    assert_eq!(strip(&first), strip(&second));
    let mut calls = [wrong, unknown].map(|mut ua| {
        let mut call = ua.dial("102");
        let status = ua.wait_final(&mut call);
        (ua, status)
    });
    assert_eq!(calls[0].1, calls[1].1);
    assert!(calls[0].1 >= 400, "{}", calls[0].0.text());
    calls.reverse();
    assert!(node.json(&["phones"]).as_array().unwrap().is_empty());
}

#[test]
fn a_flood_of_registers_does_not_disturb_others() {
    let node = Node::demo();
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::of(&node, "102"));
    a.register();
    b.register();
    // Somebody guesses passwords from another address as fast as one socket can.
    let flooder = UdpSocket::bind((crate::kit::place::loopback(), 0)).unwrap();
    let at = flooder.local_addr().unwrap();
    let to = node.sip();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let under_way = Arc::new(AtomicU64::new(0));
    let progress = under_way.clone();
    let flood = std::thread::spawn(move || {
        let mut sent = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            sent += 1;
            progress.store(sent, Ordering::Relaxed);
            let text = format!(
                "REGISTER sip:{ip} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKflood{sent}\r\n\
                 From: <sip:101@{ip}>;tag=f{sent}\r\nTo: <sip:101@{ip}>\r\nCall-ID: f{sent}\r\n\
                 CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:101@{at}>\r\n\
                 Authorization: Digest username=\"101\", realm=\"tandem\", nonce=\"{sent}\", \
                 uri=\"sip:{ip}\", response=\"{sent:032x}\", algorithm=MD5\r\n\
                 Content-Length: 0\r\n\r\n",
                ip = to.ip()
            );
            let _ = flooder.send_to(text.as_bytes(), to);
            if sent.is_multiple_of(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    until("the flood is under way", SOON, || {
        (under_way.load(Ordering::Relaxed) > 1_000).then_some(())
    });
    let began = Instant::now();
    let mut call = a.call("*43");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    call.media.hum(700.0, -20.0);
    call.media.wait_tone(0, 700.0);
    let from = call.media.mark();
    let hearing = hear(&call.media.wait_packets(from, 100));
    assert_eq!(hearing.lost, 0);
    b.register();
    a.hang_up(&mut call);
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    assert!(sent > 5_000, "a flood of only {sent}");
    assert_eq!(node.json(&["phones"]).as_array().unwrap().len(), 2);
    // Refused, slowed down, and counted.
    assert!(node.metric("tandem_sip_login_failures_total") >= 1.0);
    assert!(node.metric("tandem_sip_slowed_total") > 1_000.0);
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut node = Node::demo();
    let mut a = Ua::of(&node, "101");
    a.register();
    let noise = UdpSocket::bind((node.setup.ip, 0)).unwrap();
    let mut dice = Dice(0x5eed);
    for length in [0, 1, 2, 3, 4, 11, 12, 100, 1500, 9000, 65_000] {
        let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        noise.send_to(&bytes, node.sip()).unwrap();
    }
    for text in [
        "INVITE sip:102 SIP/2.0\r\n\r\n",
        "INVITE sip:102@x SIP/7.0\r\nVia: SIP/2.0/UDP 1.2.3.4\r\nContent-Length: 99999\r\n\r\nv=0",
        "SIP/2.0 200 OK\r\nCSeq: 99999999999999999999 INVITE\r\n\r\n",
        "BYE sip:102@x SIP/2.0\r\nVia: \r\nFrom: \r\nTo: \r\nCall-ID: \r\nCSeq: -1 BYE\r\n\r\n",
    ] {
        noise.send_to(text.as_bytes(), node.sip()).unwrap();
    }
    let mut call = a.call("*43");
    call.media.hum(700.0, -20.0);
    call.media.wait_tone(0, 700.0);
    let media = call.theirs.as_ref().unwrap().at;
    for length in [0, 1, 2, 11, 12, 13, 20, 172, 1500, 9000] {
        let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        call.media.send_raw(&bytes, media);
        let rtcp = std::net::SocketAddr::new(media.ip(), media.port() + 1);
        call.media.send_raw(&bytes, rtcp);
    }
    let from = call.media.mark();
    call.media.wait_tone(from, 700.0);
    a.hang_up(&mut call);
    assert!(node.runs());
}

#[test]
fn the_last_port_is_used_up_and_comes_back() {
    let mut node = Node::prepared();
    // Room for two legs.
    node.setup.rtp_ports = (20_000, 20_003);
    node.start();
    let mut callers: Vec<Ua> = (0..3)
        .map(|n| Ua::gateway(&node, &format!("08{n}")))
        .collect();
    let mut first = callers[0].call("*43");
    let mut second = callers[1].call("*43");
    let mut third = callers[2].dial("*43");
    assert_eq!(
        callers[2].wait_final(&mut third),
        503,
        "{}",
        callers[2].text()
    );
    first.media.hum(700.0, -20.0);
    first.media.wait_tone(0, 700.0);
    callers[0].hang_up(&mut first);
    let mut third = until("the ports are free again", SOON, || {
        let mut call = callers[2].dial("*43");
        (callers[2].wait_final(&mut call) == 200).then_some(call)
    });
    callers[2].hang_up(&mut third);
    callers[1].hang_up(&mut second);
}

/// It ended with 1 and said why, without a panic.
fn assert_refused(said: &Said, words: &[&str]) {
    assert_eq!(said.code, 1, "{said:?}");
    assert!(!said.err.contains("panicked"), "{}", said.err);
    for word in words {
        assert!(
            said.err.contains(word),
            "'{word}' is missing in: {}",
            said.err
        );
    }
}

#[test]
fn the_sip_port_is_taken() {
    let mut node = Node::prepared();
    let _taken = UdpSocket::bind(node.sip()).unwrap();
    let port = node.setup.sip_port.to_string();
    let said = node.try_start().expect_err("it must not start");
    assert_refused(&said, &[&port, "in use"]);
}

#[test]
fn the_portals_port_is_taken() {
    let mut node = Node::prepared();
    let _taken = std::net::TcpListener::bind((node.setup.ip, node.setup.http_port)).unwrap();
    let port = node.setup.http_port.to_string();
    let said = node.try_start().expect_err("it must not start");
    assert_refused(&said, &[&port, "in use"]);
}

#[test]
fn the_data_directory_is_in_use_by_another_node() {
    let node = Node::demo();
    let mut second = Node::prepared();
    second.setup.data = node.data().to_path_buf();
    let said = second.try_start().expect_err("it must not start");
    assert_refused(&said, &["in use", &node.pid().to_string()]);
    assert_eq!(node.cli(&["status"]).code, 0, "the first goes on");
}

#[test]
fn the_data_directory_cannot_be_written() {
    let mut node = Node::prepared();
    node.setup.data = "/proc/tandem".into();
    let said = node.try_start().expect_err("it must not start");
    assert_refused(&said, &["/proc/tandem"]);
}

#[test]
fn being_asked_to_end_lets_a_call_end_first() {
    let mut node = Node::demo();
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::of(&node, "102"));
    a.register();
    b.register();
    let mut ours = a.dial("102");
    a.answer_challenge(&mut ours);
    let mut theirs = b.wait_call();
    b.answer(&mut theirs);
    assert_eq!(a.wait_final(&mut ours), 200);
    theirs.media.hum(440.0, -20.0);
    ours.media.wait_tone(0, 440.0);
    node.ask_to_end();
    // It says that it is not ready for more …
    until("it is no longer ready", SOON, || {
        (node.http("/readyz").0 == 503).then_some(())
    });
    let mut late = b.dial("*43");
    assert_eq!(b.wait_final(&mut late), 503, "{}", b.text());
    // … but this call goes on as long as it likes (within the grace).
    let from = ours.media.mark();
    ours.media.wait_packets(from, 100);
    assert!(node.runs());
    a.hang_up(&mut ours);
    b.wait_hang_up(&theirs);
    assert!(node.ended(SOON).success());
}

#[test]
fn being_asked_to_end_keeps_what_is_being_spoken() {
    let mut node = Node::demo();
    node.configure("[node]\nstop_grace_s = 1\n");
    let mut caller = Ua::gateway(&node, "0999");
    let call = at_the_beep(&mut caller);
    call.media.count_up();
    call.media.speak_for(3);
    let spoken = call.media.count();
    node.ask_to_end();
    caller.wait_hang_up(&call);
    assert!(node.ended(SOON).success());
    node.start();
    let message = wait_messages(&node, 1).remove(0);
    assert_ne!(message["cut_short"], true, "{message}");
    let frames = counted_frames(&sound_of(&node, &message));
    assert!(
        frames.len() + 5 >= usize::from(spoken),
        "{} of {spoken}",
        frames.len()
    );
    assert_eq!(node.cli(&["log", "verify"]).code, 0);
}

#[test]
fn a_full_disk_is_told_to_callers_and_calls_go_on() {
    let mut node = Node::prepared();
    std::fs::create_dir_all(node.data()).unwrap();
    let Some(_disk) = SmallDisk::at(node.data(), 256) else {
        println!("not seen: a small disk can only be mounted by root");
        return;
    };
    node.start();
    let (mut a, mut b) = (Ua::of(&node, "101"), Ua::gateway(&node, "0999"));
    a.register();
    let mut kept = speaking(&mut b);
    kept.media.speak_for(3);
    b.hang_up(&mut kept);
    wait_messages(&node, 1);

    let mut talking = a.call("*43");
    // Skips the words before the echo.
    talking.media.press("#");
    talking.media.hum(700.0, -20.0);
    let filler = node.data().join("filler");
    fill(&filler);
    until("the node knows", Duration::from_secs(30), || {
        (!node
            .json(&["status"])
            .to_string()
            .contains("\"can_record\":true"))
        .then_some(())
    });
    let (status, page) = node.http("/readyz");
    assert!(
        status == 503 && page.contains("the disk is full"),
        "{status} {page}"
    );
    let alarms = node.json(&["status"])["alarms"].to_string();
    assert!(alarms.contains("the disk is full"), "{alarms}");
    assert!(node.log_text().contains("the disk is full"));
    let mut call = b.call("*102");
    call.media.hush();
    call.media
        .wait_phrase(0, "vm/cannot-take-message", Duration::from_secs(30));
    b.hang_up_or_be_hung_up(&mut call);
    let from = talking.media.mark();
    let hearing = hear(&talking.media.wait_packets(from, 50));
    assert!(is_tone(&hearing.samples, 700.0), "the call goes on");
    a.hang_up(&mut talking);

    // There is room again, and so are messages.
    std::fs::remove_file(&filler).unwrap();
    until("the node knows", Duration::from_secs(30), || {
        node.json(&["status"])
            .to_string()
            .contains("\"can_record\":true")
            .then_some(())
    });
    let mut call = speaking(&mut b);
    call.media.speak_for(3);
    b.hang_up(&mut call);
    wait_messages(&node, 2);
    node.kill();
}

/// A small file system in memory, as root.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn at(place: &std::path::Path, mib: u32) -> Option<SmallDisk> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(place)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk(place.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node may still have files open when a test fails.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let piece = vec![0xaa; 1 << 20];
    while file.write_all(&piece).is_ok() {}
}
