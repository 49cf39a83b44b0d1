//! Which messages each mailbox holds: a view over the log's sounds and registers.
//!
//! A message is a sound whose `about` says so ([`About`]) and whose seal is durable, whole or cut
//! short. What happens to it later is registers, one for each thing:
//!
//! | key | value (JSON) |
//! |---|---|
//! | `message/ID/heard` | `true`; removed: new again |
//! | `message/ID/deleted` | `true`; removed: restored |
//! | `message/ID/folder` | `"work"`, `"family"`, `"friends"`; removed: new or old, as heard |
//!
//! Invariant: whatever order seals and registers come in, the index ends the same: a seal reads
//! the registers that are already there.
//!
//! The lamp counts what is in the folders New and Old, as Asterisk's does (RFC 3842 §3.5 leaves
//! it open): what somebody filed under Work waits for nobody. It is counted along, so that a change to
//! one of many messages costs what it costs among few.
//!
//! Who left a message is read from its sound when somebody asks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;
use tandem_storage::time::WallTime;
use tandem_storage::{Sound, View};

use crate::quota::Amount;
use crate::seam::MessageSummary;

/// What a sound is, as written when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum About {
    /// Left for the owner of a mailbox.
    Message {
        mailbox: Id,
        from: From,
        /// What was dialled.
        called: Arc<str>,
        /// It was put back from a backup: the message that it is a copy of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Id>,
    },
    /// Recorded by the owner.
    Greeting { mailbox: Id, which: Arc<str> },
}

/// Of [`About`], what the index needs: read without copying the rest.
#[derive(Deserialize)]
struct Whose<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    mailbox: Id,
    #[serde(default)]
    restored: Option<Id>,
}

/// The kind of a message, as [`About`] writes it.
const MESSAGE: &str = "message";
/// The keys of what happens to messages begin with this.
const MESSAGE_KEYS: &str = "message/";

/// Who left a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct From {
    pub(crate) number: Arc<str>,
    pub(crate) name: Arc<str>,
    #[serde(default)]
    pub(crate) user: Option<Id>,
}

/// What is known of a sound only when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    #[serde(default)]
    pub(crate) urgent: bool,
    #[serde(default)]
    pub(crate) samples_speech: u64,
    /// All that was recorded, silence included: with less of it here, something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) samples: Option<u64>,
}

impl Sealed {
    /// What a sound's seal says.
    pub(crate) fn of(sound: &Sound) -> Option<Sealed> {
        let (_, about) = sound.seal.as_ref()?;
        serde_json::from_str(about).ok()
    }
}

impl About {
    /// Whose.
    pub(crate) fn mailbox(&self) -> Id {
        match self {
            About::Message { mailbox, .. } | About::Greeting { mailbox, .. } => *mailbox,
        }
    }
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Folder {
    New,
    Old,
    Work,
    Family,
    Friends,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) mailbox: Id,
    pub(crate) at: WallTime,
    pub(crate) urgent: bool,
    pub(crate) cut_short: bool,
    pub(crate) heard: bool,
    pub(crate) deleted: bool,
    /// It was put back: the message it is a copy of.
    pub(crate) restored: Option<Id>,
    filed: Option<Folder>,
    /// How much was spoken; where its seal does not say, how much was here by then.
    samples: u64,
}

/// All messages of all mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    messages: BTreeMap<Id, Message>,
    by_mailbox: BTreeMap<Id, Mailbox>,
    /// Which of them are deleted and can still be had back.
    deleted: BTreeSet<Id>,
}

/// The messages of one mailbox, by age, and what is counted of those that are not deleted.
#[derive(Debug, Default)]
struct Mailbox {
    messages: BTreeSet<(WallTime, Id)>,
    lamp: MessageSummary,
    used: Amount,
}

/// Who left this message.
pub(crate) fn from(view: &View, message: Id) -> From {
    let about = view.sound(message).map(|sound| &*sound.about);
    match about.map(serde_json::from_str) {
        Some(Ok(About::Message { from, .. })) => from,
        _ => From::default(),
    }
}

pub(crate) fn heard_key(message: Id) -> Arc<str> {
    format!("message/{message}/heard").into()
}

pub(crate) fn deleted_key(message: Id) -> Arc<str> {
    format!("message/{message}/deleted").into()
}

pub(crate) fn folder_key(message: Id) -> Arc<str> {
    format!("message/{message}/folder").into()
}

/// Of which message a register speaks, and what of it.
fn split_key(key: &str) -> Option<(Id, &str)> {
    let (id, what) = key.strip_prefix(MESSAGE_KEYS)?.split_once('/')?;
    Some((id.parse().ok()?, what))
}

