//! REFER and Replaces: what a party asks for who transfers a call, and who takes one over.
//!
//! A REFER within a call is accepted at once, and call control decides ([`SipEvent::Refer`]). Its sender
//! is notified of the outcome within the call's own dialog, as long as that is there. A call that is named
//! by Replaces, in the URI of a Refer-To or in an INVITE, is found by all three parts of its dialog's name.
//!
//! Sources: RFC 3515 (REFER), RFC 3891 (Replaces), RFC 4488 (Refer-Sub), RFC 5589 (transfer).

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{Cause, SipEvent};

use crate::call::{Phase, Refer};
use crate::client_transactions::Owner;
use crate::history;
use crate::incoming::status_of;
use crate::message::{Message, Method, Name};
use crate::message_builder::{self, Answer, reason};
use crate::server_transactions::ServerId;
use crate::shim::Shim;
use crate::uri::{NameAddr, Scheme, Uri, param, percent_decode};

/// How long a REFER's sender may wait for its outcome, in seconds: as it is told.
const SUBSCRIPTION_S: u32 = 180;
/// The longest number that is passed on, in characters.
const NUMBER_CHARS_MAX: usize = 64;

/// What the Refer-To of a REFER asks for.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    number: String,
    /// The value of its Replaces header.
    replaces: Option<String>,
}

impl Shim {
    pub(crate) fn on_refer(&mut self, server: ServerId, leg: LegId, request: &Message) {
        let mut targets = request.headers(Name::ReferTo);
        // RFC 3515 §2.4.2: exactly one.
        let target = targets.next().filter(|_| targets.next().is_none());
        let Some(target) = target.and_then(Target::parse) else {
            return self.reply(server, request, &Answer::new(400).reason("Bad Refer-To"));
        };
        let replaces = match &target.replaces {
            None => None,
            Some(named) => match self.replaced(named) {
                Some(leg) => Some(leg),
                None => return self.reply(server, request, &Answer::new(481)),
            },
        };
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let is_ready = matches!(call.phase, Phase::Up | Phase::Answered);
        if !is_ready || call.refer.is_some() {
            self.cx.counters.glares += 1;
            return self.reply(server, request, &Answer::new(491));
        }
        let unwanted = request.header_or_empty(Name::ReferSub).trim();
        let notifies = !unwanted.eq_ignore_ascii_case("false");
        let cseq = request.cseq().map_or(0, |(number, _, _)| number);
        call.refer = Some(Refer { cseq, notifies });
        let mut headers = match &call.dialog {
            Some(dialog) => message_builder::contact(&self.cx, &dialog.flow),
            None => String::new(),
        };
        if !notifies {
            headers.push_str("Refer-Sub: false\r\n");
        }
        self.reply(server, request, &Answer::new(202).headers(&headers));
        // RFC 3515 §2.4.4: at once, even if nothing is known yet.
        self.refer_notify(leg, "SIP/2.0 100 Trying\r\n", false);
        self.cx.counters.refers += 1;
        let to = target.number.as_str().into();
        let referred_by = history::referrer(request);
        self.cx.tell(SipEvent::Refer {
            leg,
            to,
            replaces,
            referred_by,
        });
    }

    /// Call control says what became of it.
    pub(crate) fn refer_result(&mut self, leg: LegId, refused: Option<Cause>) {
        let status = refused.map_or(200, status_of);
        let body = format!("SIP/2.0 {status} {}\r\n", reason(status));
        self.refer_notify(leg, &body, true);
        if let Some(call) = self.calls.get_mut(leg) {
            call.refer = None;
        }
    }

