//! A node that does not run, asked as if it did: its log is opened, and call control without phones,
//! media or network answers.
//!
//! Opening a log is a start like any other: it takes the lock, so nothing happens beside a running
//! node, and begins an epoch.

use std::collections::VecDeque;
use std::path::Path;

use crossbeam::channel::{Receiver, unbounded};
use tandem_pbx::seam::{AdminAnswer, AdminAsk, AdminRequest, Input, Output};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_storage::cipher::Keyring;
use tandem_storage::name::NodeName;
use tandem_storage::seam::{Append, Token};
use tandem_storage::{Log, LogConfig, Opened};

use crate::control::Clock;

/// See the chapter above.
pub(crate) struct Stopped {
    log: Log,
    events: Receiver<Input>,
    pbx: Pbx,
    /// For room in the log's queue: the chunks of one message at most.
    waiting: VecDeque<(Token, Append)>,
    clock: Clock,
}

impl Stopped {
    /// Opens the log in `data`, which must be that of `node`.
    pub(crate) fn open(data: &Path, node: NodeName, keyring: Keyring) -> Result<Stopped, String> {
        let dir = data.join("log");
        if !dir.is_dir() {
            let data = data.display();
            return Err(format!(
                "no node is running on {data}, and there is no log; say which with --data DIR"
            ));
        }
        // What comes is bounded by what is asked: each append has one answer.
        let (sender, events) = unbounded();
        let config = LogConfig {
            keyring,
            ..LogConfig::new(dir, node)
        };
        let opened = tandem_storage::open(config, move |event| {
            // Nobody listens any more once something went wrong.
            sender.send(Input::Log(event)).ok();
        });
        let Opened { log, view, ids, .. } = opened.map_err(|e| e.to_string())?;
        let clock = Clock::start();
        let pbx = Pbx::new(PbxConfig::default(), view, ids, clock.now());
        let mut stopped = Stopped {
            log,
            events,
            pbx,
            waiting: VecDeque::new(),
            clock,
        };
        // Users and lamps, of which nobody wants to know here.
        stopped.drain(|_| None::<()>);
        Ok(stopped)
    }

    /// Asks, and waits until the answer is durable.
    pub(crate) fn ask(&mut self, ask: AdminAsk) -> Result<AdminAnswer, String> {
        let request = AdminRequest { asker: 0, ask };
        self.tell(Input::Admin(request), |output| match output {
            Output::Admin(reply) => Some(reply.answer),
            _ => None,
        })?
    }

    /// Waits for all that was written, and closes the log.
    pub(crate) fn close(mut self) -> Result<(), String> {
        self.tell(Input::Stop, |output| {
            matches!(output, Output::Stopped).then_some(())
        })
    }

    /// Hands in an input, and what the log says to it, until an output is the one waited for.
    fn tell<T>(&mut self, first: Input, is_it: impl Fn(Output) -> Option<T>) -> Result<T, String> {
        let mut input = first;
        loop {
            self.pbx.handle(self.clock.now(), input);
            if let Some(found) = self.drain(&is_it) {
                return Ok(found);
            }
            input = self.events.recv().map_err(|_| CLOSED)?;
        }
    }

    /// Carries outputs to the log; gives the one that was waited for.
    fn drain<T>(&mut self, is_it: impl Fn(Output) -> Option<T>) -> Option<T> {
        let mut found = None;
        while let Some(output) = self.pbx.poll() {
            match output {
                Output::Log { token, append } => self.waiting.push_back((token, append)),
                output => found = found.or(is_it(output)),
            }
        }
        self.write();
        found
    }

    /// As much as the log's queue takes; for the rest there is room once it has answered something.
    fn write(&mut self) {
        while let Some((token, append)) = self.waiting.pop_front() {
            if let Err(append) = self.log.submit(token, append) {
                self.waiting.push_front((token, append));
                return;
            }
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.log.close();
    }
}

const CLOSED: &str = "the log was closed; is the disk full or broken?";
