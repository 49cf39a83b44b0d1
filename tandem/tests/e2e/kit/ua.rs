//! A telephone whose every move the test decides: SIP over UDP, one thread, no surprises.
//!
//! It answers by itself only what every telephone answers by itself: OPTIONS, NOTIFY (kept for the
//! test to read), repeated requests and repeated 200s.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::SOON;
use super::node::Node;
use super::rtp::{EVENT_TYPE, Media};
use super::sip::{Algorithm, Challenge, Message, Sdp, parameter, uri};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A word no other message of this test run has.
fn unique() -> String {
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}x{count:x}", std::process::id())
}

/// A telephone.
pub struct Ua {
    /// Its user part.
    pub user: String,
    /// Its password, if it has one to show.
    pub password: String,
    /// Where it is.
    pub local: SocketAddr,
    /// The digest it uses.
    pub algorithm: Algorithm,
    /// The payload types it offers and accepts, in order.
    pub formats: Vec<u8>,
    /// The NOTIFYs that came.
    pub notifies: Vec<Message>,
    server: SocketAddr,
    socket: UdpSocket,
    inbox: VecDeque<Message>,
    answered: HashMap<String, String>,
    acked: HashMap<String, String>,
    transcript: Vec<String>,
    registration: (String, u32),
    challenge: Option<(Challenge, u32)>,
}

/// A call, from one end.
#[derive(Debug)]
pub struct Call {
    /// Its sound.
    pub media: Media,
    /// What the other side last described.
    pub theirs: Option<Sdp>,
    /// Call-ID.
    pub id: String,
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    invite: Option<Message>,
    request: Option<Request>,
    version: u64,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    uri: String,
    branch: String,
    head: String,
    cseq: u32,
    extra: String,
    body: String,
}

impl Ua {
    /// The telephone of a demo user, at an address of its own beside the node's.
    pub fn of(node: &Node, user: &str) -> Ua {
        Ua::at(node, user, node.setup.ip)
    }

    /// A gateway that the demo trusts: at 127.0.0.1, without a password.
    pub fn gateway(node: &Node, number: &str) -> Ua {
        let mut ua = Ua::at(node, number, Ipv4Addr::LOCALHOST);
        ua.password.clear();
        ua
    }

    /// A telephone at `ip`.
    pub fn at(node: &Node, user: &str, ip: Ipv4Addr) -> Ua {
        let socket = UdpSocket::bind((ip, 0)).expect("a free UDP port on loopback");
        Ua {
            user: user.into(),
            password: format!("demo-{user}"),
            local: socket.local_addr().unwrap(),
            algorithm: Algorithm::Md5,
            formats: vec![0, 8],
            notifies: Vec::new(),
            server: node.sip(),
            socket,
            inbox: VecDeque::new(),
            answered: HashMap::new(),
            acked: HashMap::new(),
            transcript: Vec::new(),
            registration: (format!("reg-{}", unique()), 0),
            challenge: None,
        }
    }

    // Registering.

    /// Registers for five minutes, which must succeed.
    pub fn register(&mut self) {
        let response = self.register_for(300);
        assert_eq!(response.status(), Some(200), "{}", self.text());
    }

    /// Registers for `expires_s`, answering a challenge; gives the final response.
    pub fn register_for(&mut self, expires_s: u32) -> Message {
        let contact = format!("<sip:{}@{}>", self.user, self.local);
        self.register_contact(&contact, Some(expires_s))
    }

    /// The same with a Contact of the test's choice.
    pub fn register_contact(&mut self, contact: &str, expires_s: Option<u32>) -> Message {
        self.registration.1 += 1;
        let host = self.server.ip();
        let mut extra = format!("Contact: {contact}\r\n");
        if let Some(expires_s) = expires_s {
            extra += &format!("Expires: {expires_s}\r\n");
        }
        let address = format!("<sip:{}@{host}>", self.user);
        let request = Request {
            method: "REGISTER".into(),
            uri: format!("sip:{host}"),
            branch: unique(),
            head: format!(
                "From: {address};tag={}\r\nTo: {address}\r\nCall-ID: {}\r\n",
                unique(),
                self.registration.0
            ),
            cseq: self.registration.1,
            extra,
            body: String::new(),
        };
        let (response, last) = self.ask(request);
        self.registration.1 = last.cseq;
        response
    }

