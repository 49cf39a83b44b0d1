//! The figures of one scrape, as plain data, and under which name each stands on the page.

use std::time::Duration;

use serde_json::json;
use tandem_sip_shim::ShellStats;
use tandem_storage::LogStats;
use tandem_storage::histogram::Distribution;
use tandem_storage::link::LinkStatus;
use tandem_storage::recovery::Ending;
use tandem_storage::site::LinkStats;

use super::Counted;
use super::page::Page;
use crate::alarms::alarms;
use crate::backups::{self, Note};

/// See the chapter above.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// The node's name.
    pub(super) node: String,
    pub(super) counted: Counted,
    /// How long ago that was counted.
    pub(super) counted_age: Duration,
    /// What waits for call control.
    pub(super) control_waiting: usize,
    /// What found no room there.
    pub(super) control_overflow: u64,
    pub(super) pins_overflow: u64,
    pub(super) sip: ShellStats,
    pub(super) log: LogStats,
    /// What the log was like when it was opened.
    pub(super) log_found: Ending,
    pub(super) log_encrypts: bool,
    pub(super) commit_times: Distribution,
    pub(super) backups: Note,
    /// `None`: the node belongs to no cluster.
    pub(super) link: Option<LinkFigures>,
    pub(super) portal_refused: u64,
    pub(super) events: EventFigures,
    /// Since 1970.
    pub(super) wall_ms: u64,
}

/// Of a link to other nodes.
#[derive(Debug, Default)]
pub(super) struct LinkFigures {
    pub(super) status: LinkStatus,
    pub(super) stats: LinkStats,
}

/// Of those who read what happens.
#[derive(Debug, Default)]
pub(super) struct EventFigures {
    pub(super) readers: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) cut_off: u64,
}

impl Figures {
    /// All of them, in the order in which people read them.
    pub(super) fn page(self) -> Page {
        let mut page = Page::default();
        let version = env!("CARGO_PKG_VERSION");
        let build = [("version", version), ("node", &self.node)];
        page.gauge_of("build_info", &build, 1);
        self.control(&mut page);
        self.sip(&mut page);
        self.media(&mut page);
        self.backups(&mut page);
        if let Some(link) = &self.link {
            link.on(&mut page);
            self.copies(&mut page);
        }
        page.counter("portal_refused", self.portal_refused);
        page.gauge("events_readers", self.events.readers as usize);
        page.counter("events_refused", self.events.refused);
        page.counter("events_lost", self.events.lost);
        page.counter("events_cut_off", self.events.cut_off);
        self.log(&mut page);
        page
    }

    fn control(&self, page: &mut Page) {
        let counted = &self.counted;
        let link = self.link.as_ref().map(|link| &link.status);
        let alarms = alarms(
            &self.log,
            &self.log_found,
            link,
            counted.users_locked,
            &counted.toll_alarms,
            counted.pbx.recordings_missed,
        );
        page.gauge("calls", counted.calls);
        page.gauge("recordings", counted.recordings);
        page.gauge("phones", counted.phones);
        page.gauge("alarms", alarms.len());
        page.seconds("control_figures_age_seconds", self.counted_age);
        page.gauge("control_waiting", self.control_waiting);
        page.counter("control_overflow", self.control_overflow);
        page.gauge("control_log_waiting", counted.log_waiting);
        page.counter("control_log_overflow", counted.log_overflow);
        page.counter("pins_overflow", self.pins_overflow);
        page.gauge("mailboxes_paused", counted.mailboxes_paused);
        page.counters("pbx", &json!(counted.pbx));
    }

    fn sip(&self, page: &mut Page) {
        page.gauge("sip_dialogs", self.counted.sip_dialogs);
        page.counters("sip", &json!(self.counted.sip));
        let shell = &self.sip;
        page.gauge("sip_connections", shell.connections as usize);
        page.counter("sip_datagrams_in", shell.datagrams_in);
        page.counter("sip_stream_messages_in", shell.stream_messages_in);
        page.counter("sip_garbage", shell.garbage);
        page.counter("sip_receiver_full", shell.receiver_full);
        page.counter("sip_send_full", shell.send_full);
        page.counter("sip_connections_refused", shell.connections_refused);
        page.counter("sip_streams_slow", shell.streams_slow);
        page.counter("sip_streams_unknown", shell.streams_unknown);
    }

