//! The other nodes, as call control and commands see them: who belongs to the cluster, and how far
//! the copies are.
//!
//! Members are registers in the log (`tandem_storage::site`). The node learns of a change when it is
//! durable and passes it on to the link, which writes it down beside the certificates.

use serde_json::{Value, json};
use tandem_storage::View;
use tandem_storage::gate::GateStatus;
use tandem_storage::link::{LinkStatus, PeerStatus, Position};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::site::{
    LinkStats, Linker, Members, address_register_key, epoch_register_key, value,
};

use crate::control::{Ask, ControlHandle};

/// This node and its link to the others.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// This node's name.
    own: NodeName,
    linker: Linker,
}

impl Cluster {
    pub(crate) fn new(own: NodeName, linker: Linker) -> Cluster {
        Cluster { own, linker }
    }

    /// Tells the link who belongs to the cluster now.
    pub(crate) fn members(&self, members: Members) {
        self.linker.members(members);
    }

    /// Somebody wants to hear a sound that another node recorded. `chunks` of it are here.
    pub(crate) fn want(&self, sound: Id, sealed: Position, chunks: u32) {
        self.linker.want(sound, sealed, chunks);
    }

    /// How the link stands.
    pub(crate) fn link(&self) -> LinkStatus {
        self.linker.status()
    }

    /// What its threads have counted.
    pub(crate) fn link_stats(&self) -> LinkStats {
        self.linker.stats()
    }

    /// For `tandem status` and `tandem site list`: one row a node.
    pub(crate) fn rows(&self, members: &Members) -> Value {
        let status = self.link();
        let rows = members.iter().map(|(name, member)| {
            let peer = status.peers.iter().find(|peer| peer.name == name);
            let mut row = json!({
                "name": name.as_str(),
                "address": member.address,
                "sound_kept_by": member.backups.as_deref().unwrap_or("all"),
            });
            match peer {
                _ if name == self.own => row["state"] = "this node".into(),
                None => row["state"] = "unknown".into(),
                Some(peer) => fill(&mut row, peer),
            }
            row
        });
        rows.collect()
    }

    /// For `tandem status`: what is missing where.
    pub(crate) fn status(&self, gate: GateStatus) -> Value {
        let link = self.link();
        let names = |wanted: fn(&PeerStatus) -> bool| -> Vec<String> {
            let peers = link.peers.iter().filter(|peer| wanted(peer));
            peers.map(|peer| peer.name.to_string()).collect()
        };
        let behind = link
            .peers
            .iter()
            .filter(|peer| peer.to_send_bytes != Some(0));
        let missing: Vec<Value> = behind
            .map(|peer| {
                json!({
                    "at": peer.name.as_str(),
                    "bytes": peer.to_send_bytes,
                    "takes_s": peer.to_send_time.map(|time| time.as_secs_f64().ceil()),
                })
            })
            .collect();
        json!({
            "nodes_up": names(|peer| peer.is_up),
            "nodes_away": names(|peer| !peer.is_up),
            "copies_now": 1 + gate.backups,
            "copies_behind": gate.behind,
            "saved_with_copy": gate.copied,
            "saved_alone": gate.alone + gate.alone_late,
            "saved_alone_late": gate.alone_late,
            "missing": missing,
            "missing_here_of": names(|peer| !peer.is_whole),
        })
    }
}

fn fill(row: &mut Value, peer: &PeerStatus) {
    row["state"] = if peer.is_up { "up" } else { "away" }.into();
    row["away_why"] = match peer.away_why {
        Some(why) if !peer.is_up => why.to_string().into(),
        _ => Value::Null,
    };
    row["has_our_sound"] = peer.is_backup.into();
    row["has_ours_up_to"] = match peer.acked.seq {
        0 => Value::Null,
        seq => format!("{}.{seq}", peer.acked.epoch).into(),
    };
    row["lacks_of_ours_bytes"] = peer.to_send_bytes.into();
    row["takes_s"] = json!(peer.to_send_time.map(|time| time.as_secs_f64().ceil()));
    row["we_have_all_of_theirs"] = peer.is_whole.into();
}

/// Writes in which epoch this node's log is, and where its link is if the log says something else.
/// A node serves even if its log does not take this.
pub(crate) async fn write_self(
    view_says: Option<String>,
    node: NodeName,
    epoch: u32,
    address: &str,
    control: &ControlHandle,
) -> Result<(), String> {
    let mut registers = vec![(epoch_register_key(node), Some(value(&epoch.to_string())))];
    let address = value(address);
    if view_says.as_deref() != Some(&address) {
        registers.push((address_register_key(node), Some(address)));
    }
    match control.ask(Ask::Registers(registers)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => {
            tracing::warn!("the other nodes are not told of this one's start: {e}");
            Ok(())
        }
        Err(_) => Err("call control died; see the log lines".into()),
    }
}

/// What the log says of where a node's link is.
pub(crate) fn address_in(view: &View, node: NodeName) -> Option<String> {
    view.register(&address_register_key(node))
        .map(str::to_owned)
}
