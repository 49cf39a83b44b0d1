//! Every prompt call control can say, by the name of its file.
//!
//! A [`Word`] can be made only here, so the list is complete; a test holds it against the list of
//! phrases that are rendered.

/// The name of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) &'static str);

macro_rules! words {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) const $name: Word = Word($text);)*
        const NAMED: &[Word] = &[$($name),*];
    };
}

words! {
    HUNDRED = "digits/hundred";
    THOUSAND = "digits/thousand";
    OH = "digits/oh";
    STAR = "digits/star";
    POUND = "digits/pound";
    PLUS = "digits/plus";
    AM = "time/am";
    PM = "time/pm";
    OCLOCK = "time/oclock";
    TODAY_AT = "time/today-at";
    YESTERDAY_AT = "time/yesterday-at";
    ON = "time/on";
    AT = "time/at";
    THE = "time/the";
    NO_ANSWER = "codes/no-answer";
    TRANSFER_TO = "codes/transfer-to";
    ROOM_FIRST = "room/first";
    ROOM_ENTER_PIN = "room/enter-pin";
    ROOM_IS_LOCKED = "room/is-locked";
    ROOM_FULL = "room/full";
    ROOM_MENU = "room/menu";
    ROOM_HOST_MENU = "room/host-menu";
    ROOM_MUTED = "room/muted";
    ROOM_UNMUTED = "room/unmuted";
    ROOM_LOCKED = "room/locked";
    ROOM_UNLOCKED = "room/unlocked";
    ROOM_THERE_ARE = "room/there-are";
    ROOM_ALL_MUTED = "room/all-muted";
    ROOM_LECTURE_ON = "room/lecture-on";
    ROOM_LECTURE_OFF = "room/lecture-off";
    ROOM_REMOVED = "room/removed";
    ROOM_ENDED = "room/ended";
    SECOND = "time/second";
    SECONDS = "time/seconds";
    AND = "vm/and";
    PERSON_AT_EXTENSION = "vm/person-at-extension";
    IS_NOT_AVAILABLE = "vm/is-not-available";
    IS_ON_THE_PHONE = "vm/is-on-the-phone";
    INTRO = "vm/intro";
    CANNOT_TAKE_MESSAGE = "vm/cannot-take-message";
    MAILBOX_FULL = "vm/mailbox-full";
    OWN_MAILBOX_NEARLY_FULL = "vm/own-mailbox-nearly-full";
    OWN_MAILBOX_FULL = "vm/own-mailbox-full";
    TOO_SHORT = "vm/too-short";
    TIME_LIMIT = "vm/time-limit";
    REVIEW = "vm/review";
    REVIEW_URGENT = "vm/review-urgent";
    MARKED_URGENT = "vm/marked-urgent";
    MARKED_NOT_URGENT = "vm/marked-not-urgent";
    MESSAGE_SAVED = "vm/message-saved";
    MESSAGE_NOT_SAVED = "vm/message-not-saved";
    ENTER_MAILBOX = "vm/enter-mailbox";
    ENTER_EXTENSION = "vm/enter-extension";
    ENTER_PIN = "vm/enter-pin";
    PIN_INCORRECT = "vm/pin-incorrect";
    LOGIN_INCORRECT = "vm/login-incorrect";
    TOO_MANY_TRIES = "vm/too-many-tries";
    TRY_AGAIN_LATER = "vm/try-again-later";
    PIN_LOCKED = "vm/pin-locked";
    NO_SUCH_MAILBOX = "vm/no-such-mailbox";
    YOU_HAVE = "vm/you-have";
    NEW = "vm/new";
    OLD = "vm/old";
    URGENT = "vm/urgent";
    MESSAGE = "vm/message";
    MESSAGES = "vm/messages";
    NO_MESSAGES = "vm/no-messages";
    NO_MORE_MESSAGES = "vm/no-more-messages";
    NO_PREVIOUS_MESSAGE = "vm/no-previous-message";
    FOLDER_EMPTY = "vm/folder-empty";
    FIRST = "vm/first";
    LAST = "vm/last";
    MESSAGE_NUMBER = "vm/message-number";
    RECEIVED = "vm/received";
    FROM_EXTENSION = "vm/from-extension";
    FROM_NUMBER = "vm/from-number";
    FROM_UNKNOWN = "vm/from-unknown";
    URGENT_MESSAGE = "vm/urgent-message";
    CUT_SHORT = "vm/cut-short";
    MESSAGE_UNREADABLE = "vm/message-unreadable";
    MESSAGE_LOCKED = "vm/message-locked";
    DELETED = "vm/deleted";
    UNDELETED = "vm/undeleted";
    SAVED_TO = "vm/saved-to";
    NOTHING_SELECTED = "vm/nothing-selected";
    MESSAGE_MENU = "vm/message-menu";
    FOLDER_NEW = "vm/folder-new";
    FOLDER_OLD = "vm/folder-old";
    FOLDER_WORK = "vm/folder-work";
    FOLDER_FAMILY = "vm/folder-family";
    FOLDER_FRIENDS = "vm/folder-friends";
    CHANGE_FOLDER = "vm/change-folder";
    SAVE_TO_FOLDER = "vm/save-to-folder";
    MAIN_MENU = "vm/main-menu";
    ADVANCED_MENU = "vm/advanced-menu";
    OPTIONS_MENU = "vm/options-menu";
    INTUITY_MENU = "vm/intuity-menu";
    INTUITY_MESSAGE_MENU = "vm/intuity-message-menu";
    HELP_PLAYING = "vm/help-playing";
    RECORD_UNAVAILABLE = "vm/record-unavailable";
    RECORD_BUSY = "vm/record-busy";
    RECORD_TEMPORARY = "vm/record-temporary";
    RECORD_NAME = "vm/record-name";
    TEMPORARY_MENU = "vm/temporary-menu";
    GREETING_REVIEW = "vm/greeting-review";
    GREETING_RECORDED = "vm/greeting-recorded";
    NAME_RECORDED = "vm/name-recorded";
    GREETING_ERASED = "vm/greeting-erased";
    NEW_PIN = "vm/new-pin";
    REPEAT_PIN = "vm/repeat-pin";
    PIN_CHANGED = "vm/pin-changed";
    PIN_MISMATCH = "vm/pin-mismatch";
    PIN_TOO_SHORT = "vm/pin-too-short";
    PIN_TOO_LONG = "vm/pin-too-long";
    PIN_TOO_SIMPLE = "vm/pin-too-simple";
    PIN_NOT_CHANGED = "vm/pin-not-changed";
    NOT_SAVED = "vm/not-saved";
    INVALID_CHOICE = "vm/invalid-choice";
    NOT_AVAILABLE_YET = "vm/not-available-yet";
    GOODBYE = "vm/goodbye";
    DND_ON = "codes/dnd-on";
    DND_OFF = "codes/dnd-off";
    FORWARD_ON = "codes/forward-on";
    FORWARD_OFF = "codes/forward-off";
    FORWARD_INVALID = "codes/forward-invalid";
    YOUR_NUMBER_IS = "codes/your-number-is";
    UNKNOWN_NUMBER = "codes/unknown-number";
    AT_THE_TONE = "codes/at-the-tone";
    EXACTLY = "codes/exactly";
    COULD_NOT = "codes/could-not";
    FORWARD_BUSY_ON = "codes/forward-busy-on";
    FORWARD_NO_ANSWER_ON = "codes/forward-no-answer-on";
    FORWARD_UNREACHABLE_ON = "codes/forward-unreachable-on";
    ANONYMOUS_REJECTED = "codes/anonymous-rejected";
    ANONYMOUS_ACCEPTED = "codes/anonymous-accepted";
    OFFICE_OPEN = "codes/office-open";
    OFFICE_CLOSED = "codes/office-closed";
    CALL_WHEN_FREE = "codes/call-when-free";
    CALL_WHEN_FREE_OFF = "codes/call-when-free-off";
    LOGGED_IN = "codes/logged-in";
    LOGGED_OUT = "codes/logged-out";
    NOTHING_RINGS = "codes/nothing-rings";
    NOBODY_TO_PARK = "codes/nobody-to-park";
    NOBODY_PARKED = "codes/nobody-parked";
    PARKED_AT = "codes/parked-at";
    MUSIC = "music/hold";
    ECHO_TEST = "codes/echo-test";
}

