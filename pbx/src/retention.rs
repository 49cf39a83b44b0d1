//! What is deleted stays for a while, so that it can be had back; then it is destroyed.
//!
//! Whoever runs the pbx hands in [`Input::Sweep`](crate::seam::Input) from time to time. A message that
//! was deleted longer ago than the window is taken back by a seal: that is final on every node, and
//! the log frees its space. A mailbox can keep heard messages for some days only; they are deleted
//! then, and have the same window. On legal hold nothing of a mailbox is deleted or destroyed by time.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `mailbox/ID/hold` | `true`: legal hold |
//! | `mailbox/ID/keep_heard_days` | number, fractions count: heard messages are deleted after so many days |
//!
//! A message is destroyed by the node that took it; should that be away, by any other a week later.
//! When a message was deleted or heard is what the clock of its register says.
//!
//! Bounds: [`SWEPT_MAX`] messages a sweep; the rest has time until the next. A sweep looks only at what is
//! deleted, and into mailboxes that keep what was heard for some time: it is cheap beside a million
//! messages.

use std::time::Duration;

use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;
use tandem_storage::time::WallTime;

use crate::mailbox::{Message, deleted_key, heard_key};
use crate::state::{PbxState, Waiter};

/// Messages that one sweep deletes or destroys.
pub(crate) const SWEPT_MAX: usize = 200;
/// Another node's messages are destroyed so much later, should it not have done so itself.
pub(crate) const AWAY_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest time, in days, that can be set anywhere.
pub const DAYS_MAX: f64 = 36_500.0;