    /// Subscribes to the lamp of `user`; gives the response.
    pub fn subscribe_lamp(&mut self, user: &str, expires_s: u32) -> Message {
        let host = self.server.ip();
        let request = Request {
            method: "SUBSCRIBE".into(),
            uri: format!("sip:{user}@{host}"),
            branch: unique(),
            head: format!(
                "From: <sip:{0}@{host}>;tag={1}\r\nTo: <sip:{user}@{host}>\r\nCall-ID: sub-{1}\r\n",
                self.user,
                unique()
            ),
            cseq: 1,
            extra: format!(
                "Contact: <sip:{}@{}>\r\nEvent: message-summary\r\nExpires: {expires_s}\r\n\
                 Accept: application/simple-message-summary\r\n",
                self.user, self.local
            ),
            body: String::new(),
        };
        self.ask(request).0
    }

    /// Waits until the last NOTIFY says this, as in `Voice-Message: 1/0 (0/0)`.
    pub fn wait_lamp(&mut self, line: &str) {
        let end = Instant::now() + SOON;
        loop {
            let last = self.notifies.last();
            if last.is_some_and(|n| n.body.to_lowercase().contains(&line.to_lowercase())) {
                return;
            }
            let had = last.map(|n| n.body.clone());
            assert!(Instant::now() < end, "the lamp is not '{line}' but {had:?}");
            if let Some(message) = self.receive(end) {
                self.inbox.push_back(message);
            }
        }
    }

    /// Asks what the node can do.
    pub fn options(&mut self) -> Message {
        let host = self.server.ip();
        let request = Request {
            method: "OPTIONS".into(),
            uri: format!("sip:{host}"),
            branch: unique(),
            head: format!(
                "From: <sip:{0}@{host}>;tag={1}\r\nTo: <sip:{host}>\r\nCall-ID: opt-{1}\r\n",
                self.user,
                unique()
            ),
            cseq: 1,
            extra: String::new(),
            body: String::new(),
        };
        self.ask(request).0
    }

    // Calling.

    /// Dials; the call is under way when this returns (nothing has been answered yet).
    pub fn dial(&mut self, number: &str) -> Call {
        let media = Media::at(ipv4(self.local));
        let offer = self.offer(&media, 1, "sendrecv");
        self.dial_with(number, media, Some(offer))
    }

    /// Dials without saying what it can: the other side shall offer.
    pub fn dial_late(&mut self, number: &str) -> Call {
        let media = Media::at(ipv4(self.local));
        self.dial_with(number, media, None)
    }

    fn dial_with(&mut self, number: &str, media: Media, offer: Option<Sdp>) -> Call {
        let host = self.server;
        let mut call = Call {
            media,
            theirs: None,
            id: format!("call-{}", unique()),
            local: format!("<sip:{}@{}>;tag={}", self.user, host.ip(), unique()),
            remote: format!("<sip:{number}@{}>", host.ip()),
            target: format!("sip:{number}@{host}"),
            cseq: 0,
            invite: None,
            request: None,
            version: 1,
        };
        let body = offer.map(|offer| offer.text()).unwrap_or_default();
        let request = self.in_call(&mut call, "INVITE", "", body);
        call.request = Some(request.clone());
        self.send_request(&request, self.server);
        call
    }

    fn offer(&self, media: &Media, version: u64, direction: &str) -> Sdp {
        let mut formats = self.formats.clone();
        formats.push(EVENT_TYPE);
        Sdp {
            at: media.local,
            formats,
            event_type: Some(EVENT_TYPE),
            direction: direction.into(),
            version,
        }
    }

