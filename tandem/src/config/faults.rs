//! What can be wrong with a file: each fault with its line, and how to mend it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tandem_pbx::PbxConfig;
use tandem_sip_shim::Net;
use tandem_storage::name::NodeName;

use super::{Config, PortRange};
use crate::{backups, encryption_keys};

/// One thing that is wrong with a configuration, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: String,
    /// 1-based; 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// So many faults of a file are told at once.
pub(super) const FAULTS_MAX: usize = 50;

impl Config {
    /// Values that are of the right type and yet cannot work: key as `section.name`, and why.
    pub(crate) fn wrong_values(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Err(e) = self.node.name.parse::<NodeName>() {
            wrong.push(("node.name", format!("'{}': {e}", self.node.name)));
        }
        if self.node.data.as_os_str().is_empty() {
            let what = "name a folder, as in \"/var/lib/tandem\"".into();
            wrong.push(("node.data", what));
        }
        wrong.extend(self.ports_wanted_twice());
        if self.rtp.ports.last - self.rtp.ports.first < 3 {
            wrong.push((
                "rtp.ports",
                "a call needs four ports; widen the range".into(),
            ));
        }
        match self.media.codecs() {
            Ok(codecs) if codecs.is_empty() => {
                wrong.push(("media.codecs", "name one at least".into()));
            }
            Ok(_) => {}
            Err(name) => {
                let what = format!("'{name}' is none of opus, g722, pcmu, pcma");
                wrong.push(("media.codecs", what));
            }
        }
        let address = self.link.address.as_deref();
        let port = |a: &str| a.rsplit_once(':').and_then(|(_, p)| p.parse::<u16>().ok());
        if address.is_some_and(|address| port(address).is_none_or(|port| port == 0)) {
            let what = "must be a name or address and a port, as in \"office.example:7650\"".into();
            wrong.push(("link.address", what));
        }
        for peer in &self.sip.trusted {
            let network = peer.address();
            if network.parse::<Net>().is_err() {
                let what = format!("'{network}' is not an address or network, as in 10.0.0.0/8");
                wrong.push(("sip.trusted", what));
            }
        }
        for (key, value, least, most) in self.bounds() {
            if !(least..=most).contains(&value) {
                wrong.push((key, format!("must be {least} to {most}")));
            }
        }
        wrong.extend(encryption_keys::faults(&self.storage));
        let (destroy_h, undelete_days) =
            (self.storage.destroy_within_h, self.voicemail.undelete_days);
        if !(0.001..=720.0).contains(&destroy_h) {
            wrong.push(("storage.destroy_within_h", "must be 0.001 to 720".into()));
        }
        if !(0.0..=3650.0).contains(&undelete_days) {
            wrong.push(("voicemail.undelete_days", "must be 0 to 3650".into()));
        }
        if !(0.0..=tandem_pbx::DAYS_MAX).contains(&self.recording.keep_days) {
            let most = tandem_pbx::DAYS_MAX;
            wrong.push(("recording.keep_days", format!("must be 0 to {most}")));
        }
        let keys = &self.recording.keys;
        let are_keys = keys.chars().all(|key| "0123456789*#ABCD".contains(key));
        if keys.len() > 8 || !are_keys || keys.len() == 1 {
            let what = "must be 2 to 8 of 0-9, *, # and A-D, or nothing";
            wrong.push(("recording.keys", what.into()));
        }
        if self.voicemail.message_min_ms >= self.voicemail.message_max_s.saturating_mul(1000) {
            let what = "the shortest message must be shorter than message_max_s".into();
            wrong.push(("voicemail.message_min_ms", what));
        }
        let keys = &self.calls.transfer_keys;
        let are_keys = keys
            .bytes()
            .all(|key| key.is_ascii_digit() || b"*#".contains(&key));
        if keys.len() > 4 || !are_keys {
            let what = "must be up to 4 of the digits, * and #, as in \"##\"; or \"\"";
            wrong.push(("calls.transfer_keys", what.into()));
        }
        if !["asterisk", "intuity"].contains(&self.voicemail.keys.as_str()) {
            wrong.push((
                "voicemail.keys",
                "must be \"asterisk\" or \"intuity\"".into(),
            ));
        }
        if backups::time_of_day(&self.backup.at).is_none() {
            wrong.push(("backup.at", "must be a time of day, as in \"02:30\"".into()));
        }
        // The lengths of a message were looked at above, where their keys are known.
        let lengths_apart = PbxConfig {
            message_min: Duration::ZERO,
            message_max: Duration::MAX,
            ..self.pbx()
        };
        if let Err(what) = lengths_apart.check() {
            wrong.push(("node.time_zone", what));
        }
        wrong
    }

    /// Who cannot listen because another does.
    fn ports_wanted_twice(&self) -> Vec<(&'static str, String)> {
        let listeners = [
            ("sip.port", self.sip.bind, self.sip.port),
            ("portal.port", self.portal.bind, self.portal.port),
            ("link.port", self.link.bind, self.link.port),
        ];
        let mut wrong = Vec::new();
        for (nth, (key, bind, port)) in listeners.iter().enumerate() {
            let meets = |(_, other, at): &&(&str, IpAddr, u16)| {
                at == port && (other == bind || other.is_unspecified() || bind.is_unspecified())
            };
            if let Some((first, ..)) = listeners[..nth].iter().find(meets) {
                wrong.push((
                    *key,
                    format!("port {port} is {first}'s already; choose another"),
                ));
            }
        }
        wrong
    }

