//! A line between two places that can be cut: what is connected through it ends, and nobody gets
//! through until it is mended.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// See the chapter above. The line is gone with it.
pub struct Proxy {
    at: SocketAddr,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    is_cut: AtomicBool,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A line to `target` that begins at a free port of `ip`.
    pub fn to(target: SocketAddr, ip: Ipv4Addr) -> Proxy {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let at = listener.local_addr().unwrap();
        let line = Arc::new(Line::default());
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
    fn connect(&self, from: TcpStream, target: SocketAddr) {
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
            thread::spawn(move || carry(input, output));
        }
        let mut streams = self.streams.lock().unwrap();
        streams.extend([from, to]);
        if self.is_cut.load(Ordering::SeqCst) {
            for stream in streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn carry(mut input: TcpStream, mut output: TcpStream) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count) = input.read(&mut bytes) {
        if count == 0 || output.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = output.shutdown(Shutdown::Both);
    let _ = input.shutdown(Shutdown::Both);
}
