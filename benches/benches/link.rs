//! What a second copy costs: time from handed in to durable here and at both nodes, processor time, and
//! how fast a node that comes back catches up.
//!
//! Two nodes on loopback with TLS between them and a disk under both; the second is this program again,
//! as a process of its own, so that what the first spends can be told. The bare disk's commit and a round
//! trip of one byte between the processes' threads are measured in alternating slices of the same run.
//!
//! `cargo bench -p tandem-benches --bench link`, and with `-- --only catch-up` or `latency` that alone.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tandem_storage::block::CHUNK_SAMPLES_MAX;
use tandem_storage::link::frame::VERSIONS;
use tandem_storage::link::{LinkConfig, LinkEvent, Position};
use tandem_storage::name::{Id, Ids};
use tandem_storage::seam::{
    Append, ChunkPlace, Hlc, LOCAL_REGISTERS, LogEvent, Owner, Payload, SoundCodec, Stamp, Token,
};
use tandem_storage::site::{
    Door, Invitation, LinkHelp, LinkParts, Linking, Members, Site, WriteRegisters,
    address_register_key, join, link, value,
};
use tandem_storage::time::WallTime;
use tandem_storage::{BarePath, Log, LogConfig};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAIRS: usize = 9;
const SLICE: Duration = Duration::from_millis(400);
/// Sounds recorded at once when processor time is measured.
const SOUNDS: u32 = 1000;
const SOUNDS_FOR: Duration = Duration::from_secs(8);
/// What a node that was away has to catch up with.
const AWAY_BYTES: u64 = 400 << 20;
const SEGMENT_BYTES: u64 = 32 << 20;
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--second") {
        return second(
            Path::new(&args[at + 1]),
            args.get(at + 2).map(String::as_str),
        );
    }
    if !args.iter().any(|a| a == "--bench") {
        return Ok(());
    }
    let only = args.iter().position(|a| a == "--only");
    let only = only.and_then(|at| args.get(at + 1)).map(String::as_str);
    let dir = tempfile::tempdir_in(std::env::current_exe()?.parent().ok_or("no folder")?)?;
    if only == Some("catch-up") {
        return catch_up(dir.path());
    }
    let alone = processor_time(&dir.path().join("alone"), None)?;
    let mut node = Node::first(&dir.path().join("a"))?;
    let token = node.invite()?;
    let folder = dir.path().join("b");
    let other = Second::start(&folder, Some(&token))?;
    node.wait_backup()?;
    latency(&mut node, dir.path())?;
    drop(other);
    node.close();
    if only == Some("latency") {
        return Ok(());
    }

    let both = processor_time(&dir.path().join("c"), Some(&dir.path().join("d")))?;
    println!(
        "\n{SOUNDS} sounds recorded at once: processor time of the recording node {:.1} % of a core alone, \
         {:.1} % with a second copy: {:.2} x",
        alone * 100.0,
        both * 100.0,
        both / alone
    );
    catch_up(dir.path())
}