    fn media(&self, page: &mut Page) {
        let engine = &self.counted.media;
        page.gauge("media_ports_free", engine.ports_free);
        page.gauge("media_prompts", engine.prompts);
        page.gauge("media_workers_dead", engine.workers_dead);
        page.counter("media_commands_delayed", engine.commands_delayed);
        page.counter("media_legs_refused", engine.legs_refused);
        page.counter("media_commands_dropped", engine.commands_dropped);
        for (name, value) in engine.total.each() {
            let full = format!("media_{name}");
            match name {
                "legs" | "behind" => page.gauge(&full, value as usize),
                _ => page.counter(&full, value),
            }
        }
    }

    fn backups(&self, page: &mut Page) {
        if let Some(made) = &self.backups.made {
            let age = Duration::from_secs(backups::age_s(made.at_ms, self.wall_ms));
            page.seconds("backup_age_seconds", age);
            page.gauge("backup_bytes", made.bytes as usize);
        }
        page.flag("backup_failed", self.backups.failed.is_some());
        page.counter("backup_failures", self.backups.failures);
    }

    fn copies(&self, page: &mut Page) {
        let gate = &self.counted.copies;
        page.gauge("copies_now", 1 + gate.backups);
        page.gauge("copies_behind", gate.behind);
        page.gauge("copies_waiting", gate.held);
        page.counter("copies_saved_with", gate.copied);
        page.counter("copies_saved_alone", gate.alone);
        page.counter("copies_saved_alone_late", gate.alone_late);
    }

    fn log(self, page: &mut Page) {
        let log = &self.log;
        page.flag("log_can_record", log.can_record);
        page.flag("log_poisoned", log.is_poisoned);
        page.gauge("log_segments", log.segments);
        page.flag("log_encrypts", self.log_encrypts);
        let compaction = &log.compaction;
        page.gauge("log_size_bytes", compaction.log_bytes as usize);
        page.gauge("log_alive_bytes", compaction.live_bytes as usize);
        page.counter("log_segments_given_up", compaction.segments_retired);
        page.counter("log_records_moved", compaction.records_moved);
        page.counter("log_scrub_segments", compaction.segments_checked);
        page.counter("log_scrub_bytes", compaction.bytes_checked);
        page.counter("log_scrub_damages", compaction.damages);
        page.counter("log_scrub_mended", compaction.records_mended);
        page.counter("log_scrub_chunks_missing", compaction.chunks_missing);
        let found = &self.log_found;
        page.gauge("log_damages", found.damages as usize);
        page.gauge("log_records_lost", found.records_lost as usize);
        page.gauge("log_torn", found.torn as usize);
        page.gauge("log_queue_length", log.queue_len);
        page.counter("log_commits", log.commits);
        page.counter("log_records", log.records);
        page.counter("log_bytes", log.bytes);
        page.counter("log_refused", log.refused);
        page.counter("log_queue_refused", log.queue_refused);
        page.histogram("log_commit_seconds", self.commit_times);
    }
}

