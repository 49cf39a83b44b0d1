//! The built program, started as a person would and spoken to over its command line.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::place;

/// The longest a start may take on a busy machine; the product's own promise is tested apart.
const START_MAX: Duration = Duration::from_secs(30);

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where it serves.
    pub ip: Ipv4Addr,
    /// SIP, UDP and TCP.
    pub sip_port: u16,
    /// The portal.
    pub http_port: u16,
    /// First and last port for media.
    pub rtp_ports: (u16, u16),
    /// Where it keeps its log.
    pub data: PathBuf,
    /// Started with this configuration file instead of as a demo.
    pub config: Option<PathBuf>,
    /// This release, or another.
    program: PathBuf,
}

impl Setup {
    fn arguments(&self) -> Vec<String> {
        if let Some(file) = &self.config {
            return vec!["run".into(), "--config".into(), file.display().to_string()];
        }
        let (first, last) = self.rtp_ports;
        vec![
            "demo".into(),
            "--data".into(),
            self.data.display().to_string(),
            "--bind".into(),
            self.ip.to_string(),
            "--sip-port".into(),
            self.sip_port.to_string(),
            "--http-port".into(),
            self.http_port.to_string(),
            "--rtp-ports".into(),
            format!("{first}-{last}"),
        ]
    }
}

