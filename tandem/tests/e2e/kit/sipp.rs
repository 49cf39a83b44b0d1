//! SIPp, the load generator everybody has, as a telephone that knows nothing of our code.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::node::Node;
use super::{place, sound};

/// A run of one scenario.
pub struct Sipp {
    child: Child,
    name: String,
    dir: TempDir,
}

impl Sipp {
    /// Starts the scenario `tests/sipp/NAME.xml` against the node; `more` are further arguments.
    pub fn start(node: &Node, name: &str, more: &[&str]) -> Sipp {
        let dir = TempDir::new().unwrap();
        let ip = node.setup.ip;
        let port = place::free_port(ip);
        Sipp::start_at(node.sip(), name, place::at(ip, port), dir, more)
    }

    /// The same from an address of the test's choice.
    pub fn start_from(node: &Node, name: &str, from: SocketAddr, more: &[&str]) -> Sipp {
        Sipp::start_at(node.sip(), name, from, TempDir::new().unwrap(), more)
    }

    fn start_at(to: SocketAddr, name: &str, from: SocketAddr, dir: TempDir, more: &[&str]) -> Sipp {
        let (rtp, _rtcp) = place::even_pair(match from.ip() {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => unreachable!("scenarios run at IPv4 addresses"),
        });
        let media_port = rtp.local_addr().unwrap().port();
        drop(rtp);
        // What a scenario can say with rtp_stream: a tone, long enough for a greeting and a message.
        let tone = sound::sine(640.0, -20.0, 40 * sound::RATE);
        let tone: Vec<u8> = tone.into_iter().map(sound::to_ulaw).collect();
        std::fs::write(dir.path().join("tone.ulaw"), tone).unwrap();
        // A phone that calls answers what is told about its lamp; one that is called has been told
        // before (see register.xml), and SIPp could not do both.
        let lamp: &[&str] = match name.starts_with("uas") {
            true => &[],
            false => &["-oocsn", "ooc_default"],
        };
        let scenario = scenarios().join(format!("{name}.xml"));
        let child = Command::new("sipp")
            .current_dir(dir.path())
            .arg(to.to_string())
            .args(["-sf", &scenario.display().to_string()])
            .args(["-i", &from.ip().to_string(), "-p", &from.port().to_string()])
            .args(["-mi", &from.ip().to_string()])
            .args(["-mp", &media_port.to_string()])
            .args([
                "-aa",
                "-m",
                "1",
                "-nostdin",
                "-timeout",
                "90s",
                "-timeout_error",
            ])
            .args(["-trace_err", "-error_file", "errors.log"])
            .args(["-trace_msg", "-message_file", "messages.log"])
            .args(lamp)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp is installed (make test installs it)");
        Sipp {
            child,
            name: name.into(),
            dir,
        }
    }

    /// Waits for its end, which must be a success.
    pub fn done(mut self) {
        let end = Instant::now() + Duration::from_secs(70);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < end,
                "{} never ended{}",
                self.name,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(
            status.success(),
            "{} failed: {status}{}",
            self.name,
            self.said()
        );
    }

    fn said(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name));
        let parts = ["errors.log", "messages.log"].map(|name| read(name).unwrap_or_default());
        format!("\n--- {} ---\n{}", self.name, parts.join("\n"))
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the scenarios are.
fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp")
}
