//! A dialog: what two ends must remember of each other to go on talking (RFC 3261 §12).
//!
//! Plain data on purpose: written down, copied to another node and read back, it is the same
//! dialog there. It is made from the request that we accept or from the response that accepts
//! ours, and writes every later request.

use std::net::SocketAddr;

use tandem_engine::seam::Learning;

use crate::message::{Message, Method, Name};
use crate::message_builder::Request;
use crate::registrar::behind_nat;
use crate::uri::{NameAddr, Scheme, Uri, param, split_list};
use crate::wire::{Flow, Transport};

/// The most hops in a route set we follow.
const ROUTES_MAX: usize = 16;

/// One dialog, seen from our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our tag; written as 16 hex digits.
    pub local_tag: u64,
    /// Theirs; empty for elements of RFC 2543.
    pub remote_tag: Box<str>,
    /// Our From, with the tag.
    pub local: Box<str>,
    /// Our To, with their tag.
    pub remote: Box<str>,
    /// Their Contact: the URI of our requests.
    pub remote_target: Box<str>,
    /// The proxies in between, nearest first, each a name-addr.
    pub routes: Vec<String>,
    /// The number of our last request.
    pub local_cseq: u32,
    /// The number of their last request.
    pub remote_cseq: Option<u32>,
    /// Where our requests go.
    pub flow: Flow,
    /// Where theirs were last heard from.
    pub source: SocketAddr,
    /// Their addresses are not to be believed: requests go where theirs come from.
    pub behind_nat: bool,
}

impl Dialog {
    /// By a request that we accept; `None` if it lacks a Contact we could ever reach.
    pub fn from_request(request: &Message, flow: Flow, local_tag: u64) -> Option<Dialog> {
        let from = request.header(Name::From)?;
        let to = request.header(Name::To)?;
        let routes: Vec<String> = list(request, Name::RecordRoute).collect();
        let mut dialog = Dialog {
            call_id: request.header(Name::CallId)?.into(),
            local_tag,
            remote_tag: NameAddr::parse(from)?.tag().unwrap_or_default().into(),
            local: format!("{to};tag={local_tag:016x}").into(),
            remote: from.into(),
            remote_target: contact_uri(request)?.into(),
            routes,
            local_cseq: 0,
            remote_cseq: request.cseq().map(|(n, _, _)| n),
            flow,
            source: flow.peer,
            behind_nat: behind_nat(request, &flow),
        };
        dialog.aim(flow);
        (dialog.routes.len() <= ROUTES_MAX).then_some(dialog)
    }

    /// By the response that accepts a request of ours, of which `request` is the text.
    pub fn from_response(
        request: &Message,
        response: &Message,
        flow: Flow,
        behind_nat: bool,
    ) -> Option<Dialog> {
        let local = request.header(Name::From)?;
        let remote = response.header(Name::To)?;
        let tag = NameAddr::parse(local)?.tag()?;
        let mut routes: Vec<String> = list(response, Name::RecordRoute).collect();
        routes.reverse();
        let mut dialog = Dialog {
            call_id: request.header(Name::CallId)?.into(),
            local_tag: u64::from_str_radix(tag, 16).ok()?,
            remote_tag: NameAddr::parse(remote)?.tag().unwrap_or_default().into(),
            local: local.into(),
            remote: remote.into(),
            remote_target: contact_uri(response).unwrap_or(request.uri()).into(),
            routes,
            local_cseq: request.cseq()?.0,
            remote_cseq: None,
            flow,
            source: flow.peer,
            behind_nat,
        };
        dialog.aim(flow);
        (dialog.routes.len() <= ROUTES_MAX).then_some(dialog)
    }

    /// Does a request within some dialog belong to this one?
    pub fn owns(&self, request: &Message) -> bool {
        let tag = request
            .header(Name::From)
            .and_then(NameAddr::parse)
            .and_then(|a| a.tag());
        request.header(Name::CallId) == Some(&self.call_id)
            && tag.unwrap_or_default() == &*self.remote_tag
    }

