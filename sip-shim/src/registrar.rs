//! Users and where their phones are.
//!
//! The program tells who the users are; phones register ([`Registrar::register`], RFC 3261 §10)
//! and are found again when a call goes out ([`Registrar::bindings`]). A phone behind a NAT is
//! reached at the address its REGISTER came from, any other at its Contact.
//!
//! Invariants: at most `contacts_per_user_max` bindings a user, the one that would expire first
//! making room for another; a binding is gone once it has expired, timers or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tandem_pbx::seam::{Lamp, SipUser};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::kit::{Alarm, Kit, TextMap, Wake};
use crate::message::{Message, Name};
use crate::shim::Phone;
use crate::uri::{NameAddr, Scheme, Uri, Via, split_list};
use crate::wire::Flow;

/// The longest Contact we keep.
const CONTACT_BYTES_MAX: usize = 512;

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
    pub(crate) lamp: Option<Lamp>,
    pub(crate) bindings: Vec<Binding>,
}

/// One registered phone.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) number: u64,
    /// The URI it gave, as written.
    pub(crate) contact: Box<str>,
    instance: Box<str>,
    /// Where its REGISTER came from.
    pub(crate) flow: Flow,
    pub(crate) behind_nat: bool,
    call_id: Box<str>,
    cseq: u32,
    expires: Wake,
    user_agent: Box<str>,
    pub(crate) push: Push,
}

