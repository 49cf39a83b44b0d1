//! How the node is, as JSON: one screen for `tandem status`, and whether it is ready for `/readyz`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_sip_shim::Phone;
use tandem_storage::LogStats;

use crate::alarms::{DISK_FULL, alarms};
use crate::cluster::Cluster;
use crate::control::Parts;

/// One screen for people; the same for programs.
pub(crate) fn status_json(parts: &Parts, phones: usize, uptime: Duration) -> Value {
    let engine = parts.engine.stats();
    let log = parts.log.stats();
    let pbx = json!(parts.node.pbx().counters());
    let not_ready = if log.is_poisoned {
        Some("the log is closed: its disk failed")
    } else if engine.workers_dead > 0 {
        Some("a media worker died; restart the node")
    } else if engine.prompts == 0 {
        Some("there are no spoken prompts; see rtp.prompts, and restart the node")
    } else if !log.can_record {
        Some(DISK_FULL)
    } else {
        parts.node.is_stopping().then_some("stopping")
    };
    json!({
        "node": parts.name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": uptime.as_secs(),
        "ready": not_ready.is_none(),
        "not_ready": not_ready,
        "alarms": all_alarms(parts, &log),
        "calls": {
            "now": parts.node.pbx().calls_len(),
            "since_start": pbx["calls"],
            "answered": pbx["calls_answered"],
            "refused": pbx["refused_full"],
        },
        "phones": { "registered": phones },
        "trunks": trunks(parts),
        "messages": {
            "left_since_start": pbx["deposits"],
            "too_short": pbx["deposits_too_short"],
            "refused": pbx["deposits_refused"],
        },
        "log": {
            "last_durable": log.durable.map(|s| format!("{}.{}.{}", s.node, s.epoch, s.seq)),
            "can_record": log.can_record,
            "commit_p50_us": micros(log.commit_p50),
            "commit_p99_us": micros(log.commit_p99),
            "segments": log.segments,
            "encrypts_with": parts.log.keyring().writes_with().map(|key| key.to_string()),
        },
        "company": parts.cluster.as_ref().map(|cluster| cluster.status(parts.node.copies())),
        "backup": parts.backups.status(parts.clock.now().wall.0),
        "media": {
            "legs": engine.total.legs,
            "ports_free": engine.ports_free,
            "packets_received": engine.total.packets_received,
            "packets_sent": engine.total.packets_sent,
            "late_ticks": engine.total.late_ticks,
        },
    })
}

/// Calls that each trunk has now, by its name.
fn trunks(parts: &Parts) -> Value {
    let trunks: BTreeMap<&str, usize> = parts.node.pbx().trunk_calls().collect();
    json!(trunks)
}

/// For `tandem phones`.
pub(crate) fn phones_json(phones: Vec<Phone>) -> Value {
    let phones = phones.into_iter().map(|phone| {
        json!({
            "extension": &*phone.extension,
            "contact": phone.contact,
            "source": phone.source.to_string(),
            "transport": phone.transport.as_str(),
            "user_agent": phone.user_agent,
            "expires_s": phone.expires_s,
        })
    });
    phones.collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn all_alarms(parts: &Parts, log: &LogStats) -> Vec<String> {
    let link = parts.cluster.as_ref().map(Cluster::link);
    alarms(
        log,
        &parts.log_found,
        link.as_ref(),
        parts.node.users_locked(),
        &parts.node.pbx().toll_alarms(),
        parts.node.pbx().counters().recordings_missed,
    )
}
