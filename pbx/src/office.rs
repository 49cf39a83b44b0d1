//! The directory: who has which extension, password, PIN, greeting and wish.
//!
//! A view over the log's registers. Each thing that can be set on its own is a register of its
//! own, so that two nodes (or a phone and the portal) that set different things both have their
//! way after a merge:
//!
//! | key | value (JSON) |
//! |---|---|
//! | `user/ID` | [`Account`]: extension, name, password digests |
//! | `user/ID/pin` | string: Argon2 hash of the PIN, PHC form |
//! | `user/ID/dnd` | `true`; removed: calls are welcome |
//! | `user/ID/forward` | string: the extension all calls go to |
//! | `user/ID/greeting/unavailable`, `…/busy`, `…/temporary`, `…/name` | string: a sound's id |
//!
//! A user's identity is its [`Id`]; the extension is only a value it has. A mailbox belongs to
//! the identity, so swapping two extensions swaps no mailboxes. Should two users claim one
//! extension (two sites handed it out while apart), the one made first answers to it and the
//! other stays in the directory, marked as in conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::seam::SipUser;

/// What the shim and the dial plan need of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What one dials.
    pub extension: Arc<str>,
    /// For display.
    pub name: Arc<str>,
    /// MD5 of `extension:realm:password`, lower-case hex.
    pub ha1_md5: Arc<str>,
    /// SHA-256 of the same.
    pub ha1_sha256: Arc<str>,
}

/// The recordings a user can have made of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Greeting {
    /// Said when the user does not answer.
    Unavailable,
    /// Said when the user is on the phone.
    Busy,
    /// Said in place of the others while it is there.
    Temporary,
    /// The user's name, in the user's voice.
    Name,
}

/// A user, with everything set for it.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Id,
    pub(crate) account: Account,
    pub(crate) settings: Settings,
}

/// What is set one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) pin: Option<Arc<str>>,
    pub(crate) dnd: bool,
    pub(crate) forward: Option<Arc<str>>,
    pub(crate) greetings: BTreeMap<Greeting, Id>,
}

/// All users.
#[derive(Debug, Default)]
pub(crate) struct Office {
    accounts: BTreeMap<Id, Account>,
    settings: BTreeMap<Id, Settings>,
    by_extension: BTreeMap<Arc<str>, BTreeSet<Id>>,
    /// Registers under `user/` that could not be read; they change nothing.
    pub(crate) unreadable: u64,
}

/// The registers that make a new user: to be given to the log, one `Append::Register` each.
pub fn new_user(id: Id, account: &Account, pin_hash: &str) -> Vec<(Arc<str>, Arc<str>)> {
    vec![
        (account_key(id), json(account)),
        (pin_key(id), json(pin_hash)),
    ]
}

/// The register that holds a user's account.
pub fn account_key(id: Id) -> Arc<str> {
    format!("user/{id}").into()
}

/// The register that holds the hash of a user's PIN.
pub fn pin_key(id: Id) -> Arc<str> {
    format!("user/{id}/pin").into()
}

/// The register that says a user wants no calls.
pub fn dnd_key(id: Id) -> Arc<str> {
    format!("user/{id}/dnd").into()
}

/// The register that says where a user's calls go instead.
pub fn forward_key(id: Id) -> Arc<str> {
    format!("user/{id}/forward").into()
}

pub(crate) fn greeting_key(id: Id, greeting: Greeting) -> Arc<str> {
    format!("user/{id}/greeting/{}", greeting.name()).into()
}

/// A value as the text of a register.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Arc<str> {
    // Only strings, numbers, booleans and structs of them are written; these have no failing form.
    serde_json::to_string(value).unwrap_or_default().into()
}

/// The sound that this register says is a greeting, or a name.
pub(crate) fn greeting_of(key: &str, value: Option<&str>) -> Option<Id> {
    let (_, which) = key.strip_prefix("user/")?.split_once('/')?;
    which.strip_prefix("greeting/")?;
    let sound: String = serde_json::from_str(value?).ok()?;
    sound.parse().ok()
}

impl Greeting {
    const ALL: [Greeting; 4] = [
        Greeting::Unavailable,
        Greeting::Busy,
        Greeting::Temporary,
        Greeting::Name,
    ];

    /// As in its register and in the sound's `about`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Greeting::Unavailable => "unavailable",
            Greeting::Busy => "busy",
            Greeting::Temporary => "temporary",
            Greeting::Name => "name",
        }
    }
}

impl Office {
    /// Takes in a register. Returns the user whose account changed (not merely a setting).
    pub(crate) fn apply(&mut self, key: &str, value: Option<&str>) -> Option<Id> {
        let mut parts = key.strip_prefix("user/")?.split('/');
        let Some(id) = parts.next().and_then(|id| id.parse().ok()) else {
            self.unreadable += 1;
            return None;
        };
        match (parts.next(), parts.next()) {
            (None, None) => self.apply_account(id, value).then_some(id),
            (Some(setting), detail) => {
                if self.apply_setting(id, setting, detail, value).is_none() {
                    self.unreadable += 1;
                }
                None
            }
            (None, Some(_)) => None,
        }
    }