/// Handed in to durable here, and at both.
fn latency(node: &mut Node, dir: &Path) -> Result<()> {
    let mut bare = BarePath::new(&dir.join("bare"), 64 << 20)?;
    let mut trip = RoundTrip::start()?;
    let (mut here, mut there, mut disk, mut trips) = (vec![], vec![], vec![], vec![]);
    node.slice(&mut vec![], &mut vec![])?;
    // Once all over it, so that the file system has nothing more to note.
    for _ in 0..2 * (64 << 20) / (256 * 4096) {
        bare.commit(256)?;
    }
    for _ in 0..PAIRS {
        node.slice(&mut here, &mut there)?;
        let until = Instant::now() + SLICE / 2;
        while Instant::now() < until {
            let since = Instant::now();
            bare.commit(1)?;
            disk.push(since.elapsed());
        }
        let until = Instant::now() + SLICE / 4;
        while Instant::now() < until {
            trips.push(trip.once()?);
        }
    }
    println!(
        "{:>26} {:>10} {:>10}",
        "one append at a time", "p50 us", "p99 us"
    );
    for (what, times) in [
        ("bare commit", &mut disk),
        ("round trip of a byte", &mut trips),
        ("durable here", &mut here),
        ("durable at both", &mut there),
    ] {
        times.sort();
        println!(
            "{what:>26} {:>10.0} {:>10.0}",
            us(at(times, 0.5)),
            us(at(times, 0.99))
        );
    }
    for part in [0.5, 0.99] {
        let aim = at(&disk, part) * 2 + at(&trips, part);
        println!(
            "p{:.0}: here {:.2}, both {:.2} of (two bare commits and a round trip)",
            part * 100.0,
            us(at(&here, part)) / us(aim),
            us(at(&there, part)) / us(aim)
        );
    }
    Ok(())
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Of a core, while sounds are recorded; with a second node if there is a folder for it.
fn processor_time(dir: &Path, second: Option<&Path>) -> Result<f64> {
    let mut node = Node::first(dir)?;
    let other = match second {
        Some(folder) => {
            let token = node.invite()?;
            let other = Second::start(folder, Some(&token))?;
            node.wait_backup()?;
            Some(other)
        }
        None => None,
    };
    let before = own_processor_time()?;
    let started = Instant::now();
    let handed = node.record(SOUNDS, started + SOUNDS_FOR)?;
    let share = (own_processor_time()? - before).as_secs_f64() / started.elapsed().as_secs_f64();
    for _ in 0..handed {
        node.next_commit()?;
    }
    drop(other);
    node.close();
    Ok(share)
}

/// A node that was away while much was said.
fn catch_up(dir: &Path) -> Result<()> {
    let mut node = Node::first(&dir.join("e"))?;
    let token = node.invite()?;
    let folder = dir.join("f");
    let other = Second::start(&folder, Some(&token))?;
    node.wait_backup()?;
    drop(other);
    let began = Instant::now();
    node.fill(AWAY_BYTES)?;
    let written = AWAY_BYTES as f64 / began.elapsed().as_secs_f64() / 1e6;
    let began = Instant::now();
    let other = Second::start(&folder, None)?;
    node.wait_acked(node.last)?;
    let took = began.elapsed();
    let rate = AWAY_BYTES as f64 / took.as_secs_f64() / 1e6;
    println!(
        "\na node that was away catches up with {} MiB in {took:.1?}: {rate:.0} MB/s; the log itself was \
         written with {written:.0} MB/s: {:.2}",
        AWAY_BYTES >> 20,
        rate / written
    );
    drop(other);
    node.close();
    Ok(())
}

fn own_processor_time() -> Result<Duration> {
    // SAFETY: getrusage fills the struct it is given, which is plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &mut usage) != 0 {
            return Err("getrusage failed".into());
        }
        usage
    };
    let of = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
    };
    Ok(of(usage.ru_utime) + of(usage.ru_stime))
}

/// A byte there and back between two threads over loopback.
struct RoundTrip(TcpStream);

impl RoundTrip {
    fn start() -> Result<RoundTrip> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let (mut other, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        other.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut byte = [0];
            while other.read_exact(&mut byte).is_ok() && other.write_all(&byte).is_ok() {}
        });
        Ok(RoundTrip(stream))
    }

    fn once(&mut self) -> Result<Duration> {
        let since = Instant::now();
        self.0.write_all(&[1])?;
        self.0.read_exact(&mut [0])?;
        Ok(since.elapsed())
    }
}

/// A log with its link.
struct Node {
    log: Log,
    ids: Ids,
    site: Arc<Site>,
    address: String,
    members: Members,
    events: Receiver<Said>,
    linking: Linking,
    _runtime: Runtime,
    acked: Position,
    last: Position,
    token_last: u64,
}

enum Said {
    Log(LogEvent),
    Link(LinkEvent),
}

struct Help(Sender<Said>);

impl LinkHelp for Help {
    fn places(&self, _: Id) -> Vec<ChunkPlace> {
        Vec::new()
    }

    fn event(&self, event: LinkEvent) {
        drop(self.0.send(Said::Link(event)));
    }
}

impl Node {
    fn first(dir: &Path) -> Result<Node> {
        std::fs::create_dir_all(dir)?;
        Site::init(dir, "a".parse()?)?;
        Node::open(dir)
    }

