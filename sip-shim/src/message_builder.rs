//! Messages we send, as text.
//!
//! A response is written from the request it answers ([`response`]); a request from a dialog or
//! from nothing ([`Request`]); the ACK of a refusal and the CANCEL of a request from the very
//! text of that request ([`ack_of`], [`cancel_of`]), since they must agree with it to the letter
//! (RFC 3261 §9.1, §17.1.1.3).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use tandem_pbx::seam::Cause;

use crate::context::ShimContext;
use crate::message::{Message, Method, Name};
use crate::uri::{Via, param, split_list};
use crate::wire::Flow;

/// What we allow, for Allow headers.
pub(crate) const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, SUBSCRIBE, REFER, \
     MESSAGE, PRACK\r\n";

/// What is said in answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// In place of the usual phrase.
    pub(crate) reason: Option<&'static str>,
    /// Ours, put on a To that has none. Not for 100.
    pub(crate) to_tag: Option<u64>,
    /// Whole lines.
    pub(crate) headers: &'a str,
    /// Its type and itself.
    pub(crate) body: Option<(&'static str, &'a str)>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(status: u16) -> Answer<'a> {
        Answer {
            status,
            reason: None,
            to_tag: None,
            headers: "",
            body: None,
        }
    }
    pub(crate) fn tag(self, tag: u64) -> Answer<'a> {
        Answer {
            to_tag: Some(tag),
            ..self
        }
    }
    pub(crate) fn headers(self, headers: &'a str) -> Answer<'a> {
        Answer { headers, ..self }
    }
    pub(crate) fn reason(self, reason: &'static str) -> Answer<'a> {
        Answer {
            reason: Some(reason),
            ..self
        }
    }
    pub(crate) fn sdp(self, body: &'a str) -> Answer<'a> {
        Answer {
            body: Some(("application/sdp", body)),
            ..self
        }
    }
}

/// A response's text.
pub(crate) fn response(
    cx: &ShimContext,
    request: &Message,
    flow: &Flow,
    answer: &Answer<'_>,
) -> Arc<[u8]> {
    response_by(Some(&cx.config.user_agent), request, flow, answer)
}

fn response_by(
    server: Option<&str>,
    request: &Message,
    flow: &Flow,
    answer: &Answer<'_>,
) -> Arc<[u8]> {
    let mut text = String::with_capacity(640 + answer.body.map_or(0, |(_, b)| b.len()));
    let reason = answer.reason.unwrap_or_else(|| reason(answer.status));
    // Writing to a String cannot fail, here and below.
    let _ = write!(text, "SIP/2.0 {} {reason}\r\n", answer.status);
    write_vias(&mut text, request, flow);
    let forms_dialog = (101..300).contains(&answer.status)
        && matches!(request.method(), Method::Invite | Method::Subscribe);
    if forms_dialog {
        copy(&mut text, request, Name::RecordRoute, "Record-Route");
    }
    copy(&mut text, request, Name::From, "From");
    write_to(&mut text, request, answer.to_tag);
    copy(&mut text, request, Name::CallId, "Call-ID");
    copy(&mut text, request, Name::CSeq, "CSeq");
    if answer.status == 100 {
        copy(&mut text, request, Name::Timestamp, "Timestamp");
    }
    if let Some(server) = server {
        let _ = write!(text, "Server: {server}\r\n");
    }
    text.push_str(answer.headers);
    let body = answer.body.map(|(kind, text)| (kind, text.as_bytes()));
    finish(text, body)
}

fn copy(text: &mut String, message: &Message, name: Name, as_name: &str) {
    for value in message.headers(name) {
        text.push_str(as_name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
}

fn write_to(text: &mut String, request: &Message, tag: Option<u64>) {
    let Some(to) = request.header(Name::To) else {
        return;
    };
    let has_tag = crate::uri::NameAddr::parse(to).is_some_and(|a| a.tag().is_some());
    let _ = match tag.filter(|_| !has_tag) {
        Some(tag) => write!(text, "To: {to};tag={tag:016x}\r\n"),
        None => write!(text, "To: {to}\r\n"),
    };
}

/// Copies the Vias and notes in the topmost where the request really came from (RFC 3261
/// §18.2.1, RFC 3581 §4).
fn write_vias(text: &mut String, request: &Message, flow: &Flow) {
    for (i, value) in request.headers(Name::Via).enumerate() {
        text.push_str("Via: ");
        if i == 0 {
            let hop = split_list(value).next().unwrap_or(value);
            write_top_via(text, hop, flow.peer);
            let hop_end = hop.as_ptr() as usize - value.as_ptr() as usize + hop.len();
            text.push_str(&value[hop_end..]);
        } else {
            text.push_str(value);
        }
        text.push_str("\r\n");
    }
}

fn write_top_via(text: &mut String, hop: &str, source: SocketAddr) {
    let Some(via) = Via::parse(hop) else {
        return text.push_str(hop);
    };
    let _ = write!(text, "SIP/2.0/{} {}", via.transport, via.sent_by);
    let mut wants_port = false;
    for piece in via
        .params
        .split(';')
        .map(str::trim)
        .filter(|p| !p.is_empty())
    {
        match piece.split('=').next().unwrap_or_default().trim() {
            key if key.eq_ignore_ascii_case("rport") => wants_port = true,
            key if key.eq_ignore_ascii_case("received") => {}
            _ => {
                let _ = write!(text, ";{piece}");
            }
        }
    }
    if wants_port {
        let _ = write!(text, ";rport={}", source.port());
    }
    if wants_port || crate::uri::parse_ip(via.host) != Some(source.ip()) {
        let _ = write!(text, ";received={}", source.ip());
    }
}

/// Where the answers to a request go (RFC 3261 §18.2.2, RFC 3581 §4).
pub(crate) fn reply_flow(request: &Message, flow: Flow) -> Flow {
    if flow.is_reliable() {
        return flow;
    }
    match request.header(Name::Via).and_then(Via::parse) {
        Some(via) if param(via.params, "rport").is_none() => {
            let port = via.port.unwrap_or(5060);
            Flow {
                peer: SocketAddr::new(flow.peer.ip(), port),
                ..flow
            }
        }
        _ => flow,
    }
}

/// A request of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) uri: &'a str,
    /// Makes the branch, and finds the transaction again.
    pub(crate) branch: u64,
    /// With its tag.
    pub(crate) from: &'a str,
    /// With its tag, if there is one.
    pub(crate) to: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    pub(crate) routes: &'a [String],
    /// Whole lines.
    pub(crate) headers: &'a str,
    /// Its type and itself.
    pub(crate) body: Option<(&'a str, &'a [u8])>,
}

impl Request<'_> {
    /// Its text.
    pub(crate) fn write(&self, cx: &ShimContext, flow: &Flow) -> Arc<[u8]> {
        let mut text = String::with_capacity(768 + self.body.map_or(0, |(_, b)| b.len()));
        let method = self.method.as_str();
        let transport = flow.transport.as_str();
        let _ = write!(text, "{method} {} SIP/2.0\r\n", self.uri);
        let _ = write!(text, "Via: SIP/2.0/{transport} {}", cx.host);
        let _ = write!(text, ";branch={COOKIE}{:016x};rport\r\n", self.branch);
        text.push_str("Max-Forwards: 70\r\n");
        for route in self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        let _ = write!(text, "From: {}\r\nTo: {}\r\n", self.from, self.to);
        let _ = write!(
            text,
            "Call-ID: {}\r\nCSeq: {} {method}\r\n",
            self.call_id, self.cseq
        );
        let _ = write!(
            text,
            "User-Agent: {}\r\n{}",
            cx.config.user_agent, self.headers
        );
        finish(text, self.body)
    }
}

/// RFC 3261 §8.1.1.7.
pub(crate) const COOKIE: &str = "z9hG4bK";

/// The number in one of our branches.
pub(crate) fn branch_number(branch: &str) -> Option<u64> {
    u64::from_str_radix(branch.strip_prefix(COOKIE)?, 16).ok()
}

/// Our Contact.
pub(crate) fn contact(cx: &ShimContext, flow: &Flow) -> String {
    match flow.transport {
        crate::wire::Transport::Udp => format!("Contact: <sip:{}>\r\n", cx.host),
        crate::wire::Transport::Tcp => format!("Contact: <sip:{};transport=tcp>\r\n", cx.host),
    }
}

fn finish(mut text: String, body: Option<(&str, &[u8])>) -> Arc<[u8]> {
    let length = body.map_or(0, |(_, b)| b.len());
    if let Some((kind, _)) = body {
        let _ = write!(text, "Content-Type: {kind}\r\n");
    }
    let _ = write!(text, "Content-Length: {length}\r\n\r\n");
    let mut bytes = text.into_bytes();
    if let Some((_, body)) = body {
        bytes.extend_from_slice(body);
    }
    bytes.into()
}

/// The ACK of a refusal of `invite`, which is our own text; `to` comes from the refusal.
pub(crate) fn ack_of(invite: &[u8], to: &str) -> Arc<[u8]> {
    derive(invite, "ACK", Some(to), "")
}

/// The CANCEL of `request`, which is our own text; `headers`: whole lines to add.
pub(crate) fn cancel_of(request: &[u8], headers: &str) -> Arc<[u8]> {
    derive(request, "CANCEL", None, headers)
}

/// Tells a phone that the call was answered elsewhere, so that it shows no missed call (RFC 3326 §3.1).
pub(crate) const ANSWERED_ELSEWHERE: &str =
    "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";

/// Why we hang up (RFC 3326), in the causes of Q.850 as RFC 3398 §8.2.6.1 pairs them.
pub(crate) fn reason_header(cause: Cause) -> String {
    let (number, text) = match cause {
        Cause::AnsweredElsewhere => return ANSWERED_ELSEWHERE.to_owned(),
        Cause::Normal | Cause::Cancelled => (16, "Normal call clearing"),
        Cause::Busy => (17, "User busy"),
        Cause::Declined => (21, "Call rejected"),
        Cause::NoAnswer => (19, "No answer from user"),
        Cause::NotRegistered => (20, "Subscriber absent"),
        Cause::NoSuchNumber => (1, "Unallocated number"),
        Cause::Forbidden => (57, "Bearer capability not authorized"),
        Cause::NotAcceptable => (88, "Incompatible destination"),
        Cause::Congestion => (42, "Switching equipment congestion"),
        Cause::MediaTimeout => (102, "Recovery on timer expiry"),
        Cause::Failed | Cause::ShuttingDown => (41, "Temporary failure"),
    };
    format!("Reason: Q.850;cause={number};text=\"{text}\"\r\n")
}

//= RFC 3261 §17.1.1.3
//# The ACK request constructed by the client transaction MUST contain values for the Call-ID, From,
//# and Request-URI that are equal to the values of those header fields in the request passed to the
//# transport by the client transaction (call this the "original request"). The To header field in
//# the ACK MUST equal the To header field in the response being acknowledged, and therefore will
//# usually differ from the To header field in the original request by the addition of the tag
//# parameter. The ACK MUST contain a single Via header field, and this MUST be equal to the top Via
//# header field of the original request. The CSeq header field in the ACK MUST contain the same
//# value for the sequence number as was present in the original request, but the method parameter
//# MUST be equal to "ACK". If the INVITE request whose response is being acknowledged had Route
//# header fields, those header fields MUST appear in the ACK.
//= RFC 3261 §9.1
//# The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the CANCEL
//# request MUST be identical to those in the request being cancelled, including tags. A CANCEL
//# constructed by a client MUST have only a single Via header field value matching the top Via
//# value in the request being cancelled.
//= RFC 3261 §9.1
//# However, the method part of the CSeq header field MUST have a value of CANCEL.
//= RFC 3261 §9.1
//# If the request being cancelled contains a Route header field, the CANCEL request MUST include
//# that Route header field's values.
//= RFC 3261 §9.1
//# The CANCEL request MUST NOT contain any Require or Proxy-Require header fields.
fn derive(request: &[u8], method: &str, to: Option<&str>, headers: &str) -> Arc<[u8]> {
    let text = std::str::from_utf8(request).unwrap_or_default();
    let mut out = String::with_capacity(512);
    for (i, line) in text.split("\r\n").enumerate() {
        let name = line.split(':').next().unwrap_or_default();
        match (i, name) {
            (0, _) => {
                let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
                let _ = write!(out, "{method} {rest}\r\n");
            }
            (_, "") => break,
            (_, "CSeq") => {
                let number = line.split(' ').nth(1).unwrap_or("1");
                let _ = write!(out, "CSeq: {number} {method}\r\n");
            }
            (_, "To") => {
                let _ = write!(out, "To: {}\r\n", to.unwrap_or(line[3..].trim()));
            }
            (_, "Via" | "From" | "Call-ID" | "Route" | "Max-Forwards" | "User-Agent") => {
                let _ = write!(out, "{line}\r\n");
            }
            // RFC 3261 §22.1: the ACK repeats the credentials of its INVITE.
            (_, "Authorization" | "Proxy-Authorization") if method == "ACK" => {
                let _ = write!(out, "{line}\r\n");
            }
            _ => {}
        }
    }
    out.push_str(headers);
    finish(out, None)
}

/// RFC 3261 §21 and the later ones we use.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => "Failed",
    }
}

/// The 503 to a request that nobody has room for, made from its bytes alone; `None` if they are
/// no request, or one that is never answered.
pub(crate) fn overloaded(
    bytes: &[u8],
    flow: Flow,
    retry_after_s: u32,
) -> Option<(Flow, Arc<[u8]>)> {
    let request = crate::validate::read_datagram(bytes).ok()?.message;
    let to = request
        .header(Name::To)
        .and_then(crate::uri::NameAddr::parse)?;
    // Within a dialog no datagram is refused: what is dropped comes again. On a stream it does not.
    let comes_again = !flow.is_reliable() && to.tag().is_some();
    if !request.is_request() || request.method() == Method::Ack || comes_again {
        return None;
    }
    let headers = format!("Retry-After: {retry_after_s}\r\n");
    let tag = bytes
        .iter()
        .fold(0u64, |t, b| t.rotate_left(7) ^ u64::from(*b));
    let answer = Answer::new(503).tag(tag).headers(&headers);
    let to = reply_flow(&request, flow);
    Some((to, response_by(None, &request, &flow, &answer)))
}
