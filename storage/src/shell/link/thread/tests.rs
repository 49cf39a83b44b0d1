//! Two nodes on loopback with real logs, sockets and certificates; and connections that misbehave.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::super::invite::Invitation;
use super::super::join::{WriteRegisters, join};
use super::super::members::cert_register_key;
use super::*;
use crate::link::frame::{self, FRAME_BYTES_MAX, LogCursor, Message};
use crate::link::{CloseReason, Frame};
use crate::seam::{LOCAL_REGISTERS, Payload};
use crate::shell::open::{LogConfig, open};
use crate::time::WallTime;
use crate::view::View;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A log with its link, and the view of both.
struct Office {
    log: Log,
    view: View,
    members: Members,
    site: Arc<Site>,
    address: String,
    events: Receiver<Said>,
    linking: Linking,
    acked: Position,
    token_last: u64,
    _runtime: Runtime,
}

#[derive(Debug)]
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
        self.0.send(Said::Link(event)).ok();
    }
}

impl Office {
    fn first(dir: &TempDir) -> Office {
        Site::init(dir.path(), "a".parse().unwrap()).unwrap();
        Office::open(dir)
    }

    /// Whoever's site is there already.
    fn open(dir: &TempDir) -> Office {
        let (site, members) = Site::open(dir.path()).unwrap().unwrap();
        let site = Arc::new(site);
        let (sender, events) = channel();
        let (linker, tap, seat) = link();
        let mut config = LogConfig::new(dir.path().join("log"), site.node());
        config.segment_bytes = 4 << 20;
        config.epoch_min = site.epoch_min();
        config.tap = Some(tap);
        let said = sender.clone();
        let opened = open(config, move |event| {
            if !linker.on_log(&event) {
                said.send(Said::Log(event)).ok();
            }
        })
        .unwrap();
        let members = Members::read(&opened.view, members);
        let runtime = runtime();
        let (watch, watched) = watch::channel(members.clone());
        let at = "127.0.0.1:0".parse().unwrap();
        let writer = writer(opened.log.clone());
        let door = runtime.block_on(Door::open(at, site.clone(), watched, writer));
        let door = door.unwrap();
        let address = door.0.local().to_string();
        let kept = opened.view.registers(LOCAL_REGISTERS);
        let parts = LinkParts {
            config: LinkConfig {
                node: site.node(),
                epoch: opened.report.epoch,
                found: opened.found,
                kept: kept.map(|(k, v)| (k.into(), v.into())).collect(),
                send_bytes_per_s: 0,
                away_after: Duration::from_secs(5),
                segment_bytes: 4 << 20,
                versions: frame::VERSIONS,
                seed: 1,
            },
            log: opened.log.clone(),
            site: site.clone(),
            members: members.clone(),
            watch,
            door,
            runtime: runtime.handle().clone(),
        };
        let linking = Linking::start(seat, parts, Help(sender)).unwrap();
        Office {
            log: opened.log,
            view: opened.view,
            members,
            site,
            address,
            events,
            linking,
            acked: Position::default(),
            token_last: 0,
            _runtime: runtime,
        }
    }

    /// Another machine becomes node `b`.
    fn let_in(&self, dir: &TempDir) {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let now = WallTime(now.as_millis() as u64);
        let node = "b".parse().unwrap();
        let token: Invitation = self.site.invite(node, &self.address, [7; 16], now).unwrap();
        join(dir.path(), &token, false).unwrap();
    }

    /// The next thing said, when it is taken note of.
    fn said(&mut self) -> Said {
        let said = self.events.recv_timeout(SOON).expect("something is said");
        match &said {
            Said::Log(LogEvent::Committed { record, .. }) => {
                self.view.apply(record);
                if let Payload::Register { key, .. } = &record.what
                    && self.members.see(&self.view, key)
                {
                    self.linking.members(self.members.clone());
                }
            }
            Said::Log(LogEvent::Refused { why, .. }) => panic!("{why}"),
            Said::Link(LinkEvent::Acked { position, .. }) => {
                self.acked = self.acked.max(*position);
            }
            Said::Log(LogEvent::Room { .. }) | Said::Link(_) => {}
        }
        said
    }

