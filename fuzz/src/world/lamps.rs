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
    for sound in messages(view, user).filter(|sound| !is_spoken(sound.id)) {
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