    /// Takes the number of their next request. `false`: it is out of order (§12.2.2).
    pub fn take_cseq(&mut self, number: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| number > last);
        if in_order {
            self.remote_cseq = Some(number);
        }
        in_order
    }

    /// A request or response that may move the other end (§12.2): where it now is.
    pub fn follow(&mut self, message: &Message, flow: Flow) {
        if let Some(uri) = contact_uri(message) {
            self.remote_target = uri.into();
        }
        self.source = flow.peer;
        self.aim(flow);
    }

    /// From where else than its description says the other end's media may come.
    pub fn learning(&self) -> Learning {
        Learning::from_host(self.source.ip(), self.behind_nat)
    }

    /// Decides where requests go, given the way by which the other end was last heard: the first
    /// route or its Contact if that is an address to be believed, else back the same way.
    fn aim(&mut self, heard: Flow) {
        let route = self
            .routes
            .first()
            .and_then(|r| NameAddr::parse(r))
            .map(|a| a.uri);
        let believed = !heard.is_reliable() && (route.is_some() || !self.behind_nat);
        let uri = Uri::parse(route.unwrap_or(&self.remote_target)).filter(|_| believed);
        let named = uri.and_then(|u| Some((u.socket_addr()?, u.transport())));
        self.flow = match named {
            Some((peer, transport)) if peer != heard.peer || transport == Some(Transport::Tcp) => {
                let transport = transport.unwrap_or(heard.transport);
                Flow {
                    transport,
                    peer,
                    connection: 0,
                }
            }
            _ => heard,
        };
    }

    /// The number of our next request.
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// A request within the dialog; `cseq` is that of the INVITE for an ACK, else the next one.
    pub(crate) fn request<'a>(
        &'a self,
        method: Method,
        cseq: u32,
        branch: u64,
        route: &'a RouteSet,
    ) -> Request<'a> {
        Request {
            method,
            uri: &route.uri,
            branch,
            from: &self.local,
            to: &self.remote,
            call_id: &self.call_id,
            cseq,
            routes: &route.routes,
            headers: "",
            body: None,
        }
    }

    /// Request-URI and Route headers (§12.2.1.1): a first hop that knows no loose routing wants
    /// to be addressed itself, with the target behind the other hops.
    pub(crate) fn route(&self) -> RouteSet {
        let first = self.routes.first().and_then(|r| NameAddr::parse(r));
        match first {
            Some(hop) if Uri::parse(hop.uri).is_some_and(|u| param(u.params, "lr").is_none()) => {
                let mut routes = self.routes[1..].to_vec();
                routes.push(format!("<{}>", self.remote_target));
                RouteSet {
                    uri: hop.uri.into(),
                    routes,
                }
            }
            _ => RouteSet {
                uri: self.remote_target.clone(),
                routes: self.routes.clone(),
            },
        }
    }
}

/// Where a request within a dialog is addressed to.
pub(crate) struct RouteSet {
    uri: Box<str>,
    routes: Vec<String>,
}

fn list(message: &Message, name: Name) -> impl Iterator<Item = String> {
    message
        .headers(name)
        .flat_map(split_list)
        .map(str::to_owned)
}

/// Where the sender of an INVITE is reached: a SIP or SIPS URI (RFC 3261 §8.1.1.8), for it becomes
/// the Request-URI of what we send next.
fn contact_uri(message: &Message) -> Option<&str> {
    let contact = message.headers(Name::Contact).flat_map(split_list).next()?;
    let address = NameAddr::parse(contact)?;
    let uri = Uri::parse(address.uri)?;
    matches!(uri.scheme, Scheme::Sip | Scheme::Sips).then_some(address.uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ShimConfig;
    use crate::context::ShimContext;

    const INVITE: &str = "INVITE sip:102@10.0.0.9 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.50;branch=z9hG4bK1\r\nRecord-Route: <sip:10.0.0.50;lr>\r\n\
        From: \"A\" <sip:101@x>;tag=a1\r\nTo: <sip:102@x>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:101@192.168.1.7>\r\n\r\n";

    #[test]
    fn a_contact_that_is_no_sip_uri_is_none() {
        for (contact, is_one) in [
            ("<sip:101@192.168.1.7>", true),
            ("<sips:101@192.168.1.7>", true),
            ("<si192.168.1.7:5060>", false),
            ("<tel:+4930123>", false),
            ("<http://192.168.1.7/>", false),
        ] {
            let invite = INVITE.replace("<sip:101@192.168.1.7>", contact);
            let (request, _) = Message::parse(invite.as_bytes()).unwrap();
            let flow = Flow::udp("10.0.0.50:5060".parse().unwrap());
            let dialog = Dialog::from_request(&request, flow, 1);
            assert_eq!(dialog.is_some(), is_one, "{contact}");
        }
    }

    /// What a node that takes over a call would do: nothing but the data crosses over.
    #[test]
    fn a_dialog_goes_on_from_its_data() {
        let (request, _) = Message::parse(INVITE.as_bytes()).unwrap();
        let flow = Flow::udp("10.0.0.50:5060".parse().unwrap());
        let made = Dialog::from_request(&request, flow, 0xab).unwrap();
        let mut taken = Dialog {
            call_id: "c1".into(),
            local_tag: 0xab,
            remote_tag: "a1".into(),
            local: "<sip:102@x>;tag=00000000000000ab".into(),
            remote: "\"A\" <sip:101@x>;tag=a1".into(),
            remote_target: "sip:101@192.168.1.7".into(),
            routes: vec!["<sip:10.0.0.50;lr>".to_owned()],
            local_cseq: 0,
            remote_cseq: Some(7),
            flow,
            source: flow.peer,
            behind_nat: false,
        };
        assert_eq!(made, taken);
        let cx = ShimContext::new(ShimConfig::default(), [1; 32]);
        let cseq = taken.next_cseq();
        let route = taken.route();
        let bye = taken
            .request(Method::Bye, cseq, 5, &route)
            .write(&cx, &taken.flow);
        assert_eq!(
            String::from_utf8_lossy(&bye),
            format!(
                "BYE sip:101@192.168.1.7 SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK0000000000000005;rport\r\n\
                 Max-Forwards: 70\r\nRoute: <sip:10.0.0.50;lr>\r\n\
                 From: <sip:102@x>;tag=00000000000000ab\r\nTo: \"A\" <sip:101@x>;tag=a1\r\n\
                 Call-ID: c1\r\nCSeq: 1 BYE\r\nUser-Agent: {}\r\nContent-Length: 0\r\n\r\n",
                cx.config.user_agent
            )
        );
        assert!(!taken.take_cseq(7) && taken.take_cseq(8));
    }
}