impl Folder {
    /// As in its register and in lists.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Folder::New => "new",
            Folder::Old => "old",
            Folder::Work => "work",
            Folder::Family => "family",
            Folder::Friends => "friends",
        }
    }

    pub(crate) fn filed(name: &str) -> Option<Folder> {
        [Folder::Work, Folder::Family, Folder::Friends]
            .into_iter()
            .find(|f| f.name() == name)
    }
}

impl Message {
    /// This is that message, or a copy of it that was put back.
    pub(crate) fn is_of(&self, origin: Id) -> bool {
        self.restored.unwrap_or(self.id) == origin
    }

    /// Its length in samples, wherever they lie.
    pub(crate) fn length(&self, samples_here: u64) -> u64 {
        self.samples.max(samples_here)
    }

    /// With so much of it here, some of it is missing. Sound that lies with other nodes alone is not.
    pub(crate) fn is_incomplete(&self, samples_here: u64, others_may_have_it: bool) -> bool {
        samples_here < self.samples && !(samples_here == 0 && others_may_have_it)
    }

    /// Where it lies now.
    pub(crate) fn folder(&self) -> Folder {
        match self.filed {
            Some(folder) => folder,
            None if self.heard => Folder::Old,
            None => Folder::New,
        }
    }
}

impl Mailboxes {
    /// All that the view knows, in one pass.
    pub(crate) fn read(view: &View, samples_min: u64) -> Mailboxes {
        let there = view.sounds().filter_map(|s| Message::of(s, samples_min));
        let mut messages: BTreeMap<Id, Message> = there.map(|m| (m.id, m)).collect();
        for (key, value) in view.registers(MESSAGE_KEYS) {
            if let Some((id, what)) = split_key(key)
                && let Some(message) = messages.get_mut(&id)
            {
                message.set(what, Some(value));
            }
        }
        let mut by_mailbox: BTreeMap<Id, Vec<&Message>> = BTreeMap::new();
        for message in messages.values() {
            by_mailbox.entry(message.mailbox).or_default().push(message);
        }
        let by_mailbox = by_mailbox.into_iter();
        Mailboxes {
            by_mailbox: by_mailbox
                .map(|(id, all)| (id, Mailbox::of(&all)))
                .collect(),
            deleted: messages
                .values()
                .filter(|m| m.deleted)
                .map(|m| m.id)
                .collect(),
            messages,
        }
    }

    /// Takes in a sound whose seal is durable. Returns the mailbox that changed. One that was cut
    /// short before it had `samples_min` is nobody's.
    pub(crate) fn sealed(&mut self, view: &View, sound: &Sound, samples_min: u64) -> Option<Id> {
        sound.seal.as_ref()?;
        let was_in = self.remove(sound.id);
        let Some(mut message) = Message::of(sound, samples_min) else {
            return was_in;
        };
        for (key, what) in [
            (heard_key(sound.id), "heard"),
            (deleted_key(sound.id), "deleted"),
            (folder_key(sound.id), "folder"),
        ] {
            message.set(what, view.register(&key));
        }
        let mailbox = message.mailbox;
        self.add(message);
        Some(mailbox)
    }

    fn add(&mut self, message: Message) {
        let mailbox = self.by_mailbox.entry(message.mailbox).or_default();
        mailbox.messages.insert((message.at, message.id));
        mailbox.count(&message);
        if message.deleted {
            self.deleted.insert(message.id);
        }
        self.messages.insert(message.id, message);
    }

    fn remove(&mut self, id: Id) -> Option<Id> {
        let message = self.messages.remove(&id)?;
        self.deleted.remove(&id);
        let mailbox = self.by_mailbox.get_mut(&message.mailbox)?;
        mailbox.messages.remove(&(message.at, id));
        mailbox.uncount(&message);
        Some(message.mailbox)
    }

