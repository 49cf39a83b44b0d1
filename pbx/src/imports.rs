//! Messages that are brought in: from a file, or back from a backup.
//!
//! An import is written like a recording: beginning, chunks, seal. Each step waits for the one
//! before, so that a message that could not be written whole is taken back rather than shown.
//!
//! A message that is put back gets a new name, for what was destroyed stays so under its old one on
//! every node. It says whose copy it is ([`About::Message`]'s `restored`), so that it is put back once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tandem_storage::block::ChunkBlock;
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, Refusal, SealKind, SoundCodec};
use tandem_storage::time::WallTime;

use crate::admin::Answer;
use crate::backup_message::BackupMessage;
use crate::mailbox::{About, From, Sealed};
use crate::office;
use crate::pbx::Pbx;
use crate::quota::{self, Room};
use crate::seam::AdminAnswer;
use crate::state::{Waiter, samples};

/// Imports under way, by the sound each makes.
#[derive(Default)]
pub(crate) struct Imports(BTreeMap<Id, Import>);

struct Import {
    asker: u64,
    samples: Arc<[u8]>,
    /// The message it is a copy of.
    origin: Option<Id>,
    /// What is set of it: key behind the name, and value.
    registers: Vec<(&'static str, String)>,
    kind: SealKind,
    seal: Arc<str>,
    stage: Stage,
    refused: Option<Refusal>,
}

enum Stage {
    Begin,
    /// So many chunks have not been answered.
    Chunks(usize),
    Seal,
}

/// More at once are turned away: each holds its samples in memory.
const IMPORTS_MAX: usize = 16;

impl Imports {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pbx {
    /// Begins an import, or says why not.
    pub(crate) fn import(
        &mut self,
        asker: u64,
        extension: &str,
        codec: SoundCodec,
        spoken: Arc<[u8]>,
    ) -> Result<(), String> {
        let mailbox = self.mailbox_of(extension)?;
        self.check_import(mailbox, &spoken)?;
        let about = About::Message {
            mailbox,
            from: From::default(),
            called: extension.into(),
            restored: None,
        };
        let seal = Sealed {
            urgent: false,
            samples_speech: spoken.len() as u64,
            samples: Some(spoken.len() as u64),
        };
        let import = Import {
            asker,
            samples: spoken,
            origin: None,
            registers: Vec::new(),
            kind: SealKind::Whole,
            seal: office::json(&seal),
            stage: Stage::Begin,
            refused: None,
        };
        self.begin(import, codec, self.x.now.wall, &about);
        Ok(())
    }

    /// Begins to put a message back, or says why not. One that is there already is left alone.
    pub(crate) fn restore(
        &mut self,
        asker: u64,
        extension: &str,
        kept: &BackupMessage,
        samples: Arc<[u8]>,
    ) -> Result<(), String> {
        let mailbox = self.mailbox_of(extension)?;
        let of_this = kept.about().filter(|about| about.mailbox() == mailbox);
        let Some(About::Message { from, called, .. }) = of_this else {
            return Err(format!("{} was no message of {extension}", kept.id));
        };
        self.check_room(&samples)?;
        let origin = kept.origin();
        let known = self.x.mailboxes.of(mailbox);
        let is_there = known
            .into_iter()
            .any(|m| m.is_of(origin) || m.id == kept.id)
            || self.imports.0.values().any(|i| i.origin == Some(origin));
        let too_short = kept.cut_short && (samples.len() as u64) < self.samples_min();
        if is_there || too_short {
            self.reply(asker, Ok(AdminAnswer::Json(Value::Null)));
            return Ok(());
        }
        let about = About::Message {
            mailbox,
            from,
            called,
            restored: Some(origin),
        };
        let kind = match kept.cut_short {
            true => SealKind::CutShort,
            false => SealKind::Whole,
        };
        let import = Import {
            asker,
            samples,
            origin: Some(origin),
            registers: kept.registers(),
            kind,
            seal: kept.seal.as_str().into(),
            stage: Stage::Begin,
            refused: None,
        };
        self.begin(import, kept.codec, kept.at, &about);
        Ok(())
    }

