//! The configuration file: what is of this machine, in TOML.
//!
//! Every value has a default that is right for a small company; an unknown key or a wrong value is
//! a [`Fault`] that names its line and how to mend it. The PBX itself (users, mailboxes) is not
//! here but in the log.

mod faults;
#[cfg(test)]
mod golden;
mod sections;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tandem_pbx::config::OutwardLimits;
use tandem_pbx::{KeyMap, PbxConfig, days};

use faults::{FAULTS_MAX, line_of, line_of_key, without_line};

pub(crate) use faults::Fault;
pub(crate) use sections::{
    Backup, Calls, Link, Media, Node, PortRange, Portal, Recording, Rtp, Sip, Storage, TrustedPeer,
    Voicemail,
};

/// Gives the values that are wrong: key as `section.name`, and why.
type Wrong = fn(&Config) -> Vec<(&'static str, String)>;

/// Everything that can be set for one node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) node: Node,
    pub(crate) sip: Sip,
    pub(crate) rtp: Rtp,
    pub(crate) media: Media,
    pub(crate) link: Link,
    pub(crate) portal: Portal,
    pub(crate) storage: Storage,
    pub(crate) backup: Backup,
    pub(crate) calls: Calls,
    pub(crate) voicemail: Voicemail,
    pub(crate) recording: Recording,
}

impl Config {
    /// Reads a file; gives every fault that could be found.
    pub(crate) fn read(path: &Path) -> Result<Config, Vec<Fault>> {
        Config::read_as(path, Config::wrong_values)
    }

    /// The same, and what a node could start with and yet would not do well.
    pub(crate) fn check(path: &Path) -> Result<Config, Vec<Fault>> {
        Config::read_as(path, |config| {
            let mut wrong = config.wrong_values();
            wrong.extend(config.unwell());
            wrong
        })
    }

