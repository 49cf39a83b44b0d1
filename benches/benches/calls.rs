//! Calls and registrations per second, with SIPp, against the program as it is run.
//!
//! Starts a demo office on loopback, then offers it a rising rate of INVITE-200-ACK-BYE to the echo
//! (each call opens, sets and closes a media leg) and of REGISTER with digest (two round trips
//! each). Prints what was done, what failed, and the program's CPU. SIPp runs on the same cores, so
//! the highest rate is a lower bound of what the program can do.
//!
//! `cargo bench -p tandem-benches --bench calls`; needs `sipp` and a release build of `tandem`.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Offered calls per second. The last is beyond the aim of 4,000.
const CALL_RATES: [u32; 6] = [500, 1000, 2000, 3000, 4000, 5000];
const REGISTER_RATES: [u32; 4] = [500, 1000, 2000, 3000];
/// How long each rate is offered.
const SECONDS: u32 = 5;

fn main() -> Result<()> {
    // `cargo test` runs bench targets too; they are measurements, not tests.
    if !std::env::args().any(|a| a == "--bench") {
        return Ok(());
    }
    let office = Office::start()?;
    println!("INVITE-200-ACK-BYE to the echo, {SECONDS} s each:");
    header();
    for rate in CALL_RATES {
        office.offer(rate, &["-sn", "uac", "-s", "*43", "-d", "0"])?;
    }
    println!("\nREGISTER with digest, {SECONDS} s each:");
    header();
    let users = scratch().join("users.csv");
    let field = |e| format!("{e};[authentication username={e} password=demo-{e}]\n");
    let fields: String = (101..=104).map(field).collect();
    fs::write(&users, format!("SEQUENTIAL\n{fields}"))?;
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp/register.xml");
    let (scenario, users) = (scenario.display().to_string(), users.display().to_string());
    for rate in REGISTER_RATES {
        office.offer(rate, &["-sf", &scenario, "-inf", &users])?;
    }
    Ok(())
}

fn header() {
    println!(
        "{:>9} {:>9} {:>8} {:>12} {:>14} {:>12}",
        "offered/s", "done/s", "failed", "repeated", "CPU, cores", "us per call"
    );
}

/// A demo office of its own, ended when dropped.
struct Office {
    child: Child,
    sip_port: u16,
}

impl Office {
    fn start() -> Result<Office> {
        let (sip_port, http_port) = (free_port()?, free_port()?);
        let mut child = Command::new(program()?)
            .args(["demo", "--sip-port", &sip_port.to_string()])
            .args([
                "--http-port",
                &http_port.to_string(),
                "--rtp-ports",
                "20000-31999",
            ])
            .arg("--data")
            .arg(scratch().join("office"))
            .env("TANDEM_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let office = Office { child, sip_port };
        for line in BufReader::new(stdout).lines() {
            if line? == "ready" {
                return Ok(office);
            }
        }
        Err("the office ended before it was ready".into())
    }

    /// Offers `rate` calls a second and prints a line.
    fn offer(&self, rate: u32, scenario: &[&str]) -> Result<()> {
        let stats = scratch().join(format!("stats-{rate}.csv"));
        let cpu_before = cpu_seconds(self.child.id())?;
        let started = Instant::now();
        let mut sipp = Command::new("sipp")
            .arg(format!("127.0.0.1:{}", self.sip_port))
            .args(["-i", "127.0.0.1", "-p", &free_port()?.to_string()])
            .args(["-r", &rate.to_string(), "-m", &(rate * SECONDS).to_string()])
            .args(["-l", "20000", "-nostdin", "-trace_stat", "-fd", "1", "-stf"])
            .arg(&stats)
            .args(["-timeout", "60s"])
            .args(scenario)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        sipp.wait()?;
        let elapsed_s = started.elapsed().as_secs_f64();
        let cpu_s = cpu_seconds(self.child.id())? - cpu_before;
        let counts = Counts::read(&stats)?;
        println!(
            "{rate:>9} {:>9.0} {:>8} {:>12} {:>14.2} {:>12.0}",
            counts.done as f64 / elapsed_s,
            counts.failed,
            counts.repeated,
            cpu_s / elapsed_s,
            cpu_s * 1e6 / counts.done.max(1) as f64,
        );
        // What the last rate left behind (transactions linger) is not charged to the next one.
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// SIPp's own counts, from the last line of its statistics.
struct Counts {
    done: u64,
    failed: u64,
    repeated: u64,
}

impl Counts {
    fn read(stats: &Path) -> Result<Counts> {
        let text = fs::read_to_string(stats)?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().ok_or("no statistics")?.split(';').collect();
        let last: Vec<&str> = lines.last().ok_or("no statistics")?.split(';').collect();
        let count = |name: &str| -> Result<u64> {
            let at = names
                .iter()
                .position(|n| *n == name)
                .ok_or(format!("no column {name}"))?;
            Ok(last.get(at).ok_or("a short line")?.parse()?)
        };
        Ok(Counts {
            done: count("SuccessfulCall(C)")?,
            failed: count("FailedCall(C)")?,
            repeated: count("Retransmissions(C)")?,
        })
    }
}

/// User and system time of a process so far (proc(5), `stat` fields 14 and 15).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").ok_or("a broken stat line")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // USER_HZ is 100 on every Linux that runs this.
    Ok(ticks as f64 / 100.0)
}

/// The release build of `tandem`, beside this bench's own build.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .map(|d| d.join("tandem"))
        .find(|p| p.is_file());
    found.ok_or_else(|| "tandem is not built: cargo build --release -p tandem".into())
}

fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tandem-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).ok();
    dir
}

/// A port that UDP and TCP both have free.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}