    fn apply_account(&mut self, id: Id, value: Option<&str>) -> bool {
        let account = match value.map(serde_json::from_str::<Account>) {
            Some(Err(_)) => {
                self.unreadable += 1;
                return false;
            }
            Some(Ok(account)) => Some(account),
            None => None,
        };
        if let Some(old) = self.accounts.remove(&id)
            && let Some(ids) = self.by_extension.get_mut(&old.extension)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_extension.remove(&old.extension);
            }
        }
        if let Some(account) = account {
            self.by_extension
                .entry(account.extension.clone())
                .or_default()
                .insert(id);
            self.accounts.insert(id, account);
        }
        true
    }

    fn apply_setting(
        &mut self,
        id: Id,
        setting: &str,
        detail: Option<&str>,
        value: Option<&str>,
    ) -> Option<()> {
        let settings = self.settings.entry(id).or_default();
        let text = || match value {
            Some(value) => serde_json::from_str::<Arc<str>>(value).ok().map(Some),
            None => Some(None),
        };
        match (setting, detail) {
            ("pin", None) => settings.pin = text()?,
            ("forward", None) => settings.forward = text()?,
            ("dnd", None) => settings.dnd = value == Some("true"),
            ("greeting", Some(which)) => {
                let greeting = Greeting::ALL.into_iter().find(|g| g.name() == which)?;
                match text()? {
                    Some(sound) => settings.greetings.insert(greeting, sound.parse().ok()?),
                    None => settings.greetings.remove(&greeting),
                };
            }
            _ => return None,
        }
        Some(())
    }

    /// Who answers to this extension.
    pub(crate) fn by_extension(&self, extension: &str) -> Option<Id> {
        self.by_extension.get(extension)?.first().copied()
    }

    /// A user's account.
    pub(crate) fn account(&self, id: Id) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// A user's settings; the default ones if nothing was ever set.
    pub(crate) fn settings(&self, id: Id) -> Settings {
        self.settings.get(&id).cloned().unwrap_or_default()
    }

    /// A user with everything set for it.
    pub(crate) fn user(&self, id: Id) -> Option<User> {
        Some(User {
            id,
            account: self.account(id)?.clone(),
            settings: self.settings(id),
        })
    }

    /// Everybody, in the order in which they were made.
    pub(crate) fn users(&self) -> impl Iterator<Item = Id> {
        self.accounts.keys().copied()
    }

    /// Another user answers to this one's extension.
    pub(crate) fn in_conflict(&self, id: Id) -> bool {
        self.account(id)
            .is_some_and(|a| self.by_extension(&a.extension) != Some(id))
    }

    /// A user as the SIP shim needs it. If two users claim one extension, the loser is no user for the
    /// shim.
    pub(crate) fn sip_user(&self, id: Id) -> Option<SipUser> {
        let account = self.account(id).filter(|_| !self.in_conflict(id))?;
        Some(SipUser {
            id,
            extension: account.extension.clone(),
            name: account.name.clone(),
            ha1_md5: account.ha1_md5.clone(),
            ha1_sha256: account.ha1_sha256.clone(),
        })
    }

    /// One may answer what rings at the other: everybody in the office may, while nobody has set groups.
    pub(crate) fn may_pick_up(&self, picker: Id, user: Id) -> bool {
        self.accounts.contains_key(&picker) && self.accounts.contains_key(&user)
    }

    /// The users who claim an extension.
    pub(crate) fn claimants(&self, extension: &str) -> Vec<Id> {
        self.by_extension
            .get(extension)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        format!("a.1.{number}").parse().unwrap()
    }

    fn account(extension: &str) -> Account {
        Account {
            extension: extension.into(),
            name: "N".into(),
            ha1_md5: "m".into(),
            ha1_sha256: "s".into(),
        }
    }

    fn add(office: &mut Office, number: u64, extension: &str) {
        for (key, value) in new_user(id(number), &account(extension), "hash") {
            office.apply(&key, Some(&value));
        }
    }

    #[test]
    fn a_new_user_is_found_by_extension_and_gone_when_removed() {
        let mut office = Office::default();
        add(&mut office, 1, "101");
        assert_eq!(office.by_extension("101"), Some(id(1)));
        assert_eq!(office.settings(id(1)).pin.as_deref(), Some("hash"));
        assert_eq!(office.apply("user/a.1.1", None), Some(id(1)));
        assert_eq!(office.by_extension("101"), None);
    }

    #[test]
    fn an_extension_claimed_twice_stays_with_the_first() {
        let mut office = Office::default();
        add(&mut office, 2, "150");
        add(&mut office, 1, "150");
        assert_eq!(office.by_extension("150"), Some(id(1)));
        assert!(office.in_conflict(id(2)) && office.sip_user(id(2)).is_none());
        office.apply(&account_key(id(1)), Some(&json(&account("151"))));
        assert!(!office.in_conflict(id(2)));
    }

    #[test]
    fn settings_are_read_one_by_one() {
        let mut office = Office::default();
        office.apply(&dnd_key(id(1)), Some("true"));
        office.apply(&forward_key(id(1)), Some("\"102\""));
        office.apply(&greeting_key(id(1), Greeting::Busy), Some("\"a.1.9\""));
        let settings = office.settings(id(1));
        assert!(settings.dnd);
        assert_eq!(settings.forward.as_deref(), Some("102"));
        assert_eq!(settings.greetings.get(&Greeting::Busy), Some(&id(9)));
        office.apply(&dnd_key(id(1)), None);
        office.apply(&greeting_key(id(1), Greeting::Busy), None);
        let settings = office.settings(id(1));
        assert!(!settings.dnd && settings.greetings.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_changes_nothing() {
        let mut office = Office::default();
        add(&mut office, 1, "101");
        for (key, value) in [
            ("user/x", "1"),
            ("user/a.1.1", "{}"),
            ("user/a.1.1/pin", "7"),
            ("user/a.1.1/greeting/loud", "\"a.1.2\""),
            ("user/a.1.1/unheard-of", "1"),
        ] {
            assert_eq!(office.apply(key, Some(value)), None, "{key}");
        }
        assert_eq!(office.unreadable, 5);
        assert_eq!(office.by_extension("101"), Some(id(1)));
        assert_eq!(office.settings(id(1)).pin.as_deref(), Some("hash"));
    }
}