    fn refer_notify(&mut self, leg: LegId, body: &str, is_last: bool) {
        let branch = self.cx.random();
        let Some(call) = self.calls.get_mut(leg) else {
            return;
        };
        let (Some(refer), Some(dialog)) = (call.refer, &mut call.dialog) else {
            return;
        };
        if !refer.notifies {
            return;
        }
        let state = match is_last {
            true => "terminated;reason=noresource".to_owned(),
            false => format!("active;expires={SUBSCRIPTION_S}"),
        };
        let cseq = dialog.next_cseq();
        let contact = message_builder::contact(&self.cx, &dialog.flow);
        let headers = format!(
            "{contact}Event: refer;id={}\r\nSubscription-State: {state}\r\n",
            refer.cseq
        );
        let route = dialog.route();
        let mut request = dialog.request(Method::Notify, cseq, branch, &route);
        request.headers = &headers;
        request.body = Some(("message/sipfrag;version=2.0", body.as_bytes()));
        self.clients
            .request(&mut self.cx, dialog.flow, Owner::Orphan, &request);
    }

    /// The leg that an INVITE is to take over, if it names one; or why it is refused (RFC 3891 §3).
    pub(crate) fn takes_over(&self, request: &Message) -> Result<Option<LegId>, Answer<'static>> {
        let mut named = request.headers(Name::Replaces);
        let Some(value) = named.next() else {
            return Ok(None);
        };
        if named.next().is_some() {
            return Err(Answer::new(400).reason("Several Replaces"));
        }
        let leg = self.replaced(value).ok_or(Answer::new(481))?;
        let is_up = self
            .calls
            .get(leg)
            .is_some_and(|call| matches!(call.phase, Phase::Up));
        match is_up && value.contains("early-only") {
            true => Err(Answer::new(486)),
            false => Ok(Some(leg)),
        }
    }

    /// The leg whose dialog a Replaces value names.
    pub(crate) fn replaced(&self, value: &str) -> Option<LegId> {
        let (call_id, params) = value.split_once(';')?;
        // `param` reads behind a semicolon.
        let params = format!(";{params}");
        let to_tag = param(&params, "to-tag")?;
        let from_tag = param(&params, "from-tag")?;
        let leg = self.calls.by_tag(u64::from_str_radix(to_tag, 16).ok()?)?;
        let dialog = self.calls.get(leg)?.dialog.as_ref()?;
        let is_it = *dialog.call_id == *call_id.trim() && *dialog.remote_tag == *from_tag;
        is_it.then_some(leg)
    }
}

impl Target {
    /// Reads a Refer-To: a number at this node, perhaps with a call to be replaced.
    fn parse(value: &str) -> Option<Target> {
        let address = NameAddr::parse(value)?;
        let uri = Uri::parse(address.uri)?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel) {
            return None;
        }
        if uri.param("method").is_some_and(|method| method != "INVITE") {
            return None;
        }
        let number = uri.number()?.into_owned();
        let fits = (1..=NUMBER_CHARS_MAX).contains(&number.chars().count())
            && !number.chars().any(char::is_control);
        let headers = address
            .uri
            .split_once('?')
            .map_or("", |(_, headers)| headers);
        let replaces = headers.split('&').find_map(|header| {
            let (name, value) = header.split_once('=')?;
            let is_it = name.eq_ignore_ascii_case("replaces");
            is_it.then(|| percent_decode(value)).flatten()
        });
        fits.then(|| Target {
            number,
            replaces: replaces.map(|value| value.into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, number: &str, replaces: Option<&str>) {
        let expected = Target {
            number: number.to_owned(),
            replaces: replaces.map(str::to_owned),
        };
        assert_eq!(Target::parse(value), Some(expected), "{value}");
    }

    #[test]
    fn a_target_is_a_number_and_perhaps_a_call() {
        check("<sip:103@10.0.0.1>", "103", None);
        check("sip:103@10.0.0.1", "103", None);
        check("\"Ann\" <sip:103@h;transport=tcp>;x=1", "103", None);
        check(
            "<sip:103@h?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>",
            "103",
            Some("a@b;to-tag=1;from-tag=2"),
        );
        check("<tel:+4930123>", "+4930123", None);
    }

    #[test]
    fn what_names_nobody_is_none() {
        for value in [
            "",
            "<sip:10.0.0.1>",
            "<http://x/>",
            "<sip:103@h;method=BYE>",
            "<sip:%0a@h>",
        ] {
            assert_eq!(Target::parse(value), None, "{value}");
        }
    }
}
