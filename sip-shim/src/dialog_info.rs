//! A line's calls as watchers see them: the busy lamp field (RFC 4235).
//!
//! Call control says what the calls are, as long as somebody watches; every notification has all of them
//! (`state="full"`), so that one that was lost is made good by the next. A call that has ended since the
//! last one is told once more, as terminated, to those who knew of it.

use std::fmt::Write as _;
use std::sync::Arc;

use tandem_pbx::seam::{CallState, Watchable, WatchedCall};

use crate::context::ShimContext;
use crate::shim::Shim;
use crate::subscriptions::Package;

/// What the body of a notification is.
pub(crate) const BODY_KIND: &str = "application/dialog-info+xml";

impl Shim {
    /// Call control says what a watched line's calls are.
    pub(crate) fn set_calls(&mut self, what: Watchable, calls: Arc<[WatchedCall]>) {
        if self.subscriptions.set_calls(what, calls) {
            for tag in self.subscriptions.tags_of(Package::Dialog, what) {
                self.notify(tag);
            }
        }
    }
}

/// RFC 4235 §4.1. `of`: the line's extension and name. `ended`: calls that are there no more.
pub(crate) fn body(
    cx: &ShimContext,
    of: (&str, &str),
    version: u32,
    calls: &[WatchedCall],
    ended: &[&WatchedCall],
) -> String {
    let own = format!("sip:{}@{}", escaped(of.0), cx.host);
    let mut text = format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
         version=\"{version}\" state=\"full\" entity=\"{own}\">\r\n"
    );
    let about = About {
        host: &cx.host,
        own: &own,
        name: of.1,
    };
    for call in calls {
        let state = match call.state {
            CallState::Early => "early",
            CallState::Confirmed => "confirmed",
        };
        about.write(&mut text, call, state);
    }
    for call in ended {
        about.write(&mut text, call, "terminated");
    }
    text.push_str("</dialog-info>\r\n");
    text
}

/// Whose calls they are.
struct About<'a> {
    host: &'a str,
    /// Its address, escaped.
    own: &'a str,
    name: &'a str,
}

impl About<'_> {
    fn write(&self, text: &mut String, call: &WatchedCall, state: &str) {
        let About { host, own, name } = self;
        let direction = match call.is_initiator {
            true => "initiator",
            false => "recipient",
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
            let remote = format!("sip:{}@{host}", escaped(&call.number));
            let _ = write!(
                text,
                "<remote><identity display=\"{}\">{remote}</identity><target uri=\"{remote}\"/></remote>\r\n",
                escaped(&call.name),
            );
        }
        text.push_str("</dialog>\r\n");
    }
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