    fn open(dir: &Path) -> Result<Node> {
        let (site, mut members) = Site::open(dir)?.ok_or("no site")?;
        let site = Arc::new(site);
        let (sender, events) = unbounded();
        let (linker, tap, seat) = link();
        let mut config = LogConfig::new(dir.join("log"), site.node());
        config.segment_bytes = SEGMENT_BYTES;
        config.tap = Some(tap);
        let said = sender.clone();
        let opened = tandem_storage::open(config, move |event| {
            if !linker.on_log(&event) {
                drop(said.send(Said::Log(event)));
            }
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let (watch, watched) = watch::channel(members.clone());
        let door = runtime.block_on(Door::open(
            "127.0.0.1:0".parse()?,
            site.clone(),
            watched,
            joiner(opened.log.clone()),
        ))?;
        let address = door.0.local().to_string();
        members.take(
            &address_register_key(site.node()),
            Hlc(0),
            Some(&value(&address)),
        );
        let kept = opened.view.registers(LOCAL_REGISTERS);
        let config = LinkConfig {
            node: site.node(),
            epoch: opened.report.epoch,
            found: opened.found,
            kept: kept.map(|(k, v)| (k.into(), v.into())).collect(),
            send_bytes_per_s: 0,
            away_after: Duration::from_secs(5),
            segment_bytes: SEGMENT_BYTES,
            versions: VERSIONS,
            seed: u64::from(std::process::id()),
        };
        let parts = LinkParts {
            config,
            log: opened.log.clone(),
            site: site.clone(),
            members: members.clone(),
            watch,
            door,
            runtime: runtime.handle().clone(),
        };
        let linking = Linking::start(seat, parts, Help(sender))?;
        Ok(Node {
            log: opened.log,
            ids: opened.ids,
            site,
            address,
            members,
            events,
            linking,
            _runtime: runtime,
            acked: Position::default(),
            last: Position::default(),
            token_last: 0,
        })
    }

    /// A token for the second node.
    fn invite(&mut self) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let now = WallTime(now.as_millis() as u64);
        let invitation = self
            .site
            .invite("b".parse()?, &self.address, [7; 16], now)?;
        Ok(invitation.to_string())
    }

    /// The next thing said, of the log if it is that; members are passed on to the link.
    fn said(&mut self, limit: Duration) -> Result<Option<LogEvent>> {
        let event = match self.events.recv_timeout(limit) {
            Ok(Said::Log(event)) => event,
            Ok(Said::Link(LinkEvent::Acked { position, .. })) => {
                self.acked = self.acked.max(position);
                return Ok(None);
            }
            Ok(Said::Link(_)) | Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if let LogEvent::Committed { record, .. } = &event {
            if let Payload::Register { key, value } = &record.what
                && key.starts_with("node/")
            {
                self.members.take(key, record.stamp.hlc, value.as_deref());
                self.linking.members(self.members.clone());
            }
            if record.stamp.node == self.site.node() {
                self.last = Position {
                    epoch: record.stamp.epoch,
                    seq: record.stamp.seq,
                };
            }
        }
        Ok(Some(event))
    }

    /// The next of this node's own appends that is durable.
    fn next_commit(&mut self) -> Result<Stamp> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.said(PATIENCE)? {
                Some(LogEvent::Committed { record, token }) if token.number <= self.token_last => {
                    return Ok(record.stamp);
                }
                Some(LogEvent::Refused { why, .. }) => return Err(why.into()),
                _ => {}
            }
        }
        Err("nothing became durable".into())
    }

