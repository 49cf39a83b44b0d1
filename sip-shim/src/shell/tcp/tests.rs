//! Streams on a clock of our own: what holds them open, and what does not.

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n\
    From: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

/// Runs a test whose sleeps take no time.
fn on_our_clock(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

/// A stream and its far end, the limits as usual. The core takes nothing if it is `full`.
struct Under {
    streams: Arc<Streams>,
    far: DuplexStream,
    reader: JoinHandle<Duration>,
    queue: mpsc::Receiver<Arc<[u8]>>,
    flow: Flow,
}

impl Under {
    fn new(full: bool) -> Under {
        let peer: SocketAddr = ([10, 0, 0, 1], 5060).into();
        let config = SipShellConfig::new(peer, None);
        let wire_in: Receiver = Arc::new(move |_| !full);
        let streams = Arc::new(Streams::new(&config, wire_in, Arc::default()));
        let entered = streams.enter(&mut streams.table(), peer, false);
        let Entered {
            number,
            queue,
            is_known,
        } = entered.expect("room");
        let flow = Flow {
            transport: Transport::Tcp,
            peer,
            connection: number,
        };
        let (near, far) = duplex(4096);
        let own = streams.clone();
        let reader = tokio::spawn(async move {
            let start = Instant::now();
            own.read_all(near, flow, &is_known).await;
            start.elapsed()
        });
        Under {
            streams,
            far,
            reader,
            queue,
            flow,
        }
    }

    /// After how many seconds the stream is closed if this is sent again and again.
    async fn closed_after_s(mut self, every_s: u64, what: &[u8], until_s: u64) -> Option<u64> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(until_s) && !self.reader.is_finished() {
            // It fails when the stream is closed, which is what is waited for.
            let _ = self.far.write_all(what).await;
            tokio::time::sleep(Duration::from_secs(every_s)).await;
        }
        match self.reader.is_finished() {
            true => self.reader.await.ok().map(|after| after.as_secs()),
            false => None,
        }
    }
}

fn stats(streams: &Streams) -> (u64, u64) {
    let read = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
    let counts = &streams.counts;
    (read(&counts.streams_slow), read(&counts.streams_unknown))
}

#[test]
fn one_byte_now_and_then_holds_no_stream() {
    on_our_clock(async {
        let mut under = Under::new(false);
        let streams = under.streams.clone();
        streams.keep(under.flow);
        under.far.write_all(OPTIONS.as_bytes()).await.expect("open");
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(under.closed_after_s(5, b"x", 100).await, Some(1030));
        assert_eq!(stats(&streams), (1, 0));
    });
}

#[test]
fn keep_alives_hold_a_known_stream() {
    on_our_clock(async {
        let under = Under::new(false);
        under.streams.keep(under.flow);
        assert_eq!(under.closed_after_s(25, b"\r\n\r\n", 9000).await, None);
        // A CRLF that comes in pieces.
        let under = Under::new(false);
        under.streams.keep(under.flow);
        assert_eq!(under.closed_after_s(20, b"\r", 9000).await, None);
    });
}

#[test]
fn a_stream_of_strangers_is_closed_whatever_they_send() {
    on_our_clock(async {
        for what in [&b""[..], b"\r\n\r\n", OPTIONS.as_bytes()] {
            let under = Under::new(false);
            let streams = under.streams.clone();
            assert_eq!(under.closed_after_s(1, what, 9000).await, Some(30));
            assert_eq!(stats(&streams), (0, 1));
        }
    });
}

#[test]
fn a_stream_that_becomes_known_stays() {
    on_our_clock(async {
        let under = Under::new(false);
        let streams = under.streams.clone();
        tokio::time::sleep(Duration::from_secs(29)).await;
        streams.keep(under.flow);
        // Nothing comes for two hours.
        let idle = under.closed_after_s(10, b"", 9000).await;
        assert_eq!((idle, stats(&streams)), (Some(7200), (0, 0)));
    });
}

#[test]
fn a_request_that_finds_no_room_is_refused_on_its_stream() {
    on_our_clock(async {
        let mut under = Under::new(true);
        let within = OPTIONS
            .replace("OPTIONS", "BYE")
            .replace("To: <sip:a@b>", "To: <sip:a@b>;tag=2");
        let ack = within.replace("BYE", "ACK");
        for text in [&ack, &within, OPTIONS] {
            under.far.write_all(text.as_bytes()).await.expect("open");
        }
        for method in ["BYE", "OPTIONS"] {
            let bytes = under.queue.recv().await.expect("an answer");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.starts_with("SIP/2.0 503 "), "{text}");
            assert!(text.contains("Retry-After: 5\r\n"), "{text}");
            assert!(text.contains(&format!("CSeq: 1 {method}\r\n")), "{text}");
        }
        let full = under.streams.counts.receiver_full.load(Ordering::Relaxed);
        assert_eq!(full, 3);
    });
}
