//! Deleting, restoring, and saving to a folder. Each is said to be done once it is durable.

use crate::app::Next;
use crate::call::Leg;
use crate::mailbox::{Folder, deleted_key, folder_key, heard_key};
use crate::say::Say;
use crate::state::{PbxState, Waiter};
use crate::voicemail::header;
use crate::voicemail::keys::Verb;
use crate::voicemail::question::{Question, Reply};
use crate::voicemail::session::{After, Leave, Session, Step};
use crate::words;

impl Session {
    /// Deletes the selected message, or restores it.
    pub(crate) fn delete(&mut self, leg: &Leg, x: &mut PbxState, verb: Verb) -> Leave {
        let Some(message) = self.selected().and_then(|id| x.mailboxes.message(id)) else {
            return self.menu(leg, x, Say::one(words::NOTHING_SELECTED));
        };
        let delete = verb == Verb::Delete && !message.deleted;
        let key = deleted_key(message.id);
        let token = x.register(Waiter::Leg(leg.id), key, delete.then_some(&true));
        leg.stop_playback(x);
        let word = if delete {
            words::DELETED
        } else {
            words::UNDELETED
        };
        self.wait(x, token, After::Menu(Say::one(word).pause(200)))
    }

    pub(crate) fn ask_folder(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        let said = Say::one(words::CHANGE_FOLDER);
        self.step = Step::ChooseFolder(Question::key(leg, x, said));
        None
    }

    pub(crate) fn ask_save(&mut self, leg: &Leg, x: &mut PbxState) -> Leave {
        if self.selected().is_none() {
            return self.menu(leg, x, Say::one(words::NOTHING_SELECTED));
        }
        let said = Say::one(words::SAVE_TO_FOLDER);
        self.step = Step::SaveFolder(Question::key(leg, x, said));
        None
    }

    pub(crate) fn on_folder(&mut self, leg: &Leg, x: &mut PbxState, reply: &Reply) -> Leave {
        let folder = match reply {
            Reply::Key('0') => Folder::New,
            Reply::Key('1') => Folder::Old,
            Reply::Key('2') => Folder::Work,
            Reply::Key('3') => Folder::Family,
            Reply::Key('4') => Folder::Friends,
            Reply::Key('#' | '*') => return self.menu(leg, x, Say::new()),
            Reply::Key(_) => return self.menu(leg, x, Say::one(words::INVALID_CHOICE)),
            Reply::Number(_) | Reply::Silence => return Some(Next::goodbye(Say::new())),
        };
        match self.step {
            Step::SaveFolder(_) => self.file(leg, x, folder),
            _ => self.open(leg, x, folder),
        }
    }

    /// Puts the selected message into a folder.
    pub(crate) fn file(&mut self, leg: &Leg, x: &mut PbxState, folder: Folder) -> Leave {
        let Some(id) = self.selected() else {
            return self.menu(leg, x, Say::one(words::NOTHING_SELECTED));
        };
        let heard = (folder != Folder::New).then_some(&true);
        let filed = (!matches!(folder, Folder::New | Folder::Old)).then(|| folder.name());
        let waiter = Waiter::Leg(leg.id);
        // The log keeps order: when the second is durable, the first is. The order is the one in
        // which no lamp shows a state between.
        let token = if filed.is_some() {
            x.register(Waiter::Nobody, folder_key(id), filed);
            x.register(waiter, heard_key(id), heard)
        } else {
            x.register(Waiter::Nobody, heard_key(id), heard);
            x.register(waiter, folder_key(id), filed)
        };
        leg.stop_playback(x);
        let said = Say::one(words::SAVED_TO)
            .word(header::folder(folder))
            .pause(200);
        self.wait(x, token, After::Menu(said))
    }
}