    /// Until the second node has all there is.
    fn wait_backup(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.append(register(0))?;
            let stamp = self.next_commit()?;
            let last = Position {
                epoch: stamp.epoch,
                seq: stamp.seq,
            };
            let soon = Instant::now() + Duration::from_millis(200);
            while self.acked < last && Instant::now() < soon {
                self.said(Duration::from_millis(20))?;
            }
            if self.acked >= last {
                return Ok(());
            }
        }
        Err("the second node does not keep a copy".into())
    }

    fn wait_acked(&mut self, position: Position) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.acked < position {
            if Instant::now() > until {
                return Err("the second node does not acknowledge".into());
            }
            self.said(PATIENCE)?;
        }
        Ok(())
    }

    fn append(&mut self, append: Append) -> Result<()> {
        self.token_last += 1;
        let mut append = Some(append);
        while let Some(next) = append.take() {
            append = self
                .log
                .submit(Token::call_control(self.token_last), next)
                .err();
            if append.is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// One append after the other.
    fn slice(&mut self, here: &mut Vec<Duration>, there: &mut Vec<Duration>) -> Result<()> {
        let until = Instant::now() + SLICE;
        let mut n = 0;
        while Instant::now() < until {
            n += 1;
            let since = Instant::now();
            self.append(register(n))?;
            let stamp = self.next_commit()?;
            here.push(since.elapsed());
            let position = Position {
                epoch: stamp.epoch,
                seq: stamp.seq,
            };
            self.wait_acked(position)?;
            there.push(since.elapsed());
        }
        Ok(())
    }

    /// Records so many sounds, each half second a chunk, whether the disk keeps up or not.
    fn record(&mut self, sounds: u32, until: Instant) -> Result<u64> {
        let ids: Vec<Id> = (0..sounds).map(|_| self.ids.next_id()).collect();
        for id in &ids {
            self.append(begin(*id))?;
        }
        for _ in &ids {
            self.next_commit()?;
        }
        let every = Duration::from_millis(500) / sounds;
        let (started, mut handed) = (Instant::now(), 0_u64);
        while Instant::now() < until {
            let due = (started.elapsed().as_nanos() / every.as_nanos()) as u64;
            while handed < due {
                let (n, index) = (handed % u64::from(sounds), handed / u64::from(sounds));
                let chunk = self.chunk(ids[n as usize], index as u32);
                self.append(chunk)?;
                handed += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(handed)
    }

    /// So many bytes of sound, as fast as the log takes them.
    fn fill(&mut self, bytes: u64) -> Result<()> {
        let id = self.ids.next_id();
        self.append(begin(id))?;
        let chunks = (bytes / 4096) as u32;
        let mut answered = 0;
        for index in 0..chunks {
            let chunk = self.chunk(id, index);
            self.append(chunk)?;
            while index - answered > 4000 {
                self.next_commit()?;
                answered += 1;
            }
        }
        for _ in answered..=chunks {
            self.next_commit()?;
        }
        Ok(())
    }

    fn chunk(&self, id: Id, index: u32) -> Append {
        let mut block = self.log.chunk();
        block.push(&[0x55; CHUNK_SAMPLES_MAX]);
        Append::Chunk { id, index, block }
    }

    fn close(self) {
        self.linking.stop();
        self.log.close();
    }
}

fn register(n: u32) -> Append {
    Append::Register {
        key: format!("bench/{}", n % 100).into(),
        value: Some(n.to_string().into()),
    }
}

fn begin(id: Id) -> Append {
    Append::Begin {
        id,
        codec: SoundCodec::Pcmu,
        at: WallTime(0),
        about: "bench".into(),
    }
}

/// Who joins is written into the log.
fn joiner(log: Log) -> WriteRegisters {
    Arc::new(move |registers| {
        let (reply, answer) = oneshot::channel();
        for (key, value) in registers {
            let append = Append::Register {
                key: key.into(),
                value: value.map(Into::into),
            };
            drop(log.submit(Token::new(Owner::Node, 1), append));
        }
        drop(reply.send(Ok(())));
        answer
    })
}

/// The second node, as a process.
struct Second(Child);

impl Second {
    fn start(folder: &Path, token: Option<&str>) -> Result<Second> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--second").arg(folder).args(token);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim() {
            "ready" => Ok(Second(child)),
            other => Err(format!("the second node said {other:?}").into()),
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn second(folder: &Path, token: Option<&str>) -> Result<()> {
    if let Some(token) = token {
        std::fs::create_dir_all(folder)?;
        let invitation: Invitation = token.parse().map_err(String::from)?;
        join(folder, &invitation, false)?;
    }
    let node = Node::open(folder)?;
    println!("ready");
    let events = node.events.clone();
    std::thread::spawn(move || for _ in events {});
    // Until the first one is done with it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    node.close();
    Ok(())
}
