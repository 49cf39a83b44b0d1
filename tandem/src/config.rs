//! The configuration file: what is of this machine, in TOML.
//!
//! Every value has a default that is right for a small company; an unknown key or a wrong value is
//! a [`Fault`] that names its line and how to mend it. The PBX itself (users, mailboxes) is not
//! here but in the log.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tandem_pbx::{KeyMap, PbxConfig};
use tandem_storage::name::NodeName;

/// Everything that can be set for one node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) node: Node,
    pub(crate) sip: Sip,
    pub(crate) rtp: Rtp,
    pub(crate) portal: Portal,
    pub(crate) storage: Storage,
    pub(crate) calls: Calls,
    pub(crate) voicemail: Voicemail,
}

/// `[node]`: who and where this node is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// 1 to 16 characters, unlike any other node's of the company.
    pub(crate) name: String,
    /// Where the log is kept.
    pub(crate) data: PathBuf,
    /// The company's time zone, as in `Europe/Vienna`; spoken times are in it.
    pub(crate) time_zone: String,
    /// How long calls may go on after SIGTERM, in seconds.
    pub(crate) stop_grace_s: u64,
}

/// `[sip]`: how phones reach it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    /// The address told to phones, where it is not the one this machine has: behind NAT.
    pub(crate) advertise: Option<IpAddr>,
    /// Part of every stored password hash: changing it asks for new passwords.
    pub(crate) realm: String,
    /// Source addresses whose calls are taken without a password, as from a gateway.
    pub(crate) trusted: Vec<String>,
    /// Calls and other transactions being set up at once; more get 503.
    pub(crate) transactions_max: usize,
}

/// `[rtp]`: where sound goes in and out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rtp {
    /// First and last port, as in `10000-20000`.
    pub(crate) ports: PortRange,
    /// Media threads; 0: one per core.
    pub(crate) workers: usize,
    /// A call whose party is silent this long (no RTP, no RTCP) is ended, in seconds.
    pub(crate) timeout_s: u64,
    /// Spoken prompts: WAV files by name.
    pub(crate) prompts: Option<PathBuf>,
}

/// `[portal]`: HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Portal {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
}

/// `[storage]`: the log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    /// Size of one log file, in MiB.
    pub(crate) segment_mib: u64,
    /// Kept free on the disk for settings and seals when sound has filled the rest, in MiB.
    pub(crate) reserve_mib: u64,
}

/// `[calls]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Calls {
    /// How long a phone rings before the mailbox answers, in seconds.
    pub(crate) ring_s: u64,
    /// Calls at once; more are refused.
    pub(crate) max: usize,
}

/// `[voicemail]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Voicemail {
    /// Longest message, in seconds.
    pub(crate) message_max_s: u64,
    /// Messages with less speech than this are dropped, in milliseconds.
    pub(crate) message_min_ms: u64,
    /// This much silence ends a message, in seconds.
    pub(crate) silence_s: u64,
    /// `asterisk` or `intuity`: which keys do what while listening.
    pub(crate) keys: String,
}

