//! What is said about messages: how many there are, when one came and from whom.

use crate::mailbox::{self, Folder, Message};
use crate::quota::Room;
use crate::say::Say;
use crate::seam::MessageSummary;
use crate::state::PbxState;
use crate::words::{self, Word};

/// "You have one urgent message, two new messages and one old message."
pub(crate) fn summary(lamp: MessageSummary) -> Say {
    let parts = [
        (lamp.new_urgent, words::URGENT),
        (lamp.new - lamp.new_urgent, words::NEW),
        (lamp.old, words::OLD),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).collect();
    if parts.is_empty() {
        return Say::one(words::NO_MESSAGES);
    }
    let last = parts.len() - 1;
    parts
        .into_iter()
        .enumerate()
        .fold(Say::one(words::YOU_HAVE), |said, (i, (count, kind))| {
            let said = if i == last && i > 0 {
                said.word(words::AND)
            } else {
                said
            };
            let noun = if count == 1 {
                words::MESSAGE
            } else {
                words::MESSAGES
            };
            said.number(count).word(kind).word(noun)
        })
}

/// "Your mailbox is nearly full."
pub(crate) fn little_room(room: Room) -> Say {
    match room {
        Room::Plenty => Say::new(),
        Room::Little => Say::one(words::OWN_MAILBOX_NEARLY_FULL).pause(300),
        Room::None => Say::one(words::OWN_MAILBOX_FULL).pause(300),
    }
}

/// "Message two. Received yesterday at nine thirty A M, from extension one zero one."
pub(crate) fn header(x: &PbxState, message: &Message, index: usize, count: usize) -> Say {
    let said = if message.urgent {
        Say::one(words::URGENT_MESSAGE)
    } else {
        Say::new()
    };
    let said = match index {
        0 => said.word(words::FIRST),
        _ if index + 1 == count => said.word(words::LAST),
        _ => said
            .word(words::MESSAGE_NUMBER)
            .number(u32::try_from(index + 1).unwrap_or(u32::MAX)),
    };
    let said = said
        .word(words::RECEIVED)
        .when(x.local(message.at), x.local(x.now.wall))
        .then(from(x, message));
    let said = if message.cut_short || x.is_incomplete(message) {
        said.pause(200).word(words::CUT_SHORT)
    } else {
        said
    };
    said.pause(300)
}

fn from(x: &PbxState, message: &Message) -> Say {
    let from = mailbox::from(&x.view, message.id);
    let extension = from.user.and_then(|user| x.office.account(user));
    match extension {
        Some(account) => Say::one(words::FROM_EXTENSION).digits(&account.extension),
        None if from.number.is_empty() => Say::one(words::FROM_UNKNOWN),
        None => Say::one(words::FROM_NUMBER).digits(&from.number),
    }
}

/// A folder's name, as in "Message saved to …".
pub(crate) fn folder(folder: Folder) -> Word {
    match folder {
        Folder::New => words::FOLDER_NEW,
        Folder::Old => words::FOLDER_OLD,
        Folder::Work => words::FOLDER_WORK,
        Folder::Family => words::FOLDER_FAMILY,
        Folder::Friends => words::FOLDER_FRIENDS,
    }
}
