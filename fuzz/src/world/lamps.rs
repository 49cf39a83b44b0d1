//! What a mailbox holds, read from the log's view once more and without call control: what the
//! lamps must show and the lists must say.

use serde_json::Value;
use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;
use tandem_storage::{Sound, View};

/// Shorter ones are nobody's, if they were cut short.
const SAMPLES_MIN: u64 = 2 * 8000;

/// New, old, urgent new, urgent old (RFC 3842 §3.5).
///
/// What is being spoken here is none yet, even if another node took this one to be dead and says so.
pub(super) fn expected(view: &View, user: Id, is_spoken: impl Fn(Id) -> bool) -> [u32; 4] {
    let mut lamp = [0; 4];
    let mailboxes = std::iter::once(user).chain(groups(view, user));
    let there = mailboxes.flat_map(|mailbox| messages(view, mailbox));
    for sound in there.filter(|sound| !is_spoken(sound.id)) {
        let set = |what: &str| view.register(&format!("message/{}/{what}", sound.id));
        if set("folder").is_some() {
            continue;
        }
        let old = usize::from(set("heard") == Some("true"));
        lamp[old] += 1;
        lamp[2 + old] += u32::from(is_urgent(sound));
    }
    lamp
}

/// The groups that a user is a member of: their messages light its lamp, too.
fn groups(view: &View, user: Id) -> impl Iterator<Item = Id> {
    view.registers("group/").filter_map(move |(key, value)| {
        let id = key.strip_prefix("group/")?.parse().ok()?;
        let group: Value = serde_json::from_str(value).ok()?;
        let members = group["members"].as_array()?;
        let user = user.to_string();
        members.iter().any(|member| *member == user).then_some(id)
    })
}

/// The messages of a mailbox that are not deleted.
pub(super) fn messages(view: &View, user: Id) -> impl Iterator<Item = &Sound> {
    view.sounds().filter(move |sound| {
        let about: Value = serde_json::from_str(&sound.about).unwrap_or_default();
        let deleted = view.register(&format!("message/{}/deleted", sound.id));
        let kept = match sound.seal {
            Some((SealKind::Whole, _)) => true,
            Some((SealKind::CutShort, _)) => sound.samples() >= SAMPLES_MIN,
            _ => false,
        };
        kept && deleted.is_none()
            && about["kind"] == "message"
            && about["mailbox"] == user.to_string()
    })
}

fn is_urgent(sound: &Sound) -> bool {
    let about = sound.seal.as_ref().map_or("", |(_, about)| about);
    let about: Value = serde_json::from_str(about).unwrap_or_default();
    about["urgent"] == true
}