    /// Takes in a register. Returns the mailbox that changed.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&str>) -> Option<Id> {
        let (id, what) = split_key(key)?;
        let message = self.messages.get_mut(&id)?;
        let mailbox = self.by_mailbox.get_mut(&message.mailbox)?;
        mailbox.uncount(message);
        message.set(what, value);
        mailbox.count(message);
        if message.deleted {
            self.deleted.insert(message.id);
        } else {
            self.deleted.remove(&message.id);
        }
        Some(message.mailbox)
    }

    /// The deleted messages of all mailboxes.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &Message> {
        self.deleted.iter().filter_map(|id| self.messages.get(id))
    }

    /// One message.
    pub(crate) fn message(&self, id: Id) -> Option<&Message> {
        self.messages.get(&id)
    }

    /// A mailbox's messages, oldest first, deleted ones included.
    pub(crate) fn of(&self, mailbox: Id) -> impl Iterator<Item = &Message> {
        let mailbox = self.by_mailbox.get(&mailbox);
        let ids = mailbox.into_iter().flat_map(|m| &m.messages);
        ids.filter_map(|(_, id)| self.messages.get(id))
    }

    /// What lies in a folder, urgent ones first, then by age.
    pub(crate) fn folder(&self, mailbox: Id, folder: Folder) -> Vec<Id> {
        let there = |m: &&Message| !m.deleted && m.folder() == folder;
        let (urgent, plain): (Vec<_>, Vec<_>) =
            self.of(mailbox).filter(there).partition(|m| m.urgent);
        urgent.into_iter().chain(plain).map(|m| m.id).collect()
    }

    /// What a mailbox's messages take up, less the deleted ones.
    pub(crate) fn used(&self, mailbox: Id) -> Amount {
        let mailbox = self.by_mailbox.get(&mailbox);
        mailbox.map_or(Amount::default(), |m| m.used)
    }

    /// Its lamp.
    pub(crate) fn lamp(&self, mailbox: Id) -> MessageSummary {
        let mailbox = self.by_mailbox.get(&mailbox);
        mailbox.map_or(MessageSummary::default(), |m| m.lamp)
    }
}

impl Mailbox {
    fn of(messages: &[&Message]) -> Mailbox {
        let mut mailbox = Mailbox {
            messages: messages.iter().map(|m| (m.at, m.id)).collect(),
            ..Mailbox::default()
        };
        messages.iter().for_each(|message| mailbox.count(message));
        mailbox
    }

    /// A message is there, as it is now.
    fn count(&mut self, message: &Message) {
        if message.deleted {
            return;
        }
        self.used.add(message.samples);
        if let Some((all, urgent)) = self.lamp_of(message) {
            *all += 1;
            *urgent += u32::from(message.urgent);
        }
    }

    /// It is gone, or about to change.
    fn uncount(&mut self, message: &Message) {
        if message.deleted {
            return;
        }
        self.used.remove(message.samples);
        if let Some((all, urgent)) = self.lamp_of(message) {
            *all -= 1;
            *urgent -= u32::from(message.urgent);
        }
    }

    /// Where the lamp counts it, and where if it is urgent.
    fn lamp_of(&mut self, message: &Message) -> Option<(&mut u32, &mut u32)> {
        let lamp = &mut self.lamp;
        match message.folder() {
            Folder::New => Some((&mut lamp.new, &mut lamp.new_urgent)),
            Folder::Old => Some((&mut lamp.old, &mut lamp.old_urgent)),
            Folder::Work | Folder::Family | Folder::Friends => None,
        }
    }
}

impl Message {
    fn may_be(sound: &Sound) -> bool {
        let seal = sound.seal.as_ref();
        seal.is_some_and(|(kind, _)| *kind != SealKind::Discarded)
    }

    /// The message that this sound is, before anything happened to it; `None`: it is none, or not yet.
    fn of(sound: &Sound, samples_min: u64) -> Option<Message> {
        let (kind, _) = sound.seal.as_ref().filter(|_| Message::may_be(sound))?;
        let cut_short = *kind == SealKind::CutShort;
        if cut_short && sound.samples() < samples_min {
            return None;
        }
        let whose: Whose<'_> = serde_json::from_str(&sound.about).ok()?;
        let sealed = Sealed::of(sound).unwrap_or_default();
        (whose.kind == MESSAGE).then(|| Message {
            id: sound.id,
            mailbox: whose.mailbox,
            at: sound.at,
            urgent: sealed.urgent,
            cut_short,
            heard: false,
            deleted: false,
            restored: whose.restored,
            filed: None,
            samples: sealed.samples.unwrap_or_else(|| sound.samples()),
        })
    }

