//! The sections of the file, and their defaults.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::Deserialize;
use tandem_engine::seam::Codec;
use tandem_pbx::seam::ClassOfService;
use tandem_sip_shim::{NetError, Transport, Trusted};

/// `[node]`: who and where this node is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// 1 to 16 characters, unlike any other node's of the cluster.
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
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    /// The address told to phones, where it is not the one this machine has: behind NAT.
    pub(crate) advertise: Option<IpAddr>,
    /// Part of every stored password hash: changing it asks for new passwords.
    pub(crate) realm: String,
    /// Gateways and front ends whose calls are taken without a password.
    pub(crate) trusted: Vec<TrustedPeer>,
    /// Calls and other transactions being set up at once; more get 503.
    pub(crate) transactions_max: usize,
}

/// A gateway, as an address alone or with what else is known of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(untagged)]
pub(crate) enum TrustedPeer {
    Address(String),
    Record(TrustedRecord),
}

/// `[[sip.trusted]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustedRecord {
    /// An address, or a network as in `10.0.0.0/24`.
    pub(crate) address: String,
    /// `"udp"` or `"tcp"`; unset: either.
    pub(crate) transport: Option<SipTransport>,
    /// It is a SIP front end and answers for all whose calls it passes on.
    #[serde(default)]
    pub(crate) proxy: bool,
    /// What it says about who calls is believed.
    #[serde(default = "yes")]
    pub(crate) asserts_identity: bool,
    /// What its calls may reach.
    #[serde(default)]
    pub(crate) class_of_service: PeerClass,
}

/// How SIP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub(crate) enum SipTransport {
    Udp,
    Tcp,
}

/// What a gateway's calls may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub(crate) enum PeerClass {
    /// Users, leaving messages, the echo, the clock.
    Public,
    /// Mailboxes as well, with their PIN.
    #[default]
    Internal,
}

fn yes() -> bool {
    true
}

impl TrustedPeer {
    pub(crate) fn address(&self) -> &str {
        match self {
            TrustedPeer::Address(address) => address,
            TrustedPeer::Record(record) => &record.address,
        }
    }

    /// As the shim wants to know it.
    pub(crate) fn trusted(&self) -> Result<Trusted, NetError> {
        let gateway = Trusted::gateway(self.address().parse()?);
        let TrustedPeer::Record(record) = self else {
            return Ok(gateway);
        };
        Ok(Trusted {
            transport: record.transport.map(|transport| match transport {
                SipTransport::Udp => Transport::Udp,
                SipTransport::Tcp => Transport::Tcp,
            }),
            is_proxy: record.proxy,
            asserts_identity: record.asserts_identity,
            class: match record.class_of_service {
                PeerClass::Public => ClassOfService::Public,
                PeerClass::Internal => ClassOfService::Internal,
            },
            ..gateway
        })
    }
}

/// `[rtp]`: where sound goes in and out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
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

/// `[media]`: what is spoken.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    /// The codecs that may be spoken: `opus`, `g722`, `pcmu`, `pcma`; offered in this order, after
    /// those of the caller.
    pub(crate) codecs: Vec<String>,
    /// Bits a second of the Opus we send.
    pub(crate) opus_bitrate_bps: u64,
    /// Work put into it, 0 to 10; less by itself while the machine does not keep up.
    pub(crate) opus_complexity: u64,
    /// Packets tell of the ones before them, should those be lost.
    pub(crate) opus_fec: bool,
    /// Nothing is sent while nothing is said.
    pub(crate) opus_dtx: bool,
}

/// `[link]`: how the cluster's other nodes reach it. Without other nodes nothing of it is used.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Link {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    /// `host:port` told to the other nodes, where it is not the one bound to: behind NAT.
    pub(crate) address: Option<String>,
    /// A node of which nothing was heard for so long is away, in milliseconds.
    pub(crate) away_after_ms: u64,
    /// Most that is sent to all other nodes together, in KiB a second; 0: no ceiling.
    pub(crate) send_kib_per_s: u64,
}

/// `[portal]`: HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Portal {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
}

/// `[storage]`: the log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    /// Size of one log file, in MiB.
    pub(crate) segment_mib: u64,
    /// Kept free on the disk for settings and seals when sound has filled the rest, in MiB.
    pub(crate) reserve_mib: u64,
    /// Destroyed sound is gone from the disk after so many hours; fractions count.
    pub(crate) destroy_within_h: f64,
    /// Every log file is read again, to see that it is whole, within so many days.
    pub(crate) scrub_every_days: u64,
    /// The call log is kept for so many days.
    pub(crate) entries_days: u64,
    /// 2: "saved" is said once another node has it, too, if one is there and keeps pace. 1: at once.
    pub(crate) copies: u64,
    /// The longest wait for that, in milliseconds.
    pub(crate) copy_within_ms: u64,
    /// New sound is encrypted with the key in this file; `tandem storage key` makes one.
    pub(crate) key_file: Option<PathBuf>,
    /// The same with a key made from the words in this file, the same on each node that has them.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Keys of before, to hear what was encrypted with them.
    pub(crate) old_key_files: Vec<PathBuf>,
}

