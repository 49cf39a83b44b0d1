//! `tandem restore SOURCE --mailbox EXT`: what is gone of one mailbox, back into a node.
//!
//! A running node is asked over its socket; of one that is stopped the log is opened (`stopped`).
//!
//! The node says whose mailbox it is and what is there of it; the backup, by its records without sound,
//! what there was. The sound of what is missing is read then, and handed to the node message by message
//! under new names. Where it is encrypted, the key is named on the command line. What is there, deleted or not, is left alone, so a second run changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use axum::http::Method;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tandem_pbx::backup_message::{self, BackupMessage};
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::backup::{PackInfo, PackKind, PackRecord};
use tandem_storage::cipher::{Keyring, Locked};
use tandem_storage::name::Id;
use tandem_storage::seam::Payload;
use tandem_storage::{Backup, View};

use crate::admin::bodies::{MessageRestored, RestoreMessage, There};
use crate::admin::{self, Client};
use crate::cli::{Restore, WhichNode};
use crate::commands::lists::{print_json, when};
use crate::commands::progress::Progress;
use crate::commands::stopped::Stopped;
use crate::encryption_keys;
use crate::out::say;

/// Messages whose sound is in memory at once.
const MESSAGES_AT_ONCE: usize = 32;

/// The pieces of sounds, by their index.
type Sounds = HashMap<Id, BTreeMap<u32, Vec<u8>>>;

/// The node that gets them.
enum Node {
    Running(Client),
    Stopped(Box<Stopped>),
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    had: usize,
    there: usize,
    restored: Vec<String>,
    without_sound: u64,
}

pub(crate) fn run(args: &Restore, backup: &Backup, extension: &str) -> Result<(), String> {
    let node = WhichNode {
        data: args.data.clone(),
    };
    let keyring = encryption_keys::of_files(&args.key_file)?;
    let mut node = Node::of(&node.data(), backup, &keyring)?;
    let outcome = restore(backup, extension, &mut node, &keyring);
    let closed = node.close();
    let outcome = outcome?;
    closed?;
    print(backup, extension, &outcome, args.json)
}

fn restore(
    backup: &Backup,
    extension: &str,
    node: &mut Node,
    keyring: &Keyring,
) -> Result<Outcome, String> {
    let (mailbox, there) = read_there(&node.there(extension)?)?;
    let had = messages_in(backup, mailbox, extension)?;
    let is_gone = |m: &&BackupMessage| !there.contains(&m.id) && !there.contains(&m.origin());
    let gone: Vec<&BackupMessage> = had.iter().filter(is_gone).collect();
    let mut outcome = Outcome {
        had: had.len(),
        there: had.len() - gone.len(),
        ..Outcome::default()
    };
    for some in gone.chunks(MESSAGES_AT_ONCE) {
        let mut sounds = read_sounds(backup, some, keyring)?;
        for kept in some {
            let Some(sound) = sounds.remove(&kept.id) else {
                outcome.without_sound += 1;
                continue;
            };
            let samples: Vec<u8> = sound.into_values().flatten().collect();
            let so_far = outcome.restored.len();
            let id = node
                .put_back(extension, kept, samples)
                .map_err(|e| format!("{e}; {so_far} messages were put back before that"))?;
            outcome.restored.extend(id);
        }
    }
    Ok(outcome)
}

impl Node {
    fn of(data: &Path, backup: &Backup, keyring: &Keyring) -> Result<Node, String> {
        if admin::is_running(data) {
            return Ok(Node::Running(Client::of(data.to_owned())));
        }
        let stopped = Stopped::open(data, backup.manifest().node, keyring.clone())?;
        Ok(Node::Stopped(Box::new(stopped)))
    }

    fn there(&mut self, extension: &str) -> Result<There, String> {
        match self {
            Node::Running(node) => node.get(&["mailboxes", extension, "there"]),
            Node::Stopped(node) => {
                let extension = extension.into();
                match node.ask(AdminAsk::There { extension })? {
                    AdminAnswer::Json(value) => serde_json::from_value(value).map_err(broken),
                    _ => Err(broken(())),
                }
            }
        }
    }

