//! A user's calls as watchers see them: the busy lamp field (RFC 4235).
//!
//! Call control says what the calls are, as long as somebody watches; every notification has all of them
//! (`state="full"`), so that one that was lost is made good by the next.

use std::fmt::Write as _;
use std::sync::Arc;

use tandem_pbx::seam::{CallState, WatchedCall};
use tandem_storage::name::Id;

use crate::context::ShimContext;
use crate::shim::Shim;
use crate::subscriptions::Package;

/// What the body of a notification is.
pub(crate) const BODY_KIND: &str = "application/dialog-info+xml";

impl Shim {
    /// Call control says what a watched user's calls are.
    pub(crate) fn set_calls(&mut self, user: Id, calls: Arc<[WatchedCall]>) {
        if self.subscriptions.set_calls(user, calls) {
            for tag in self.subscriptions.tags_of(Package::Dialog, user) {
                self.notify(tag);
            }
        }
    }
}

/// RFC 4235 §4.1. `of`: the user's extension and name.
pub(crate) fn body(
    cx: &ShimContext,
    of: (&str, &str),
    version: u32,
    calls: &[WatchedCall],
) -> String {
    let (extension, name) = of;
    let own = format!("sip:{}@{}", escaped(extension), cx.host);
    let mut text = format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
         version=\"{version}\" state=\"full\" entity=\"{own}\">\r\n"
    );
    for call in calls {
        let (direction, state) = match (call.is_initiator, call.state) {
            (true, CallState::Early) => ("initiator", "early"),
            (true, CallState::Confirmed) => ("initiator", "confirmed"),
            (false, CallState::Early) => ("recipient", "early"),
            (false, CallState::Confirmed) => ("recipient", "confirmed"),
        };
        let rendering = if call.holds { "no" } else { "yes" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "<dialog id=\"{}\" direction=\"{direction}\"><state>{state}</state>\r\n\
             <local><identity display=\"{}\">{own}</identity><target uri=\"{own}\">\
             <param pname=\"+sip.rendering\" pval=\"{rendering}\"/></target></local>\r\n",
            call.leg,
            escaped(name),
        );
        if !call.number.is_empty() {
            let remote = format!("sip:{}@{}", escaped(&call.number), cx.host);
            let _ = write!(
                text,
                "<remote><identity display=\"{}\">{remote}</identity><target uri=\"{remote}\"/></remote>\r\n",
                escaped(&call.name),
            );
        }
        text.push_str("</dialog>\r\n");
    }
    text.push_str("</dialog-info>\r\n");
    text
}

/// As it may stand in XML, between tags and between quotation marks.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
