//! Connections of the link: frames in, frames out, each on a task of its own.
//!
//! In front of each frame goes a u32 with its length, little-endian. What comes in waits for the link's
//! thread only as far as [`WAITING_BYTES_MAX`] a connection; after that the connection itself waits.
//! What goes out is bounded by what the link sends before it is acknowledged, and in any case by
//! [`UNSENT_BYTES_MAX`]: a connection for which more waits is closed, and counted. Sound waits until there
//! is nothing else to be sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::thread::{In, Inbox};
use crate::link::frame::FRAME_BYTES_MAX;
use crate::link::{ConnId, Frame, LinkInput};

/// Frames of one connection that wait for the link's thread, in bytes.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Of a frame that takes long it is told that it comes, this often.
const HEARD_EVERY: Duration = Duration::from_millis(100);
/// Frames of one connection that wait for the network, in bytes: more than the link ever has on its way.
const UNSENT_BYTES_MAX: usize = 64 << 20;
/// What is read at once.
const READ_BYTES: usize = 64 * 1024;
/// What was sent before a connection was closed may take so long; a peer that takes nothing would
/// otherwise keep the connection, and all that waits for it, for ever.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A frame that has come, and its place among those that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) bytes: Vec<u8>,
    pub(super) _place: OwnedSemaphorePermit,
}

/// This side's end of a connection. When this goes it is closed, after at most [`LAST_WORDS`].
#[derive(Debug)]
pub(super) struct Wire {
    frames: mpsc::UnboundedSender<(Frame, bool)>,
    bulk: mpsc::UnboundedSender<(Frame, bool)>,
    unsent_bytes: Arc<AtomicUsize>,
    reader: tokio::task::JoinHandle<()>,
    _open: oneshot::Sender<()>,
}

impl Wire {
    /// Begins to read and write.
    pub(super) fn start(
        runtime: &Handle,
        conn: ConnId,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        inbox: Inbox,
    ) -> Wire {
        let (input, output) = tokio::io::split(stream);
        let (frames, first) = mpsc::unbounded_channel();
        let (bulk, last) = mpsc::unbounded_channel();
        let unsent_bytes = Arc::<AtomicUsize>::default();
        let to_send = Frames {
            first,
            last,
            unsent_bytes: unsent_bytes.clone(),
        };
        let (open, closed) = oneshot::channel::<()>();
        let sent = inbox.clone();
        runtime.spawn(async move {
            let late = async {
                // An error is what is waited for: the other end is gone.
                let _ = closed.await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                // The reader learns of an error, too, and tells.
                _ = write_frames(output, to_send, conn, &sent) => {}
                () = late => {}
            }
        });
        let reader = runtime.spawn(async move {
            let why = read_frames(input, conn, &inbox).await;
            tracing::debug!(?conn, ?why, "a connection of the link ended");
            inbox.put(In::Link(LinkInput::Disconnected { conn }));
        });
        Wire {
            frames,
            bulk,
            unsent_bytes,
            reader,
            _open: open,
        }
    }

    /// Sends a frame after those before it, and bulk after all else; `is_told`: that the network has it
    /// is wanted to be known. False: too much waits already, the connection is of no use.
    #[must_use]
    pub(super) fn send(&self, frame: Frame, is_told: bool, is_bulk: bool) -> bool {
        let bytes = frame.len();
        if self.unsent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > UNSENT_BYTES_MAX {
            return false;
        }
        let queue = if is_bulk { &self.bulk } else { &self.frames };
        // If the connection is gone, so will be whoever sends.
        let _ = queue.send((frame, is_told));
        true
    }
}

/// What is to be sent.
struct Frames {
    first: mpsc::UnboundedReceiver<(Frame, bool)>,
    last: mpsc::UnboundedReceiver<(Frame, bool)>,
    unsent_bytes: Arc<AtomicUsize>,
}

impl Frames {
    fn try_next(&mut self) -> Option<(Frame, bool)> {
        self.first.try_recv().or_else(|_| self.last.try_recv()).ok()
    }

    /// `None`: there will be no more. Both queues end together.
    async fn next(&mut self) -> Option<(Frame, bool)> {
        tokio::select! {
            biased;
            Some(next) = self.first.recv() => Some(next),
            Some(next) = self.last.recv() => Some(next),
            else => None,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn write_frames(
    output: impl AsyncWrite + Unpin,
    mut frames: Frames,
    conn: ConnId,
    inbox: &Inbox,
) -> io::Result<()> {
    let mut output = tokio::io::BufWriter::with_capacity(READ_BYTES, output);
    while let Some(mut next) = frames.next().await {
        loop {
            let (frame, is_told) = next;
            // A frame is at most FRAME_BYTES_MAX long.
            output
                .write_all(&(frame.len() as u32).to_le_bytes())
                .await?;
            for part in frame.parts() {
                output.write_all(part).await?;
            }
            frames
                .unsent_bytes
                .fetch_sub(frame.len(), Ordering::Relaxed);
            if is_told {
                inbox.put(In::Link(LinkInput::Sent { conn }));
            }
            match frames.try_next() {
                Some(more) => next = more,
                None => break,
            }
        }
        output.flush().await?;
    }
    output.shutdown().await
}

async fn read_frames(
    mut input: impl AsyncRead + Unpin,
    conn: ConnId,
    inbox: &Inbox,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    let mut heard = Instant::now();
    loop {
        let bytes = input.read_u32_le().await? as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame is too long"));
        }
        // At most FRAME_BYTES_MAX.
        let place = room.clone().acquire_many_owned(bytes as u32).await;
        let place = place.map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(bytes.min(READ_BYTES));
        while frame.len() < bytes {
            let piece = (bytes - frame.len()).min(READ_BYTES) as u64;
            if (&mut input).take(piece).read_buf(&mut frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if heard.elapsed() > HEARD_EVERY {
                heard = Instant::now();
                inbox.put(In::Link(LinkInput::Heard { conn }));
            }
        }
        let waiting = Waiting {
            bytes: frame,
            _place: place,
        };
        inbox.put(In::Frame(conn, waiting));
    }
}