/// The lamp notifications we send to a phone that did not ask for any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Push {
    /// What the phone was told last.
    pub(crate) told: Option<Lamp>,
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
    pub(crate) fn new(kit: &Kit) -> Registrar {
        Registrar {
            users: BTreeMap::new(),
            by_extension: TextMap::with_hasher(kit.keyed),
        }
    }

    /// A user came, changed or went. Phones stay while the extension and the password do.
    pub(crate) fn set_user(&mut self, id: Id, sip: Option<SipUser>) {
        let old = self.users.remove(&id);
        if let Some(old) = &old {
            // A swapped extension may already belong to somebody else.
            if self.by_extension.get(&old.sip.extension) == Some(&id) {
                self.by_extension.remove(&old.sip.extension);
            }
        }
        let Some(sip) = sip else { return };
        let same_login =
            |old: &User| old.sip.extension == sip.extension && old.sip.ha1_sha256 == sip.ha1_sha256;
        let (bindings, lamp) = match old {
            Some(old) if same_login(&old) => (old.bindings, old.lamp),
            Some(old) => (Vec::new(), old.lamp),
            None => (Vec::new(), None),
        };
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
        user.phones(now)
            .any(|b| b.flow == *flow || b.target().peer == flow.peer)
            .then_some(user)
    }

    /// Carries out a REGISTER of a user who has shown the password.
    pub(crate) fn register(
        &mut self,
        kit: &mut Kit,
        id: Id,
        flow: Flow,
        request: &Message,
    ) -> Result<(), Refused> {
        let most = kit.config.contacts_per_user_max;
        let user = self.users.get_mut(&id).ok_or(Refused {
            status: 404,
            reason: "Not Found",
        })?;
        user.bindings.retain(|b| b.expires.due() > kit.now.mono);
        let asked = Asked::of(kit, request)?;
        if let Asked::Nothing = asked {
            return Ok(());
        }
        let call_id = request.header_or_empty(Name::CallId);
        let cseq = request.cseq().map_or(0, |(number, _, _)| number);
        let stale = |b: &Binding| *b.call_id == *call_id && cseq <= b.cseq;
        let contacts = match asked {
            Asked::RemoveAll if user.bindings.iter().any(stale) => return Err(OUT_OF_ORDER),
            Asked::RemoveAll => {
                user.bindings.clear();
                return Ok(());
            }
            Asked::Contacts(contacts) => contacts,
            Asked::Nothing => Vec::new(),
        };
        // All or nothing: look before touching any (RFC 3261 §10.3, step 7).
        for contact in &contacts {
            if user.find(contact).is_some_and(|i| stale(&user.bindings[i])) {
                return Err(OUT_OF_ORDER);
            }
        }
        for contact in contacts {
            let old = user.find(&contact).map(|i| user.bindings.remove(i));
            if contact.expires_s > 0 {
                let mut binding = Binding::new(kit, flow, request, &contact, old.as_ref());
                let at = kit.now.mono + Duration::from_secs(u64::from(contact.expires_s));
                binding
                    .expires
                    .set(kit, at, Alarm::Binding(id, binding.number));
                user.make_room(most);
                user.bindings.push(binding);
            }
        }
        Ok(())
    }

    /// A binding's time may be up.
    pub(crate) fn lapsed(&mut self, kit: &mut Kit, id: Id, number: u64) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        let Some(index) = user.bindings.iter().position(|b| b.number == number) else {
            return;
        };
        if user.bindings[index]
            .expires
            .fired(kit, Alarm::Binding(id, number))
        {
            user.bindings.remove(index);
            kit.counters.bindings_expired += 1;
        }
    }

    /// A connection is gone. A phone that listens is called there; one behind a NAT can only
    /// come back by itself.
    pub(crate) fn disconnected(&mut self, flow: &Flow) {
        for user in self.users.values_mut() {
            user.bindings
                .retain(|b| b.flow != *flow || (!b.behind_nat && flow.connection != 0));
            for binding in user.bindings.iter_mut().filter(|b| b.flow == *flow) {
                binding.flow.connection = 0;
                binding.flow.peer = binding.listens_at().unwrap_or(flow.peer);
            }
        }
    }

    /// Everyone, for people.
    pub(crate) fn phones(&self, now: Time) -> Vec<Phone> {
        let phone = |user: &User, b: &Binding| Phone {
            user: user.sip.id,
            extension: user.sip.extension.clone(),
            contact: b.contact.to_string(),
            source: b.flow.peer,
            transport: b.flow.transport,
            user_agent: b.user_agent.to_string(),
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

const OUT_OF_ORDER: Refused = Refused {
    status: 500,
    reason: "Register Out Of Order",
};

impl User {
    /// Its phones at this moment.
    pub(crate) fn phones(&self, now: Time) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |b| b.expires.due() > now)
    }

    /// The same phone at the same address, or the same phone (RFC 5626 §4.1) at another.
    fn find(&self, contact: &Contact<'_>) -> Option<usize> {
        let same_address =
            |b: &Binding| Uri::parse(&b.contact).is_some_and(|known| known.same_as(&contact.uri));
        let same_phone =
            |b: &Binding| !contact.instance.is_empty() && *b.instance == *contact.instance;
        self.bindings
            .iter()
            .position(|b| same_address(b) || same_phone(b))
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

impl Binding {
    fn new(
        kit: &mut Kit,
        flow: Flow,
        request: &Message,
        contact: &Contact<'_>,
        old: Option<&Binding>,
    ) -> Binding {
        let call_id = request.header_or_empty(Name::CallId);
        let agent = request.header_or_empty(Name::UserAgent);
        // The same registration refreshed knows its lamp; a phone that started anew does not.
        let known = old.filter(|o| *o.call_id == *call_id && o.contact == contact.text.into());
        let cseq = old.map_or(0, |o| o.push.cseq);
        let push = known.map_or(
            Push {
                cseq,
                ..Push::default()
            },
            |o| o.push,
        );
        let number = old.map_or_else(|| kit.random(), |o| o.number);
        Binding {
            number,
            contact: contact.text.into(),
            instance: contact.instance.into(),
            flow,
            behind_nat: behind_nat(request, &flow),
            call_id: call_id.into(),
            cseq: request.cseq().map_or(0, |(number, _, _)| number),
            expires: old.map_or(Wake::never(), |o| o.expires),
            user_agent: agent.chars().take(128).collect(),
            push,
        }
    }

    /// Where requests to this phone go.
    pub(crate) fn target(&self) -> Flow {
        if self.flow.is_reliable() || self.behind_nat {
            return self.flow;
        }
        let Some(uri) = Uri::parse(&self.contact) else {
            return self.flow;
        };
        let transport = uri.transport().unwrap_or(self.flow.transport);
        match uri.socket_addr() {
            Some(peer) if peer != self.flow.peer || transport != self.flow.transport => Flow {
                transport,
                peer,
                connection: 0,
            },
            _ => self.flow,
        }
    }

    fn listens_at(&self) -> Option<std::net::SocketAddr> {
        Uri::parse(&self.contact)?.socket_addr()
    }

    /// Is its lamp not as it should be?
    pub(crate) fn is_behind(&self, lamp: Lamp) -> bool {
        !self.push.busy && !self.push.refused && self.push.told != Some(lamp)
    }
}

/// Does the sender think that it is at another address than the one we see? Another port alone shows no
/// NAT: a phone may send from one and listen at another.
pub(crate) fn behind_nat(request: &Message, flow: &Flow) -> bool {
    let via = request.header(Name::Via).and_then(Via::parse);
    via.is_none_or(|via| crate::uri::parse_ip(via.host) != Some(flow.peer.ip()))
}

/// What a REGISTER asks for.
enum Asked<'a> {
    /// To be told.
    Nothing,
    RemoveAll,
    Contacts(Vec<Contact<'a>>),
}

/// One Contact of a REGISTER.
struct Contact<'a> {
    text: &'a str,
    uri: Uri<'a>,
    instance: &'a str,
    expires_s: u32,
}

impl<'a> Asked<'a> {
    fn of(kit: &Kit, request: &'a Message) -> Result<Asked<'a>, Refused> {
        let bad = Refused {
            status: 400,
            reason: "Bad Contact",
        };
        let values: Vec<&str> = request
            .headers(Name::Contact)
            .flat_map(split_list)
            .collect();
        let default_s = request.number(Name::Expires);
        match values.as_slice() {
            [] => return Ok(Asked::Nothing),
            ["*"] if default_s == Some(0) => return Ok(Asked::RemoveAll),
            many if many.len() > kit.config.contacts_per_user_max || many.contains(&"*") => {
                return Err(bad);
            }
            _ => {}
        }
        let contacts = values
            .into_iter()
            .map(|v| Contact::of(kit, v, default_s).ok_or(bad));
        let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
        let brief = |c: &Contact<'_>| c.expires_s > 0 && c.expires_s < kit.config.expires_min_s;
        if contacts.iter().any(brief) {
            return Err(Refused {
                status: 423,
                reason: "Interval Too Brief",
            });
        }
        Ok(Asked::Contacts(contacts))
    }
}

impl<'a> Contact<'a> {
    fn of(kit: &Kit, value: &'a str, default_s: Option<u32>) -> Option<Contact<'a>> {
        let address = NameAddr::parse(value)?;
        let uri = Uri::parse(address.uri)?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
            || address.uri.len() > CONTACT_BYTES_MAX
        {
            return None;
        }
        // A value that is no number counts as if it were not there (RFC 3261 §10.3, step 7).
        let own_s = address.param("expires").and_then(|e| e.parse().ok());
        let expires_s = own_s.or(default_s).unwrap_or(kit.config.expires_default_s);
        Some(Contact {
            text: address.uri,
            uri,
            instance: address
                .param("+sip.instance")
                .filter(|i| i.len() <= 128)
                .unwrap_or_default(),
            expires_s: expires_s.min(kit.config.expires_max_s),
        })
    }
}
