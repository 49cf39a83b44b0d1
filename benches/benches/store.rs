//! What a million messages cost: time to start, memory, and whether an operation on them stays as
//! cheap as on ten thousand.
//!
//! A log of N messages is written through the log itself: mailboxes of 100, one chunk each (a chunk
//! takes 4 KiB of disk however short it is), four of five heard. Then the program starts itself anew on
//! it, so that time and memory are those of a fresh process: open the log, build call control
//! (what a node does before it is `ready`), and do everyday things. First without a snapshot, then
//! with one.
//!
//! `cargo bench -p tandem-benches --bench store`; with `STORE_MESSAGES_MAX=1000000` also the
//! largest, which takes 6 GB of disk and some minutes; `STORE_DIR` keeps the logs for another run.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tandem_pbx::seam::{AdminAsk, AdminRequest, Input, Output};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_storage::name::{Id, Ids, NodeName};
use tandem_storage::seam::{
    Append, ChunkPlace, Committed, Hlc, LogEvent, Payload, SealKind, SoundCodec, Stamp, Token,
};
use tandem_storage::time::{Now, Time, WallTime};
use tandem_storage::{Log, LogConfig};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Without being asked for more.
const MESSAGES_MAX: u64 = 100_000;
const PER_MAILBOX: u64 = 100;
/// Callers that are told apart.
const CALLERS: u64 = 20_000;
/// Appends that are on their way at once while a log is written.
const WINDOW: usize = 4096;
/// Of a chunk, full.
const SAMPLES: usize = tandem_storage::block::CHUNK_SAMPLES_MAX;
/// Of each everyday thing.
const ROUNDS: u32 = 1000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match &args[..] {
        [_, what, dir] if what == "--measure" => return measure(Path::new(dir)),
        [_, what, dir] if what == "--snapshot" => return make_snapshot(Path::new(dir)),
        _ => {}
    }
    // `cargo test` runs bench targets too; they are measurements, not tests.
    if !args.iter().any(|a| a == "--bench") {
        return Ok(());
    }
    let messages_max = match std::env::var("STORE_MESSAGES_MAX") {
        Ok(max) => max.parse()?,
        Err(_) => MESSAGES_MAX,
    };
    // Beside the build rather than in the temporary folder, which may be memory.
    let own = std::env::current_exe()?;
    let temporary = tempfile::tempdir_in(own.parent().ok_or("no folder")?)?;
    let kept = std::env::var_os("STORE_DIR").map(PathBuf::from);
    let dir = kept.as_deref().unwrap_or(temporary.path());
    println!("{}", Row::HEAD);
    for messages in SIZES.into_iter().filter(|n| *n <= messages_max) {
        let log = dir.join(format!("messages-{messages}"));
        if !log.exists() {
            write_log(&log, messages)?;
        }
        drop(std::fs::remove_file(log.join(SNAPSHOT)));
        for step in ["--measure", "--snapshot", "--measure"] {
            let done = Command::new(&own).arg(step).arg(&log).status()?;
            if !done.success() {
                return Err("a process of the bench failed".into());
            }
        }
    }
    Ok(())
}

/// The file, in the log's folder.
const SNAPSHOT: &str = "snapshot";

