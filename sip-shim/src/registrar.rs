//! Users and where their phones are: the location service of RFC 3261 §10.
//!
//! The program tells who the users are; phones register ([`Registrar::register`]) and are found again
//! when a call goes out ([`User::phones`]). A phone is reached by the proxies of its Path, else, behind
//! a NAT, at the address its REGISTER came from, any other at its Contact. Where a phone is goes to
//! call control, which writes it down and gives it back after a restart ([`Registrar::restore`]).
//!
//! Invariants: a REGISTER is carried out whole or not at all; at most `contacts_per_user_max` bindings
//! a user, the one that would expire first making room for another; a binding is gone once it has
//! expired, timers or not.

mod binding;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_pbx::seam::{MessageSummary, SipEvent, SipUser};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use self::binding::{Asked, Contact, shown};
pub(crate) use self::binding::{Binding, behind_nat};
use crate::context::{ShimContext, TextMap, TimerId};
use crate::message::{Message, Name};
use crate::shim::Phone;
use crate::uri::Uri;
use crate::wire::Flow;

/// How often something is sent to a phone behind a NAT: home routers forget a way through after 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// What is sent: an empty message, which phones pass over (RFC 5626 §3.5.1, RFC 3261 §7.5).
const KEEP_ALIVE_BYTES: &[u8] = b"\r\n\r\n";

/// All users and bindings of a node.
#[derive(Debug)]
pub(crate) struct Registrar {
    users: BTreeMap<Id, User>,
    by_extension: TextMap<Arc<str>, Id>,
}

/// A user and what we know about its phones.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) sip: SipUser,
    /// As call control last said.
    pub(crate) lamp: Option<MessageSummary>,
    pub(crate) bindings: Vec<Binding>,
}

/// The lamp notifications we send to a phone that did not ask for any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Push {
    /// What the phone was told last.
    pub(crate) told: Option<MessageSummary>,
    /// One is on its way.
    pub(crate) busy: bool,
    /// The phone said it does not want them.
    pub(crate) refused: bool,
    pub(crate) cseq: u32,
}

/// Why a REGISTER was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

impl Registrar {
    pub(crate) fn new(cx: &ShimContext) -> Registrar {
        Registrar {
            users: BTreeMap::new(),
            by_extension: TextMap::with_hasher(cx.keyed),
        }
    }

    /// A user came, changed or went. Phones stay while the extension and the password do.
    pub(crate) fn set_user(&mut self, cx: &mut ShimContext, id: Id, sip: Option<SipUser>) {
        let old = self.users.remove(&id);
        let before = old.as_ref().map(|old| old.bindings.clone());
        if let Some(old) = &old {
            // A swapped extension may already belong to somebody else.
            if self.by_extension.get(&old.sip.extension) == Some(&id) {
                self.by_extension.remove(&old.sip.extension);
            }
        }
        let before = before.unwrap_or_default();
        let Some(sip) = sip else {
            return tell_changes(cx, id, &before, &[]);
        };
        let (bindings, lamp) = match old {
            Some(old) if has_same_login(&old.sip, &sip) => (old.bindings, old.lamp),
            Some(old) => (Vec::new(), old.lamp),
            None => (Vec::new(), None),
        };
        tell_changes(cx, id, &before, &bindings);
        self.by_extension.insert(sip.extension.clone(), id);
        self.users.insert(
            id,
            User {
                sip,
                lamp,
                bindings,
            },
        );
    }

    pub(crate) fn user(&self, id: Id) -> Option<&User> {
        self.users.get(&id)
    }

    pub(crate) fn user_mut(&mut self, id: Id) -> Option<&mut User> {
        self.users.get_mut(&id)
    }

    pub(crate) fn by_extension(&self, extension: &str) -> Option<&User> {
        self.users.get(self.by_extension.get(extension)?)
    }

    /// Does a phone of the user speak from there?
    pub(crate) fn is_phone_of(&self, now: Time, extension: &str, flow: &Flow) -> Option<&User> {
        let user = self.by_extension(extension)?;
        let speaks = |b: &Binding| b.flow == *flow || b.target().peer == flow.peer;
        // Others may be behind the same proxy.
        user.phones(now)
            .any(|b| b.path.is_empty() && speaks(b))
            .then_some(user)
    }

    /// Is a phone of the user at this address?
    pub(crate) fn has_phone_at(&self, now: Time, extension: &str, ip: IpAddr) -> bool {
        let user = self.by_extension(extension);
        user.is_some_and(|u| u.phones(now).any(|b| b.flow.peer.ip() == ip))
    }

