//! Which keys mean what to somebody who hears their messages.
//!
//! Two maps, as data. *Comedian* is Asterisk's (`apps/app_voicemail.c`) and the default.
//! *Intuity* is Avaya's; its commands may have several keys, so that what has been typed can be a
//! command and the beginning of a longer one at once.

/// A map of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyMap {
    /// As in Asterisk's voicemail.
    #[default]
    Comedian,
    /// As in Avaya Intuity Audix.
    Intuity,
}

/// Where the caller is; the same key means different things in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MenuContext {
    /// In the menu, no message selected.
    Menu,
    /// In the menu, with a message selected.
    Message,
    /// A message is being played.
    Playing,
    /// In the advanced menu.
    Advanced,
    /// In the mailbox options.
    Options,
    /// Asked what to do with the temporary greeting.
    Temporary,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Listen,
    ChangeFolder,
    Advanced,
    Options,
    Previous,
    Repeat,
    Next,
    Delete,
    Undelete,
    Forward,
    SaveTo,
    Keep,
    Help,
    Exit,
    Back,
    SkipForward,
    SkipBack,
    Pause,
    Restart,
    Reply,
    CallBack,
    Envelope,
    DialOut,
    Leave,
    GreetUnavailable,
    GreetBusy,
    GreetName,
    GreetTemporary,
    ChangePin,
    Erase,
}

impl Verb {
    /// Moves within the message that is being played.
    pub(crate) fn winds(self) -> bool {
        matches!(
            self,
            Verb::SkipForward | Verb::SkipBack | Verb::Pause | Verb::Restart
        )
    }
}

/// What has been typed so far is …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A command.
    Complete(Verb),
    /// The beginning of one; perhaps a command already, should nothing follow.
    Begun(Option<Verb>),
    /// Nothing that means anything here.
    Unknown,
}

/// Reads what has been typed.
pub(crate) fn read(map: KeyMap, place: MenuContext, typed: &str) -> Typed {
    let tables = tables(map, place);
    let here = || tables.iter().copied().flatten();
    let verb = here()
        .find(|(keys, _)| *keys == typed)
        .map(|(_, verb)| *verb);
    let longer = here().any(|(keys, _)| keys.len() > typed.len() && keys.starts_with(typed));
    match (verb, longer) {
        (verb, true) => Typed::Begun(verb),
        (Some(verb), false) => Typed::Complete(verb),
        (None, false) => Typed::Unknown,
    }
}

type Table = &'static [(&'static str, Verb)];

/// The tables that hold in a place; the first that has a key decides.
fn tables(map: KeyMap, place: MenuContext) -> [Table; 3] {
    match (map, place) {
        (KeyMap::Comedian, MenuContext::Menu | MenuContext::Message) => [COMEDIAN, &[], &[]],
        (KeyMap::Comedian, MenuContext::Playing) => [COMEDIAN_PLAYING, COMEDIAN, &[]],
        (KeyMap::Intuity, MenuContext::Menu) => [INTUITY, INTUITY_EVERYWHERE, &[]],
        (KeyMap::Intuity, MenuContext::Message) => [INTUITY, INTUITY_MESSAGE, INTUITY_EVERYWHERE],
        (KeyMap::Intuity, MenuContext::Playing) => {
            [INTUITY_PLAYING, INTUITY_MESSAGE, INTUITY_EVERYWHERE]
        }
        (_, MenuContext::Advanced) => [ADVANCED, &[], &[]],
        (_, MenuContext::Options) => [OPTIONS, &[], &[]],
        (_, MenuContext::Temporary) => [TEMPORARY, &[], &[]],
    }
}

const COMEDIAN: Table = &[
    ("1", Verb::Listen),
    ("2", Verb::ChangeFolder),
    ("3", Verb::Advanced),
    ("4", Verb::Previous),
    ("5", Verb::Repeat),
    ("6", Verb::Next),
    ("7", Verb::Delete),
    ("8", Verb::Forward),
    ("9", Verb::SaveTo),
    ("0", Verb::Options),
    ("*", Verb::Help),
    ("#", Verb::Exit),
];

