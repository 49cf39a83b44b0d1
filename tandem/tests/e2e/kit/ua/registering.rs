//! Registering, the lamp, and asking what the node can do.

use super::*;

impl Ua {
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
        let kind = "application/simple-message-summary";
        self.subscribe(user, "message-summary", kind, expires_s)
    }

    /// Subscribes to the calls of `user` (RFC 4235); gives the response.
    pub fn watch(&mut self, user: &str) -> Message {
        self.subscribe(user, "dialog", "application/dialog-info+xml", 600)
    }

    fn subscribe(&mut self, user: &str, event: &str, kind: &str, expires_s: u32) -> Message {
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
                "Contact: <sip:{}@{}>\r\nEvent: {event}\r\nExpires: {expires_s}\r\n\
                 Accept: {kind}\r\n",
                self.user, self.local
            ),
            body: String::new(),
        };
        self.ask(request).0
    }

    /// Waits until the last NOTIFY has this in it, or lacks it.
    pub fn wait_told(&mut self, words: &str, is_there: bool) {
        let end = Instant::now() + SOON;
        loop {
            let last = self.notifies.last();
            if last.is_some_and(|n| n.body.contains(words) == is_there) {
                return;
            }
            let had = last.map(|n| n.body.clone());
            assert!(
                Instant::now() < end,
                "{words}: {is_there} is not what {had:?} says"
            );
            let pause = Instant::now() + Duration::from_millis(20);
            if let Some(message) = self.receive(pause) {
                self.inbox.push_back(message);
            }
        }
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
            // A NOTIFY is answered by itself: look again soon.
            let pause = Instant::now() + Duration::from_millis(20);
            if let Some(message) = self.receive(pause) {
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
}
