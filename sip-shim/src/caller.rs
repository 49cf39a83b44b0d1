//! Who calls or writes: read from what comes in, and written into what goes out.
//!
//! A gateway is believed as far as its record says; a phone is who its password says it is, or its
//! registration behind a gateway, whatever its From says. Who does not want to be known is named to nobody.
//!
//! Sources: RFC 3323 (privacy), RFC 3325 (asserted identity).

use std::fmt::Write as _;
use std::sync::Arc;

use tandem_pbx::seam::{Caller, ClassOfService};

use crate::access::{Access, number_of};
use crate::config::Trusted;
use crate::context::ShimContext;
use crate::message::{Message, Name};
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::{NameAddr, Uri};
use crate::wire::Flow;

/// The longest number and name that are passed on, in characters.
const CALLER_CHARS_MAX: usize = 64;

impl Shim {
    /// Who calls; `None` if the request was answered for want of proof. A gateway is believed; a phone
    /// behind it is known by the address it registered from, any other phone by its password, whatever
    /// its From says.
    pub(crate) fn caller(
        &mut self,
        server: ServerId,
        flow: Flow,
        request: &Message,
    ) -> Option<Caller> {
        let extension = number_of(request, Name::From);
        let trusted = self.cx.trusted(&flow, request).cloned();
        let user = match trusted {
            Some(trusted) => {
                let now = self.cx.now.mono;
                let known = self.registrar.is_phone_of(now, &extension, &flow);
                match known {
                    Some(user) => user.sip.clone(),
                    None => return Some(stranger(request, &trusted)),
                }
            }
            None => match self.authenticate(server, flow, request, None) {
                Access::Granted(id) => self.registrar.user(id)?.sip.clone(),
                Access::Refused => return None,
            },
        };
        let caller = Caller {
            user: Some(user.id),
            number: user.extension,
            name: user.name,
            is_withheld: false,
            class: ClassOfService::Internal,
        };
        Some(if wants_privacy(request) {
            withheld(caller)
        } else {
            caller
        })
    }
}

/// What was dialled.
pub(crate) fn dialed(request: &Message) -> Option<Arc<str>> {
    let number = Uri::parse(request.uri())?.number()?;
    // It is shown to people, on terminals, too.
    let fits = !number.is_empty()
        && number.chars().count() <= CALLER_CHARS_MAX
        && !number.chars().any(char::is_control);
    fits.then(|| number.as_ref().into())
}

/// A caller from the world, as the trunk's host names it.
pub(crate) fn caller_by_trunk(request: &Message) -> Caller {
    named(request, true, ClassOfService::Public)
}

/// A caller that a gateway vouches for (RFC 3325), or names.
fn stranger(request: &Message, gateway: &Trusted) -> Caller {
    named(request, gateway.asserts_identity, gateway.class)
}

fn named(request: &Message, is_believed: bool, class: ClassOfService) -> Caller {
    let asserted = request
        .header(Name::PAssertedIdentity)
        .and_then(NameAddr::parse);
    let address = asserted.or_else(|| request.header(Name::From).and_then(NameAddr::parse));
    let address = address.filter(|_| is_believed);
    let (display, uri) = address.map_or((Default::default(), ""), |a| (a.display, a.uri));
    let user = Uri::parse(uri).and_then(|u| u.number()).unwrap_or_default();
    let dialable = |c: &char| c.is_ascii_digit() || matches!(c, '*' | '#' | '+');
    let number: String = user
        .chars()
        .filter(dialable)
        .take(CALLER_CHARS_MAX)
        .collect();
    let wordy = user.chars().any(|c| c.is_alphabetic());
    let name = if display.is_empty() && wordy {
        &user
    } else {
        &display
    };
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(CALLER_CHARS_MAX)
        .collect();
    let caller = Caller {
        user: None,
        number: number.into(),
        name: name.into(),
        is_withheld: false,
        class,
    };
    if wants_privacy(request) {
        withheld(caller)
    } else {
        caller
    }
}

/// Does the caller not want to be known? It says so (RFC 3323 §4.2), or gives the From of those who do (§4.1.1.3),
/// whatever a gateway asserts beside it.
fn wants_privacy(request: &Message) -> bool {
    let hides = |value: &str| {
        let value = value.trim();
        ["id", "user", "header"]
            .iter()
            .any(|v| value.eq_ignore_ascii_case(v))
    };
    let mut values = request
        .headers(Name::Privacy)
        .flat_map(|v| v.split([';', ',']));
    let from = request.header(Name::From).and_then(NameAddr::parse);
    let is_anonymous = from.and_then(|a| Uri::parse(a.uri)).is_some_and(|uri| {
        uri.user.eq_ignore_ascii_case("anonymous")
            || uri.host.eq_ignore_ascii_case("anonymous.invalid")
    });
    is_anonymous || values.any(hides)
}

/// The same caller, of whom nobody is told.
fn withheld(caller: Caller) -> Caller {
    Caller {
        number: "".into(),
        name: "".into(),
        is_withheld: true,
        ..caller
    }
}

/// The caller as a name-addr at this node.
pub(crate) fn caller_address(cx: &ShimContext, caller: &Caller) -> String {
    if caller.number.is_empty() && caller.name.is_empty() {
        return "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    }
    let number = if caller.number.is_empty() {
        "unknown"
    } else {
        &*caller.number
    };
    address(cx, number, &caller.name, "")
}

/// A name-addr at this node; the URI has these parameters.
pub(crate) fn address(cx: &ShimContext, number: &str, name: &str, params: &str) -> String {
    let uri = format!("<sip:{}@{}{params}>", encoded(number), cx.host);
    if name.is_empty() {
        return uri;
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    format!("\"{quoted}\" {uri}")
}

/// Escapes what may not stand in the user part of a URI (RFC 3261 §25.1).
pub(crate) fn encoded(user: &str) -> String {
    let mut text = String::with_capacity(user.len());
    for b in user.bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&b) => {
                text.push(char::from(b))
            }
            b => {
                let _ = write!(text, "%{b:02X}");
            }
        }
    }
    text
}