const COMEDIAN_PLAYING: Table = &[
    ("#", Verb::SkipForward),
    ("*", Verb::SkipBack),
    ("0", Verb::Pause),
    ("2", Verb::Restart),
];

const ADVANCED: Table = &[
    ("1", Verb::Reply),
    ("2", Verb::CallBack),
    ("3", Verb::Envelope),
    ("4", Verb::DialOut),
    ("5", Verb::Leave),
    ("*", Verb::Back),
    ("#", Verb::Exit),
];

const OPTIONS: Table = &[
    ("1", Verb::GreetUnavailable),
    ("2", Verb::GreetBusy),
    ("3", Verb::GreetName),
    ("4", Verb::GreetTemporary),
    ("5", Verb::ChangePin),
    ("*", Verb::Back),
    ("#", Verb::Exit),
];

const TEMPORARY: Table = &[
    ("1", Verb::GreetTemporary),
    ("2", Verb::Erase),
    ("*", Verb::Back),
    ("#", Verb::Exit),
];

const INTUITY: Table = &[
    ("1", Verb::Leave),
    ("2", Verb::Listen),
    ("3", Verb::GreetUnavailable),
    ("5", Verb::Options),
    ("7", Verb::ChangeFolder),
];

/// With a message selected, being played or not.
const INTUITY_MESSAGE: Table = &[
    ("0", Verb::Repeat),
    ("23", Verb::Envelope),
    ("#", Verb::Next),
    ("*#", Verb::Next),
    ("*2", Verb::Previous),
    ("*3", Verb::Delete),
    ("*8", Verb::Undelete),
    ("**4", Verb::Next),
];

const INTUITY_EVERYWHERE: Table = &[("*4", Verb::Help), ("*7", Verb::Back), ("**9", Verb::Exit)];

const INTUITY_PLAYING: Table = &[
    ("1", Verb::Reply),
    ("2", Verb::Restart),
    ("3", Verb::Pause),
    ("5", Verb::SkipBack),
    ("6", Verb::SkipForward),
    ("*5", Verb::Restart),
    ("7", Verb::Keep),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(map: KeyMap, place: MenuContext, typed: &str, expected: &str) {
        assert_eq!(
            format!("{:?}", read(map, place, typed)),
            expected,
            "{map:?} {place:?} {typed}"
        );
    }

    #[test]
    fn comedian_keys_are_single_and_playing_has_its_own() {
        let map = KeyMap::Comedian;
        check(map, MenuContext::Menu, "7", "Complete(Delete)");
        check(map, MenuContext::Menu, "#", "Complete(Exit)");
        check(map, MenuContext::Playing, "#", "Complete(SkipForward)");
        check(map, MenuContext::Playing, "7", "Complete(Delete)");
        check(map, MenuContext::Options, "9", "Unknown");
        check(map, MenuContext::Menu, "A", "Unknown");
    }

    #[test]
    fn intuity_keys_may_be_long() {
        let map = KeyMap::Intuity;
        check(map, MenuContext::Menu, "*", "Begun(None)");
        check(map, MenuContext::Menu, "**", "Begun(None)");
        check(map, MenuContext::Menu, "**9", "Complete(Exit)");
        check(map, MenuContext::Menu, "2", "Complete(Listen)");
        check(map, MenuContext::Message, "2", "Begun(Some(Listen))");
        check(map, MenuContext::Playing, "2", "Begun(Some(Restart))");
        check(map, MenuContext::Playing, "23", "Complete(Envelope)");
        check(map, MenuContext::Playing, "*1", "Unknown");
    }

    #[test]
    fn no_table_has_a_key_twice() {
        let tables = [
            COMEDIAN,
            COMEDIAN_PLAYING,
            ADVANCED,
            OPTIONS,
            TEMPORARY,
            INTUITY,
            INTUITY_PLAYING,
        ];
        for table in tables {
            for (i, (keys, _)) in table.iter().enumerate() {
                assert!(table[..i].iter().all(|(other, _)| other != keys), "{keys}");
            }
        }
    }
}