    /// Carries out a REGISTER of a user who has shown the password.
    pub(crate) fn register(
        &mut self,
        cx: &mut ShimContext,
        id: Id,
        flow: Flow,
        request: &Message,
    ) -> Result<(), Refused> {
        let user = self.users.get_mut(&id).ok_or(Refused {
            status: 404,
            reason: "Not Found",
        })?;
        user.bindings.retain(|b| b.is_alive(cx.now.mono));
        let asked = Asked::of(cx, request)?;
        let call_id = request.header_or_empty(Name::CallId);
        let cseq = request.cseq().map_or(0, |(number, _, _)| number);
        let stale = |b: &Binding| *b.call_id == *call_id && cseq <= b.cseq;
        let before = user.bindings.clone();
        match asked {
            Asked::Nothing => return Ok(()),
            Asked::RemoveAll if before.iter().any(stale) => return Err(OUT_OF_ORDER),
            Asked::RemoveAll => user.bindings.clear(),
            Asked::Contacts(contacts) => {
                // All or nothing: look before touching any (RFC 3261 §10.3, step 7).
                let found = contacts.iter().filter_map(|c| user.find(c, &flow, request));
                if found.into_iter().any(|i| stale(&user.bindings[i])) {
                    return Err(OUT_OF_ORDER);
                }
                for index in 0..contacts.len() {
                    user.bind(cx, id, flow, request, &contacts, index);
                }
            }
        }
        tell_changes(cx, id, &before, &user.bindings);
        Ok(())
    }

    /// A phone that was written down before a restart.
    pub(crate) fn restore(&mut self, cx: &mut ShimContext, id: Id, slot: u32, seen: &str) {
        let most = cx.config.contacts_per_user_max;
        let user = self.users.get_mut(&id);
        let number = cx.random();
        let restored = user.zip(Binding::restored(number, slot, seen));
        let Some((user, (mut binding, lasts))) = restored.filter(|(u, _)| u.bindings.len() < most)
        else {
            let (user, seen) = (id, None);
            return cx.tell(SipEvent::PhoneSeen { user, slot, seen });
        };
        let at = cx.now.mono + lasts;
        binding.expires.set(cx, at, TimerId::Binding(id, number));
        user.bindings.push(binding);
        user.keep_alive(cx, id, number);
    }

    /// A binding's time may be up.
    pub(crate) fn lapsed(&mut self, cx: &mut ShimContext, id: Id, number: u64) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        let Some(index) = user.bindings.iter().position(|b| b.number == number) else {
            return;
        };
        if user.bindings[index]
            .expires
            .fired(cx, TimerId::Binding(id, number))
        {
            let before = user.bindings.clone();
            user.bindings.remove(index);
            cx.counters.bindings_expired += 1;
            tell_changes(cx, id, &before, &user.bindings);
        }
    }

    /// The way to a phone behind a NAT is to be kept open.
    pub(crate) fn keep_alive_due(&mut self, cx: &mut ShimContext, id: Id, number: u64) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        let Some(binding) = user.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        if binding.keep_alive.fired(cx, TimerId::KeepAlive(id, number)) {
            cx.counters.keep_alives += 1;
            cx.send(binding.flow, KEEP_ALIVE_BYTES.into());
            user.keep_alive(cx, id, number);
        }
    }

    /// A connection is gone. A phone that listens is called there; one behind a NAT can only
    /// come back by itself.
    pub(crate) fn disconnected(&mut self, cx: &mut ShimContext, flow: &Flow) {
        for (id, user) in &mut self.users {
            if !user.bindings.iter().any(|b| b.flow == *flow) {
                continue;
            }
            let before = user.bindings.clone();
            user.bindings
                .retain(|b| b.flow != *flow || (!b.behind_nat && flow.connection != 0));
            for binding in user.bindings.iter_mut().filter(|b| b.flow == *flow) {
                binding.flow.connection = 0;
                binding.flow.peer = binding.listens_at().unwrap_or(flow.peer);
            }
            tell_changes(cx, *id, &before, &user.bindings);
        }
    }

    /// How many there are.
    pub(crate) fn phones_len(&self, now: Time) -> usize {
        let users = self.users.values();
        users.map(|user| user.phones(now).count()).sum()
    }

    /// Everyone, for people.
    pub(crate) fn phones(&self, now: Time) -> Vec<Phone> {
        let phone = |user: &User, b: &Binding| Phone {
            user: user.sip.id,
            extension: user.sip.extension.clone(),
            contact: shown(&b.contact),
            source: b.flow.peer,
            transport: b.flow.transport,
            user_agent: shown(&b.user_agent),
            expires_s: b.expires.due().since(now).as_secs(),
        };
        let all = self
            .users
            .values()
            .flat_map(|u| u.phones(now).map(move |b| phone(u, b)));
        let mut all: Vec<Phone> = all.collect();
        all.sort_by(|a, b| (&a.extension, &a.contact).cmp(&(&b.extension, &b.contact)));
        all
    }
}