    fn read_as(path: &Path, wrong: Wrong) -> Result<Config, Vec<Fault>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            vec![Fault {
                file: file.clone(),
                line: 0,
                what: format!("cannot be read: {e}"),
            }]
        })?;
        Config::parse(&file, &text, wrong)
    }

    /// What cannot be read is told and left out, until the rest can be: so all faults are told at once.
    fn parse(file: &str, text: &str, wrong: Wrong) -> Result<Config, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut rest = text.to_owned();
        let config = loop {
            let e = match toml::from_str::<Config>(&rest) {
                Ok(config) => break config,
                Err(e) => e,
            };
            let line = e.span().map_or(0, |s| line_of(&rest, s.start));
            let file = file.to_owned();
            let what = e.message().replace('\n', " ");
            faults.push(Fault { file, line, what });
            match without_line(&rest, line) {
                Some(shorter) if faults.len() < FAULTS_MAX => rest = shorter,
                _ => return Err(faults),
            }
        };
        faults.extend(wrong(&config).into_iter().map(|(key, what)| Fault {
            file: file.into(),
            line: line_of_key(text, key),
            what,
        }));
        if faults.is_empty() {
            return Ok(config);
        }
        faults.sort_by_key(|fault| fault.line);
        Err(faults)
    }

    /// The address phones are told: as set, else the one bound to, else the one this machine
    /// reaches the rest of the world from.
    pub(crate) fn advertised(&self) -> IpAddr {
        match (self.sip.advertise, self.sip.bind) {
            (Some(set), _) => set,
            (None, bind) if !bind.is_unspecified() => bind,
            (None, bind) => outward_address(bind).unwrap_or(match bind {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            }),
        }
    }

    /// Where the cluster's other nodes reach this one: as set, else the address bound to, else the one
    /// this machine reaches the rest of the world from.
    pub(crate) fn link_address(&self) -> String {
        let bind = self.link.bind;
        match &self.link.address {
            Some(set) => set.clone(),
            None if !bind.is_unspecified() => SocketAddr::new(bind, self.link.port).to_string(),
            None => SocketAddr::new(self.advertised(), self.link.port).to_string(),
        }
    }

    /// What call control is told of it.
    pub(crate) fn pbx(&self) -> PbxConfig {
        PbxConfig {
            ring_for: Duration::from_secs(self.calls.ring_s),
            calls_max: self.calls.max,
            transfer_keys: self.calls.transfer_keys.as_str().into(),
            outward_limits: OutwardLimits {
                at_once: usize::try_from(self.calls.outside_at_once).unwrap_or(usize::MAX),
                an_hour: u32::try_from(self.calls.outside_an_hour).unwrap_or(u32::MAX),
                a_day: u32::try_from(self.calls.outside_a_day).unwrap_or(u32::MAX),
            },
            message_max: Duration::from_secs(self.voicemail.message_max_s),
            message_min: Duration::from_millis(self.voicemail.message_min_ms),
            silence_for: Duration::from_secs(self.voicemail.silence_s),
            undelete_for: days(self.voicemail.undelete_days),
            messages_max: usize::try_from(self.voicemail.messages_max).unwrap_or(usize::MAX),
            quota: Duration::from_secs(self.voicemail.quota_minutes.saturating_mul(60)),
            pin_pause: Duration::from_secs(self.voicemail.pin_pause_s),
            recordings_for: days(self.recording.keep_days),
            recording_max: Duration::from_secs(self.recording.max_minutes.saturating_mul(60)),
            recording_beep: self.recording.beep,
            record_keys: self.recording.keys.as_str().into(),
            time_zone: self.node.time_zone.clone(),
            keys: match self.voicemail.keys.as_str() {
                "intuity" => KeyMap::Intuity,
                _ => KeyMap::Comedian,
            },
            ..PbxConfig::default()
        }
    }

    /// The sections in which `new` asks for what can only be had by a restart. What call control
    /// is told (`time_zone`, too) can change while running, and so can `stop_grace_s`.
    pub(crate) fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let as_before = Node {
            stop_grace_s: self.node.stop_grace_s,
            time_zone: self.node.time_zone.clone(),
            ..new.node.clone()
        };
        let changed = [
            ("node", self.node != as_before),
            ("sip", self.sip != new.sip),
            ("rtp", self.rtp != new.rtp),
            ("media", self.media != new.media),
            ("link", self.link != new.link),
            ("portal", self.portal != new.portal),
            ("storage", self.storage != new.storage),
            ("backup", self.backup != new.backup),
        ];
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(section, _)| section)
            .collect()
    }

    /// How long calls may go on after the first signal to stop.
    pub(crate) fn stop_grace(&self) -> Duration {
        Duration::from_secs(self.node.stop_grace_s)
    }

    /// Where the prompts are: as set, beside the program, or where they are installed.
    pub(crate) fn prompts(&self) -> PathBuf {
        if let Some(set) = &self.rtp.prompts {
            return set.clone();
        }
        let beside = std::env::current_exe().ok().and_then(|exe| {
            exe.ancestors()
                .map(|d| d.join("prompts/en"))
                .find(|d| d.is_dir())
        });
        beside.unwrap_or_else(|| PathBuf::from("/usr/share/tandem/prompts/en"))
    }
}

