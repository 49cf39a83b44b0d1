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
//! | `user/ID/dnd_except` | list of strings: numbers and extensions that ring all the same |
//! | `user/ID/forward` | string: the extension all calls go to |
//! | `user/ID/forward_busy`, `…_no_answer`, `…_unreachable` | string: where calls go in that case |
//! | `user/ID/reject_anonymous` | `true`: no calls of who withholds the number |
//! | `user/ID/record` | string: `never`, `always`; removed: on demand |
//! | `user/ID/blocked` | list of strings: numbers whose calls are refused |
//! | `user/ID/blocked_to_mailbox` | `true`: they come to the mailbox |
//! | `user/ID/class` | string: what the user may call ([`ClassOfService`]) |
//! | `user/ID/forward_outside` | `true`: calls may be forwarded to numbers outside |
//! | `user/ID/rings_also` | list of strings: numbers outside that ring with the phones |
//! | `user/ID/works_at` | string: the number outside that is the user's phone for now |
//! | `user/ID/caller_id` | string: shown to who is called outside |
//! | `user/ID/greeting/unavailable`, `…/busy`, `…/temporary`, `…/name` | string: a sound's id |
//! | `blocked/NUMBER` | `true`: the company refuses calls of this number from outside |
//!
//! Groups and rooms are beside them ([`group`], [`room`]); all of them share the extensions. Lines to the
//! world have a file of their own ([`outside`]), and so have speed dials ([`speed`]) and when the office is
//! open ([`schedule`]).
//!
//! A user's identity is its [`Id`]; the extension is only a value it has. A mailbox belongs to
//! the identity, so swapping two extensions swaps no mailboxes. Should two claim one
//! extension (two sites handed it out while apart), the one made first answers to it and the
//! other stays in the directory, marked as in conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::config::Service;
use crate::office::group::Group;
use crate::office::outside::Outside;
use crate::office::room::Room;
use crate::office::schedule::Schedules;
use crate::office::speed::SpeedDials;
use crate::seam::{Caller, ClassOfService, SipUser};

pub mod file;
pub mod group;
pub mod outside;
pub mod room;
pub mod schedule;
pub mod speed;
#[cfg(test)]
mod tests;

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

/// When calls go elsewhere that could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardCase {
    /// The user is on the phone.
    Busy,
    /// Nobody answers.
    NoAnswer,
    /// No phone is registered.
    Unreachable,
}

/// Whether a user's calls are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordWish {
    /// Not even if somebody asks for it.
    Never,
    /// When one of the parties asks for it.
    #[default]
    OnDemand,
    /// All of them.
    Always,
}

impl RecordWish {
    /// As in its register.
    pub fn name(self) -> &'static str {
        match self {
            RecordWish::Never => "never",
            RecordWish::OnDemand => "on-demand",
            RecordWish::Always => "always",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<RecordWish> {
        let all = [RecordWish::Never, RecordWish::OnDemand, RecordWish::Always];
        all.into_iter().find(|wish| wish.name() == name)
    }
}

/// Who answers to an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    User(Id),
    Group(Id),
    Room(Id),
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
    /// Of a room: that of its hosts.
    pub(crate) host_pin: Option<Arc<str>>,
    pub(crate) dnd: bool,
    pub(crate) dnd_except: Vec<Arc<str>>,
    pub(crate) forward: Option<Arc<str>>,
    pub(crate) forward_busy: Option<Arc<str>>,
    pub(crate) forward_no_answer: Option<Arc<str>>,
    pub(crate) forward_unreachable: Option<Arc<str>>,
    pub(crate) reject_anonymous: bool,
    pub(crate) blocked: Vec<Arc<str>>,
    pub(crate) blocked_to_mailbox: bool,
    /// `None`: as for any user.
    pub(crate) class: Option<ClassOfService>,
    pub(crate) forward_outside: bool,
    pub(crate) rings_also: Vec<Arc<str>>,
    pub(crate) works_at: Option<Arc<str>>,
    pub(crate) caller_id: Option<Arc<str>>,
    pub(crate) record: RecordWish,
    pub(crate) greetings: BTreeMap<Greeting, Id>,
}