/// Is what a phone of the user shows still good?
pub(crate) fn has_same_login(old: &SipUser, new: &SipUser) -> bool {
    old.extension == new.extension && old.ha1_sha256 == new.ha1_sha256
}

const OUT_OF_ORDER: Refused = Refused {
    status: 500,
    reason: "Register Out Of Order",
};

impl User {
    /// Its phones at this moment.
    pub(crate) fn phones(&self, now: Time) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |b| b.is_alive(now))
    }

    /// The binding that a Contact means: the same flow of the same phone (RFC 5626 §6), else the same
    /// address (RFC 3261 §10.3, §19.1.4).
    fn find(&self, contact: &Contact<'_>, flow: &Flow, request: &Message) -> Option<usize> {
        let mut all = self.bindings.iter();
        if contact.reg_id > 0 {
            return all
                .position(|b| *b.instance == *contact.instance && b.reg_id == contact.reg_id);
        }
        let same_address =
            |b: &Binding| Uri::parse(&b.contact).is_some_and(|known| known.same_as(&contact.uri));
        all.position(|b| same_address(b) && b.may_be(contact, flow, request))
    }

    /// Where the phone of a Contact was before: it says who it is, but is at an address that it did
    /// not have, and this REGISTER does not speak of the old one.
    fn find_moved(&self, contacts: &[Contact<'_>], index: usize) -> Option<usize> {
        let contact = &contacts[index];
        if contact.instance.is_empty() || contact.reg_id > 0 {
            return None;
        }
        let is_named = |b: &Binding| {
            let uri = Uri::parse(&b.contact);
            uri.is_some_and(|known| contacts.iter().any(|c| known.same_as(&c.uri)))
        };
        let moved =
            |b: &&Binding| *b.instance == *contact.instance && b.reg_id == 0 && !is_named(b);
        self.bindings.iter().position(|b| moved(&b))
    }

    /// Carries out one Contact.
    fn bind(
        &mut self,
        cx: &mut ShimContext,
        id: Id,
        flow: Flow,
        request: &Message,
        contacts: &[Contact<'_>],
        index: usize,
    ) {
        let contact = &contacts[index];
        let known = self.find(contact, &flow, request);
        if contact.expires_s == 0 {
            if let Some(known) = known {
                self.bindings.remove(known);
            }
            return;
        }
        let known = known.or_else(|| self.find_moved(contacts, index));
        let old = known.map(|i| self.bindings.remove(i));
        let mut binding = Binding::new(cx, flow, request, contact, old.as_ref());
        self.make_room(cx.config.contacts_per_user_max);
        if old.is_none() {
            let is_free = |slot: &u32| !self.bindings.iter().any(|b| b.slot == *slot);
            binding.slot = (0..).find(is_free).unwrap_or(0);
        }
        let number = binding.number;
        let at = cx.now.mono + Duration::from_secs(u64::from(contact.expires_s));
        binding.expires.set(cx, at, TimerId::Binding(id, number));
        self.bindings.push(binding);
        self.keep_alive(cx, id, number);
    }

    fn keep_alive(&mut self, cx: &mut ShimContext, id: Id, number: u64) {
        let Some(binding) = self.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        if binding.wants_keep_alives() {
            let at = cx.now.mono + KEEP_ALIVE;
            binding
                .keep_alive
                .set(cx, at, TimerId::KeepAlive(id, number));
        } else {
            binding.keep_alive.stop();
        }
    }

    fn make_room(&mut self, most: usize) {
        if self.bindings.len() < most {
            return;
        }
        let first = self
            .bindings
            .iter()
            .enumerate()
            .min_by_key(|(_, b)| b.expires.due());
        if let Some((index, _)) = first {
            self.bindings.remove(index);
        }
    }

    /// The Contact headers of the answer to a REGISTER.
    pub(crate) fn contact_lines(&self, now: Time) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for b in self.phones(now) {
            // Rounded up: a phone told 0 would think it was removed.
            let left_s = b.expires.due().since(now).as_millis().div_ceil(1000);
            let _ = write!(text, "Contact: <{}>;expires={left_s}\r\n", b.contact);
        }
        text
    }
}

/// Call control writes down where phones are.
fn tell_changes(cx: &mut ShimContext, user: Id, before: &[Binding], after: &[Binding]) {
    for old in before {
        if !after.iter().any(|b| b.slot == old.slot) {
            cx.tell(SipEvent::PhoneSeen {
                user,
                slot: old.slot,
                seen: None,
            });
        }
    }
    for binding in after {
        let old = before.iter().find(|b| b.slot == binding.slot);
        if old.is_none_or(|old| !old.is_where(binding)) {
            let granted = binding.expires.due().since(cx.now.mono);
            cx.tell(SipEvent::PhoneSeen {
                user,
                slot: binding.slot,
                seen: Some(binding.seen(granted.as_secs())),
            });
        }
    }
}
