//! A line between two places that can be cut: what is connected through it ends, and nobody gets
//! through until it is mended. It can be a long and narrow one: then what goes in comes out later, and no
//! faster than its width, with room for [`ROOM_CHUNKS`] pieces in between.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces of [`PIECE_BYTES`] that a narrow line holds, as the routers at its ends do.
const ROOM_CHUNKS: usize = 64;
const PIECE_BYTES: usize = 1024;

/// See the chapter above. The line is gone with it.
pub struct Proxy {
    at: SocketAddr,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    /// How long it is, and bytes a second, each way.
    narrow: Option<(Duration, u64)>,
    /// What came out at either end.
    carried: AtomicU64,
    is_cut: AtomicBool,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A line to `target` that begins at a free port of `ip`.
    pub fn to(target: SocketAddr, ip: Ipv4Addr) -> Proxy {
        Proxy::start(target, ip, None)
    }

    /// A line that takes so long one way, and no more than that many bytes a second.
    pub fn narrow(target: SocketAddr, ip: Ipv4Addr, delay: Duration, bytes_per_s: u64) -> Proxy {
        Proxy::start(target, ip, Some((delay, bytes_per_s)))
    }

    fn start(target: SocketAddr, ip: Ipv4Addr, narrow: Option<(Duration, u64)>) -> Proxy {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let at = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            narrow,
            ..Line::default()
        });
        let served = line.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.is_over.load(Ordering::SeqCst) {
                    return;
                }
                served.connect(stream, target);
            }
        });
        Proxy { at, line }
    }

    /// Where it begins.
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Bytes that it has carried, both ways.
    pub fn carried(&self) -> u64 {
        self.line.carried.load(Ordering::SeqCst)
    }

    /// Ends what is connected, and lets nobody through any more.
    pub fn cut(&self) {
        self.line.is_cut.store(true, Ordering::SeqCst);
        for stream in self.line.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets through again.
    pub fn mend(&self) {
        self.line.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.at);
    }
}

impl Line {
    fn connect(self: &Arc<Line>, from: TcpStream, target: SocketAddr) {
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(to) = TcpStream::connect(target) else {
            return;
        };
        let both =
            |one: &TcpStream, two: &TcpStream| Some((one.try_clone().ok()?, two.try_clone().ok()?));
        let pairs = [both(&from, &to), both(&to, &from)];
        for (input, output) in pairs.into_iter().flatten() {
            let line = self.clone();
            thread::spawn(move || line.carry(input, output));
        }
        let mut streams = self.streams.lock().unwrap();
        streams.extend([from, to]);
        if self.is_cut.load(Ordering::SeqCst) {
            for stream in streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn carry(&self, mut input: TcpStream, mut output: TcpStream) {
        match self.narrow {
            Some((delay, bytes_per_s)) => self.carry_slowly(&input, &output, delay, bytes_per_s),
            None => {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count) = input.read(&mut bytes) {
                    if count == 0 || output.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                    self.carried.fetch_add(count as u64, Ordering::SeqCst);
                }
            }
        }
        let _ = output.shutdown(Shutdown::Both);
        let _ = input.shutdown(Shutdown::Both);
    }

    fn carry_slowly(&self, input: &TcpStream, output: &TcpStream, delay: Duration, per_s: u64) {
        let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(ROOM_CHUNKS);
        let mut source = input.try_clone().expect("a stream can be read twice");
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut bytes = [0; PIECE_BYTES];
                while let Ok(count) = source.read(&mut bytes) {
                    let piece = bytes[..count].to_vec();
                    if count == 0 || sender.send((Instant::now() + delay, piece)).is_err() {
                        return;
                    }
                }
            });
            let mut output = output;
            let mut free_at = Instant::now();
            for (due, piece) in pieces {
                let takes = Duration::from_secs_f64(piece.len() as f64 / per_s as f64);
                free_at = free_at.max(due) + takes;
                thread::sleep(free_at.saturating_duration_since(Instant::now()));
                if output.write_all(&piece).is_err() {
                    break;
                }
                let count = piece.len() as u64;
                self.carried.fetch_add(count, Ordering::SeqCst);
            }
            let _ = input.shutdown(Shutdown::Both);
        });
    }
}