impl LinkFigures {
    fn on(&self, page: &mut Page) {
        let LinkFigures { status, stats } = self;
        for peer in &status.peers {
            let up = u64::from(peer.is_up);
            page.gauge_of("link_up", &[("node", peer.name.as_str())], up);
        }
        for peer in &status.peers {
            if let Some(bytes) = peer.to_send_bytes {
                page.gauge_of("link_to_send_bytes", &[("node", peer.name.as_str())], bytes);
            }
        }
        for peer in &status.peers {
            if let Some(time) = peer.to_send_time {
                page.seconds_of(
                    "link_to_send_seconds",
                    &[("node", peer.name.as_str())],
                    time,
                );
            }
        }
        page.counter("link_sent_bytes", status.sent_bytes);
        page.counter("link_records_stored", status.records_stored);
        page.counter("link_records_known", status.records_known);
        page.counter("link_frames_unknown", status.frames_unknown);
        page.counter("link_commits_missed", stats.commits_missed);
        page.counter("link_wires_full", stats.wires_full);
        page.counter("link_door_admitted", stats.door.admitted);
        page.counter("link_door_strangers", stats.door.strangers);
        page.counter("link_door_failed", stats.door.failed);
        page.counter("link_door_full", stats.door.full);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tandem_storage::histogram::Histogram;
    use tandem_storage::link::PeerStatus;

    use super::*;
    use crate::backups::Made;
    use crate::metrics::check::{self, Family};
    use crate::metrics::help;

    /// As of a node with all that a node can have.
    fn all() -> Figures {
        let peer = |name: &str| PeerStatus {
            name: name.parse().unwrap(),
            is_up: name == "b",
            away_why: None,
            is_backup: true,
            acked: Default::default(),
            to_send_bytes: Some(5),
            to_send_time: Some(Duration::from_millis(1500)),
            followed: Default::default(),
            is_whole: true,
            theirs: Default::default(),
            clock_off_ms: None,
        };
        let mut figures = Figures {
            node: "a".into(),
            link: Some(LinkFigures::default()),
            ..Figures::default()
        };
        figures.link.as_mut().unwrap().status.peers = vec![peer("b"), peer("c")];
        figures.counted.pbx.ended.insert("busy", 3);
        figures.counted.pbx.calls = 7;
        figures.backups.made = Some(Made {
            at_ms: 1,
            to: "there".into(),
            number: 1,
            records: 1,
            bytes: 1,
            bytes_written: 1,
        });
        let times = Histogram::new();
        times.count(Duration::from_micros(100));
        times.count(Duration::from_secs(30));
        figures.commit_times = times.distribution();
        figures
    }

    fn value(family: &Family, label: (&str, &str)) -> f64 {
        let has = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(label.0).is_some_and(|value| value == label.1)
        };
        let sample = family.samples.iter().find(|(_, labels, _)| has(labels));
        sample.expect("a sample with the label").2
    }

    #[test]
    fn the_page_is_well_formed_and_says_what_was_counted() {
        let page = all().page().text().unwrap();
        let families = check::read(&page).unwrap();
        assert_eq!(families["tandem_pbx_calls_total"].samples[0].2, 7.0);
        let ended = &families["tandem_pbx_ended_total"];
        assert_eq!(value(ended, ("cause", "busy")), 3.0);
        let up = &families["tandem_link_up"];
        assert_eq!(
            (value(up, ("node", "b")), value(up, ("node", "c"))),
            (1.0, 0.0)
        );
        let lacks = &families["tandem_link_to_send_seconds"];
        assert_eq!(value(lacks, ("node", "c")), 1.5);
        let commits = &families["tandem_log_commit_seconds"];
        assert_eq!(commits.kind, "histogram");
        let below = |bound: f64| {
            let mut samples = commits.samples.iter();
            let is_it = |le: &String| le.parse() == Ok(bound);
            samples.find(|(_, labels, _)| labels.get("le").is_some_and(is_it))
        };
        let below = |bound| below(bound).expect("a bucket of that bound").2;
        assert_eq!((below(64e-6), below(128e-6)), (0.0, 1.0));
        assert_eq!((below(16.777_216), below(f64::INFINITY)), (1.0, 2.0));
        let build = &families["tandem_build_info"];
        assert_eq!(value(build, ("node", "a")), 1.0);
    }

    #[test]
    fn every_figure_has_its_help_and_every_help_its_figure() {
        let page = all().page().text().unwrap();
        let families = check::read(&page).unwrap();
        let told: BTreeSet<&str> = families
            .iter()
            .map(|(name, family)| {
                assert!(family.help.ends_with('.'), "{name}: {}", family.help);
                let name = name.strip_prefix("tandem_").expect("the prefix");
                name.strip_suffix("_total").unwrap_or(name)
            })
            .collect();
        let helped: BTreeSet<&str> = help::all().map(|(name, _)| name).collect();
        assert_eq!(told, helped);
        assert_eq!(help::all().count(), helped.len(), "a name twice");
    }
}
