//! Who belongs to the company, and where they are reached: registers in the log, so that every
//! node learns of them as of everything else.
//!
//! | key | value (JSON string) |
//! |---|---|
//! | `node/NAME/cert` | fingerprint of its certificate; written by the node that let it in; removed: it is no member |
//! | `node/NAME/address` | `host:port` of its link; written by itself |
//! | `node/NAME/backups` | names of the nodes that keep the sound it records, with spaces between; removed: all do |
//!
//! Each in a register of its own, so that a node that moves while it is being removed does not
//! come back by it. A node that joins again under its name has another certificate: with the old
//! one nobody is let in any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ca::Fingerprint;
use crate::link::PeerConfig;
use crate::name::NodeName;
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
}

impl Member {
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

/// A value as its register has it.
pub fn value(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The register that lets a node in.
pub fn cert_key(node: NodeName) -> String {
    format!("node/{node}/cert")
}

/// The register that says where a node is.
pub fn address_key(node: NodeName) -> String {
    format!("node/{node}/address")
}

/// The register that says who keeps the sound a node records.
pub fn backups_key(node: NodeName) -> String {
    format!("node/{node}/backups")
}

impl Members {
    /// As the log says it; where it says nothing, as it is in `kept`.
    pub fn read(view: &View, kept: Members) -> Members {
        let mut members = kept;
        for member in &mut members.0 {
            if view.is_removed(&cert_key(*member.0)) {
                member.1.cert = None;
            }
        }
        for (key, value) in view.registers("node/") {
            members.apply(key, Some(value));
        }
        members
    }

    /// Takes in a register, if it is one of a member. True: something changed.
    pub fn apply(&mut self, key: &str, value: Option<&str>) -> bool {
        let Some((name, what)) = key.strip_prefix("node/").and_then(|k| k.split_once('/')) else {
            return false;
        };
        let Ok(node) = name.parse() else { return false };
        if !self.0.contains_key(&node) && self.0.len() >= MEMBERS_MAX {
            return false;
        }
        let member = self.0.entry(node).or_default();
        let field = match what {
            "cert" => &mut member.cert,
            "address" => &mut member.address,
            "backups" => &mut member.backups,
            _ => return false,
        };
        let value = value.and_then(|json| serde_json::from_str::<String>(json).ok());
        let value = value.filter(|text| text.len() <= TEXT_LEN_MAX);
        let changed = *field != value;
        *field = value;
        changed
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, node: NodeName, member: Member) {
        if self.0.len() < MEMBERS_MAX || self.0.contains_key(&node) {
            self.0.insert(node, member);
        }
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

    /// By name, as a file keeps them.
    pub(super) fn to_map(&self) -> BTreeMap<String, Member> {
        self.iter()
            .map(|(node, member)| (node.to_string(), member.clone()))
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

    #[test]
    fn a_member_is_who_has_a_certificate() {
        let mut members = Members::default();
        let node: NodeName = "b".parse().unwrap();
        assert!(members.apply(&address_key(node), Some("\"192.0.2.1:7650\"")));
        assert_eq!(members.get(node), None);
        assert!(members.apply(&cert_key(node), Some("\"ab\"")));
        assert!(
            !members.apply(&cert_key(node), Some("\"ab\"")),
            "nothing new"
        );
        assert_eq!(members.by_cert("ab"), Some(node));
        assert!(members.apply(&cert_key(node), None));
        assert_eq!((members.get(node), members.by_cert("ab")), (None, None));
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
            assert!(!members.apply(key, Some("\"x\"")), "{key}");
        }
        assert_eq!(members.iter().count(), 0);
    }
}