/// An inclusive range of ports, written `A-B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// One thing that is wrong with a configuration, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: String,
    /// 1-based; 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Config {
    /// Reads a file; gives every fault that could be found.
    pub(crate) fn read(path: &Path) -> Result<Config, Vec<Fault>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            vec![Fault {
                file: file.clone(),
                line: 0,
                what: format!("cannot be read: {e}"),
            }]
        })?;
        Config::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Config, Vec<Fault>> {
        let config: Config = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |s| line_of(text, s.start));
            vec![Fault {
                file: file.into(),
                line,
                what: e.message().replace('\n', " "),
            }]
        })?;
        let faults: Vec<Fault> = config
            .wrong_values()
            .into_iter()
            .map(|(key, what)| Fault {
                file: file.into(),
                line: line_of_key(text, key),
                what,
            })
            .collect();
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults)
        }
    }

    /// Values that are of the right type and yet cannot work: key as `section.name`, and why.
    pub(crate) fn wrong_values(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Err(e) = self.node.name.parse::<NodeName>() {
            wrong.push(("node.name", format!("'{}': {e}", self.node.name)));
        }
        if self.rtp.ports.last - self.rtp.ports.first < 3 {
            wrong.push((
                "rtp.ports",
                "a call needs four ports; widen the range".into(),
            ));
        }
        for network in &self.sip.trusted {
            if parse_network(network).is_none() {
                let what = format!("'{network}' is not an address or network, as in 10.0.0.0/8");
                wrong.push(("sip.trusted", what));
            }
        }
        if !(4..=1024).contains(&self.storage.segment_mib) {
            wrong.push(("storage.segment_mib", "must be 4 to 1024".into()));
        }
        for (key, value, least, most) in [
            ("sip.port", u64::from(self.sip.port), 1, 65_535),
            (
                "sip.transactions_max",
                self.sip.transactions_max as u64,
                1,
                1_000_000,
            ),
            ("rtp.workers", self.rtp.workers as u64, 0, 1024),
            ("rtp.timeout_s", self.rtp.timeout_s, 1, 86_400),
            ("portal.port", u64::from(self.portal.port), 1, 65_535),
            ("calls.ring_s", self.calls.ring_s, 1, 600),
            ("calls.max", self.calls.max as u64, 1, 1_000_000),
            (
                "voicemail.message_max_s",
                self.voicemail.message_max_s,
                1,
                3600,
            ),
            ("voicemail.silence_s", self.voicemail.silence_s, 1, 3600),
        ] {
            if !(least..=most).contains(&value) {
                wrong.push((key, format!("must be {least} to {most}")));
            }
        }
        if self.voicemail.message_min_ms >= self.voicemail.message_max_s.saturating_mul(1000) {
            let what = "the shortest message must be shorter than message_max_s".into();
            wrong.push(("voicemail.message_min_ms", what));
        }
        if !["asterisk", "intuity"].contains(&self.voicemail.keys.as_str()) {
            wrong.push((
                "voicemail.keys",
                "must be \"asterisk\" or \"intuity\"".into(),
            ));
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

    /// What call control is told of it.
    pub(crate) fn pbx(&self) -> PbxConfig {
        PbxConfig {
            ring_for: Duration::from_secs(self.calls.ring_s),
            calls_max: self.calls.max,
            message_max: Duration::from_secs(self.voicemail.message_max_s),
            message_min: Duration::from_millis(self.voicemail.message_min_ms),
            silence_for: Duration::from_secs(self.voicemail.silence_s),
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
            ("portal", self.portal != new.portal),
            ("storage", self.storage != new.storage),
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

/// Reads `10.0.0.0/8` or `10.0.0.1`.
pub(crate) fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(length_max), |l| l.parse().ok())?;
    (length <= length_max).then_some((address, length))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

/// The line on which `section.name` is set, or that of its section, or 0.
fn line_of_key(text: &str, key: &str) -> usize {
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

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<PortRange, String> {
        text.parse()
    }
}

impl std::str::FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<PortRange, String> {
        let wrong = || format!("'{text}' is not a range of ports, as in 10000-20000");
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first < 1024 || last < first {
            return Err(wrong());
        }
        Ok(PortRange { first, last })
    }
}

impl Default for Node {
    fn default() -> Self {
        Node {
            name: "office".into(),
            data: PathBuf::from("/var/lib/tandem"),
            time_zone: "UTC".into(),
            stop_grace_s: 30,
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Sip {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 5060,
            advertise: None,
            realm: "tandem".into(),
            trusted: Vec::new(),
            transactions_max: 8192,
        }
    }
}

impl Default for Rtp {
    fn default() -> Self {
        Rtp {
            ports: PortRange {
                first: 10_000,
                last: 20_000,
            },
            workers: 0,
            timeout_s: 60,
            prompts: None,
        }
    }
}

impl Default for Portal {
    fn default() -> Self {
        Portal {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            segment_mib: 32,
            reserve_mib: 64,
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            ring_s: 20,
            max: 4000,
        }
    }
}

impl Default for Voicemail {
    fn default() -> Self {
        Voicemail {
            message_max_s: 180,
            message_min_ms: 1000,
            silence_s: 5,
            keys: "asterisk".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = Config::parse("tandem.toml", text).err().unwrap_or_default();
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
    fn a_number_with_which_no_call_could_live_is_refused() {
        let faults = faults(
            "[rtp]\ntimeout_s = 0\n[calls]\nmax = 0\n[voicemail]\nmessage_min_ms = 200000\n\
             silence_s = 0\n[sip]\ntransactions_max = 0\n",
        );
        assert_eq!(
            faults,
            [
                "tandem.toml:9: must be 1 to 1000000",
                "tandem.toml:2: must be 1 to 86400",
                "tandem.toml:4: must be 1 to 1000000",
                "tandem.toml:7: must be 1 to 3600",
                "tandem.toml:6: the shortest message must be shorter than message_max_s",
            ]
        );
    }

    #[test]
    fn only_what_cannot_change_while_running_needs_a_restart() {
        let parse = |text: &str| Config::parse("tandem.toml", text).unwrap();
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
