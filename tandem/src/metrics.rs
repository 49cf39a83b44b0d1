//! The node's figures: as Prometheus text for `/metrics`, as JSON for `tandem status`.
//!
//! Names are `tandem_<part>_<what>`; what only grows ends in `_total` (openmetrics.io). What each
//! counter means is written beside it, in the crate that counts it.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_sip_shim::Phone;
use tandem_storage::gate::GateStatus;
use tandem_storage::link::PeerStatus;

use crate::alarms::{DISK_FULL, alarms};
use crate::backups;
use crate::company::Company;
use crate::control::Parts;

/// What waits for call control.
pub(crate) struct Waiting {
    pub(crate) now: usize,
    /// What found no room, since start.
    pub(crate) overflow: u64,
    /// Writes that wait for room in the log's queue.
    pub(crate) log: usize,
    /// Writes that were refused since start, because too many waited.
    pub(crate) log_overflow: u64,
}

/// All figures, in the Prometheus text format.
pub(crate) fn render(parts: &Parts, phones: usize, waiting: Waiting) -> String {
    let mut page = Page::default();
    page.build_info(&parts.name);
    page.gauge("calls", parts.node.pbx().calls_len() as f64);
    page.gauge("phones", phones as f64);
    page.gauge("alarms", alarms(parts).len() as f64);
    page.gauge("control_waiting", waiting.now as f64);
    page.counter("control_overflow", waiting.overflow);
    page.gauge("control_log_waiting", waiting.log as f64);
    page.counter("control_log_overflow", waiting.log_overflow);
    page.counter("pins_overflow", parts.pins.overflow());
    let paused = parts.node.pbx().mailboxes_paused(parts.clock.now().mono);
    page.gauge("mailboxes_paused", paused as f64);
    page.counters("pbx", &json!(parts.node.pbx().counters()));

    page.gauge("sip_dialogs", parts.node.shim().dialogs() as f64);
    page.counters("sip", &json!(parts.node.shim().counters()));
    let shell = parts.sip.stats();
    page.gauge("sip_connections", shell.connections as f64);
    page.counter("sip_datagrams_in", shell.datagrams_in);
    page.counter("sip_stream_messages_in", shell.stream_messages_in);
    page.counter("sip_garbage", shell.garbage);
    page.counter("sip_receiver_full", shell.receiver_full);
    page.counter("sip_send_full", shell.send_full);
    page.counter("sip_connections_refused", shell.connections_refused);
    page.counter("sip_streams_slow", shell.streams_slow);
    page.counter("sip_streams_unknown", shell.streams_unknown);

    let engine = parts.engine.stats();
    page.gauge("media_ports_free", engine.ports_free as f64);
    page.gauge("media_prompts", engine.prompts as f64);
    page.gauge("media_workers_dead", engine.workers_dead as f64);
    page.counter("media_commands_delayed", engine.commands_delayed);
    page.counter("media_legs_refused", engine.legs_refused);
    page.counter("media_commands_dropped", engine.commands_dropped);
    for (name, value) in engine.total.each() {
        match name {
            "legs" | "behind" => page.gauge(&format!("media_{name}"), value as f64),
            _ => page.counter(&format!("media_{name}"), value),
        }
    }

    let log = parts.log.stats();
    page.gauge("log_can_record", f64::from(u8::from(log.can_record)));
    page.gauge("log_poisoned", f64::from(u8::from(log.is_poisoned)));
    page.gauge("log_segments", log.segments as f64);
    let encrypts = parts.log.keys().writes_with().is_some();
    page.gauge("log_encrypts", f64::from(u8::from(encrypts)));
    let cleaner = log.cleaner;
    page.gauge("log_size_bytes", cleaner.log_bytes as f64);
    page.gauge("log_alive_bytes", cleaner.alive_bytes as f64);
    page.counter("log_segments_given_up", cleaner.segments_given_up);
    page.counter("log_records_moved", cleaner.records_moved);
    page.counter("log_scrub_segments", cleaner.segments_checked);
    page.counter("log_scrub_bytes", cleaner.bytes_checked);
    page.counter("log_scrub_damages", cleaner.damages);
    page.counter("log_scrub_mended", cleaner.records_mended);
    page.counter("log_scrub_chunks_missing", cleaner.chunks_missing);
    let found = parts.log_found;
    page.gauge("log_damages", found.damages as f64);
    page.gauge("log_records_lost", found.records_lost as f64);
    page.gauge("log_torn", found.torn as f64);
    page.gauge("log_queue_length", log.queue_len as f64);
    page.gauge(
        "log_commit_seconds{quantile=\"0.5\"}",
        log.commit_p50.as_secs_f64(),
    );
    page.gauge(
        "log_commit_seconds{quantile=\"0.99\"}",
        log.commit_p99.as_secs_f64(),
    );
    let backups = parts.backups.note();
    if let Some(made) = &backups.made {
        let age_s = backups::age_s(made.at_ms, parts.clock.now().wall.0);
        page.gauge("backup_age_seconds", age_s as f64);
        page.gauge("backup_bytes", made.bytes as f64);
    }
    page.gauge(
        "backup_failed",
        f64::from(u8::from(backups.failed.is_some())),
    );
    page.counter("backup_failures", backups.failures);
    if let Some(company) = &parts.company {
        company_figures(&mut page, company, parts.node.copies());
    }
    page.counter("log_commits", log.commits);
    page.counter("log_records", log.records);
    page.counter("log_bytes", log.bytes);
    page.counter("log_refused", log.refused);
    page.counter("log_queue_refused", log.queue_refused);
    page.text
}