/// A node and its data directory, which goes with it.
pub struct Node {
    /// How it was started.
    pub setup: Setup,
    child: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
    dir: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Node {
    /// A demo office that is ready, at an address of its own.
    pub fn demo() -> Node {
        let mut node = Node::prepared();
        node.start();
        node
    }

    /// The same, not started yet: `setup` can still be changed.
    pub fn prepared() -> Node {
        let dir = TempDir::new().expect("a temporary directory");
        let ip = place::loopback();
        let setup = Setup {
            ip,
            sip_port: place::free_port(ip),
            http_port: place::free_port(ip),
            rtp_ports: (20_000, 20_399),
            data: dir.path().join("data"),
            config: None,
            program: release(),
        };
        Node {
            setup,
            child: None,
            log: Arc::default(),
            dir,
        }
    }

    /// Starts it and waits for `ready`; says how long that took.
    pub fn start(&mut self) -> Duration {
        match self.try_start() {
            Ok(took) => took,
            Err(said) => panic!(
                "the node did not start: exit {}\n{}\n{}",
                said.code, said.out, said.err
            ),
        }
    }

    /// Starts it; `Err` is what it said if it ended instead of getting ready.
    pub fn try_start(&mut self) -> Result<Duration, Said> {
        assert!(self.child.is_none(), "the node runs already");
        let began = Instant::now();
        let mut child = Command::new(&self.setup.program)
            .args(self.setup.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let first_line = self.log.lock().unwrap().len();
        let (lines_in, lines) = mpsc::channel();
        self.keep_lines("out", stdout, Some(lines_in));
        let errors = self.keep_lines("err", stderr, None);
        loop {
            match lines.recv_timeout(START_MAX.saturating_sub(began.elapsed())) {
                Ok(line) if line.trim() == "ready" => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.wait().expect("the child can be waited for");
                    let _ = errors.join();
                    return Err(self.said_since(first_line, status));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("no `ready` within {START_MAX:?}\n{}", self.log_text());
                }
            }
        }
        self.child = Some(child);
        Ok(began.elapsed())
    }

    /// Starts the running demo again as `tandem run` with its own settings and these, which may
    /// not repeat a section of [`Setup`] except `[rtp]`, `[node]` and `[storage]`.
    pub fn configure(&mut self, more: &str) {
        self.ask_to_end();
        self.ended(super::SOON);
        self.write_config("demo", more);
        self.start();
    }

    /// Writes the configuration with which it is started next, under this name; see
    /// [`Node::configure`].
    pub fn write_config(&mut self, name: &str, more: &str) {
        let setup = &self.setup;
        let (first, last) = setup.rtp_ports;
        let own = [
            (
                "[node]",
                format!("name = \"{name}\"\ndata = \"{}\"", setup.data.display()),
            ),
            (
                "[sip]",
                format!(
                    "bind = \"{}\"\nport = {}\ntrusted = [\"127.0.0.1\"]",
                    setup.ip, setup.sip_port
                ),
            ),
            ("[rtp]", format!("ports = \"{first}-{last}\"")),
            (
                "[portal]",
                format!("bind = \"{}\"\nport = {}", setup.ip, setup.http_port),
            ),
        ];
        let mut text = more.to_string();
        for (section, values) in own {
            match text.contains(section) {
                true => text = text.replace(section, &format!("{section}\n{values}")),
                false => text += &format!("{section}\n{values}\n"),
            }
        }
        let file = self.dir.path().join("tandem.toml");
        std::fs::write(&file, text).unwrap();
        self.setup.config = Some(file);
    }

    fn keep_lines(
        &self,
        name: &'static str,
        from: impl Read + Send + 'static,
        to: Option<mpsc::Sender<String>>,
    ) -> JoinHandle<()> {
        let log = self.log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                log.lock().unwrap().push(format!("{name}| {line}"));
                if let Some(to) = &to {
                    let _ = to.send(line);
                }
            }
        })
    }

    fn said_since(&self, first_line: usize, status: ExitStatus) -> Said {
        let log = self.log.lock().unwrap();
        let of = |name: &str| {
            let lines = log[first_line.min(log.len())..].iter();
            let mine: Vec<&str> = lines.filter_map(|line| line.strip_prefix(name)).collect();
            mine.join("\n")
        };
        Said {
            code: status.code().unwrap_or(-1),
            out: of("out| "),
            err: of("err| "),
        }
    }

    /// Where its SIP is.
    pub fn sip(&self) -> SocketAddr {
        place::at(self.setup.ip, self.setup.sip_port)
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.setup.data
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        let dir = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(dir).expect("the node runs").count()
    }

    /// Pulls the plug.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill(2) on the process id of a child that has not been waited for, so the id
        // cannot have passed to another process.
        let sent = unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "the signal could be sent");
    }

    /// Asks it to end (SIGTERM), without waiting.
    pub fn ask_to_end(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Waits until it has ended.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the node runs");
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait().expect("our own child can be asked") {
                return status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the node did not end within {limit:?}\n{}", self.log_text());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        match &mut self.child {
            Some(child) => child
                .try_wait()
                .expect("our own child can be asked")
                .is_none(),
            None => false,
        }
    }

    /// `tandem ARGS --data DIR`.
    pub fn cli(&self, args: &[&str]) -> Said {
        let data = self.setup.data.display().to_string();
        let mut all = args.to_vec();
        all.extend(["--data", &data]);
        tandem(&all)
    }

    /// The same with `--json`, which must succeed.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut all = args.to_vec();
        all.push("--json");
        let said = self.cli(&all);
        assert_eq!(said.code, 0, "{args:?} failed: {}", said.err);
        serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{args:?} gave no JSON: {error}\n{}", said.out))
    }

    /// A page of the portal: status code and body.
    pub fn http(&self, path: &str) -> (u16, String) {
        use std::io::Write;
        let mut stream =
            std::net::TcpStream::connect(place::at(self.setup.ip, self.setup.http_port))
                .expect("the portal answers");
        stream.set_read_timeout(Some(super::SOON)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        (
            status.expect("a status"),
            body.unwrap_or_default().to_string(),
        )
    }

    /// A figure of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.http("/metrics");
        let values = page.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            (key.split('{').next()? == name).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// All it has said so far, for a failing test.
    pub fn log_text(&self) -> String {
        let log = self.log.lock().unwrap();
        let from = log.len().saturating_sub(200);
        log[from..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- what the node said ---\n{}", self.log_text());
        }
    }
}

/// The program with these arguments, run to its end.
pub fn tandem(args: &[&str]) -> Said {
    let output = program().args(args).output().expect("the program runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What the next node runs: where `TANDEM_OTHER_RELEASE` names the program of another release, every
/// second node of a test runs that one.
fn release() -> PathBuf {
    static NODES: AtomicUsize = AtomicUsize::new(0);
    let is_second = NODES.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    let other = std::env::var_os("TANDEM_OTHER_RELEASE").filter(|_| is_second);
    other.map_or(env!("CARGO_BIN_EXE_tandem").into(), PathBuf::from)
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tandem"))
}
