//! What a worker's thread is given at its start, what it is told later, and how it is woken to hear it.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender};

use super::Leg;
use crate::awaited::Names;
use crate::leg;
use crate::seam::{Command, LegId, LegReport};
use crate::shell::reader_thread::{Piece, Request};
use crate::shell::socket::Pair;
use crate::stats::Published;
use crate::worker::Worker;

/// What the control thread tells a worker.
pub(crate) enum Message {
    Open {
        leg: LegId,
        pair: Pair,
        port: u16,
    },
    Command(Command),
    /// The leg goes to another worker.
    Move {
        leg: LegId,
        to: Sender<Moved>,
        wake: Arc<Wake>,
    },
    /// The leg is on its way here; what is said to it waits until it has come.
    Await(LegId),
    Reports(Sender<Vec<(LegId, LegReport)>>),
    Stop,
}

/// A leg on its way from one worker to another; `None` if it was gone.
pub(crate) struct Moved(pub(super) LegId, pub(super) Option<(Box<leg::Leg>, Leg)>);

impl Names for Message {
    fn legs(&self) -> [Option<LegId>; 2] {
        match self {
            Message::Command(Command::Bridge { a, b }) => [Some(*a), Some(*b)],
            Message::Command(command) => [Some(command.leg()), None],
            Message::Open { leg, .. } | Message::Move { leg, .. } | Message::Await(leg) => {
                [Some(*leg), None]
            }
            Message::Reports(_) | Message::Stop => [None, None],
        }
    }

    fn outlasts(&self) -> bool {
        matches!(self, Message::Move { .. })
    }
}

/// Wakes a worker that sleeps.
pub(crate) struct Wake {
    pub(super) asleep: AtomicBool,
    pipe: PipeWriter,
}

impl Wake {
    pub(crate) fn new() -> io::Result<(Wake, PipeReader)> {
        let (reader, pipe) = io::pipe()?;
        Ok((
            Wake {
                asleep: AtomicBool::new(false),
                pipe,
            },
            reader,
        ))
    }

    /// To be called after something was put where the worker looks.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A byte a sleep at most, so the pipe cannot fill.
            let _ = (&self.pipe).write_all(&[1]);
        }
    }
}

/// What a worker's thread is given.
pub(crate) struct Setup<S, E> {
    pub(crate) core: Worker,
    pub(crate) pin_to: Option<usize>,
    pub(crate) bind: IpAddr,
    pub(crate) clock: Instant,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) woken: PipeReader,
    pub(crate) moved: Receiver<Moved>,
    pub(crate) pieces: (Sender<Piece>, Receiver<Piece>),
    pub(crate) requests: Sender<Request>,
    pub(crate) ports_back: Sender<u16>,
    pub(crate) published: Arc<Published>,
    pub(crate) store: S,
    pub(crate) events: E,
}