/// Writes a snapshot, if the log is long enough for one.
fn make_snapshot(dir: &Path) -> Result<()> {
    let mut opened = tandem_storage::open(LogConfig::new(dir, node()?), |_| ())?;
    let (started, mut turns, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let turn = Instant::now();
        opened.snapshots.turn(&opened.view);
        longest = longest.max(turn.elapsed());
        if !opened.snapshots.is_busy() {
            break;
        }
        turns += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    while turns > 0 && !dir.join(SNAPSHOT).exists() {
        if started.elapsed() > Duration::from_secs(60) {
            return Err("no snapshot was written".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Ok(file) = std::fs::metadata(dir.join(SNAPSHOT)) {
        println!(
            "            a snapshot of {} MiB: {turns} turns, the longest {longest:?}, {:.1} s",
            file.len() >> 20,
            started.elapsed().as_secs_f64(),
        );
    }
    opened.log.close();
    Ok(())
}

fn node() -> Result<NodeName> {
    Ok("office".parse()?)
}

/// Writes a log of so many messages, and the users they are for.
fn write_log(dir: &Path, messages: u64) -> Result<()> {
    let mut writer = LogWriter::open(dir)?;
    let mailboxes: Vec<Id> = (0..messages.div_ceil(PER_MAILBOX))
        .map(|_| writer.ids.next_id())
        .collect();
    for (mailbox, extension) in mailboxes.iter().zip(100_000..) {
        let account = format!(
            r#"{{"extension":"{extension}","name":"User {extension}","ha1_md5":"{0:032x}","ha1_sha256":"{0:064x}"}}"#,
            extension
        );
        writer.append(register(format!("user/{mailbox}"), account))?;
    }
    for n in 0..messages {
        let id = writer.ids.next_id();
        // Messages of all mailboxes are spread over all of the log.
        let mailbox = mailboxes[(n % mailboxes.len() as u64) as usize];
        for append in message(&writer.log, id, mailbox, n) {
            writer.append(append)?;
        }
        if n % 5 > 0 {
            writer.append(register(format!("message/{id}/heard"), "true".into()))?;
        }
    }
    writer.finish()
}

struct LogWriter {
    log: Log,
    ids: Ids,
    events: Receiver<LogEvent>,
    unanswered: usize,
}

impl LogWriter {
    fn open(dir: &Path) -> Result<LogWriter> {
        let (sender, events) = unbounded();
        let config = LogConfig::new(dir, node()?);
        let opened = tandem_storage::open(config, move |event| drop(sender.send(event)))?;
        Ok(LogWriter {
            log: opened.log,
            ids: opened.ids,
            events,
            unanswered: 0,
        })
    }

    fn append(&mut self, append: Append) -> Result<()> {
        while self.unanswered >= WINDOW {
            self.take_answer()?;
        }
        self.log
            .submit(Token::call_control(0), append)
            .map_err(|_| "the queue is full")?;
        self.unanswered += 1;
        Ok(())
    }

    fn take_answer(&mut self) -> Result<()> {
        match self.events.recv()? {
            LogEvent::Committed { .. } => self.unanswered -= 1,
            other => return Err(format!("the log says {other:?}").into()),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        while self.unanswered > 0 {
            self.take_answer()?;
        }
        self.log.close();
        Ok(())
    }
}

fn register(key: String, value: String) -> Append {
    Append::Register {
        key: key.into(),
        value: Some(value.into()),
    }
}

/// What call control writes for a message.
fn about(mailbox: Id, n: u64) -> Arc<str> {
    let caller = n.wrapping_mul(0x9e37_79b9) % CALLERS;
    format!(
        r#"{{"kind":"message","mailbox":"{mailbox}","from":{{"number":"+41315550{caller:05}","name":"Caller {caller}","user":null}},"called":"101"}}"#
    )
    .into()
}

fn message(log: &Log, id: Id, mailbox: Id, n: u64) -> [Append; 3] {
    let mut block = log.chunk();
    block.push(&[0x55; SAMPLES]);
    let begin = Append::Begin {
        id,
        codec: SoundCodec::Pcma,
        at: WallTime(1_700_000_000_000 + n * 30_000),
        about: about(mailbox, n),
    };
    let index = 0;
    let chunk = Append::Chunk { id, index, block };
    let (kind, about) = (SealKind::Whole, sealed(n));
    [begin, chunk, Append::Seal { id, kind, about }]
}

fn sealed(n: u64) -> Arc<str> {
    let (urgent, samples) = (n.is_multiple_of(50), 4000 + n % 200_000);
    format!(r#"{{"urgent":{urgent},"samples_speech":{samples}}}"#).into()
}

/// One line of the table.
struct Row {
    messages: usize,
    open: Duration,
    pbx: Duration,
    memory_kib: u64,
    peak_kib: u64,
    take: Duration,
    heard: Duration,
    list: Duration,
    append: Duration,
}

impl Row {
    const HEAD: &str = "   messages    open s     pbx s   start s  memory MiB  peak MiB  bytes/msg  message us  heard us  list us  append us";

    fn print(&self) {
        let us = |whole: Duration| whole.as_secs_f64() * 1e6 / f64::from(ROUNDS);
        println!(
            "{:>11} {:>9.2} {:>9.2} {:>9.2} {:>11} {:>9} {:>10} {:>11.1} {:>9.1} {:>8.0} {:>10.1}",
            self.messages,
            self.open.as_secs_f64(),
            self.pbx.as_secs_f64(),
            (self.open + self.pbx).as_secs_f64(),
            self.memory_kib / 1024,
            self.peak_kib / 1024,
            self.memory_kib * 1024 / self.messages.max(1) as u64,
            us(self.take),
            us(self.heard),
            us(self.list),
            us(self.append),
        );
    }
}

/// Starts on the log in `dir` and prints a row.
fn measure(dir: &Path) -> Result<()> {
    let (sender, events) = unbounded();
    let started = Instant::now();
    let config = LogConfig::new(dir, node()?);
    let opened = tandem_storage::open(config, move |event| drop(sender.send(event)))?;
    let open = started.elapsed();
    let messages = opened.view.sounds().count();
    let now = Now {
        mono: Time(0),
        wall: WallTime(1_800_000_000_000),
    };
    let started = Instant::now();
    let mut pbx = Pbx::new(PbxConfig::default(), opened.view, opened.ids.clone(), now);
    while pbx.poll().is_some() {}
    let start = (open, started.elapsed());
    let (memory_kib, peak_kib) = (status_kib("VmRSS")?, status_kib("VmHWM")?);
    let mut day = Everyday {
        pbx,
        now,
        seq: 1 << 40,
        epoch: opened.report.epoch,
    };
    let some: Vec<Id> = day.some_messages();
    let row = Row {
        messages,
        open: start.0,
        pbx: start.1,
        memory_kib,
        peak_kib,
        take: timed(|n| day.take_message(n)),
        heard: timed(|n| day.hear(some[n as usize % some.len()])),
        list: timed(|n| day.list(100_000 + u64::from(n) * 7 % (messages as u64 / PER_MAILBOX))),
        append: timed(|n| {
            // One after the other: each waits for the disk.
            let append = register(format!("bench/{n}"), "1".into());
            opened
                .log
                .submit(Token::call_control(0), append)
                .expect("room in the queue");
            events.recv().expect("the log answers");
        }),
    };
    row.print();
    opened.log.close();
    Ok(())
}

fn timed(mut work: impl FnMut(u32)) -> Duration {
    let started = Instant::now();
    (0..ROUNDS).for_each(&mut work);
    started.elapsed()
}

/// What call control does all day.
struct Everyday {
    pbx: Pbx,
    now: Now,
    seq: u64,
    epoch: u32,
}

impl Everyday {
    fn some_messages(&self) -> Vec<Id> {
        let all = self.pbx.view().sounds().map(|sound| sound.id);
        all.step_by(97).take(ROUNDS as usize).collect()
    }

    fn committed(&mut self, what: Payload) {
        self.seq += 1;
        let stamp = Stamp {
            hlc: Hlc(u64::MAX - (1 << 41) + self.seq),
            node: "office".parse().expect("a legal name"),
            epoch: self.epoch,
            seq: self.seq,
        };
        let (token, segment) = (Token::call_control(u64::MAX), 1);
        let record = Committed {
            stamp,
            segment,
            what,
        };
        let event = LogEvent::Committed { token, record };
        self.pbx.handle(self.now, Input::Log(event));
        while self.pbx.poll().is_some() {}
    }

    fn take_message(&mut self, n: u32) {
        let node = "office".parse().expect("a legal name");
        let name = |epoch, number| Id {
            node,
            epoch,
            number,
        };
        let id = name(self.epoch, 1 << 40 | u64::from(n));
        self.committed(Payload::Begin {
            id,
            codec: SoundCodec::Pcma,
            at: WallTime(1_800_000_000_000),
            about: about(name(1, 1 + u64::from(n) % 100), u64::from(n)),
        });
        let place = ChunkPlace {
            segment: 1,
            offset: 4096,
            samples: SAMPLES as u32,
        };
        let index = 0;
        self.committed(Payload::Chunk { id, index, place });
        self.committed(Payload::Seal {
            id,
            kind: SealKind::Whole,
            about: sealed(u64::from(n)),
        });
    }

    fn hear(&mut self, message: Id) {
        self.committed(Payload::Register {
            key: format!("message/{message}/heard").into(),
            value: Some("true".into()),
        });
    }

    fn list(&mut self, extension: u64) {
        let extension = extension.to_string().into();
        let ask = AdminAsk::Mailbox { extension };
        self.pbx
            .handle(self.now, Input::Admin(AdminRequest { asker: 1, ask }));
        while let Some(output) = self.pbx.poll() {
            assert!(!matches!(output, Output::Admin(reply) if reply.answer.is_err()));
        }
    }
}

/// A line of /proc/self/status.
fn status_kib(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.ok_or("no such line")?.parse()?)
}
