//! A registered phone: what its REGISTER said, where it is reached, and what of it is written down.
//!
//! Sources: RFC 3261 §10.3, RFC 3327 (Path), RFC 5626 §6 (instances and their flows).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_storage::time::Time;

use super::{Push, Refused};
use crate::context::{LazyTimer, ShimContext};
use crate::message::{Message, Name};
use crate::uri::{NameAddr, Scheme, Uri, Via, split_list};
use crate::wire::{Flow, Transport};

/// The longest Contact URI that is kept.
const CONTACT_BYTES_MAX: usize = 2048;
/// The most proxies on the way to a phone, and the longest of their addresses.
const PATHS_MAX: usize = 4;
const PATH_BYTES_MAX: usize = 512;
/// The longest time for which a phone that was written down is believed after a restart.
const RESTORED_S_MAX: u64 = 3600;

/// One registered phone.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) number: u64,
    /// Its place among the user's bindings: where it is is written down under this.
    pub(super) slot: u32,
    /// The URI it gave, as written.
    pub(crate) contact: Box<str>,
    pub(super) instance: Box<str>,
    /// Which of the phone's flows it is (RFC 5626 §4.2); 0: it says nothing of flows.
    pub(super) reg_id: u32,
    /// The proxies to it, nearest first, each a name-addr (RFC 3327).
    pub(crate) path: Vec<String>,
    /// Where its REGISTER came from.
    pub(crate) flow: Flow,
    pub(crate) behind_nat: bool,
    pub(super) call_id: Box<str>,
    pub(super) cseq: u32,
    pub(super) expires: LazyTimer,
    /// When the way through its NAT is used next, so that it stays open.
    pub(super) keep_alive: LazyTimer,
    pub(super) user_agent: Box<str>,
    pub(crate) push: Push,
}

/// A binding as it is written down, so that the phone can be called right after a restart.
#[derive(Serialize, Deserialize)]
struct Seen {
    contact: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    instance: String,
    #[serde(default)]
    reg_id: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    tcp: bool,
    peer: SocketAddr,
    behind_nat: bool,
    call_id: String,
    #[serde(default)]
    user_agent: String,
    expires_s: u64,
}

impl Binding {
    pub(super) fn new(
        cx: &mut ShimContext,
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
        let number = old.map_or_else(|| cx.random(), |o| o.number);
        Binding {
            number,
            slot: old.map_or(0, |o| o.slot),
            contact: contact.text.into(),
            instance: contact.instance.into(),
            reg_id: contact.reg_id,
            path: paths(request),
            flow,
            behind_nat: behind_nat(request, &flow),
            call_id: call_id.into(),
            cseq: request.cseq().map_or(0, |(number, _, _)| number),
            expires: old.map_or(LazyTimer::never(), |o| o.expires),
            keep_alive: old.map_or(LazyTimer::never(), |o| o.keep_alive),
            user_agent: agent
                .chars()
                .filter(|c| !c.is_control())
                .take(128)
                .collect(),
            push,
        }
    }

