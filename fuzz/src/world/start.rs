//! How a node starts on what is on its disk: the log is read, the office written if there is none.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tandem_node::NodeConfig;
use tandem_pbx::PbxConfig;
use tandem_pbx::office::group::{Group, Overflow, Strategy, group_key};
use tandem_pbx::office::{self, Account};
use tandem_sip_shim::{ShimConfig, Trusted};
use tandem_storage::cipher::Keyring;
use tandem_storage::gate::GateConfig;
use tandem_storage::link::frame::VERSIONS;
use tandem_storage::link::{Link, LinkConfig, LinkInput};
use tandem_storage::name::NodeName;
use tandem_storage::seam::{Hlc, LOCAL_REGISTERS};
use tandem_storage::sim::{SimDisk, SimLog};
use tandem_storage::site::{Members, cert_register_key, value};
use tandem_storage::time::Time;

use super::SEGMENT_BYTES;
use super::node::{at, peers};
use super::oracle::Oracle;
use super::phone::Who;
use super::sip;

/// Phones from here are trusted, as a gateway.
const TRUSTED: &str = "10.9.0.0/16";
const REALM: &str = "tandem";

/// What has been read and is ready to run.
pub(super) struct Start {
    pub(super) n: usize,
    pub(super) name: NodeName,
    pub(super) address: SocketAddr,
    pub(super) core: tandem_node::Node,
    pub(super) log: SimLog,
    pub(super) link: Option<Link>,
    /// Registers to be written.
    pub(super) office: Vec<(String, Option<String>)>,
    pub(super) wall_ms: u64,
}

/// Where and as what a node starts.
pub(super) struct Place<'a> {
    /// Which of the world's.
    pub(super) n: usize,
    /// How many there are.
    pub(super) count: usize,
    /// No epoch below this: those have been used.
    pub(super) epoch_min: u32,
    /// It writes the office, if there is none; others get it from it.
    pub(super) writes_office: bool,
    pub(super) people: &'a [Who],
    pub(super) wall_ms: u64,
}

/// Its name.
pub(super) fn name(n: usize) -> NodeName {
    format!("n{n}").parse().expect("a legal name")
}

/// Where it listens.
pub(super) fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8 + 1], 5060))
}

impl Start {
    /// Reads the disk.
    pub(super) fn on(
        now: Time,
        disk: SimDisk,
        place: &Place<'_>,
        oracle: &mut Oracle,
        rng: &mut ChaCha8Rng,
    ) -> Start {
        let n = place.n;
        let (name, address) = (name(n), address(n));
        let here = at(now, place.wall_ms);
        let epoch_min = (place.count > 1).then_some(place.epoch_min);
        let opened = SimLog::open_for_link(disk, name, here, epoch_min).expect("our own disk");
        assert_eq!(opened.loaded.ending.records_lost, 0, "{:?}", opened.loaded);
        assert_eq!(opened.loaded.ending.damages, 0, "{:?}", opened.loaded);
        let (mut log, view, mut ids) = (opened.log, opened.view, opened.ids);
        oracle.on_restart(n, &view, log.disk_mut());
        let mut office = Vec::new();
        let mut members = Vec::new();
        if place.writes_office && view.registers("user/").next().is_none() {
            for who in users(place.people) {
                let pin = format!("pin:{}", who.pin);
                let id = ids.next_id();
                let user = office::new_user(id, &account(who), &pin);
                office.extend(
                    user.into_iter()
                        .map(|(key, value)| (key.to_string(), Some(value.to_string()))),
                );
                members.push(id);
            }
            let group = Group {
                extension: "600".into(),
                name: "Everybody".into(),
                members,
                strategy: Strategy::All,
                ring_s: 15,
                overflow: Overflow::Mailbox,
                schedule: None,
                night: Overflow::Mailbox,
            };
            let group = serde_json::to_string(&group).expect("plain data");
            office.push((group_key(ids.next_id()).to_string(), Some(group)));
        }
        let members = (place.count > 1).then(|| {
            // Told with the papers; what the log says later counts.
            let mut members = Members::default();
            for n in 0..place.count {
                let key = cert_register_key(self::name(n));
                members.take(&key, Hlc(1), Some(&value("paper")));
            }
            Members::read(&view, members)
        });
        let link = members.as_ref().map(|members| {
            let kept = view.registers(LOCAL_REGISTERS);
            let config = LinkConfig {
                node: name,
                epoch: ids.epoch(),
                found: opened.loaded.found,
                kept: kept
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
                send_bytes_per_s: 0,
                away_after: Duration::from_secs(rng.random_range(1..6)),
                segment_bytes: SEGMENT_BYTES,
                versions: (1, rng.random_range(1..=VERSIONS.1)),
                seed: rng.random(),
            };
            let mut link = Link::new(config, now);
            link.handle(now, LinkInput::Peers(peers(members, name)));
            link
        });
        let config = NodeConfig {
            pbx: PbxConfig {
                message_max: Duration::from_secs(30),
                ..PbxConfig::default()
            },
            shim: shim_config(address),
            seed: rng.random(),
            gate: GateConfig {
                node: name,
                waits: members.is_some(),
                deadline: Duration::from_millis(250),
            },
            members,
            keys: Keyring::default(),
            stop_grace: Duration::from_secs(30),
        };
        Start {
            n,
            name,
            address,
            core: tandem_node::Node::new(config, view, ids, here),
            log,
            link,
            office,
            wall_ms: place.wall_ms,
        }
    }
}

/// One a user.
fn users(people: &[Who]) -> Vec<&Who> {
    let users = people.iter().filter(|who| !who.password.is_empty());
    let mut users: Vec<&Who> = users.collect();
    users.sort_by(|a, b| a.extension.cmp(&b.extension));
    users.dedup_by(|a, b| a.extension == b.extension);
    users
}

fn account(who: &Who) -> Account {
    let (md5, sha256) = sip::ha1(&who.extension, REALM, &who.password);
    Account {
        extension: who.extension.as_str().into(),
        name: "Somebody".into(),
        ha1_md5: md5.into(),
        ha1_sha256: sha256.into(),
    }
}

fn shim_config(address: SocketAddr) -> ShimConfig {
    ShimConfig {
        advertise: address.ip(),
        realm: REALM.into(),
        trusted: vec![Trusted::gateway(
            TRUSTED.parse().expect("a block of addresses"),
        )],
        session_expires_s: 120,
        ..ShimConfig::default()
    }
}
