//! Being called.

use super::*;

impl Ua {
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

    pub(super) fn answer_invite(&mut self, call: &Call, status: u16, words: &str, body: &str) {
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
}