    /// From what was written down. `None`: it cannot be reached any more, since only the phone could
    /// open the connection again.
    pub(super) fn restored(number: u64, slot: u32, seen: &str) -> Option<(Binding, Duration)> {
        let seen: Seen = serde_json::from_str(seen).ok()?;
        let transport = if seen.tcp {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let mut binding = Binding {
            number,
            slot,
            contact: seen.contact.into(),
            instance: seen.instance.into(),
            reg_id: seen.reg_id,
            path: seen.path,
            flow: Flow {
                transport,
                peer: seen.peer,
                connection: 0,
            },
            behind_nat: seen.behind_nat,
            call_id: seen.call_id.into(),
            cseq: 0,
            expires: LazyTimer::never(),
            keep_alive: LazyTimer::never(),
            user_agent: seen.user_agent.into(),
            push: Push::default(),
        };
        if seen.tcp && binding.path.is_empty() {
            binding.flow.peer = binding.listens_at().filter(|_| !seen.behind_nat)?;
        }
        let for_s = seen.expires_s.min(RESTORED_S_MAX);
        Some((binding, Duration::from_secs(for_s)))
    }

    /// What is to be written down of it: where it is, not until when, so that a phone that only
    /// registers again writes nothing.
    pub(super) fn seen(&self, granted_s: u64) -> Arc<str> {
        let seen = Seen {
            contact: self.contact.to_string(),
            instance: self.instance.to_string(),
            reg_id: self.reg_id,
            path: self.path.clone(),
            tcp: self.flow.transport == Transport::Tcp,
            peer: self.flow.peer,
            behind_nat: self.behind_nat,
            call_id: self.call_id.to_string(),
            user_agent: self.user_agent.to_string(),
            expires_s: granted_s,
        };
        serde_json::to_string(&seen).unwrap_or_default().into()
    }

    /// Is it reached in the same way?
    pub(super) fn is_where(&self, other: &Binding) -> bool {
        let place = |b: &Binding| (b.flow.transport, b.flow.peer, b.behind_nat);
        self.contact == other.contact
            && self.path == other.path
            && self.call_id == other.call_id
            && place(self) == place(other)
    }

    /// The same phone, as far as its REGISTERs tell. Two phones behind two NATs may have the same private
    /// address; one whose NAT got another address goes on with its Call-ID.
    pub(super) fn may_be(&self, contact: &Contact<'_>, flow: &Flow, request: &Message) -> bool {
        let known = |a: &str, b: &str| !a.is_empty() && !b.is_empty();
        if known(&self.instance, contact.instance) {
            return *self.instance == *contact.instance && self.reg_id == contact.reg_id;
        }
        let hidden = self.behind_nat && behind_nat(request, flow);
        let elsewhere = hidden && self.flow.peer.ip() != flow.peer.ip();
        !elsewhere || *self.call_id == *request.header_or_empty(Name::CallId)
    }

    /// Where requests to this phone go.
    pub(crate) fn target(&self) -> Flow {
        if let Some(proxy) = self.path.first() {
            return self.towards(proxy).unwrap_or(self.flow);
        }
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

    /// The way to a proxy that its Path names.
    fn towards(&self, proxy: &str) -> Option<Flow> {
        let uri = Uri::parse(NameAddr::parse(proxy)?.uri)?;
        let (peer, transport) = (uri.socket_addr()?, uri.transport());
        let transport = transport.unwrap_or(self.flow.transport);
        let is_flow = peer == self.flow.peer && transport == self.flow.transport;
        Some(Flow {
            transport,
            peer,
            connection: if is_flow { self.flow.connection } else { 0 },
        })
    }

    /// Does a NAT forget the way to it unless something goes through?
    pub(super) fn wants_keep_alives(&self) -> bool {
        self.behind_nat && !self.flow.is_reliable() && self.path.is_empty()
    }

    pub(super) fn listens_at(&self) -> Option<SocketAddr> {
        Uri::parse(&self.contact)?.socket_addr()
    }

    /// Is it there at this time?
    pub(super) fn is_alive(&self, now: Time) -> bool {
        self.expires.due() > now
    }

    /// Is its lamp not as it should be?
    pub(crate) fn is_behind(&self, lamp: tandem_pbx::seam::MessageSummary) -> bool {
        !self.push.busy && !self.push.refused && self.push.told != Some(lamp)
    }
}

/// What a phone says of itself, for people: an escape sequence must not reach a terminal. Our own check of
/// URIs knows only the ASCII ones.
pub(super) fn shown(text: &str) -> String {
    let safe = |c: char| match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(safe).collect()
}

/// The addresses of a Path header.
fn paths(request: &Message) -> Vec<String> {
    let all = request.headers(Name::Path).flat_map(split_list);
    all.map(str::to_owned).collect()
}

/// Can a Path be followed?
fn is_usable_path(request: &Message) -> bool {
    let mut all = request.headers(Name::Path).flat_map(split_list);
    let fits = |text: &str| text.len() <= PATH_BYTES_MAX && NameAddr::parse(text).is_some();
    all.by_ref().take(PATHS_MAX).all(fits) && all.next().is_none()
}

/// Does the sender think that it is at another address than the one we see? Another port alone shows no
/// NAT: a phone may send from one and listen at another.
pub(crate) fn behind_nat(request: &Message, flow: &Flow) -> bool {
    let via = request.header(Name::Via).and_then(Via::parse);
    via.is_none_or(|via| crate::uri::parse_ip(via.host) != Some(flow.peer.ip()))
}

/// What a REGISTER asks for.
pub(super) enum Asked<'a> {
    /// To be told.
    Nothing,
    RemoveAll,
    Contacts(Vec<Contact<'a>>),
}

/// One Contact of a REGISTER.
pub(super) struct Contact<'a> {
    pub(super) text: &'a str,
    pub(super) uri: Uri<'a>,
    pub(super) instance: &'a str,
    pub(super) reg_id: u32,
    pub(super) expires_s: u32,
}

impl<'a> Asked<'a> {
    pub(super) fn of(cx: &ShimContext, request: &'a Message) -> Result<Asked<'a>, Refused> {
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
            many if many.len() > cx.config.contacts_per_user_max || many.contains(&"*") => {
                return Err(bad);
            }
            _ if !is_usable_path(request) => {
                return Err(Refused {
                    reason: "Bad Path",
                    ..bad
                });
            }
            _ => {}
        }
        let contacts = values
            .into_iter()
            .map(|v| Contact::of(cx, v, default_s).ok_or(bad));
        let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
        let brief = |c: &Contact<'_>| c.expires_s > 0 && c.expires_s < cx.config.expires_min_s;
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
    fn of(cx: &ShimContext, value: &'a str, default_s: Option<u32>) -> Option<Contact<'a>> {
        let address = NameAddr::parse(value)?;
        let uri = Uri::parse(address.uri)?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
            || address.uri.len() > CONTACT_BYTES_MAX
        {
            return None;
        }
        // A value that is no number counts as if it were not there (RFC 3261 §10.3, step 7).
        let own_s = address.param("expires").and_then(|e| e.parse().ok());
        let expires_s = own_s.or(default_s).unwrap_or(cx.config.expires_default_s);
        let reg_id = address.param("reg-id").and_then(|id| id.parse().ok());
        let instance = address.param("+sip.instance").filter(|i| i.len() <= 128);
        Some(Contact {
            text: address.uri,
            uri,
            instance: instance.unwrap_or_default(),
            // RFC 5626 §6: without an instance it means nothing.
            reg_id: reg_id.filter(|_| instance.is_some()).unwrap_or(0),
            expires_s: expires_s.min(cx.config.expires_max_s),
        })
    }
}