    /// Waits for a provisional response with this status.
    pub fn wait_provisional(&mut self, call: &mut Call, status: u16) {
        loop {
            let response = self.wait_invite_response(call);
            match response.status() {
                Some(s) if s == status => return,
                Some(100..=199) => {}
                _ => panic!("{status} expected: {}", self.text()),
            }
        }
    }

    /// Waits for the end of dialling: 200 (the call then talks) or what refused it. Answers a
    /// challenge on the way.
    pub fn wait_final(&mut self, call: &mut Call) -> u16 {
        loop {
            let response = self.wait_invite_response(call);
            let status = response.status().expect("a response");
            match status {
                100..=199 => {}
                401 | 407 if !self.password.is_empty() && self.again(call, &response) => {}
                200..=299 => {
                    self.confirm(call, &response);
                    return status;
                }
                _ => {
                    self.ack_refusal(call, &response);
                    return status;
                }
            }
        }
    }

    /// Waits for the first word on a call under way, and shows the password if that is asked.
    pub fn answer_challenge(&mut self, call: &mut Call) {
        loop {
            let response = self.wait_invite_response(call);
            match response.status() {
                Some(401 | 407) if self.again(call, &response) => return,
                Some(100) => {}
                _ => {
                    // It was not a challenge: somebody else waits for it.
                    self.inbox.push_front(response);
                    return;
                }
            }
        }
    }

    /// Dials and must be answered.
    pub fn call(&mut self, number: &str) -> Call {
        let mut call = self.dial(number);
        let status = self.wait_final(&mut call);
        assert_eq!(status, 200, "{}", self.text());
        call
    }

    fn wait_invite_response(&mut self, call: &Call) -> Message {
        let request = call.request.clone().expect("a request under way");
        let limit = Duration::from_secs(40);
        let mut repeat_after = Duration::from_millis(500);
        let end = Instant::now() + limit;
        loop {
            let found = self.inbox.iter().position(|m| {
                m.status().is_some() && branch(m) == request.branch && m.method() == request.method
            });
            if let Some(at) = found {
                return self.inbox.remove(at).expect("just found");
            }
            assert!(Instant::now() < end, "no response: {}", self.text());
            let pause = (Instant::now() + repeat_after).min(end);
            match self.receive(pause) {
                Some(message) => self.inbox.push_back(message),
                // Repeating is harmless when it was heard: the node knows the branch.
                None => {
                    self.send_request(&request, self.server);
                    repeat_after *= 2;
                }
            }
        }
    }

    /// Repeats the INVITE with the answer to a challenge; false if it had one already.
    fn again(&mut self, call: &mut Call, response: &Message) -> bool {
        self.ack_refusal(call, response);
        let last = call.request.clone().expect("a request under way");
        if last.extra.contains("uthorization: ") {
            return false;
        }
        let challenge = Challenge::of(response, self.algorithm)
            .unwrap_or_else(|| panic!("no challenge for {:?}: {}", self.algorithm, self.text()));
        call.cseq += 1;
        let mut next = last;
        next.branch = unique();
        next.cseq = call.cseq;
        next.extra += &self.prove(&challenge, &next.method, &next.uri, 1);
        self.send_request(&next, self.server);
        call.request = Some(next);
        true
    }

    fn ack_refusal(&mut self, call: &Call, response: &Message) {
        let request = call.request.as_ref().expect("a request under way");
        let text = format!(
            "ACK {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} ACK\r\nContent-Length: 0\r\n\r\n",
            request.uri,
            self.local,
            request.branch,
            response.header("From"),
            response.header("To"),
            call.id,
            request.cseq
        );
        self.send(&text, self.server);
    }