/// All users.
#[derive(Debug, Default)]
pub(crate) struct Office {
    accounts: BTreeMap<Id, Account>,
    settings: BTreeMap<Id, Settings>,
    groups: BTreeMap<Id, Group>,
    rooms: BTreeMap<Id, Room>,
    pub(crate) outside: Outside,
    pub(crate) schedules: Schedules,
    pub(crate) speed_dials: SpeedDials,
    /// Codes that are not as people know them, by their services' names.
    codes: BTreeMap<&'static str, Arc<str>>,
    /// Numbers whose calls from outside are refused.
    blocked: BTreeSet<Arc<str>>,
    /// The groups that each user is a member of.
    groups_of: BTreeMap<Id, BTreeSet<Id>>,
    /// Group and member: has logged out.
    logged_out: BTreeSet<(Id, Id)>,
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

/// The register that says who rings though a user wants no calls.
pub fn dnd_except_key(id: Id) -> Arc<str> {
    format!("user/{id}/dnd_except").into()
}

/// The register that says that the company refuses the calls of a number.
pub fn company_blocked_key(number: &str) -> Arc<str> {
    format!("blocked/{number}").into()
}

/// The register that says where a user's calls go instead.
pub fn forward_key(id: Id) -> Arc<str> {
    format!("user/{id}/forward").into()
}

pub(crate) fn greeting_key(id: Id, greeting: Greeting) -> Arc<str> {
    format!("user/{id}/greeting/{}", greeting.name()).into()
}

/// The register that says where a user's calls go in one case.
pub fn forward_case_key(id: Id, case: ForwardCase) -> Arc<str> {
    format!("user/{id}/{}", case.name()).into()
}

/// The register that says that a user wants no anonymous calls.
pub fn reject_anonymous_key(id: Id) -> Arc<str> {
    format!("user/{id}/reject_anonymous").into()
}

/// The register that says whose calls a user refuses.
pub fn blocked_key(id: Id) -> Arc<str> {
    format!("user/{id}/blocked").into()
}

/// The register that says that those whom a user refuses come to the mailbox.
pub fn blocked_to_mailbox_key(id: Id) -> Arc<str> {
    format!("user/{id}/blocked_to_mailbox").into()
}

/// The register that says what a user may call.
pub fn class_key(id: Id) -> Arc<str> {
    format!("user/{id}/class").into()
}

/// The register that says that a user's calls may be forwarded outside.
pub fn forward_outside_key(id: Id) -> Arc<str> {
    format!("user/{id}/forward_outside").into()
}

/// The register that says which numbers outside ring with a user's phones.
pub fn rings_also_key(id: Id) -> Arc<str> {
    format!("user/{id}/rings_also").into()
}

/// The register that says which number outside is a user's phone for now.
pub fn works_at_key(id: Id) -> Arc<str> {
    format!("user/{id}/works_at").into()
}

/// The register that says which number of a user is shown outside.
pub fn caller_id_key(id: Id) -> Arc<str> {
    format!("user/{id}/caller_id").into()
}

/// The register that says whether a user's calls are recorded.
pub fn record_key(id: Id) -> Arc<str> {
    format!("user/{id}/record").into()
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

/// A list of texts in a register; `None`: it is none.
fn list(value: Option<&str>) -> Option<Vec<Arc<str>>> {
    match value {
        Some(value) => serde_json::from_str(value).ok(),
        None => Some(Vec::new()),
    }
}

impl ForwardCase {
    /// As in its register.
    pub fn name(self) -> &'static str {
        match self {
            ForwardCase::Busy => "forward_busy",
            ForwardCase::NoAnswer => "forward_no_answer",
            ForwardCase::Unreachable => "forward_unreachable",
        }
    }
}

impl Settings {
    /// What the user may call.
    pub(crate) fn class(&self) -> ClassOfService {
        self.class.unwrap_or(ClassOfService::Outward)
    }

    /// Where calls go in this case.
    pub(crate) fn forward_in(&self, case: ForwardCase) -> Option<&Arc<str>> {
        match case {
            ForwardCase::Busy => self.forward_busy.as_ref(),
            ForwardCase::NoAnswer => self.forward_no_answer.as_ref(),
            ForwardCase::Unreachable => self.forward_unreachable.as_ref(),
        }
    }
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
    /// Takes in a register. Returns the user or group that changed (not merely a setting of it), or the
    /// trunk, route or schedule, with any setting of it.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&str>) -> Option<Id> {
        if let Some(number) = key.strip_prefix("blocked/") {
            match value {
                Some("true") => self.blocked.insert(number.into()),
                _ => self.blocked.remove(number),
            };
            return None;
        }
        if let Some(service) = key.strip_prefix("code/") {
            self.unreadable += u64::from(self.apply_code(service, value).is_none());
            return None;
        }
        if let Some(code) = key.strip_prefix("speed/") {
            let is_read = self.speed_dials.apply(code, value).is_some();
            self.unreadable += u64::from(!is_read);
            return None;
        }
        let apart = match key.split_once('/')? {
            ("trunk", rest) => Some(self.outside.apply_trunk(rest, value)),
            ("route", rest) => Some(self.outside.apply_route(rest, value)),
            ("schedule", rest) => Some(self.schedules.apply(rest, value)),
            _ => None,
        };
        if let Some(id) = apart {
            self.unreadable += u64::from(id.is_none());
            return id;
        }
        if let Some(rest) = key.strip_prefix("group/") {
            return self.apply_group_part(rest, value);
        }
        if let Some(rest) = key.strip_prefix("room/") {
            return self.apply_room_part(rest, value);
        }
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