    /// With what a node can start, and yet would not do well.
    pub(crate) fn unwell(&self) -> Vec<(&'static str, String)> {
        let mut unwell = Vec::new();
        let (PortRange { first, last }, port) = (self.rtp.ports, self.sip.port);
        if (first..=last).contains(&port) {
            let what = format!(
                "port {port} is one of rtp.ports ({first}-{last}), where sound comes in; choose another"
            );
            unwell.push(("sip.port", what));
        }
        let prompts = self.prompts();
        if !prompts.is_dir() {
            let what = format!(
                "there are no spoken prompts in {}; name the folder that holds them",
                prompts.display()
            );
            unwell.push(("rtp.prompts", what));
        }
        unwell
    }

    /// What works, and yet is hardly meant so.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let networks = self.sip.trusted.iter().map(|peer| peer.address());
        let wide = networks.filter(|n| n.parse::<Net>().is_ok_and(|net| net.is_wide()));
        let warn = |network: &str| {
            format!(
                "sip.trusted: everybody in {network} calls without a password; name the gateways alone \
                 (a network of at least /24, or /64 for IPv6)"
            )
        };
        wide.map(warn).collect()
    }

    /// Numbers, and the least and the most that each can be.
    fn bounds(&self) -> [(&'static str, u64, u64, u64); 27] {
        [
            ("sip.port", u64::from(self.sip.port), 1, 65_535),
            (
                "sip.transactions_max",
                self.sip.transactions_max as u64,
                1,
                1_000_000,
            ),
            ("link.port", u64::from(self.link.port), 1, 65_535),
            ("link.away_after_ms", self.link.away_after_ms, 100, 600_000),
            ("link.send_kib_per_s", self.link.send_kib_per_s, 0, 1 << 30),
            ("storage.copies", self.storage.copies, 1, 2),
            (
                "storage.copy_within_ms",
                self.storage.copy_within_ms,
                1,
                10_000,
            ),
            ("storage.segment_mib", self.storage.segment_mib, 4, 1024),
            (
                "media.opus_bitrate_bps",
                self.media.opus_bitrate_bps,
                6000,
                64_000,
            ),
            ("media.opus_complexity", self.media.opus_complexity, 0, 10),
            ("rtp.workers", self.rtp.workers as u64, 0, 256),
            ("rtp.timeout_s", self.rtp.timeout_s, 1, 86_400),
            ("portal.port", u64::from(self.portal.port), 1, 65_535),
            ("backup.keep", self.backup.keep as u64, 1, 100_000),
            ("calls.ring_s", self.calls.ring_s, 1, 600),
            ("calls.outside_at_once", self.calls.outside_at_once, 0, 1000),
            (
                "calls.outside_an_hour",
                self.calls.outside_an_hour,
                0,
                100_000,
            ),
            (
                "calls.outside_a_day",
                self.calls.outside_a_day,
                0,
                1_000_000,
            ),
            ("calls.max", self.calls.max as u64, 1, 1_000_000),
            (
                "voicemail.message_max_s",
                self.voicemail.message_max_s,
                1,
                3600,
            ),
            (
                "voicemail.messages_max",
                self.voicemail.messages_max,
                1,
                1_000_000,
            ),
            (
                "voicemail.quota_minutes",
                self.voicemail.quota_minutes,
                1,
                1_000_000,
            ),
            ("voicemail.silence_s", self.voicemail.silence_s, 1, 3600),
            (
                "recording.max_minutes",
                self.recording.max_minutes,
                1,
                24 * 60,
            ),
            (
                "storage.scrub_every_days",
                self.storage.scrub_every_days,
                1,
                3650,
            ),
            ("storage.entries_days", self.storage.entries_days, 1, 36_500),
            ("voicemail.pin_pause_s", self.voicemail.pin_pause_s, 1, 3600),
        ]
    }
}

/// The line of a byte.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

/// The same without a line, or without the section that the line begins; `None`: it is empty already.
pub(super) fn without_line(text: &str, line: usize) -> Option<String> {
    let wrong = line.checked_sub(1)?;
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |line: &str| line.trim_start().starts_with('[');
    if lines.get(wrong)?.trim().is_empty() {
        return None;
    }
    let after = lines[wrong + 1..].iter().position(|line| is_header(line));
    let end = match is_header(lines[wrong]) {
        true => after.map_or(lines.len(), |n| wrong + 1 + n),
        false => wrong + 1,
    };
    let kept = |(n, line)| if (wrong..end).contains(&n) { "" } else { line };
    let kept: Vec<&str> = lines.iter().copied().enumerate().map(kept).collect();
    Some(kept.join("\n"))
}

/// The line on which `section.name` is set, or that of its section, or 0.
pub(super) fn line_of_key(text: &str, key: &str) -> usize {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let mut section_line = 0;
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            inside = header.trim_end_matches(']').trim() == section;
            if inside {
                section_line = index + 1;
            }
        } else if inside && line.split('=').next().is_some_and(|k| k.trim() == name) {
            return index + 1;
        }
    }
    section_line
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}