/// `[backup]`: one each day.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// A directory, or `s3://BUCKET/PREFIX`; without it there are none. Keys for S3 are taken from the
    /// environment.
    pub(crate) to: Option<String>,
    /// Where S3 is, if not at Amazon.
    pub(crate) endpoint: Option<String>,
    /// Time of day, in the company's time zone.
    pub(crate) at: String,
    /// How many are kept.
    pub(crate) keep: usize,
}

/// `[calls]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Calls {
    /// How long a phone rings before the mailbox answers, in seconds.
    pub(crate) ring_s: u64,
    /// Calls at once; more are refused.
    pub(crate) max: usize,
    /// What a user presses in a call to transfer the other party; empty: nothing does.
    pub(crate) transfer_keys: String,
    /// Calls outside that one user may have at once, begin in an hour, and in a day.
    pub(crate) outside_at_once: u64,
    pub(crate) outside_an_hour: u64,
    pub(crate) outside_a_day: u64,
}

/// `[recording]`: of calls.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Recording {
    /// A recording is deleted after so many days, and then destroyed as a message is. Fractions count.
    pub(crate) keep_days: f64,
    /// The longest recording, in minutes.
    pub(crate) max_minutes: u64,
    /// Both parties hear a tone when it begins, pauses and goes on.
    pub(crate) beep: bool,
    /// What a user presses in a call to record it, to pause, and to go on; nothing: no keys do.
    pub(crate) keys: String,
}

/// `[voicemail]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Voicemail {
    /// Longest message, in seconds.
    pub(crate) message_max_s: u64,
    /// Messages with less speech than this are dropped, in milliseconds.
    pub(crate) message_min_ms: u64,
    /// This much silence ends a message, in seconds.
    pub(crate) silence_s: u64,
    /// How long a mailbox takes no PIN after three wrong ones, in seconds; each further time twice
    /// as long, up to an hour.
    pub(crate) pin_pause_s: u64,
    /// A deleted message can be had back for so many days; then it is destroyed. Fractions count.
    pub(crate) undelete_days: f64,
    /// The most messages in one mailbox, deleted ones not counted.
    pub(crate) messages_max: u64,
    /// The most minutes of messages in one mailbox, likewise.
    pub(crate) quota_minutes: u64,
    /// `asterisk` or `intuity`: which keys do what while listening.
    pub(crate) keys: String,
}

/// An inclusive range of ports, written `A-B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(try_from = "String")]
#[cfg_attr(test, serde(into = "String"))]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<PortRange, String> {
        text.parse()
    }
}

#[cfg(test)]
impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        format!("{}-{}", range.first, range.last)
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

impl Default for Media {
    fn default() -> Self {
        Media {
            codecs: ["opus", "g722", "pcmu", "pcma"].map(str::to_owned).into(),
            opus_bitrate_bps: 24_000,
            opus_complexity: 5,
            opus_fec: true,
            opus_dtx: false,
        }
    }
}

impl Media {
    /// The codecs by their names; `Err` is a name that is none.
    pub(crate) fn codecs(&self) -> Result<Vec<Codec>, String> {
        let known = |name: &String| match name.as_str() {
            "opus" => Ok(Codec::Opus),
            "g722" => Ok(Codec::G722),
            "pcmu" => Ok(Codec::Pcmu),
            "pcma" => Ok(Codec::Pcma),
            _ => Err(name.clone()),
        };
        self.codecs.iter().map(known).collect()
    }
}

impl Default for Link {
    fn default() -> Self {
        Link {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 7650,
            address: None,
            away_after_ms: 1000,
            send_kib_per_s: 0,
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
            destroy_within_h: 24.0,
            scrub_every_days: 30,
            entries_days: 732,
            copies: 2,
            copy_within_ms: 250,
            key_file: None,
            passphrase_file: None,
            old_key_files: Vec::new(),
        }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Backup {
            to: None,
            endpoint: None,
            at: "02:30".into(),
            keep: 30,
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            ring_s: 20,
            max: 4000,
            transfer_keys: "##".into(),
            outside_at_once: 5,
            outside_an_hour: 60,
            outside_a_day: 300,
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Recording {
            keep_days: 365.0,
            max_minutes: 240,
            beep: true,
            keys: "*3".into(),
        }
    }
}

impl Default for Voicemail {
    fn default() -> Self {
        Voicemail {
            message_max_s: 180,
            message_min_ms: 1000,
            silence_s: 5,
            pin_pause_s: 60,
            undelete_days: 30.0,
            messages_max: 5000,
            quota_minutes: 600,
            keys: "asterisk".into(),
        }
    }
}