/// So many days; what is no number of days is as long as can be.
pub fn days(days: f64) -> Duration {
    let seconds = days.min(DAYS_MAX) * 24.0 * 3600.0;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The register that puts a mailbox on legal hold.
pub fn hold_key(mailbox: Id) -> String {
    format!("mailbox/{mailbox}/hold")
}

/// The register that says how long a mailbox keeps what was heard.
pub fn keep_heard_key(mailbox: Id) -> String {
    format!("mailbox/{mailbox}/keep_heard_days")
}

/// What is due.
enum Due {
    Delete(Id),
    Destroy(Id),
}

/// Deletes and destroys what is due.
pub(crate) fn sweep(x: &mut PbxState) {
    for due in all_due(x) {
        match due {
            Due::Delete(id) => {
                x.register(Waiter::Nobody, deleted_key(id), Some(&true));
            }
            Due::Destroy(id) => {
                x.counters.messages_destroyed += 1;
                x.seal(Waiter::Nobody, id, SealKind::Discarded, "");
            }
        }
    }
}

pub(crate) fn is_held(x: &PbxState, mailbox: Id) -> bool {
    x.view.register(&hold_key(mailbox)) == Some("true")
}

fn all_due(x: &PbxState) -> Vec<Due> {
    let deleted = x.mailboxes.deleted();
    let deleted = deleted.filter_map(|message| to_destroy(x, message));
    let heard = keeping_heard(x).flat_map(|(mailbox, keep_for)| {
        let messages = x.mailboxes.of(mailbox);
        messages.filter_map(move |message| to_delete(x, message, keep_for))
    });
    deleted.chain(heard).take(SWEPT_MAX).collect()
}

/// The mailboxes that keep what was heard for some time, and for how long.
fn keeping_heard(x: &PbxState) -> impl Iterator<Item = (Id, Duration)> {
    let registers = x.view.registers("mailbox/");
    registers.filter_map(|(key, value)| {
        let id = key.strip_prefix("mailbox/")?;
        let mailbox = id.strip_suffix("/keep_heard_days")?.parse().ok()?;
        Some((mailbox, days(value.parse().ok()?)))
    })
}

fn to_destroy(x: &PbxState, message: &Message) -> Option<Due> {
    let grace = if message.id.node == x.node() {
        Duration::ZERO
    } else {
        AWAY_GRACE
    };
    let deleted_at = x.view.register_set_at(&deleted_key(message.id))?;
    let is_over = is_over(x, deleted_at, x.config.undelete_for.saturating_add(grace));
    (is_over && !is_held(x, message.mailbox)).then_some(Due::Destroy(message.id))
}

fn to_delete(x: &PbxState, message: &Message, keep_for: Duration) -> Option<Due> {
    if !message.heard || message.deleted {
        return None;
    }
    let heard_at = x.view.register_set_at(&heard_key(message.id))?;
    let is_over = is_over(x, heard_at, keep_for);
    (is_over && !is_held(x, message.mailbox)).then_some(Due::Delete(message.id))
}

pub(crate) fn is_over(x: &PbxState, since: WallTime, wait: Duration) -> bool {
    since + wait <= x.now.wall
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PbxConfig;
    use crate::mailbox::{About, From};
    use crate::office::json;
    use crate::seam::Output;
    use tandem_storage::View;
    use tandem_storage::name::Ids;
    use tandem_storage::seam::{Append, Committed, Hlc, Payload, SoundCodec, Stamp};
    use tandem_storage::time::{Now, Time};

    const MAILBOX: &str = "a.1.1";

    /// A message that node `by` took on day 0, and what was set on which day.
    fn state(by: &str, set: &[(u64, String, &str)], today: u64) -> PbxState {
        let id: Id = format!("{by}.1.9").parse().unwrap();
        let about = About::Message {
            mailbox: MAILBOX.parse().unwrap(),
            from: From::default(),
            called: "101".into(),
            restored: None,
        };
        let about = json(&about);
        let (codec, at) = (SoundCodec::Pcmu, WallTime(0));
        let begin = Payload::Begin {
            id,
            codec,
            at,
            about,
        };
        let (kind, about) = (SealKind::Whole, "{}".into());
        let mut told = vec![(0, begin), (0, Payload::Seal { id, kind, about })];
        told.extend(set.iter().map(|(day, key, value)| {
            let (key, value) = (key.as_str().into(), Some((*value).into()));
            (*day, Payload::Register { key, value })
        }));
        let mut view = View::new();
        for (seq, (day, what)) in (1..).zip(told) {
            let (node, epoch) = ("a".parse().unwrap(), 1);
            let hlc = Hlc(on(day).0 << 16);
            let stamp = Stamp {
                hlc,
                node,
                epoch,
                seq,
            };
            let segment = 1;
            view.apply(&Committed {
                stamp,
                segment,
                what,
            });
        }
        let now = Now {
            mono: Time(0),
            wall: on(today),
        };
        let ids = Ids::new("a".parse().unwrap(), 2);
        PbxState::new(PbxConfig::default(), view, ids, now)
    }

    fn on(day: u64) -> WallTime {
        WallTime(0) + days(day as f64)
    }

    /// What a sweep on that day does.
    fn swept(by: &str, set: &[(u64, String, &str)], today: u64) -> &'static str {
        let mut x = state(by, set, today);
        sweep(&mut x);
        let outputs = std::iter::from_fn(|| x.poll());
        let mut appends = outputs.filter_map(|output| match output {
            Output::Log { append, .. } => Some(append),
            _ => None,
        });
        let did = match appends.next() {
            None => "nothing",
            Some(Append::Seal {
                kind: SealKind::Discarded,
                ..
            }) => "destroyed",
            Some(Append::Register { value: Some(_), .. }) => "deleted",
            Some(other) => panic!("{other:?}"),
        };
        assert!(appends.next().is_none());
        did
    }

    fn key(by: &str, what: &str) -> String {
        format!("message/{by}.1.9/{what}")
    }

    #[test]
    fn what_was_deleted_is_destroyed_after_its_window() {
        let deleted = [(10, key("a", "deleted"), "true")];
        assert_eq!(swept("a", &deleted, 39), "nothing");
        assert_eq!(swept("a", &deleted, 40), "destroyed");
        let restored = [deleted[0].clone(), (20, key("a", "deleted"), "false")];
        assert_eq!(swept("a", &restored, 400), "nothing");
        // Deleted once more: the window begins anew.
        let again = [deleted[0].clone(), (20, key("a", "deleted"), "true")];
        assert_eq!(swept("a", &again, 45), "nothing");
        assert_eq!(swept("a", &again, 50), "destroyed");
    }

    #[test]
    fn another_nodes_message_is_left_to_it_for_a_week() {
        let deleted = [(10, key("b", "deleted"), "true")];
        assert_eq!(swept("b", &deleted, 46), "nothing");
        assert_eq!(swept("b", &deleted, 47), "destroyed");
    }

    #[test]
    fn nothing_on_legal_hold_goes() {
        let mailbox = MAILBOX.parse().unwrap();
        let set = [
            (1, key("a", "deleted"), "true"),
            (2, hold_key(mailbox), "true"),
        ];
        assert_eq!(swept("a", &set, 4000), "nothing");
        let off = [
            set[0].clone(),
            set[1].clone(),
            (3, hold_key(mailbox), "false"),
        ];
        assert_eq!(swept("a", &off, 4000), "destroyed");
    }

    #[test]
    fn what_was_heard_goes_when_the_mailbox_says_so() {
        let mailbox = MAILBOX.parse().unwrap();
        let heard = [(5, key("a", "heard"), "true")];
        assert_eq!(swept("a", &heard, 4000), "nothing");
        let half = [heard[0].clone(), (1, keep_heard_key(mailbox), "0.5")];
        assert_eq!(swept("a", &half, 5), "nothing");
        assert_eq!(swept("a", &half, 6), "deleted");
        let keep = [heard[0].clone(), (1, keep_heard_key(mailbox), "14")];
        assert_eq!(swept("a", &keep, 18), "nothing");
        assert_eq!(swept("a", &keep, 19), "deleted");
        assert_eq!(swept("a", &keep[1..], 4000), "nothing");
    }
}
