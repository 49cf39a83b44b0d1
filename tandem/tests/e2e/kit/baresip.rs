//! baresip, a telephone people really use, without a sound card: it says what a WAV file says, keeps
//! what it hears in a WAV file, and is worked over its control port. Its module for lamps is left
//! out: that of version 1.0.0 now and then subscribes without end; SIPp watches lamps instead.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::node::Node;
use super::{SOON, place, sound};

/// How often it is started before the test gives up.
const START_TRIES: usize = 3;

/// A running baresip.
pub struct Baresip {
    user: String,
    child: Child,
    control: TcpStream,
    unread: Vec<u8>,
    /// What it reported, in order.
    events: Vec<Value>,
    /// How many of them have been waited for.
    seen: usize,
    dir: TempDir,
}

impl Baresip {
    /// Registered at the node as `user`, saying `samples`, with these codecs (as in
    /// `PCMU/8000,PCMA/8000`); answers by itself when called.
    pub fn registered(node: &Node, user: &str, samples: &[i16], codecs: &str) -> Baresip {
        Baresip::registered_over(node, user, samples, codecs, "udp")
    }

    /// The same over `udp` or `tcp`.
    pub fn registered_over(
        node: &Node,
        user: &str,
        samples: &[i16],
        codecs: &str,
        transport: &str,
    ) -> Baresip {
        // Ports that were free a moment ago may be another test's by now: then it is begun anew.
        let started = (0..START_TRIES)
            .find_map(|_| Baresip::try_start(node, user, samples, codecs, transport));
        let (child, control, dir) = started.expect("baresip's control port opens");
        control
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let mut phone = Baresip {
            user: user.into(),
            child,
            control,
            unread: Vec::new(),
            events: Vec::new(),
            seen: 0,
            dir,
        };
        phone.wait_registered();
        phone
    }

