//! Dialling, up to the answer or the refusal.

use super::*;

impl Ua {
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

    /// Dials in order to take over a call of the same user's.
    pub fn dial_over(&mut self, number: &str, replaces: &str) -> Call {
        let media = Media::at(ipv4(self.local));
        let offer = self.offer(&media, 1, "sendrecv");
        let extra = format!("Replaces: {replaces}\r\n");
        self.dial_saying(number, media, Some(offer), &extra)
    }

    /// Dials and does not want to be known (RFC 3323).
    pub fn dial_withheld(&mut self, number: &str) -> Call {
        let media = Media::at(ipv4(self.local));
        let offer = self.offer(&media, 1, "sendrecv");
        self.dial_saying(number, media, Some(offer), "Privacy: id\r\n")
    }

    pub(super) fn dial_with(&mut self, number: &str, media: Media, offer: Option<Sdp>) -> Call {
        self.dial_saying(number, media, offer, "")
    }

    fn dial_saying(&mut self, number: &str, media: Media, offer: Option<Sdp>, extra: &str) -> Call {
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
        let request = self.in_call(&mut call, "INVITE", extra, body);
        call.request = Some(request.clone());
        self.send_request(&request, self.server);
        call
    }

    pub(super) fn offer(&self, media: &Media, version: u64, direction: &str) -> Sdp {
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

    pub(super) fn wait_invite_response(&mut self, call: &Call) -> Message {
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
    pub(super) fn again(&mut self, call: &mut Call, response: &Message) -> bool {
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

    pub(super) fn ack_refusal(&mut self, call: &Call, response: &Message) {
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
    pub(super) fn confirm(&mut self, call: &mut Call, response: &Message) {
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
    pub(super) fn learn(&mut self, call: &mut Call, body: &str) {
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
    pub(super) fn answer_to(&self, call: &Call, direction: &str) -> Sdp {
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
}
