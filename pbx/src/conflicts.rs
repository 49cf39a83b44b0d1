//! What lost in a merge, for the administrator: nobody was asked, so somebody should know.
//!
//! Of two nodes that set the same thing while apart the later one counts, on all nodes. The node that set it
//! learns of the other's when the two meet again: an older value that comes from elsewhere after its own was
//! not known when its own was set. It writes an entry, so that every node can list it. What was set is
//! not in it: it may be a secret. And two users may claim one extension: the directory marks them.

use serde_json::{Value, json};
use tandem_storage::seam::{Committed, Payload};

use crate::state::PbxState;

/// The topic of the entries.
const TOPIC: &str = "conflicts";
/// The newest are listed.
const LISTED_MAX: usize = 200;
/// What people set; what nodes and phones write for themselves is no conflict.
const SET_BY_PEOPLE: [&str; 10] = [
    "code/",
    "user/",
    "group/",
    "room/",
    "mailbox/",
    "trunk/",
    "route/",
    "schedule/",
    "blocked/",
    "speed/",
];

/// Looks at a record before the view takes it in.
pub(crate) fn see(x: &mut PbxState, record: &Committed) {
    let Payload::Register { key, value } = &record.what else {
        return;
    };
    if record.stamp.node == x.node() || !SET_BY_PEOPLE.iter().any(|p| key.starts_with(p)) {
        return;
    }
    let Some((own, kept)) = x.view.stamped(key) else {
        return;
    };
    let is_of_this_life = (own.node, own.epoch) == (x.node(), x.epoch());
    if !is_of_this_life || own < record.stamp || kept == value.as_deref() {
        return;
    }
    let body = json!({
        "what": &**key,
        "kept_of": own.node.as_str(),
        "lost_of": record.stamp.node.as_str(),
        "kept_at": own.hlc.0 >> 16,
        "lost_at": record.stamp.hlc.0 >> 16,
    });
    x.entry(TOPIC, &body);
    x.event("conflict", |_| body);
}

/// All of them, newest first, and users who claim another's extension.
pub(crate) fn list(x: &PbxState) -> Value {
    let mut rows = Vec::new();
    let users = x.office.users().filter(|user| x.office.in_conflict(*user));
    let groups = x.office.groups().map(|(id, _)| id);
    let groups = groups.filter(|id| x.office.group_in_conflict(*id));
    let rooms = x.office.rooms().map(|(id, _)| id);
    let rooms = rooms.filter(|id| x.office.room_in_conflict(*id));
    for id in users.chain(groups).chain(rooms) {
        let (Some(extension), Some(name)) = (x.office.extension(id), x.office.name(id)) else {
            continue;
        };
        let holder = x.office.holder(extension);
        rows.push(json!({
            "what": format!("extension {extension}"),
            "kept_of": holder.and_then(|id| x.office.name(id)).map(|name| &**name),
            "lost_of": &**name,
            "user": id,
        }));
    }
    for (_, body) in x.view.entries(TOPIC, LISTED_MAX) {
        let Ok(mut row) = serde_json::from_str::<Value>(body) else {
            continue;
        };
        // People know users by their extensions.
        let key = row["what"].as_str().unwrap_or_default();
        let mut parts = key.splitn(3, '/').skip(1);
        let user = parts.next().and_then(|id| id.parse().ok());
        if let Some(extension) = user.and_then(|id| x.office.extension(id)) {
            let whole = match user.and_then(|id| x.office.group(id)) {
                Some(_) => "name, extension, members or ringing",
                None => "name, extension or password",
            };
            let setting = parts.next().unwrap_or(whole);
            row["what"] = format!("{setting} of {extension}").into();
        } else if let Some(schedule) = user.and_then(|id| x.office.schedules.get(id)) {
            let setting = parts.next().unwrap_or("name, hours or holidays");
            row["what"] = format!("{setting} of {}", schedule.name).into();
        }
        rows.push(row);
    }
    rows.into()
}