    /// A 2xx came: the dialog stands, the sound flows, the ACK goes out.
    fn confirm(&mut self, call: &mut Call, response: &Message) {
        call.remote = response.header("To").to_string();
        call.target = uri(response.header("Contact"));
        let late = call.request.as_ref().is_some_and(|r| r.body.is_empty());
        self.learn(call, &response.body);
        let body = if late {
            call.version += 1;
            self.answer_to(call, "sendrecv").text()
        } else {
            String::new()
        };
        let (branch, cseq) = (unique(), call.request.as_ref().map_or(1, |r| r.cseq));
        let ack = self.render(&Request {
            method: "ACK".into(),
            uri: call.target.clone(),
            branch,
            head: call.head(),
            cseq,
            extra: String::new(),
            body,
        });
        self.acked
            .insert(format!("{} {cseq}", call.id), ack.clone());
        self.send(&ack, self.server);
    }

    /// Takes over what the other side described.
    fn learn(&mut self, call: &mut Call, body: &str) {
        if body.trim().is_empty() {
            return;
        }
        let sdp = Sdp::parse(body).unwrap_or_else(|| panic!("no SDP: {body}"));
        let agreed = sdp.formats.iter().find(|f| self.formats.contains(f));
        let agreed = *agreed.unwrap_or_else(|| panic!("no codec in common: {body}"));
        call.media.send_to(sdp.at, agreed);
        call.theirs = Some(sdp);
    }

    /// Our description, with the one codec that was agreed.
    fn answer_to(&self, call: &Call, direction: &str) -> Sdp {
        let theirs = call.theirs.as_ref().expect("an offer to answer");
        let mut answer = self.offer(&call.media, call.version, direction);
        answer
            .formats
            .retain(|f| theirs.formats.contains(f) && *f < 96);
        answer.formats.truncate(1);
        answer.event_type = theirs.event_type;
        answer.formats.extend(theirs.event_type);
        answer
    }

    /// Gives up an INVITE that has not been answered; must end in 487.
    pub fn cancel(&mut self, call: &mut Call) {
        let invite = call.request.clone().expect("a request under way");
        let cancel = Request {
            method: "CANCEL".into(),
            extra: String::new(),
            body: String::new(),
            ..invite.clone()
        };
        self.send_request(&cancel, self.server);
        call.request = Some(cancel);
        assert_eq!(self.wait_invite_response(call).status(), Some(200));
        call.request = Some(invite);
        assert_eq!(self.wait_final(call), 487, "{}", self.text());
    }

    // Being called.

    /// Waits to be called.
    pub fn wait_call(&mut self) -> Call {
        let invite = self.wait("an INVITE", |m| m.is("INVITE") && m.tag("To").is_empty());
        let media = Media::at(ipv4(self.local));
        let mut call = Call {
            media,
            theirs: Sdp::parse(&invite.body),
            id: invite.header("Call-ID").into(),
            local: format!("{};tag={}", invite.header("To"), unique()),
            remote: invite.header("From").into(),
            target: uri(invite.header("Contact")),
            cseq: 0,
            invite: None,
            request: None,
            version: 1,
        };
        call.invite = Some(invite);
        call
    }

