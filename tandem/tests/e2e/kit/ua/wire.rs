//! Messages out and in: repeating, proving, waiting.

use super::*;

impl Ua {
    /// Sends a request and waits for its final response, answering one challenge (two, if the
    /// nonce was stale). Gives the request that got it.
    pub(super) fn ask(&mut self, mut request: Request) -> (Message, Request) {
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

    pub(super) fn prove(
        &self,
        challenge: &Challenge,
        method: &str,
        uri: &str,
        count: u32,
    ) -> String {
        challenge.answer((&self.user, &self.password), method, uri, count)
    }

    pub(super) fn ask_once(&mut self, request: &Request) -> Message {
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

    pub(super) fn send_request(&mut self, request: &Request, to: SocketAddr) {
        let text = self.render(request);
        self.send(&text, to);
    }

    pub(super) fn render(&self, request: &Request) -> String {
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

    pub(super) fn respond(
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

    pub(super) fn wait_within(
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

    pub(super) fn answered_by_itself(&mut self, message: &Message) -> bool {
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