    fn apply_code(&mut self, service: &str, value: Option<&str>) -> Option<()> {
        let name = Service::parse(service)?.name();
        match value {
            Some(value) => drop(self.codes.insert(name, serde_json::from_str(value).ok()?)),
            None => drop(self.codes.remove(name)),
        }
        Some(())
    }

    /// What was set to be dialled for a service; empty: nothing is.
    pub(crate) fn code(&self, service: Service) -> Option<&Arc<str>> {
        self.codes.get(service.name())
    }

    /// All codes that were set.
    pub(crate) fn codes(&self) -> impl Iterator<Item = (Service, &Arc<str>)> {
        let codes = self.codes.iter();
        codes.filter_map(|(name, code)| Some((Service::parse(name)?, code)))
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
        if let Some(old) = self.accounts.remove(&id) {
            self.unclaim(&old.extension, id);
        }
        if let Some(account) = account {
            self.claim(account.extension.clone(), id);
            self.accounts.insert(id, account);
        }
        true
    }

    fn claim(&mut self, extension: Arc<str>, id: Id) {
        self.by_extension.entry(extension).or_default().insert(id);
    }

    fn unclaim(&mut self, extension: &str, id: Id) {
        if let Some(ids) = self.by_extension.get_mut(extension) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_extension.remove(extension);
            }
        }
    }

    /// `ID`, `ID/pin` or `ID/out/USER`. What cannot be read is counted and changes nothing.
    fn apply_group_part(&mut self, rest: &str, value: Option<&str>) -> Option<Id> {
        let mut parts = rest.splitn(3, '/');
        let id = parts.next().and_then(|id| id.parse().ok());
        let done = match (id, parts.next(), parts.next()) {
            (Some(id), None, None) => self.apply_group(id, value).map(|()| Some(id)),
            (Some(id), Some("pin"), None) => {
                self.apply_setting(id, "pin", None, value).map(|()| None)
            }
            (Some(id), Some("out"), Some(user)) => user.parse().ok().map(|user| {
                match value {
                    Some("true") => self.logged_out.insert((id, user)),
                    _ => self.logged_out.remove(&(id, user)),
                };
                None
            }),
            _ => None,
        };
        self.unreadable += u64::from(done.is_none());
        done.flatten()
    }

    /// `ID`, `ID/pin` or `ID/host_pin`. What cannot be read is counted and changes nothing.
    fn apply_room_part(&mut self, rest: &str, value: Option<&str>) -> Option<Id> {
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        let id = id.parse().ok();
        let done = match (id, part) {
            (Some(id), "") => self.apply_room(id, value).map(|()| Some(id)),
            (Some(id), "pin" | "host_pin") => {
                self.apply_setting(id, part, None, value).map(|()| None)
            }
            _ => None,
        };
        self.unreadable += u64::from(done.is_none());
        done.flatten()
    }

    fn apply_room(&mut self, id: Id, value: Option<&str>) -> Option<()> {
        let room = value.map(serde_json::from_str::<Room>).transpose().ok()?;
        if let Some(old) = self.rooms.remove(&id) {
            self.unclaim(&old.extension, id);
        }
        if let Some(room) = room {
            self.claim(room.extension.clone(), id);
            self.rooms.insert(id, room);
        }
        Some(())
    }

    fn apply_group(&mut self, id: Id, value: Option<&str>) -> Option<()> {
        let group = value.map(serde_json::from_str::<Group>).transpose().ok()?;
        if let Some(old) = self.groups.remove(&id) {
            self.unclaim(&old.extension, id);
            for member in old.members {
                if let Some(groups) = self.groups_of.get_mut(&member) {
                    groups.remove(&id);
                }
            }
        }
        if let Some(group) = group {
            self.claim(group.extension.clone(), id);
            for member in &group.members {
                self.groups_of.entry(*member).or_default().insert(id);
            }
            self.groups.insert(id, group);
        }
        Some(())
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
            ("host_pin", None) => settings.host_pin = text()?,
            ("forward", None) => settings.forward = text()?,
            ("dnd", None) => settings.dnd = value == Some("true"),
            ("forward_busy", None) => settings.forward_busy = text()?,
            ("forward_no_answer", None) => settings.forward_no_answer = text()?,
            ("forward_unreachable", None) => settings.forward_unreachable = text()?,
            ("reject_anonymous", None) => settings.reject_anonymous = value == Some("true"),
            ("blocked", None) => settings.blocked = list(value)?,
            ("blocked_to_mailbox", None) => settings.blocked_to_mailbox = value == Some("true"),
            ("dnd_except", None) => settings.dnd_except = list(value)?,
            ("class", None) => {
                settings.class = value.map(serde_json::from_str).transpose().ok()?;
            }
            ("forward_outside", None) => settings.forward_outside = value == Some("true"),
            ("rings_also", None) => settings.rings_also = list(value)?,
            ("works_at", None) => settings.works_at = text()?,
            ("caller_id", None) => settings.caller_id = text()?,
            ("record", None) => {
                settings.record = match text()? {
                    Some(name) => RecordWish::named(&name)?,
                    None => RecordWish::default(),
                };
            }
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
    pub(crate) fn entry(&self, extension: &str) -> Option<Entry> {
        let id = *self.by_extension.get(extension)?.first()?;
        Some(if self.groups.contains_key(&id) {
            Entry::Group(id)
        } else if self.rooms.contains_key(&id) {
            Entry::Room(id)
        } else {
            Entry::User(id)
        })
    }

    /// The user who answers to this extension.
    pub(crate) fn by_extension(&self, extension: &str) -> Option<Id> {
        match self.entry(extension)? {
            Entry::User(id) => Some(id),
            Entry::Group(_) | Entry::Room(_) => None,
        }
    }

    /// Whose mailbox answers to this extension: a user, or a group.
    pub(crate) fn mailbox(&self, extension: &str) -> Option<Id> {
        match self.entry(extension)? {
            Entry::User(id) | Entry::Group(id) => Some(id),
            Entry::Room(_) => None,
        }
    }

    /// Who or what answers to this extension.
    pub(crate) fn holder(&self, extension: &str) -> Option<Id> {
        self.by_extension.get(extension)?.first().copied()
    }

    /// What one dials to reach a user or a group.
    pub(crate) fn extension(&self, id: Id) -> Option<&Arc<str>> {
        let user = self.accounts.get(&id).map(|account| &account.extension);
        user.or_else(|| self.groups.get(&id).map(|group| &group.extension))
            .or_else(|| self.rooms.get(&id).map(|room| &room.extension))
    }

    /// What a user or a group is called.
    pub(crate) fn name(&self, id: Id) -> Option<&Arc<str>> {
        let user = self.accounts.get(&id).map(|account| &account.name);
        user.or_else(|| self.groups.get(&id).map(|group| &group.name))
            .or_else(|| self.rooms.get(&id).map(|room| &room.name))
    }

    /// Another answers to this group's extension.
    pub(crate) fn group_in_conflict(&self, id: Id) -> bool {
        let group = self.groups.get(&id);
        group.is_some_and(|group| self.entry(&group.extension) != Some(Entry::Group(id)))
    }

    /// A room.
    pub(crate) fn room(&self, id: Id) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// All rooms, in the order in which they were made.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = (Id, &Room)> {
        self.rooms.iter().map(|(id, room)| (*id, room))
    }

    /// Another answers to this room's extension.
    pub(crate) fn room_in_conflict(&self, id: Id) -> bool {
        let room = self.rooms.get(&id);
        room.is_some_and(|room| self.entry(&room.extension) != Some(Entry::Room(id)))
    }

    /// The company refuses the calls of who calls from outside.
    pub(crate) fn blocks(&self, caller: &Caller) -> bool {
        caller.user.is_none() && !caller.is_withheld && self.blocked.contains(&caller.number)
    }

    /// Numbers whose calls from outside are refused.
    pub(crate) fn blocked(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.blocked.iter()
    }

    /// A group.
    pub(crate) fn group(&self, id: Id) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// All groups, in the order in which they were made.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Id, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// The groups that a user is a member of, logged in or not.
    pub(crate) fn groups_of(&self, user: Id) -> impl Iterator<Item = Id> {
        self.groups_of.get(&user).into_iter().flatten().copied()
    }

    /// A member has logged out of a group.
    pub(crate) fn is_logged_out(&self, group: Id, user: Id) -> bool {
        self.logged_out.contains(&(group, user))
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

    /// One may answer what rings at the other: they have a group in common, or the office has none.
    pub(crate) fn may_pick_up(&self, picker: Id, user: Id) -> bool {
        let share = || {
            self.groups_of(picker)
                .any(|group| self.groups_of(user).any(|g| g == group))
        };
        self.groups.is_empty() || share()
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