    /// Whether somebody calls within `limit`.
    pub fn is_called_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while let Some(message) = self.receive(end) {
            self.inbox.push_back(message);
        }
        self.inbox.iter().any(|m| m.is("INVITE"))
    }

    /// Says that it rings.
    pub fn ring(&mut self, call: &Call) {
        self.answer_invite(call, 180, "Ringing", "");
    }

    /// Answers, and waits for the ACK.
    pub fn answer(&mut self, call: &mut Call) {
        let body = match call.invite.as_ref().map(|i| i.body.clone()) {
            Some(offer) if !offer.trim().is_empty() => {
                self.learn(call, &offer);
                self.answer_to(call, "sendrecv").text()
            }
            _ => self.offer(&call.media, 1, "sendrecv").text(),
        };
        self.answer_invite(call, 200, "OK", &body);
        let id = call.id.clone();
        let ack = self.wait("the ACK", |m| m.is("ACK") && m.header("Call-ID") == id);
        self.learn(call, &ack.body);
    }

    /// Refuses.
    pub fn refuse(&mut self, call: &Call, status: u16) {
        self.answer_invite(call, status, "No", "");
        let id = call.id.clone();
        self.wait("the ACK", |m| m.is("ACK") && m.header("Call-ID") == id);
    }

    fn answer_invite(&mut self, call: &Call, status: u16, words: &str, body: &str) {
        let invite = call.invite.clone().expect("an INVITE to answer");
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.local);
        self.respond(&invite, status, words, &call.local, &contact, body);
    }

    /// Waits for the CANCEL of an INVITE that came, and ends it as it should.
    pub fn wait_cancel(&mut self, call: &Call) {
        let id = call.id.clone();
        let cancel = self.wait("a CANCEL", |m| m.is("CANCEL") && m.header("Call-ID") == id);
        self.respond(&cancel, 200, "OK", &call.local, "", "");
        self.refuse(call, 487);
    }

    // In a call.

    /// Hangs up; must be answered 200.
    pub fn hang_up(&mut self, call: &mut Call) {
        let response = self.in_dialog(call, "BYE", "", String::new());
        assert_eq!(response.status(), Some(200), "{}", self.text());
    }

    /// Ends a call that the other side may be ending at the same moment.
    pub fn hang_up_or_be_hung_up(&mut self, call: &mut Call) {
        let id = call.id.clone();
        let response = self.in_dialog(call, "BYE", "", String::new());
        assert!(
            matches!(response.status(), Some(200 | 481)),
            "{}",
            self.text()
        );
        let theirs = |m: &Message| m.is("BYE") && m.header("Call-ID") == id;
        if let Some(at) = self.inbox.iter().position(theirs) {
            let bye = self.inbox.remove(at).expect("just found");
            self.respond(&bye, 200, "OK", bye.header("To"), "", "");
        }
    }

    /// Waits until the other side hangs up.
    pub fn wait_hang_up(&mut self, call: &Call) {
        self.wait_hang_up_within(call, Duration::from_secs(40));
    }

    /// The same with a limit.
    pub fn wait_hang_up_within(&mut self, call: &Call, limit: Duration) {
        let id = call.id.clone();
        let ours = |m: &Message| m.is("BYE") && m.header("Call-ID") == id;
        let bye = self.wait_within("a BYE", limit, ours);
        self.respond(&bye, 200, "OK", bye.header("To"), "", "");
    }

    /// Any request in the dialog; gives the final response.
    pub fn in_dialog(
        &mut self,
        call: &mut Call,
        method: &str,
        extra: &str,
        body: String,
    ) -> Message {
        let request = self.in_call(call, method, extra, body);
        let (response, last) = self.ask(request);
        call.cseq = last.cseq;
        response
    }

    /// Sends a key in signalling (SIP INFO).
    pub fn press_info(&mut self, call: &mut Call, key: char) {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        let extra = "Content-Type: application/dtmf-relay\r\n";
        let response = self.in_dialog(call, "INFO", extra, body);
        assert_eq!(response.status(), Some(200), "{}", self.text());
    }

    /// Describes itself anew (`sendonly` is hold, `sendrecv` is resume); gives the status.
    pub fn reinvite(&mut self, call: &mut Call, direction: &str) -> u16 {
        call.version += 1;
        let offer = self.offer(&call.media, call.version, direction);
        self.reinvite_with(call, offer.text())
    }

    /// A re-INVITE with this body (empty: the other side shall offer).
    pub fn reinvite_with(&mut self, call: &mut Call, body: String) -> u16 {
        let request = self.in_call(call, "INVITE", "", body);
        call.request = Some(request.clone());
        self.send_request(&request, self.server);
        self.wait_final(call)
    }

    /// Two re-INVITEs, the second before the first is answered; gives both statuses.
    pub fn reinvite_twice(&mut self, call: &mut Call) -> [u16; 2] {
        let requests = [0, 1].map(|_| {
            call.version += 1;
            let offer = self.offer(&call.media, call.version, "sendrecv");
            self.in_call(call, "INVITE", "", offer.text())
        });
        requests
            .iter()
            .for_each(|request| self.send_request(request, self.server));
        requests.map(|request| {
            call.request = Some(request);
            self.wait_final(call)
        })
    }

    fn in_call(&mut self, call: &mut Call, method: &str, extra: &str, body: String) -> Request {
        call.cseq += 1;
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.local);
        Request {
            method: method.into(),
            uri: call.target.clone(),
            branch: unique(),
            head: call.head(),
            cseq: call.cseq,
            extra: format!("{contact}{extra}"),
            body,
        }
    }

    // Messages.

    /// Sends a request and waits for its final response, answering one challenge (two, if the
    /// nonce was stale). Gives the request that got it.
    fn ask(&mut self, mut request: Request) -> (Message, Request) {
        let plain = request.extra.clone();
        if let Some((challenge, count)) = &mut self.challenge {
            *count += 1;
            let (challenge, count) = (challenge.clone(), *count);
            request.extra += &self.prove(&challenge, &request.method, &request.uri, count);
        }
        for _ in 0..3 {
            let response = self.ask_once(&request);
            let challenged = matches!(response.status(), Some(401 | 407));
            let challenge = Challenge::of(&response, self.algorithm);
            let (true, Some(challenge)) = (challenged, challenge) else {
                return (response, request);
            };
            let had = request.extra != plain;
            if self.password.is_empty() || had && !challenge.stale {
                self.challenge = None;
                return (response, request);
            }
            request.branch = unique();
            request.cseq += 1;
            request.extra = plain.clone();
            request.extra += &self.prove(&challenge, &request.method, &request.uri, 1);
            self.challenge = Some((challenge, 1));
        }
        panic!("challenged again and again: {}", self.text());
    }

    fn prove(&self, challenge: &Challenge, method: &str, uri: &str, count: u32) -> String {
        challenge.answer((&self.user, &self.password), method, uri, count)
    }

    fn ask_once(&mut self, request: &Request) -> Message {
        let end = Instant::now() + SOON;
        let mut repeat_after = Duration::from_millis(500);
        self.send_request(request, self.server);
        loop {
            let pause = (Instant::now() + repeat_after).min(end);
            match self.receive(pause) {
                Some(m) if branch(&m) == request.branch && m.status().is_some_and(|s| s >= 200) => {
                    return m;
                }
                Some(m) if branch(&m) == request.branch && m.status().is_some() => {}
                Some(other) => self.inbox.push_back(other),
                None => {
                    assert!(Instant::now() < end, "no response: {}", self.text());
                    self.send_request(request, self.server);
                    repeat_after *= 2;
                }
            }
        }
    }

    fn send_request(&mut self, request: &Request, to: SocketAddr) {
        let text = self.render(request);
        self.send(&text, to);
    }

    fn render(&self, request: &Request) -> String {
        let kind = match request.body.starts_with("v=0") {
            true => "Content-Type: application/sdp\r\n",
            false => "",
        };
        format!(
            "{0} {1} SIP/2.0\r\nVia: SIP/2.0/UDP {2};branch=z9hG4bK{3};rport\r\n\
             Max-Forwards: 70\r\n{4}CSeq: {5} {0}\r\n{6}User-Agent: tandem-tests\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, INFO\r\n\
             {kind}Content-Length: {7}\r\n\r\n{8}",
            request.method,
            request.uri,
            self.local,
            request.branch,
            request.head,
            request.cseq,
            request.extra,
            request.body.len(),
            request.body
        )
    }

    fn respond(
        &mut self,
        to: &Message,
        status: u16,
        words: &str,
        local: &str,
        extra: &str,
        body: &str,
    ) {
        let vias: String = to.all("Via").map(|via| format!("Via: {via}\r\n")).collect();
        let routes = to.all("Record-Route");
        let routes: String = routes.map(|r| format!("Record-Route: {r}\r\n")).collect();
        let kind = match body.is_empty() {
            true => "",
            false => "Content-Type: application/sdp\r\n",
        };
        let text = format!(
            "SIP/2.0 {status} {words}\r\n{vias}{routes}From: {}\r\nTo: {local}\r\nCall-ID: {}\r\n\
             CSeq: {}\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            to.header("From"),
            to.header("Call-ID"),
            to.header("CSeq"),
            body.len()
        );
        self.answered.insert(once(to), text.clone());
        self.send(&text, self.server);
    }

    /// Sends this text as it is.
    pub fn send(&mut self, text: &str, to: SocketAddr) {
        self.transcript.push(format!(">>> {text}"));
        self.socket
            .send_to(text.as_bytes(), to)
            .expect("loopback takes a datagram");
    }

    /// Waits for a message, at most [`SOON`].
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        self.wait_within(what, SOON, wanted)
    }

    fn wait_within(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        let end = Instant::now() + limit;
        loop {
            if let Some(at) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(at).expect("just found");
            }
            match self.receive(end) {
                Some(message) => self.inbox.push_back(message),
                None => panic!("waited {limit:?} in vain for {what}: {}", self.text()),
            }
        }
    }

    /// The next message that is not answered by itself, or none before `end`.
    pub fn receive(&mut self, end: Instant) -> Option<Message> {
        let mut bytes = [0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok((length, _)) = self.socket.recv_from(&mut bytes) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            self.transcript.push(format!("<<< {text}"));
            let Some(message) = Message::parse(&bytes[..length]) else {
                continue;
            };
            if !self.answered_by_itself(&message) {
                return Some(message);
            }
        }
    }

    fn answered_by_itself(&mut self, message: &Message) -> bool {
        if message.status().is_some() {
            let key = format!("{} {}", message.header("Call-ID"), message.cseq());
            let again = message.method() == "INVITE" && message.status() >= Some(200);
            let ack = self.acked.get(&key).filter(|_| again).cloned();
            if let Some(ack) = &ack {
                self.send(ack, self.server);
            }
            return ack.is_some();
        }
        if message.is("ACK") {
            return false;
        }
        if let Some(text) = self.answered.get(&once(message)).cloned() {
            self.send(&text, self.server);
            return true;
        }
        if message.is("NOTIFY") {
            self.notifies.push(message.clone());
        }
        if message.is("NOTIFY") || message.is("OPTIONS") {
            self.respond(message, 200, "OK", message.header("To"), "", "");
            return true;
        }
        false
    }

    /// Everything said so far, for a failing test.
    pub fn text(&self) -> String {
        let from = self.transcript.len().saturating_sub(30);
        format!(
            "\n--- {} ---\n{}",
            self.user,
            self.transcript[from..].join("\n")
        )
    }
}

impl Call {
    fn head(&self) -> String {
        let (local, remote, id) = (&self.local, &self.remote, &self.id);
        format!("From: {local}\r\nTo: {remote}\r\nCall-ID: {id}\r\n")
    }
}

/// What makes a request the same when it is repeated.
fn once(request: &Message) -> String {
    format!("{} {}", branch(request), request.header("CSeq"))
}

fn branch(message: &Message) -> String {
    let branch = parameter(message.header("Via"), "branch").unwrap_or_default();
    branch.trim_start_matches("z9hG4bK").to_string()
}

fn ipv4(at: SocketAddr) -> Ipv4Addr {
    match at.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => unreachable!("telephones of the tests are at IPv4 addresses"),
    }
}
