//! What a phone asks for by itself: to be reached, and to see its lamp.
//!
//! Sources: RFC 3261 §10, RFC 6665 (subscribing), RFC 3842 (what a notification says).

use std::time::Duration;

use tandem_storage::time::Time;

use super::super::sip::Message;
use super::{Draft, EXPIRES_S, Phone, Purpose, Subscription};

impl Phone {
    pub(super) fn register(&mut self, now: Time, expires_s: u64) {
        if self.register_id.is_empty() {
            self.register_id = self.name("reg");
        }
        let aor = format!("<sip:{}@tandem>", self.who.extension);
        let tag = self.name("rt");
        let draft = Draft {
            method: "REGISTER",
            uri: "sip:tandem".into(),
            from: format!("{aor};tag={tag}"),
            to: aor,
            call_id: self.register_id.clone(),
            cseq: self.next_serial(),
            extra: vec![format!("Expires: {expires_s}")],
            body: String::new(),
        };
        self.send(now, Purpose::Register, draft);
    }

    pub(super) fn subscribe(&mut self, now: Time) {
        if self.subscription.call_id.is_empty() {
            self.subscription.call_id = self.name("sub");
        }
        let aor = format!("<sip:{}@tandem>", self.who.extension);
        let uri = self.subscription.contact.clone();
        let tag = self
            .subscription
            .tag
            .as_ref()
            .map_or(String::new(), |t| format!(";tag={t}"));
        let draft = Draft {
            method: "SUBSCRIBE",
            uri: uri.unwrap_or_else(|| format!("sip:{}@tandem", self.who.extension)),
            from: format!("{aor};tag=w{}", self.subscription.call_id),
            to: format!("{aor}{tag}"),
            call_id: self.subscription.call_id.clone(),
            cseq: self.next_serial(),
            extra: vec![
                "Event: message-summary".into(),
                "Accept: application/simple-message-summary".into(),
                format!("Expires: {EXPIRES_S}"),
            ],
            body: String::new(),
        };
        self.send(now, Purpose::Subscribe, draft);
    }

    pub(super) fn on_registered(&mut self, now: Time, status: u16, draft: &Draft) {
        let leaving = draft.extra.iter().any(|line| line == "Expires: 0");
        if status != 200 || leaving {
            self.registered_at = self.registered_at.filter(|_| status == 200 && !leaving);
            if !leaving {
                self.register_later(now);
            }
            return;
        }
        self.counts.registered += 1;
        self.registered_at = Some(now);
        self.register_at = Some(now + Duration::from_secs(EXPIRES_S / 2));
        let has_subscription = self.subscribe_at.is_some()
            || self.pending.iter().any(|p| p.purpose == Purpose::Subscribe);
        if self.watches && !has_subscription {
            self.subscribe_at = Some(now + Duration::from_millis(100));
        }
    }

    pub(super) fn register_later(&mut self, now: Time) {
        self.registered_at = None;
        self.register_at = Some(now + Duration::from_secs(7));
    }

    pub(super) fn on_subscribed(&mut self, now: Time, status: u16, message: &Message) {
        if status != 200 && status != 202 {
            return self.subscribe_anew(now);
        }
        self.subscription.tag = message.tag("To").map(str::to_owned);
        self.subscription.contact = message.contact().map(str::to_owned);
        self.subscribe_at = Some(now + Duration::from_secs(EXPIRES_S / 2));
    }

    pub(super) fn subscribe_anew(&mut self, now: Time) {
        self.subscription = Subscription::default();
        self.subscribe_at = Some(now + Duration::from_secs(5));
    }

    pub(super) fn on_notify(&mut self, message: &Message) {
        let (id, cseq) = (message.must("Call-ID").to_owned(), message.cseq().0);
        let ours = self.subscription.call_id == id;
        if message.tag("To").is_some() && !ours && self.watches {
            return self.answer(message, 481, "", "");
        }
        let last = self.notified.iter_mut().find(|(i, _)| *i == id);
        match last {
            Some((_, last)) if *last >= cseq => return self.answer(message, 500, "", ""),
            Some((_, last)) => *last = cseq,
            None => self.notified.push((id, cseq)),
        }
        self.counts.notified += 1;
        if !message.body.is_empty() {
            self.lamp = Some(lamp(&message.body));
        }
        self.answer(message, 200, "n", "");
        let ended = message
            .get("Subscription-State")
            .is_some_and(|s| s.starts_with("terminated"));
        if ours && ended {
            self.subscription = Subscription::default();
        }
    }
}

/// RFC 3842 §5.2.
fn lamp(body: &str) -> [u32; 4] {
    let line = |name: &str| {
        body.lines()
            .find_map(|l| l.strip_prefix(name))
            .map(str::trim)
    };
    let counts = line("Voice-Message:").expect("a count of voice messages");
    let numbers: Vec<u32> = counts
        .split(['/', '(', ')', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().expect("a number"))
        .collect();
    let at = |n: usize| numbers.get(n).copied().unwrap_or(0);
    let waiting = line("Messages-Waiting:").expect("yes or no");
    assert_eq!(waiting == "yes", at(0) > 0, "{body}");
    [at(0), at(1), at(2), at(3)]
}