fn company_figures(page: &mut Page, company: &Company, gate: GateStatus) {
    let link = company.link();
    let label = |peer: &PeerStatus, name: &str| format!("{name}{{node=\"{}\"}}", peer.name);
    for peer in &link.peers {
        page.gauge(&label(peer, "link_up"), f64::from(u8::from(peer.is_up)));
    }
    for peer in &link.peers {
        if let Some(bytes) = peer.to_send_bytes {
            page.gauge(&label(peer, "link_to_send_bytes"), bytes as f64);
        }
    }
    for peer in &link.peers {
        if let Some(time) = peer.to_send_time {
            page.gauge(&label(peer, "link_to_send_seconds"), time.as_secs_f64());
        }
    }
    page.counter("link_sent_bytes", link.sent_bytes);
    page.counter("link_records_stored", link.records_stored);
    page.counter("link_records_known", link.records_known);
    page.counter("link_frames_unknown", link.frames_unknown);
    let stats = company.link_stats();
    page.counter("link_commits_missed", stats.commits_missed);
    page.counter("link_wires_full", stats.wires_full);
    page.counter("link_door_admitted", stats.door.admitted);
    page.counter("link_door_strangers", stats.door.strangers);
    page.counter("link_door_failed", stats.door.failed);
    page.counter("link_door_full", stats.door.full);
    page.gauge("copies_now", (1 + gate.backups) as f64);
    page.gauge("copies_behind", gate.behind as f64);
    page.gauge("copies_waiting", gate.held as f64);
    page.counter("copies_saved_with", gate.copied);
    page.counter("copies_saved_alone", gate.alone);
    page.counter("copies_saved_alone_late", gate.alone_late);
}

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
        "alarms": alarms(parts),
        "calls": {
            "now": parts.node.pbx().calls_len(),
            "since_start": pbx["calls"],
            "answered": pbx["calls_answered"],
            "refused": pbx["refused_full"],
        },
        "phones": { "registered": phones },
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
            "encrypts_with": parts.log.keys().writes_with().map(|key| key.to_string()),
        },
        "company": parts.company.as_ref().map(|company| company.status(parts.node.copies())),
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

#[derive(Default)]
struct Page {
    text: String,
    family_last: String,
}

impl Page {
    fn build_info(&mut self, node: &str) {
        let version = env!("CARGO_PKG_VERSION");
        self.gauge(
            &format!("build_info{{version=\"{version}\",node=\"{node}\"}}"),
            1.0,
        );
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.line(name, "gauge", &value.to_string());
    }

    fn counter(&mut self, name: &str, value: u64) {
        self.line(&format!("{name}_total"), "counter", &value.to_string());
    }

    /// Every number of a struct of counters; of a map in it, each with its key as label.
    fn counters(&mut self, part: &str, counters: &Value) {
        for (name, value) in counters.as_object().into_iter().flatten() {
            if let Some(value) = value.as_u64() {
                self.counter(&format!("{part}_{name}"), value);
            }
            for (label, value) in value.as_object().into_iter().flatten() {
                let name = format!("{part}_{name}_total{{cause=\"{label}\"}}");
                self.line(&name, "counter", &value.to_string());
            }
        }
    }

    fn line(&mut self, name: &str, kind: &str, value: &str) {
        let family = name.split('{').next().unwrap_or(name);
        // Writing to a string does not fail.
        if family != self.family_last {
            writeln!(self.text, "# TYPE tandem_{family} {kind}").ok();
            self.family_last = family.to_owned();
        }
        writeln!(self.text, "tandem_{name} {value}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_maps_become_lines() {
        let mut page = Page::default();
        page.counters(
            "pbx",
            &json!({"calls": 3, "ended": {"busy": 1, "normal": 2}}),
        );
        page.gauge("calls", 1.0);
        assert_eq!(
            page.text,
            "# TYPE tandem_pbx_calls_total counter\n\
             tandem_pbx_calls_total 3\n\
             # TYPE tandem_pbx_ended_total counter\n\
             tandem_pbx_ended_total{cause=\"busy\"} 1\n\
             tandem_pbx_ended_total{cause=\"normal\"} 2\n\
             # TYPE tandem_calls gauge\n\
             tandem_calls 1\n"
        );
    }
}