    /// Gives the new name; `None`: somebody else has put it back meanwhile.
    fn put_back(
        &mut self,
        extension: &str,
        kept: &BackupMessage,
        samples: Vec<u8>,
    ) -> Result<Option<String>, String> {
        let kept = Box::new(kept.clone());
        match self {
            Node::Running(node) => {
                let samples = BASE64_STANDARD.encode(samples);
                let (path, body) = (
                    ["mailboxes", extension, "restored"],
                    RestoreMessage { kept, samples },
                );
                let restored: MessageRestored = node.send(Method::POST, &path, &body)?;
                Ok(restored.id)
            }
            Node::Stopped(node) => {
                let ask = AdminAsk::Restore {
                    extension: extension.into(),
                    kept,
                    samples: samples.into(),
                };
                match node.ask(ask)? {
                    AdminAnswer::Imported { id } => Ok(Some(id.to_string())),
                    _ => Ok(None),
                }
            }
        }
    }

    fn close(self) -> Result<(), String> {
        match self {
            Node::Running(_) => Ok(()),
            Node::Stopped(node) => node.close(),
        }
    }
}

/// Whose mailbox, and what is there of it.
fn read_there(answer: &There) -> Result<(Id, HashSet<Id>), String> {
    let there = answer.there.iter().map(|id| id.parse().map_err(broken));
    let there: Result<HashSet<Id>, String> = there.collect();
    Ok((answer.mailbox.parse().map_err(broken)?, there?))
}

fn broken<E>(_: E) -> String {
    "the node's answer is broken".to_owned()
}

/// What the mailbox had when the backup was made.
fn messages_in(
    backup: &Backup,
    mailbox: Id,
    extension: &str,
) -> Result<Vec<BackupMessage>, String> {
    let mut view = View::new();
    let is_metadata = |info: &PackInfo| info.kind == PackKind::Metadata;
    read(backup, "reading", is_metadata, |record| {
        view.apply(&record.said)
    })?;
    if !backup_message::knows(&view, mailbox) {
        let manifest = backup.manifest();
        return Err(format!(
            "backup {} of {}, made {}, does not know the user who has the extension {extension}; \
             is there a later one?",
            manifest.number,
            manifest.node,
            when(manifest.made.0),
        ));
    }
    Ok(backup_message::messages(&view, mailbox))
}

fn read_sounds(
    backup: &Backup,
    of: &[&BackupMessage],
    keyring: &Keyring,
) -> Result<Sounds, String> {
    let wanted: HashSet<Id> = of.iter().map(|kept| kept.id).collect();
    let has_some = |info: &PackInfo| {
        info.kind == PackKind::Sound && wanted.iter().any(|id| info.may_have(*id))
    };
    let mut sounds = Sounds::new();
    let mut locked = None;
    read(backup, "restoring", has_some, |record| {
        if let Payload::Chunk { id, index, .. } = &record.said.what
            && wanted.contains(id)
            && let Some(samples) = record.samples()
        {
            let pieces = sounds.entry(*id).or_default();
            let mut samples = samples.to_vec();
            match keyring.decrypt(*id, *index, &mut samples) {
                Ok(length) => samples.truncate(length),
                Err(why) => locked = Some(why),
            }
            pieces.insert(*index, samples);
        }
    })?;
    match locked {
        None => Ok(sounds),
        Some(Locked::NoKey(name)) => Err(format!(
            "the sound in the backup is encrypted with key {name}; name its file with --key-file"
        )),
        Some(why) => Err(format!("the sound in the backup cannot be heard: {why}")),
    }
}

fn read(
    backup: &Backup,
    doing: &'static str,
    wants: impl Fn(&PackInfo) -> bool,
    mut take: impl FnMut(&PackRecord<'_>),
) -> Result<(), String> {
    let mut progress = Progress::new(doing);
    let outcome = backup.read(wants, &mut |p| progress.show(p), |record| {
        take(record);
        Ok(())
    });
    progress.end();
    outcome.map_err(|e| e.to_string())
}

fn print(backup: &Backup, extension: &str, outcome: &Outcome, as_json: bool) -> Result<(), String> {
    let manifest = backup.manifest();
    let Outcome {
        had,
        there,
        restored,
        without_sound,
    } = outcome;
    if as_json {
        return print_json(&json!({
            "number": manifest.number,
            "made": manifest.made,
            "messages": had,
            "there": there,
            "restored": restored,
            "without_sound": without_sound,
        }));
    }
    say!(
        "backup {} of {}, made {}: {had} messages of {extension}; {there} are there, {} were put back",
        manifest.number,
        manifest.node,
        when(manifest.made.0),
        restored.len(),
    );
    if *without_sound > 0 {
        say!("{without_sound} have no sound in the backup");
    }
    Ok(())
}