    fn append(&mut self, key: &str, value: Option<String>) {
        self.token_last += 1;
        let append = Append::Register {
            key: key.into(),
            value: value.map(Into::into),
        };
        self.log
            .submit(Token::call_control(self.token_last), append)
            .unwrap();
    }

    /// Says something of its own, until it is durable.
    fn say(&mut self, key: &str, value: &str) -> Position {
        self.append(key, Some(format!("\"{value}\"")));
        loop {
            if let Said::Log(LogEvent::Committed { token, record }) = self.said()
                && token == Token::call_control(self.token_last)
            {
                let (epoch, seq) = (record.stamp.epoch, record.stamp.seq);
                return Position { epoch, seq };
            }
        }
    }

    fn wait_acked(&mut self, position: Position) {
        while self.acked < position {
            self.said();
        }
    }

    fn wait_known(&mut self, key: &str, value: &str) {
        let value = format!("\"{value}\"");
        while self.view.register(key) != Some(&value) {
            self.said();
        }
    }

    fn close(self) {
        self.linking.stop();
        self.log.close();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// For what is shown a moment after it is so.
fn soon(is_so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + SOON;
    while !is_so() {
        assert!(std::time::Instant::now() < until, "it never is so");
        // Who looks all the time takes the lock from the one who shows it.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Who joins is written into the log.
fn writer(log: Log) -> WriteRegisters {
    Arc::new(move |registers| {
        let (reply, answer) = oneshot::channel();
        for (key, value) in registers {
            let append = Append::Register {
                key: key.into(),
                value: value.map(Into::into),
            };
            log.submit(Token::call_control(1 << 60), append).unwrap();
        }
        reply.send(Ok(())).unwrap();
        answer
    })
}

#[test]
fn what_one_node_says_is_durable_at_the_other_also_when_that_was_away() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut office = Office::first(&dir);
    office.let_in(&other_dir);
    let mut other = Office::open(&other_dir);
    let said = office.say("k/1", "one");
    office.wait_acked(said);
    other.wait_known("k/1", "one");
    other.say("k/2", "two");
    office.wait_known("k/2", "two");
    other.close();

    // It is away, while more is said than waits in memory.
    let long = "x".repeat(3000);
    let mut said = Position::default();
    for n in 0..3000 {
        let key = format!("k/long/{n}");
        office.append(&key, Some(format!("\"{long}\"")));
        if n % 500 == 499 {
            said = office.say("k/1", &n.to_string());
        }
    }
    // What it lacks meanwhile is known.
    let linker = office.linking.linker.clone();
    let lacks = || linker.status().peers[0].to_send_bytes;
    soon(|| lacks().is_some_and(|bytes| bytes > 3000 * 3000));
    let mut other = Office::open(&other_dir);
    assert_eq!(
        other.view.register("k/1"),
        Some("\"one\""),
        "it was durable"
    );
    office.wait_acked(said);
    other.wait_known("k/1", "2999");
    soon(|| lacks() == Some(0));
    assert_eq!(other.view.registers("k/long/").count(), 3000);
    other.close();
    office.close();
}

#[test]
fn an_old_disk_is_noticed_and_speaks_with_the_others_again_from_a_later_epoch() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut office = Office::first(&dir);
    office.let_in(&other_dir);
    office.say("k/0", "b is let in");
    Office::open(&other_dir).close();
    let old = tempfile::tempdir().unwrap();
    copy(other_dir.path(), old.path());
    let mut other = Office::open(&other_dir);
    let said = other.say("k/1", "one");
    other.wait_acked(said);
    other.close();

    // The same epoch opens once more, but a peer knows what was said in it.
    let mut other = Office::open(&old);
    let epoch = loop {
        if let Said::Link(LinkEvent::Contradiction { epoch, .. }) = other.said() {
            break epoch;
        }
    };
    assert_eq!(epoch, said.epoch);
    other.close();
    let mut other = Office::open(&old);
    let again = other.say("k/2", "two");
    assert!(again.epoch > epoch);
    office.wait_known("k/2", "two");
    other.close();
    office.close();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            }
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_removed_node_is_cut_off_and_counted_at_the_door() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut office = Office::first(&dir);
    office.let_in(&other_dir);
    let mut other = Office::open(&other_dir);
    let said = office.say("k/1", "one");
    office.wait_acked(said);
    other.wait_known("k/1", "one");
    let name = other.site.node();
    office.append(&cert_register_key(name), None);
    let why = loop {
        if let Said::Link(LinkEvent::Away { peer, why }) = office.said() {
            assert_eq!(peer, name);
            break why;
        }
    };
    assert_eq!(why, CloseReason::Stranger);
    while !matches!(other.said(), Said::Link(LinkEvent::Away { .. })) {}
    let linker = office.linking.linker.clone();
    soon(|| linker.stats().door.strangers > 0 && linker.status().peers.is_empty());
    other.close();
    office.close();
}

/// A connection of which this side's end is served, and what comes of it.
fn wire(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> (Runtime, Wire, LinkSeat) {
    let (linker, _, seat) = link();
    let runtime = runtime();
    let wire = Wire::start(runtime.handle(), ConnId(1), stream, linker.inbox);
    (runtime, wire, seat)
}

fn next(seat: &LinkSeat) -> In {
    seat.inputs.recv_timeout(SOON).expect("something comes")
}

#[test]
fn a_frame_that_is_too_long_ends_the_connection() {
    let (near, mut far) = tokio::io::duplex(1024);
    let (runtime, _wire, seat) = wire(near);
    let length = FRAME_BYTES_MAX as u32 + 1;
    runtime.block_on(far.write_u32_le(length)).unwrap();
    let end = next(&seat);
    assert!(
        matches!(end, In::Link(LinkInput::Disconnected { conn: ConnId(1) })),
        "{end:?}"
    );
}

#[test]
fn frames_that_nobody_takes_wait_at_the_sender() {
    let (near, mut far) = tokio::io::duplex(1024);
    let (runtime, _wire, seat) = wire(near);
    let frame = vec![0; FRAME_BYTES_MAX];
    let (frames, sent) = (64, Arc::new(AtomicU64::new(0)));
    let count = sent.clone();
    runtime.spawn(async move {
        for _ in 0..frames {
            far.write_u32_le(FRAME_BYTES_MAX as u32).await.unwrap();
            far.write_all(&frame).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
        std::future::pending::<()>().await;
    });
    let mut taken = 0;
    while taken < frames {
        if let In::Frame(_, waiting) = next(&seat) {
            taken += 1;
            let ahead = sent.load(Ordering::SeqCst).saturating_sub(taken) as usize;
            assert!(ahead * FRAME_BYTES_MAX <= 10 << 20, "{ahead} wait here");
            drop(waiting);
        }
    }
}

/// Takes nothing and gives nothing; tells when it is let go.
struct Deaf(Sender<()>);

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

#[test]
fn a_connection_whose_peer_takes_nothing_does_not_outlive_its_end() {
    let (let_go, gone) = channel();
    let (_runtime, wire, _seat) = wire(Deaf(let_go));
    let beat: Frame = frame::encode(&Message::Unfollow { feed: 1 });
    assert!(wire.send(beat, false, false));
    drop(wire);
    gone.recv_timeout(SOON).expect("the connection is let go");
}

#[test]
fn so_much_waits_for_a_peer_that_takes_nothing_and_no_more() {
    let (let_go, _gone) = channel();
    let (_runtime, wire, _seat) = wire(Deaf(let_go));
    let records = Message::Records {
        feed: 1,
        place: LogCursor::default(),
        records: &[0; 1 << 20],
    };
    let frame = frame::encode(&records);
    let taken = (0..1000).take_while(|_| wire.send(frame.clone(), false, false));
    assert_eq!(taken.count(), 63, "64 MiB");
}