    /// What is there of a mailbox, and may thus not be put back.
    pub(crate) fn there_json(&self, extension: &str) -> Answer {
        let mailbox = self.mailbox_of(extension)?;
        let messages = self.x.mailboxes.of(mailbox);
        let there = messages.flat_map(|m| std::iter::once(m.id).chain(m.restored));
        let there: Vec<Id> = there.collect();
        let there = json!({ "mailbox": mailbox, "there": there });
        Ok(AdminAnswer::Json(there))
    }

    fn samples_min(&self) -> u64 {
        samples(self.x.config.message_min)
    }

    fn begin(&mut self, import: Import, codec: SoundCodec, at: WallTime, about: &About) {
        let id = self.x.new_id();
        let begin = Append::Begin {
            id,
            codec,
            at,
            about: office::json(about),
        };
        self.x.append(Waiter::Import(id), begin);
        self.imports.0.insert(id, import);
    }

    fn check_import(&self, mailbox: Id, spoken: &[u8]) -> Result<(), String> {
        let longest = self.x.config.message_max;
        if spoken.len() as u64 > samples(longest) {
            return Err(format!(
                "it is longer than a message may be ({} s)",
                longest.as_secs()
            ));
        }
        self.check_room(spoken)?;
        if quota::room(&self.x, mailbox) == Room::None {
            return Err("the mailbox is full; delete messages and try again".to_owned());
        }
        Ok(())
    }

    /// What stands in the way of any sound that is brought in.
    fn check_room(&self, spoken: &[u8]) -> Result<(), String> {
        if spoken.is_empty() {
            return Err("there is no sound in it".to_owned());
        }
        if !self.x.can_record {
            return Err("the disk is full; make room and try again".to_owned());
        }
        if self.imports.0.len() >= IMPORTS_MAX {
            return Err("too many imports at once; try again in a moment".to_owned());
        }
        Ok(())
    }

    /// The log has answered one record of an import.
    pub(crate) fn on_import_answer(&mut self, id: Id, refused: Option<Refusal>) {
        let Some(mut import) = self.imports.0.remove(&id) else {
            return;
        };
        import.refused = import.refused.or(refused);
        import.stage = match import.stage {
            Stage::Begin if import.refused.is_some() => return self.import_failed(&import),
            Stage::Begin => Stage::Chunks(self.append_chunks(id, &import.samples)),
            Stage::Chunks(left) if left > 1 => Stage::Chunks(left - 1),
            Stage::Chunks(_) if import.refused.is_some() => {
                self.x.seal(Waiter::Nobody, id, SealKind::Discarded, "");
                return self.import_failed(&import);
            }
            Stage::Chunks(_) => {
                // Before the seal, so that no lamp shows it as new that was heard long ago.
                for (key, value) in std::mem::take(&mut import.registers) {
                    let key = format!("message/{id}/{key}").into();
                    let value = Some(value.into());
                    let append = Append::Register { key, value };
                    self.x.append(Waiter::Nobody, append);
                }
                self.x
                    .seal(Waiter::Import(id), id, import.kind, &import.seal);
                Stage::Seal
            }
            Stage::Seal if import.refused.is_some() => return self.import_failed(&import),
            Stage::Seal => {
                self.x.counters.imports += 1;
                return self.reply(import.asker, Ok(AdminAnswer::Imported { id }));
            }
        };
        self.imports.0.insert(id, import);
    }

    fn append_chunks(&mut self, id: Id, spoken: &[u8]) -> usize {
        let mut rest = spoken;
        let mut index = 0;
        while !rest.is_empty() {
            let mut block = ChunkBlock::new();
            let taken = block.push(rest);
            rest = &rest[taken..];
            self.x
                .append(Waiter::Import(id), Append::Chunk { id, index, block });
            index += 1;
        }
        index as usize
    }

    fn import_failed(&mut self, import: &Import) {
        let why = import
            .refused
            .map_or_else(String::new, |why| why.to_string());
        self.reply(import.asker, Err(format!("the log did not take it: {why}")));
    }
}
