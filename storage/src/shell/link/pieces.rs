//! The thread that reads for the link: pieces of the own log, and where a sound lies in it.
//!
//! It is asked by the link's thread (`thread.rs`), which goes on meanwhile, and answers in the order of
//! the questions. A segment that was retired is told as gone, with the next there is; what the disk
//! cannot read, as failed. At most [`FILES_OPEN_MAX`] segments are kept open.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::Receiver;

use super::thread::{In, Inbox, LinkHelp};
use crate::link::{LinkInput, LogPiece};
use crate::name::Id;
use crate::seam::Token;
use crate::shell::files;
use crate::shell::sys;

/// Segments the reading thread keeps open.
const FILES_OPEN_MAX: usize = 16;

/// What the reading thread is asked.
pub(super) enum Ask {
    Read {
        token: Token,
        segment: u32,
        offset: u64,
        bytes: usize,
    },
    Find {
        token: Token,
        sound: Id,
    },
}

/// See the chapter above.
pub(super) struct Reader {
    dir: PathBuf,
    files: BTreeMap<u32, File>,
    help: Arc<dyn LinkHelp>,
    inbox: Inbox,
}

impl Reader {
    /// Of the log in `dir`.
    pub(super) fn new(dir: &Path, help: Arc<dyn LinkHelp>, inbox: Inbox) -> Reader {
        Reader {
            dir: dir.to_owned(),
            files: BTreeMap::new(),
            help,
            inbox,
        }
    }

    /// Until nobody asks any more.
    pub(super) fn run(mut self, asked: &Receiver<Ask>) {
        for ask in asked {
            let input = match ask {
                Ask::Read {
                    token,
                    segment,
                    offset,
                    bytes,
                } => {
                    let piece = self.read(segment, offset, bytes);
                    LinkInput::Read { token, piece }
                }
                Ask::Find { token, sound } => {
                    let places = self.help.places(sound);
                    LinkInput::Places { token, places }
                }
            };
            self.inbox.put(In::Link(input));
        }
    }

    fn read(&mut self, segment: u32, offset: u64, bytes: usize) -> LogPiece {
        let file = self.dir.join(crate::segment::file_name(segment));
        if !self.files.contains_key(&segment) || !file.exists() {
            self.files.remove(&segment);
            let Ok(opened) = File::open(&file) else {
                let there = files::segments(&self.dir).unwrap_or_default();
                let next = there.into_iter().find(|number| *number > segment);
                return LogPiece::Gone { next };
            };
            sys::read_only_what_is_asked(&opened);
            if self.files.len() >= FILES_OPEN_MAX {
                self.files.pop_first();
            }
            self.files.insert(segment, opened);
        }
        match self.files.get(&segment) {
            Some(file) => files::read_piece(file, offset, bytes as u64)
                .map_or(LogPiece::Failed, LogPiece::Bytes),
            None => LogPiece::Failed,
        }
    }
}