    /// `None`: it has ended, or its control port was never opened.
    fn try_start(
        node: &Node,
        user: &str,
        samples: &[i16],
        codecs: &str,
        transport: &str,
    ) -> Option<(Child, TcpStream, TempDir)> {
        // It binds its RTP sockets to no address, so on loopback its packets come from this one.
        let ip = Ipv4Addr::LOCALHOST;
        let (port, control_port) = (place::free_port(ip), place::free_port(ip));
        let dir = TempDir::new().unwrap();
        // Its own change of rate changes the level: what it says is at the rate of its codec.
        let (times, channels) = match codecs {
            c if c.starts_with("opus") => (6, 2),
            c if c.starts_with("G722") => (2, 1),
            _ => (1, 1),
        };
        let say = dir.path().join("say.wav");
        sound::write_wav_raised(&say, samples, times, channels);
        std::fs::create_dir(dir.path().join("heard")).unwrap();
        let account = format!(
            "<sip:{user}@{};transport={transport}>;auth_user={user};auth_pass=demo-{user};regint=300;\
             answermode=auto;audio_codecs={codecs}\n",
            node.sip()
        );
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("accounts", &account);
        write("contacts", "");
        write("config", &config(&dir, ip, port, control_port));
        let output = std::fs::File::create(dir.path().join("output.log")).unwrap();
        let mut child = Command::new("baresip")
            .args(["-4", "-f", &dir.path().display().to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("baresip is installed (make test installs it)");
        let end = Instant::now() + SOON;
        while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
            if let Ok(control) = TcpStream::connect(place::at(ip, control_port)) {
                return Some((child, control, dir));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        let output = std::fs::read(dir.path().join("output.log")).unwrap_or_default();
        eprintln!(
            "baresip did not start:\n{}",
            String::from_utf8_lossy(&output)
        );
        None
    }

    /// Its first registration may be over before the control port is connected: ask as well.
    fn wait_registered(&mut self) {
        let end = Instant::now() + SOON;
        loop {
            self.read();
            let registered = |event: &Value| event["type"] == "REGISTER_OK";
            if self.events.iter().any(registered) || self.output().contains(" binding") {
                return;
            }
            assert!(Instant::now() < end, "not registered\n{}", self.output());
        }
    }

    /// Carries out a command of its menu, as in `dial 102`.
    pub fn order(&mut self, command: &str, argument: &str) {
        let order = serde_json::json!({ "command": command, "params": argument }).to_string();
        write!(self.control, "{}:{},", order.len(), order).unwrap();
    }

    /// Waits for the next event of this type, as in `CALL_ESTABLISHED`.
    pub fn wait(&mut self, kind: &str) -> Value {
        self.wait_within(kind, SOON)
    }

    /// The same with a limit.
    pub fn wait_within(&mut self, kind: &str, limit: Duration) -> Value {
        let end = Instant::now() + limit;
        loop {
            let new = self.events[self.seen..].iter();
            if let Some(at) = new.clone().position(|event| event["type"] == kind) {
                let event = self.events[self.seen + at].clone();
                self.seen += at + 1;
                return event;
            }
            assert!(
                Instant::now() < end,
                "{}: waited {limit:?} in vain for {kind}; came: {:?}\n{}",
                self.user,
                new.map(|event| &event["type"]).collect::<Vec<_>>(),
                self.output()
            );
            self.read();
        }
    }

    /// Reads what there is from the control port: netstrings with JSON in them.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        if let Ok(length) = self.control.read(&mut bytes) {
            self.unread.extend(&bytes[..length]);
        }
        while let Some(colon) = self.unread.iter().position(|&b| b == b':') {
            let length = std::str::from_utf8(&self.unread[..colon]).ok();
            let length: usize = length.and_then(|l| l.parse().ok()).expect("a netstring");
            if self.unread.len() < colon + length + 2 {
                return;
            }
            let text = &self.unread[colon + 1..][..length];
            if let Ok(value) = serde_json::from_slice(text) {
                self.events.push(value);
            }
            self.unread.drain(..colon + length + 2);
        }
    }

    /// Presses keys as RFC 4733 events.
    pub fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.order("sndcode", &key.to_string());
            // The next order may come once baresip has sent this one's packets.
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// What it has heard in its last call. The file grows while it talks.
    pub fn heard(&self) -> Vec<i16> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dir.path().join("heard"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        files
            .last()
            .map(|path| growing_wav(path))
            .unwrap_or_default()
    }

    /// What it printed.
    pub fn output(&self) -> String {
        let text = std::fs::read(self.dir.path().join("output.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The samples of a WAV file whose header may not know yet how long it is.
fn growing_wav(path: &std::path::Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let start = bytes.windows(4).position(|word| word == b"data");
    let samples = start.and_then(|at| bytes.get(at + 8..)).unwrap_or_default();
    let Some(head) = bytes.get(22..28) else {
        return Vec::new();
    };
    // Other codecs than G.711 give other rates, and Opus two channels: one of them is enough here,
    // where tones far below 4 kHz are listened for.
    let channels = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let rate_hz = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    let step = 2 * channels.max(1) * (rate_hz / sound::RATE).max(1);
    let every = samples.chunks_exact(step);
    every.map(|p| i16::from_le_bytes([p[0], p[1]])).collect()
}

fn config(dir: &TempDir, ip: Ipv4Addr, port: u16, control_port: u16) -> String {
    let dir = dir.path().display();
    format!(
        "sip_listen {ip}:{port}\n\
         net_interface {ip}\n\
         module_path {}\n\
         module g711.so\n\
         module g722.so\n\
         module opus.so\n\
         module aufile.so\n\
         module aubridge.so\n\
         module sndfile.so\n\
         module_tmp account.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n\
         ctrl_tcp_listen {ip}:{control_port}\n\
         audio_source aufile,{dir}/say.wav\n\
         audio_player aubridge,nowhere\n\
         audio_alert aubridge,nowhere\n\
         audio_txmode thread\n\
         snd_path {dir}/heard\n\
         jitter_buffer_delay 1-20\n",
        modules()
    )
}

/// Where the distribution put baresip's modules.
fn modules() -> String {
    let places = [
        "/usr/lib/baresip/modules",
        "/usr/lib/x86_64-linux-gnu/baresip/modules",
        "/usr/lib/aarch64-linux-gnu/baresip/modules",
        "/usr/local/lib/baresip/modules",
    ];
    let found = places
        .iter()
        .find(|place| std::path::Path::new(place).is_dir());
    found.expect("baresip's modules are installed").to_string()
}