macro_rules! counted {
    ($($text:literal),* $(,)?) => { [$(Word($text)),*] };
}

/// 0 to 20.
pub(crate) const NUMBERS: [Word; 21] = counted![
    "digits/0",
    "digits/1",
    "digits/2",
    "digits/3",
    "digits/4",
    "digits/5",
    "digits/6",
    "digits/7",
    "digits/8",
    "digits/9",
    "digits/10",
    "digits/11",
    "digits/12",
    "digits/13",
    "digits/14",
    "digits/15",
    "digits/16",
    "digits/17",
    "digits/18",
    "digits/19",
    "digits/20",
];

/// 20, 30 … 90.
pub(crate) const TENS: [Word; 8] = counted![
    "digits/20",
    "digits/30",
    "digits/40",
    "digits/50",
    "digits/60",
    "digits/70",
    "digits/80",
    "digits/90",
];

/// Monday first.
pub(crate) const DAYS: [Word; 7] = counted![
    "days/monday",
    "days/tuesday",
    "days/wednesday",
    "days/thursday",
    "days/friday",
    "days/saturday",
    "days/sunday",
];

/// January first.
pub(crate) const MONTHS: [Word; 12] = counted![
    "months/january",
    "months/february",
    "months/march",
    "months/april",
    "months/may",
    "months/june",
    "months/july",
    "months/august",
    "months/september",
    "months/october",
    "months/november",
    "months/december",
];

/// First to thirty-first.
pub(crate) const ORDINALS: [Word; 31] = counted![
    "ordinals/1",
    "ordinals/2",
    "ordinals/3",
    "ordinals/4",
    "ordinals/5",
    "ordinals/6",
    "ordinals/7",
    "ordinals/8",
    "ordinals/9",
    "ordinals/10",
    "ordinals/11",
    "ordinals/12",
    "ordinals/13",
    "ordinals/14",
    "ordinals/15",
    "ordinals/16",
    "ordinals/17",
    "ordinals/18",
    "ordinals/19",
    "ordinals/20",
    "ordinals/21",
    "ordinals/22",
    "ordinals/23",
    "ordinals/24",
    "ordinals/25",
    "ordinals/26",
    "ordinals/27",
    "ordinals/28",
    "ordinals/29",
    "ordinals/30",
    "ordinals/31",
];

/// The names of all prompts call control can ask the engine to play.
pub fn prompts() -> impl Iterator<Item = &'static str> {
    let counted = NUMBERS
        .iter()
        .chain(&TENS)
        .chain(&DAYS)
        .chain(&MONTHS)
        .chain(&ORDINALS);
    NAMED.iter().chain(counted).map(|word| word.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_prompt_is_among_those_rendered() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../prompts/en/prompts.txt");
        let listed = std::fs::read_to_string(path).unwrap();
        let rendered: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        let missing: Vec<&str> = super::prompts()
            .filter(|name| !rendered.contains(name))
            .collect();
        assert!(missing.is_empty(), "not in prompts.txt: {missing:?}");
    }
}