    fn set(&mut self, what: &str, value: Option<&str>) {
        match what {
            "heard" => self.heard = value == Some("true"),
            "deleted" => self.deleted = value == Some("true"),
            "folder" => {
                self.filed = value.and_then(|v| Folder::filed(v.trim_matches('"')));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_storage::seam::{ChunkPlace, Committed, Hlc, Payload, SoundCodec, Stamp};

    fn committed(seq: u64, what: Payload) -> Committed {
        let node = "a".parse().unwrap();
        Committed {
            stamp: Stamp {
                hlc: Hlc(seq),
                node,
                epoch: 1,
                seq,
            },
            segment: 1,
            what,
        }
    }

    fn story(kind: SealKind, seal: &str) -> Vec<Payload> {
        let id: Id = "a.1.9".parse().unwrap();
        let about = About::Message {
            mailbox: "a.1.1".parse().unwrap(),
            from: From::default(),
            called: "101".into(),
            restored: None,
        };
        let about = serde_json::to_string(&about).unwrap().into();
        let place = ChunkPlace {
            segment: 1,
            offset: 0,
            samples: 4000,
        };
        vec![
            Payload::Begin {
                id,
                codec: SoundCodec::Pcmu,
                at: WallTime(7),
                about,
            },
            Payload::Chunk {
                id,
                index: 0,
                place,
            },
            Payload::Seal {
                id,
                kind,
                about: seal.into(),
            },
        ]
    }

    /// Applies the records and says what the mailbox then shows.
    fn check(story: Vec<Payload>, expected: &str) {
        let (mut view, mut mailboxes) = (View::new(), Mailboxes::default());
        for (seq, what) in story.into_iter().enumerate() {
            let record = committed(seq as u64 + 1, what);
            view.apply(&record);
            match &record.what {
                Payload::Seal { id, .. } => {
                    mailboxes.sealed(&view, view.sound(*id).unwrap(), 4000);
                }
                Payload::Register { key, value } => {
                    mailboxes.apply(key, value.as_deref());
                }
                _ => {}
            }
        }
        assert_eq!(shown(&mailboxes), expected);
        let read = Mailboxes::read(&view, 4000);
        assert_eq!(shown(&read), expected, "read in one pass");
    }

    fn shown(mailboxes: &Mailboxes) -> String {
        let mailbox = "a.1.1".parse().unwrap();
        let lamp = mailboxes.lamp(mailbox);
        let shown: Vec<String> = mailboxes
            .of(mailbox)
            .map(|m| {
                format!(
                    "{}{}",
                    m.folder().name(),
                    if m.cut_short { " cut" } else { "" }
                )
            })
            .collect();
        let shown = shown.join(",");
        let lamp = format!(
            "{}/{} ({}/{})",
            lamp.new, lamp.old, lamp.new_urgent, lamp.old_urgent
        );
        format!("{shown} {lamp}")
    }

    fn register(key: Arc<str>, value: &str) -> Payload {
        Payload::Register {
            key,
            value: Some(value.into()),
        }
    }

    #[test]
    fn a_message_is_there_once_it_is_sealed() {
        check(story(SealKind::Whole, "{}"), "new 1/0 (0/0)");
        check(
            story(SealKind::Whole, r#"{"urgent":true}"#),
            "new 1/0 (1/0)",
        );
        check(story(SealKind::CutShort, ""), "new cut 1/0 (0/0)");
        check(story(SealKind::Discarded, ""), " 0/0 (0/0)");
        check(story(SealKind::Whole, "{}")[..2].to_vec(), " 0/0 (0/0)");
    }

    #[test]
    fn one_cut_short_before_the_minimum_is_nobodys() {
        let mut story = story(SealKind::CutShort, "");
        story.remove(1);
        check(story, " 0/0 (0/0)");
    }

    #[test]
    fn a_message_knows_how_much_was_spoken_and_so_whether_it_is_complete() {
        let of = |seal: &str| {
            let (mut view, mut mailboxes) = (View::new(), Mailboxes::default());
            for (seq, what) in story(SealKind::Whole, seal).into_iter().enumerate() {
                view.apply(&committed(seq as u64 + 1, what));
            }
            let id = "a.1.9".parse().unwrap();
            mailboxes.sealed(&view, view.sound(id).unwrap(), 0);
            mailboxes.message(id).unwrap().clone()
        };
        let spoken = of(r#"{"samples_speech":8000,"samples":9000}"#);
        assert_eq!(spoken.length(4000), 9000, "as much as was spoken");
        assert!(spoken.is_incomplete(4000, true) && spoken.is_incomplete(0, false));
        assert!(!spoken.is_incomplete(9000, false), "all of it is here");
        assert!(!spoken.is_incomplete(0, true), "it lies elsewhere");
        let old = of(r#"{"samples_speech":4000}"#);
        assert_eq!(old.length(4000), 4000, "as much as is here");
        assert_eq!(old.length(6000), 6000, "and as comes later");
        assert!(!old.is_incomplete(4000, false));
    }

    #[test]
    fn registers_count_before_and_after_the_seal() {
        let id = "a.1.9".parse().unwrap();
        let heard = register(heard_key(id), "true");
        let filed = register(folder_key(id), "\"work\"");
        let deleted = register(deleted_key(id), "true");
        for at in [0, 3] {
            let mut told = story(SealKind::Whole, r#"{"urgent":true}"#);
            told.insert(at, heard.clone());
            check(told.clone(), "old 0/1 (0/1)");
            told.insert(at, filed.clone());
            check(told.clone(), "work 0/0 (0/0)");
            told.insert(at, deleted.clone());
            check(told, "work 0/0 (0/0)");
        }
    }
}
