//! The messages of a mailbox in a backup, with all it takes to put one back.
//!
//! Whoever reads a backup makes a view of it, without the sound; [`messages`] says which messages the
//! mailbox had then, by the same rules by which it shows them, and `imports` puts back what is not
//! there any more. What was deleted when the backup was made stays so.

use serde::{Deserialize, Serialize};
use tandem_storage::View;
use tandem_storage::name::Id;
use tandem_storage::seam::{SealKind, SoundCodec};
use tandem_storage::time::WallTime;

use crate::mailbox::{About, Folder, Mailboxes};
use crate::office::account_key;

/// A message as a backup has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupMessage {
    /// Its name then.
    pub id: Id,
    /// When it was left.
    pub at: WallTime,
    /// How its samples are kept.
    pub codec: SoundCodec,
    /// What was known when it began.
    pub about: String,
    /// It was cut short.
    pub cut_short: bool,
    /// What was known when it ended.
    pub seal: String,
    /// It had been heard.
    pub heard: bool,
    /// Where it was filed, if it was.
    pub folder: Option<String>,
}

/// Is this a user of whom the backup knows?
pub fn knows(view: &View, user: Id) -> bool {
    view.register(&account_key(user)).is_some()
}

/// The messages that a mailbox had, oldest first.
pub fn messages(view: &View, mailbox: Id) -> Vec<BackupMessage> {
    let mailboxes = Mailboxes::read(view, 0);
    let there = mailboxes.of(mailbox).filter(|message| !message.deleted);
    let kept = there.filter_map(|message| {
        let sound = view.sound(message.id)?;
        let (kind, seal) = sound.seal.as_ref()?;
        let filed = match message.folder() {
            Folder::New | Folder::Old => None,
            folder => Some(folder.name().to_owned()),
        };
        Some(BackupMessage {
            id: message.id,
            at: message.at,
            codec: sound.codec,
            about: sound.about.to_string(),
            cut_short: *kind == SealKind::CutShort,
            seal: seal.to_string(),
            heard: message.heard,
            folder: filed,
        })
    });
    kept.collect()
}

impl BackupMessage {
    /// The message that this is, or is a copy of.
    pub fn origin(&self) -> Id {
        let restored = match self.about() {
            Some(About::Message { restored, .. }) => restored,
            _ => None,
        };
        restored.unwrap_or(self.id)
    }

    pub(crate) fn about(&self) -> Option<About> {
        serde_json::from_str(&self.about).ok()
    }

    /// What is set of it: the end of each key, and its value.
    pub(crate) fn registers(&self) -> Vec<(&'static str, String)> {
        let heard = self.heard.then(|| ("heard", "true".to_owned()));
        let filed = self.folder.as_deref().and_then(Folder::filed);
        let filed = filed.map(|folder| ("folder", format!("\"{}\"", folder.name())));
        heard.into_iter().chain(filed).collect()
    }
}
