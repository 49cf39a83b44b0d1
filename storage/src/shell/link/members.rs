//! Who belongs to the cluster, and where they are reached: registers in the log, so that every
//! node learns of them as of everything else.
//!
//! | key | value (JSON string) |
//! |---|---|
//! | `node/NAME/cert` | fingerprint of its certificate; written by the node that let it in; removed: it is no member |
//! | `node/NAME/address` | `host:port` of its link; written by itself |
//! | `node/NAME/epoch` | the epoch of its log, written by itself at start: a machine that takes its place begins above |
//! | `node/NAME/backups` | names of the nodes that keep the sound it records, with spaces between; removed: all do |
//!
//! Each in a register of its own, so that a node that moves while it is being removed does not
//! come back by it. A node that joins again under its name has another certificate: with the old
//! one nobody is let in any more.
//!
//! What counts is what the view says, which merges all that came in any order, and never a record
//! alone. A log that was damaged or lost may know less than was known before: so what is kept beside it has
//! the time of each value, and of two the later one counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ca::Fingerprint;
use crate::link::PeerConfig;
use crate::name::NodeName;
use crate::seam::Hlc;
use crate::view::View;

/// More registers of members than this are not looked at.
pub const MEMBERS_MAX: usize = 64;

/// The longest address, fingerprint, or list of names.
const TEXT_LEN_MAX: usize = 2048;

/// A node, as the others know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its certificate. `None`: it is not, or no longer, a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<Fingerprint>,
    /// Where its link listens; not known until it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Who keeps the sound it records, with spaces between the names. `None`: all nodes do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<String>,
    /// The epoch of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<String>,
    /// Where its link was said to be by whoever brought a token from there (`join.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) told_address: Option<String>,
    /// Since when each of them is so.
    #[serde(default)]
    pub(super) since: Since,
}

/// Since when a member's values are so, by the hybrid clocks of those who wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Since {
    cert: u64,
    address: u64,
    backups: u64,
    #[serde(default)]
    epoch: u64,
}

impl Member {
    /// Where its link may be, the likeliest first.
    pub(super) fn addresses(&self) -> Vec<String> {
        let told = self.told_address.iter();
        let told = told.filter(|told| Some(*told) != self.address.as_ref());
        self.address.iter().chain(told).cloned().collect()
    }

    /// Itself as a peer of the node `own`.
    pub(super) fn as_peer(&self, name: NodeName, own: NodeName) -> PeerConfig {
        let backups = self.backups.as_deref();
        let keep_sound = backups.is_none_or(|names| names.split(' ').any(|n| n == own.as_str()));
        PeerConfig { name, keep_sound }
    }
}

/// All nodes that were ever heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(BTreeMap<NodeName, Member>);

/// The registers of members begin with this.
const MEMBER_REGISTERS: &str = "node/";

fn split(key: &str) -> Option<(NodeName, &str)> {
    let (name, what) = key.strip_prefix(MEMBER_REGISTERS)?.split_once('/')?;
    Some((name.parse().ok()?, what))
}

