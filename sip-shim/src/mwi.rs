//! The message-waiting indication (MWI, RFC 3842), the phone's lamp: what it says, and who gets it unasked.
//!
//! A phone may subscribe to its lamp (`subscriptions`); one that is registered but has not subscribed is
//! notified all the same, as phones expect of a PBX. Call control says what a lamp shows; this file says so
//! to a phone that comes or comes back, too.
//!
//! Invariant: one notification at a time is on its way to a phone, so that none overtakes another: what
//! changes meanwhile is sent when the answer has come.

use tandem_pbx::seam::{MessageSummary, Watchable};
use tandem_storage::name::Id;

use crate::client_transactions::{Outcome, Owner};
use crate::context::ShimContext;
use crate::message::Method;
use crate::message_builder::{self, Request};
use crate::shim::Shim;
use crate::subscriptions::Package;

/// What the body of a notification is.
pub(crate) const BODY_KIND: &str = "application/simple-message-summary";

impl Shim {
    /// Call control says what a user's lamp shows.
    pub(crate) fn set_lamp(&mut self, id: Id, lamp: MessageSummary) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        user.lamp = Some(lamp);
        for tag in self
            .subscriptions
            .tags_of(Package::MessageSummary, Watchable::User(id))
        {
            self.notify(tag);
        }
        let now = self.cx.now.mono;
        let behind = self.registrar.user(id).map_or(Vec::new(), |u| {
            u.phones(now)
                .filter(|b| b.is_behind(lamp))
                .map(|b| b.number)
                .collect()
        });
        for number in behind {
            self.push(id, number);
        }
    }

    /// Tells a registered phone that has not subscribed.
    fn push(&mut self, id: Id, number: u64) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        let (lamp, extension) = (user.lamp.unwrap_or_default(), user.sip.extension.clone());
        let Some(binding) = user.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        let flow = binding.target();
        if self.subscriptions.is_subscribed(id, &flow) {
            return;
        }
        binding.push.busy = true;
        binding.push.told = Some(lamp);
        binding.push.cseq += 1;
        let (cseq, contact_uri) = (binding.push.cseq, binding.contact.clone());
        let path = binding.path.clone();
        let own = format!("<sip:{extension}@{}>", self.cx.host);
        let from = format!("{own};tag={number:016x}");
        let call_id = format!("{number:016x}-lamp");
        let contact = message_builder::contact(&self.cx, &flow);
        let headers = format!("{contact}Event: message-summary\r\nSubscription-State: active\r\n");
        let body = summary(&self.cx, &extension, lamp);
        let request = Request {
            method: Method::Notify,
            uri: &contact_uri,
            branch: self.cx.random(),
            from: &from,
            to: &own,
            call_id: &call_id,
            cseq,
            routes: &path,
            headers: &headers,
            body: Some((BODY_KIND, body.as_bytes())),
        };
        self.cx.counters.notifies += 1;
        self.clients.request(
            &mut self.cx,
            flow,
            Owner::Push {
                user: id,
                binding: number,
                cseq,
            },
            &request,
        );
    }

    /// A notification that a later one has overtaken, or whose registration is over. Sent again, it
    /// would put the lamp back to what it was.
    pub(crate) fn is_outdated(&self, owner: Owner) -> bool {
        let Owner::Push {
            user,
            binding,
            cseq,
        } = owner
        else {
            return false;
        };
        let bindings = self.registrar.user(user).map(|user| &user.bindings);
        let binding = bindings.and_then(|all| all.iter().find(|b| b.number == binding));
        binding.is_none_or(|b| b.push.cseq != cseq)
    }

    pub(crate) fn on_push_heard(&mut self, id: Id, number: u64, cseq: u32, outcome: Outcome) {
        let Some(user) = self.registrar.user_mut(id) else {
            return;
        };
        let lamp = user.lamp.unwrap_or_default();
        let Some(binding) = user.bindings.iter_mut().find(|b| b.number == number) else {
            return;
        };
        // A phone that started anew was told again while the one before was still on its way: it has
        // no use for that, and whatever it says of it is no word on the later one.
        if binding.push.cseq != cseq {
            return;
        }
        match outcome {
            Outcome::Response(..200) => return,
            Outcome::Response(200..300) => {}
            Outcome::Response(status) if is_unwanted(status) => binding.push.refused = true,
            // Nobody there, or in trouble, at the moment: the next change tries again.
            Outcome::Response(_) | Outcome::Timeout | Outcome::Unreachable => {
                binding.push.busy = false;
                binding.push.told = None;
                return;
            }
        }
        binding.push.busy = false;
        if binding.is_behind(lamp) {
            self.push(id, number);
        }
    }
}

/// The phone does not take notifications it did not ask for, and will not take the next one.
fn is_unwanted(status: u16) -> bool {
    matches!(status, 403..=406 | 415 | 420 | 481 | 489 | 501 | 600..)
}

/// RFC 3842 §5.2.
pub(crate) fn summary(cx: &ShimContext, extension: &str, lamp: MessageSummary) -> String {
    let MessageSummary {
        new,
        old,
        new_urgent,
        old_urgent,
    } = lamp;
    let waiting = if new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: sip:{extension}@{}\r\n\
         Voice-Message: {new}/{old} ({new_urgent}/{old_urgent})\r\n",
        cx.host
    )
}
