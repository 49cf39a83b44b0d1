//! In a call: hanging up, keys, describing anew.

use super::*;

impl Ua {
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

    /// Asks for the other party to be connected with `to` (a URI, in angle brackets); must be accepted.
    pub fn refer(&mut self, call: &mut Call, to: &str) {
        self.notifies.clear();
        let extra = format!("Refer-To: {to}\r\n");
        let response = self.in_dialog(call, "REFER", &extra, String::new());
        assert_eq!(response.status(), Some(202), "{}", self.text());
    }

    /// Waits until a NOTIFY says how the transfer went, as in `200`.
    pub fn wait_referred(&mut self, status: u16) {
        let line = format!("SIP/2.0 {status} ");
        let end = Instant::now() + SOON;
        while !self.notifies.iter().any(|n| n.body.contains(&line)) {
            assert!(Instant::now() < end, "no {line}: {}", self.text());
            let pause = Instant::now() + Duration::from_millis(20);
            if let Some(message) = self.receive(pause) {
                self.inbox.push_back(message);
            }
        }
        let last = self.notifies.last().expect("just seen");
        let state = last.header("Subscription-State");
        assert!(state.starts_with("terminated"), "{state}");
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

    pub(super) fn in_call(
        &mut self,
        call: &mut Call,
        method: &str,
        extra: &str,
        body: String,
    ) -> Request {
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
}
