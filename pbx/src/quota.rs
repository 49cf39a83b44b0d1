//! How much a mailbox may hold, and the word of warning before it is full.
//!
//! A mailbox has room for so many messages and so many minutes; deleted ones do not count. Who has
//! used four fifths of either is warned at login, and once by mail: an entry of the topic `mail`, for
//! whoever sends mail. Once there is room again the next time counts anew.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `mailbox/ID/quota_minutes` | number: so many minutes, instead of what the configuration says |
//! | `mailbox/ID/messages_max` | number: so many messages, likewise |
//! | `mailbox/ID/nearly_full` | `true`: a mail was asked for; removed when there is room again |
//!
//! A message that was begun is taken to its end, so a mailbox can hold one more than its quota. The node
//! that said what filled a mailbox asks for the mail, so that there is one however many nodes there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tandem_storage::name::{Id, NodeName};

use crate::state::{PbxState, SAMPLES_PER_MS, Waiter, samples};

/// What messages take up, or may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) messages: u64,
    pub(crate) samples: u64,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Plenty,
    /// The owner should make some.
    Little,
    None,
}

/// Mailboxes for which a mail was asked for. At most as many as there are.
#[derive(Debug, Default)]
pub(crate) struct Warned(BTreeSet<Id>);

/// With so much of its quota used, in percent, a mailbox is nearly full.
const NEARLY_PERCENT: u64 = 80;
const SAMPLES_PER_MINUTE: u64 = 60_000 * SAMPLES_PER_MS;

/// The register that says how many minutes a mailbox holds.
pub fn quota_minutes_key(mailbox: Id) -> String {
    format!("mailbox/{mailbox}/quota_minutes")
}

/// The register that says how many messages a mailbox holds.
pub fn messages_max_key(mailbox: Id) -> String {
    format!("mailbox/{mailbox}/messages_max")
}

fn nearly_full_key(mailbox: Id) -> Arc<str> {
    format!("mailbox/{mailbox}/nearly_full").into()
}

impl Amount {
    pub(crate) fn add(&mut self, samples: u64) {
        self.messages += 1;
        self.samples = self.samples.saturating_add(samples);
    }

    pub(crate) fn remove(&mut self, samples: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.samples = self.samples.saturating_sub(samples);
    }

    /// How much of `quota` this is, of that of which it is more.
    fn percent_of(self, quota: Amount) -> u64 {
        let percent = |used: u64, of: u64| used.saturating_mul(100) / of.max(1);
        let of_messages = percent(self.messages, quota.messages);
        of_messages.max(percent(self.samples, quota.samples))
    }
}

impl Warned {
    /// Takes in a register.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&str>) {
        let Some(mailbox) = mailbox_of(key, "/nearly_full") else {
            return;
        };
        match value {
            Some("true") => self.0.insert(mailbox),
            _ => self.0.remove(&mailbox),
        };
    }
}

/// Whose quota a register sets.
pub(crate) fn set_by(key: &str) -> Option<Id> {
    mailbox_of(key, "/quota_minutes").or_else(|| mailbox_of(key, "/messages_max"))
}

fn mailbox_of(key: &str, what: &str) -> Option<Id> {
    let id = key.strip_prefix("mailbox/")?.strip_suffix(what)?;
    id.parse().ok()
}

/// What a mailbox may hold.
fn quota(x: &PbxState, mailbox: Id) -> Amount {
    let set = |key: String| x.view.register(&key)?.parse::<u64>().ok();
    let minutes = set(quota_minutes_key(mailbox)).map(|m| m.saturating_mul(SAMPLES_PER_MINUTE));
    Amount {
        messages: set(messages_max_key(mailbox)).unwrap_or(x.config.messages_max as u64),
        samples: minutes.unwrap_or_else(|| samples(x.config.quota)),
    }
}

/// How much room a mailbox has.
pub(crate) fn room(x: &PbxState, mailbox: Id) -> Room {
    match x.mailboxes.used(mailbox).percent_of(quota(x, mailbox)) {
        100.. => Room::None,
        NEARLY_PERCENT.. => Room::Little,
        _ => Room::Plenty,
    }
}

/// Something that `node` said has changed what a mailbox holds, or may.
pub(crate) fn changed(x: &mut PbxState, node: NodeName, mailbox: Id) {
    if node != x.node() {
        return;
    }
    let is_plenty = room(x, mailbox) == Room::Plenty;
    if is_plenty && x.warned.0.remove(&mailbox) {
        x.register::<bool>(Waiter::Nobody, nearly_full_key(mailbox), None);
    }
    if !is_plenty && x.warned.0.insert(mailbox) {
        x.counters.quota_warnings += 1;
        let mut body = standing(x, mailbox);
        body["what"] = json!("mailbox nearly full");
        body["mailbox"] = json!(mailbox);
        body["at"] = json!(x.now.wall);
        x.entry("mail", &body);
        x.register(Waiter::Nobody, nearly_full_key(mailbox), Some(&true));
    }
}

/// What a mailbox holds, and may.
pub(crate) fn standing(x: &PbxState, mailbox: Id) -> Value {
    let (used, quota) = (x.mailboxes.used(mailbox), quota(x, mailbox));
    json!({
        "messages": used.messages,
        "messages_max": quota.messages,
        "minutes": used.samples.div_ceil(SAMPLES_PER_MINUTE),
        "quota_minutes": quota.samples / SAMPLES_PER_MINUTE,
        "percent": used.percent_of(quota),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcer_of_the_two_counts() {
        let amount = |messages, samples| Amount { messages, samples };
        let quota = amount(10, 1000);
        assert_eq!(amount(0, 0).percent_of(quota), 0);
        assert_eq!(amount(8, 10).percent_of(quota), 80);
        assert_eq!(amount(1, 999).percent_of(quota), 99);
        assert_eq!(amount(30, 0).percent_of(quota), 300);
        assert_eq!(amount(1, 0).percent_of(amount(0, 0)), 100);
        assert_eq!(amount(1, u64::MAX).percent_of(amount(1, 1)), u64::MAX);
    }
}