/// A value as its register has it.
pub fn value(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The register that lets a node in.
pub fn cert_register_key(node: NodeName) -> String {
    format!("node/{node}/cert")
}

/// The register that says where a node is.
pub fn address_register_key(node: NodeName) -> String {
    format!("node/{node}/address")
}

/// The register that says in which epoch a node's log is.
pub fn epoch_register_key(node: NodeName) -> String {
    format!("node/{node}/epoch")
}

/// The register that says who keeps the sound a node records.
pub fn backups_register_key(node: NodeName) -> String {
    format!("node/{node}/backups")
}

impl Members {
    /// As the log says it; where what was `kept` is later, as that says.
    pub fn read(view: &View, kept: Members) -> Members {
        let mut members = kept;
        for key in view.keys(MEMBER_REGISTERS) {
            members.see(view, key);
        }
        members
    }

    /// Takes in what the view says of a register now, if it is one of a member. True: something changed.
    pub fn see(&mut self, view: &View, key: &str) -> bool {
        let said = view.stamped(key);
        said.is_some_and(|(stamp, value)| self.take(key, stamp.hlc, value))
    }

    /// Takes in a register's value and since when it has it, unless a later one is known. True: something
    /// changed.
    pub fn take(&mut self, key: &str, at: Hlc, value: Option<&str>) -> bool {
        let Some((node, what)) = split(key) else {
            return false;
        };
        if !self.0.contains_key(&node) && self.0.len() >= MEMBERS_MAX {
            return false;
        }
        let member = self.0.entry(node).or_default();
        let (field, since) = match what {
            "cert" => (&mut member.cert, &mut member.since.cert),
            "address" => (&mut member.address, &mut member.since.address),
            "backups" => (&mut member.backups, &mut member.since.backups),
            "epoch" => (&mut member.epoch, &mut member.since.epoch),
            _ => return false,
        };
        if at.0 < *since {
            return false;
        }
        *since = at.0;
        let value = value.and_then(|json| serde_json::from_str::<String>(json).ok());
        let value = value.filter(|text| text.len() <= TEXT_LEN_MAX);
        let changed = *field != value;
        *field = value;
        changed
    }

    /// Where a node's link is, told from outside. It counts beside what that node has said itself.
    pub(super) fn tell_address(&mut self, node: NodeName, address: &str) {
        if let Some(member) = self.0.get_mut(&node) {
            member.told_address = Some(address.to_owned());
        }
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, node: NodeName, member: Member) {
        if self.0.len() < MEMBERS_MAX || self.0.contains_key(&node) {
            self.0.insert(node, member);
        }
    }

    /// One that was ever heard of.
    pub(super) fn ever_heard(&self, node: NodeName) -> Option<&Member> {
        self.0.get(&node)
    }

    /// One that is a member now.
    pub fn get(&self, node: NodeName) -> Option<&Member> {
        self.0.get(&node).filter(|member| member.cert.is_some())
    }

    /// `node` is a member now, and by this certificate.
    pub(super) fn has(&self, node: NodeName, cert: &str) -> bool {
        self.get(node)
            .is_some_and(|member| member.cert.as_deref() == Some(cert))
    }

    /// Those who are members now.
    pub fn iter(&self) -> impl Iterator<Item = (NodeName, &Member)> {
        let members = self.0.iter().filter(|(_, member)| member.cert.is_some());
        members.map(|(node, member)| (*node, member))
    }

    /// Who shows this certificate.
    pub(super) fn by_cert(&self, cert: &str) -> Option<NodeName> {
        self.iter()
            .find(|(_, member)| member.cert.as_deref() == Some(cert))
            .map(|(node, _)| node)
    }

    /// Everybody who was ever heard of: who it is, and the certificate if it is a member.
    pub(super) fn ever(&self) -> impl Iterator<Item = (NodeName, Option<&str>)> {
        let all = self.0.iter();
        all.map(|(node, member)| (*node, member.cert.as_deref()))
    }

    /// By name, as a file keeps them.
    /// Those who are no members any more are in it, too.
    pub(super) fn to_map(&self) -> BTreeMap<String, Member> {
        let all = self.0.iter();
        all.map(|(node, member)| (node.to_string(), member.clone()))
            .collect()
    }

    /// From a file or a peer. What is no name is left out.
    pub(super) fn from_map(map: BTreeMap<String, Member>) -> Members {
        let named = map
            .into_iter()
            .filter_map(|(name, m)| Some((name.parse().ok()?, m)));
        Members(named.take(MEMBERS_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{Committed, Payload, Stamp};

    /// A view that was told so in this order, at these times.
    fn view(said: &[(u64, String, Option<&str>)]) -> View {
        let mut view = View::new();
        for (seq, (at, key, value)) in (1..).zip(said) {
            let stamp = Stamp {
                hlc: Hlc(*at),
                node: "a".parse().unwrap(),
                epoch: 1,
                seq,
            };
            let value = value.map(|text| super::value(text).into());
            let key = key.as_str().into();
            let what = Payload::Register { key, value };
            view.apply(&Committed {
                stamp,
                what,
                segment: 1,
            });
        }
        view
    }

    fn b() -> NodeName {
        "b".parse().unwrap()
    }

    #[test]
    fn a_member_is_who_has_a_certificate() {
        let mut members = Members::default();
        let told = view(&[(1, address_register_key(b()), Some("192.0.2.1:7650"))]);
        assert!(members.see(&told, &address_register_key(b())));
        assert_eq!(members.get(b()), None);
        let told = view(&[(2, cert_register_key(b()), Some("ab"))]);
        assert!(members.see(&told, &cert_register_key(b())));
        assert!(!members.see(&told, &cert_register_key(b())), "nothing new");
        assert_eq!(members.by_cert("ab"), Some(b()));
        assert!(members.see(
            &view(&[(3, cert_register_key(b()), None)]),
            &cert_register_key(b())
        ));
        assert_eq!((members.get(b()), members.by_cert("ab")), (None, None));
    }

    #[test]
    fn an_old_record_that_comes_late_lets_nobody_in() {
        let removed = (9, cert_register_key(b()), None);
        let late = (5, cert_register_key(b()), Some("ab"));
        let mut members = Members::read(&view(std::slice::from_ref(&removed)), Members::default());
        assert!(!members.see(&view(&[removed, late.clone()]), &cert_register_key(b())));
        assert_eq!(members.get(b()), None);
        // Nor does one that is all that a damaged log still knows, or a lost one had back from others.
        let kept = Members::from_map(members.to_map());
        let members = Members::read(&view(&[late]), kept);
        assert_eq!(members.get(b()), None);
    }

    #[test]
    fn of_what_is_kept_and_what_the_log_says_the_later_counts() {
        let old = view(&[(5, cert_register_key(b()), Some("old"))]);
        let new = view(&[(6, cert_register_key(b()), Some("new"))]);
        let [kept_old, kept_new] = [&old, &new].map(|v| Members::read(v, Members::default()));
        assert_eq!(Members::read(&new, kept_old).by_cert("new"), Some(b()));
        assert_eq!(Members::read(&old, kept_new).by_cert("new"), Some(b()));
    }

    #[test]
    fn what_is_no_members_register_changes_nothing() {
        let mut members = Members::default();
        for key in [
            "node/",
            "node/b",
            "node/B/cert",
            "node/b/colour",
            "user/b/cert",
        ] {
            let said = view(&[(1, key.to_owned(), Some("x"))]);
            assert!(!members.see(&said, key), "{key}");
        }
        assert_eq!(members.iter().count(), 0);
    }
}