/// The address of the default route. Connecting a datagram socket sends nothing; it only asks the
/// kernel for a route (here to a documentation address, RFC 5737 and RFC 3849).
fn outward_address(bind: IpAddr) -> Option<IpAddr> {
    let anywhere = if bind.is_ipv4() {
        "192.0.2.1:9"
    } else {
        "[2001:db8::1]:9"
    };
    let socket = UdpSocket::bind((bind, 0)).ok()?;
    socket.connect(anywhere).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let wrong = Config::wrong_values;
        let faults = Config::parse("tandem.toml", text, wrong);
        let faults = faults.err().unwrap_or_default();
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn an_empty_file_is_right() {
        assert_eq!(faults(""), [""; 0]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let faults = faults("[node]\nname = \"a\"\n\n[sip]\nbind = \"192.0.2.1\"\nprot = 5060\n");
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("tandem.toml:6: unknown field `prot`"),
            "{}",
            faults[0]
        );
    }

    #[test]
    fn every_wrong_value_is_named_with_its_line() {
        let faults = faults(
            "[node]\nname = \"Main Office\"\n[sip]\nbind = \"192.0.2.1\"\ntrusted = [\"10.0.0.0/64\"]\n\
             [storage]\nsegment_mib = 1\n",
        );
        let lines: Vec<_> = faults.iter().filter_map(|f| f.split(": ").next()).collect();
        assert_eq!(
            lines,
            ["tandem.toml:2", "tandem.toml:5", "tandem.toml:7"],
            "{faults:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_hides_no_other_fault() {
        let text = "[node]\nnmae = \"a\"\n[sip]\nport = \"high\"\nbind = 7\n[pbx]\nx = 1\ny = 2\n\
                    [rtp]\nworkers = 1000\nports = \"9\"\nthis is nothing\n";
        let faults = faults(text);
        let lines: Vec<_> = faults.iter().filter_map(|f| f.split(": ").next()).collect();
        let expected = [2, 4, 5, 6, 10, 11, 12].map(|line| format!("tandem.toml:{line}"));
        assert_eq!(lines, expected, "{faults:?}");
    }

    #[test]
    fn what_a_node_would_not_do_well_with_is_told_with_its_line() {
        let text = "[sip]\nport = 10500\n[rtp]\nprompts = \"/nowhere\"\n";
        let faults = Config::parse("tandem.toml", text, Config::unwell).unwrap_err();
        let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert!(
            faults[0].starts_with("tandem.toml:2: port 10500 is one of rtp.ports"),
            "{faults:?}"
        );
        assert!(
            faults[1].starts_with("tandem.toml:4: there are no spoken prompts in"),
            "{faults:?}"
        );
    }

    #[test]
    fn two_that_want_the_same_port_are_told_apart() {
        let one = |text: &str| faults(text).join("; ");
        let same = one("[sip]\nport = 8080\n[portal]\nport = 8080\n");
        assert!(
            same.starts_with("tandem.toml:4: port 8080 is sip.port's"),
            "{same}"
        );
        let apart = "[sip]\nport = 8080\nbind = \"192.0.2.1\"\n[portal]\nport = 8080\n";
        assert_eq!(faults(apart), [""; 0]);
        let link = one("[link]\nport = 5060\n");
        assert!(link.contains("port 5060 is sip.port's"), "{link}");
        assert!(one("[node]\ndata = \"\"\n").starts_with("tandem.toml:2: name a folder"));
    }

    #[test]
    fn a_number_with_which_no_call_could_live_is_refused() {
        let faults = faults(
            "[rtp]\ntimeout_s = 0\n[calls]\nmax = 0\n[voicemail]\nmessage_min_ms = 200000\n\
             silence_s = 0\n[sip]\ntransactions_max = 0\n",
        );
        assert_eq!(
            faults,
            [
                "tandem.toml:2: must be 1 to 86400",
                "tandem.toml:4: must be 1 to 1000000",
                "tandem.toml:6: the shortest message must be shorter than message_max_s",
                "tandem.toml:7: must be 1 to 3600",
                "tandem.toml:9: must be 1 to 1000000",
            ]
        );
    }

    #[test]
    fn only_what_cannot_change_while_running_needs_a_restart() {
        let wrong = Config::wrong_values;
        let parse = |text: &str| Config::parse("tandem.toml", text, wrong).unwrap();
        let old = parse("");
        let soft =
            parse("[node]\nstop_grace_s = 5\ntime_zone = \"Europe/Vienna\"\n[calls]\nring_s = 9\n");
        assert_eq!(old.needs_restart(&soft), [""; 0]);
        let hard = parse("[sip]\nport = 5070\n[rtp]\nworkers = 1\n");
        assert_eq!(old.needs_restart(&hard), ["sip", "rtp"]);
    }

    #[test]
    fn a_range_of_ports_is_two_numbers_in_order() {
        for bad in ["10000", "a-b", "20000-10000", "80-90", "10000-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        assert_eq!(
            "10000-10100".parse(),
            Ok(PortRange {
                first: 10_000,
                last: 10_100
            })
        );
    }
}
