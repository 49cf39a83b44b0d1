//! Whether this machine belongs to a cluster, and the start of its link if it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tandem_storage::link::frame::VERSIONS;
use tandem_storage::link::{LinkConfig, LinkEvent, LogFound};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{ChunkPlace, LOCAL_REGISTERS};
use tandem_storage::site::{
    Door, LinkHelp, LinkParts, LinkSeat, Linker, Linking, Members, Site, WriteRegisters, link,
};
use tandem_storage::{Log, Tap, View};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::admin::Inviter;
use crate::cluster::Cluster;
use crate::config::{Config, Node};
use crate::control::{Ask, ControlHandle};

/// 2020-01-01: epochs of a cluster's nodes count the seconds since then.
const EPOCHS_SINCE: Duration = Duration::from_secs(1_577_836_800);

/// Who this node is.
pub(crate) struct Membership {
    pub(crate) node: NodeName,
    pub(crate) joined: Option<Joined>,
}

/// It belongs to a cluster.
pub(crate) struct Joined {
    site: Arc<Site>,
    members: Members,
    pub(crate) linker: Linker,
    pub(crate) tap: Tap,
    seat: LinkSeat,
}

/// What a link is started on.
pub(crate) struct LinkStart<'a> {
    pub(crate) config: &'a Config,
    pub(crate) log: &'a Log,
    pub(crate) view: &'a View,
    pub(crate) epoch: u32,
    pub(crate) found: LogFound,
}

impl Membership {
    /// As the data directory says.
    pub(crate) fn read(config: &Config) -> Result<Membership, String> {
        let named = config.node.name.parse();
        let named: NodeName = named.map_err(|e| format!("node.name: {e}"))?;
        let site = Site::open(&config.node.data).map_err(|e| e.to_string())?;
        let Some((site, members)) = site else {
            return Ok(Membership {
                node: named,
                joined: None,
            });
        };
        let node = site.node();
        // The name a configuration does not give is not held against it.
        if named != node && config.node.name != Node::default().name {
            return Err(format!(
                "[node] name is {named}, but this machine is node {node} of its cluster; leave the name out, or write {node}"
            ));
        }
        let (linker, tap, seat) = link();
        let site = Arc::new(site);
        let joined = Joined {
            site,
            members,
            linker,
            tap,
            seat,
        };
        Ok(Membership {
            node,
            joined: Some(joined),
        })
    }

    /// There are no other nodes.
    pub(crate) fn is_alone(&self) -> bool {
        let joined = self.joined.as_ref();
        joined.is_none_or(|joined| joined.members.iter().all(|(name, _)| name == self.node))
    }
}

impl Joined {
    /// The log is opened with no epoch below this: later than the clock and all that was noted, by chance.
    pub(crate) fn epoch_min(&self) -> u32 {
        epoch_min(epoch_of_now(), self.site.epoch_min(), rand::random())
    }
}

impl LinkStart<'_> {
    /// Opens the door and starts the link.
    pub(crate) async fn start(
        self,
        joined: Joined,
        handle: &ControlHandle,
        runtime: &Runtime,
    ) -> Result<(Members, Cluster, Inviter, Linking), String> {
        let Joined {
            site,
            members,
            linker,
            seat,
            ..
        } = joined;
        let members = Members::read(self.view, members);
        let settings = &self.config.link;
        let at = SocketAddr::new(settings.bind, settings.port);
        let (watch, watched) = watch::channel(members.clone());
        let door = Door::open(at, site.clone(), watched, writer(handle, runtime)).await;
        let door = door.map_err(|e| {
            format!("the link cannot listen on {e}; choose another port with [link] port")
        })?;
        let kept = self.view.registers(LOCAL_REGISTERS);
        let config = LinkConfig {
            node: site.node(),
            epoch: self.epoch,
            found: self.found,
            kept: kept
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            send_bytes_per_s: settings.send_kib_per_s << 10,
            away_after: Duration::from_millis(settings.away_after_ms),
            segment_bytes: self.config.storage.segment_mib << 20,
            versions: VERSIONS,
            seed: rand::random(),
        };
        let parts = LinkParts {
            config,
            log: self.log.clone(),
            site: site.clone(),
            members: members.clone(),
            watch,
            door,
            runtime: runtime.handle().clone(),
        };
        let linking = Linking::start(seat, parts, Help(handle.clone()))
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        let inviter = Inviter {
            site: site.clone(),
            address: self.config.link_address(),
        };
        let cluster = Cluster::new(site.node(), linker);
        Ok((members, cluster, inviter, linking))
    }
}

/// A start takes one of so many epochs by chance. Without it two copies of one disk that start in the
/// same second, as after a power cut, would write different records under the same numbers.
const CHANCES: u32 = 1024;

fn epoch_min(by_clock: u32, noted: u32, chance: u32) -> u32 {
    by_clock.max(noted).saturating_add(chance % CHANCES)
}

/// Seconds since 2020: a log begun anew never opens an epoch that the one before had.
fn epoch_of_now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now.unwrap_or_default().saturating_sub(EPOCHS_SINCE);
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// How the door writes down who has joined.
fn writer(handle: &ControlHandle, runtime: &Runtime) -> WriteRegisters {
    let (handle, runtime) = (handle.clone(), runtime.handle().clone());
    Arc::new(move |registers| {
        let (reply, answer) = oneshot::channel();
        let written = handle.ask(Ask::Registers(registers));
        runtime.spawn(async move {
            let stopping = |_| Err("the node is stopping".to_owned());
            let written = written.await.unwrap_or_else(stopping).map(drop);
            reply.send(written).ok();
        });
        answer
    })
}

/// Who helps the link.
struct Help(ControlHandle);

impl LinkHelp for Help {
    fn places(&self, sound: Id) -> Vec<ChunkPlace> {
        self.0.places(sound)
    }

    fn event(&self, event: LinkEvent) {
        self.0.link(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_later_than_the_clock_and_what_was_noted_by_chance() {
        assert_eq!(epoch_min(1000, 1, 0), 1000, "an empty disk");
        assert_eq!(epoch_min(1000, 1003, 0), 1003, "started again at once");
        assert_eq!(epoch_min(1000, 90_000, 77), 90_077, "the clock was ahead");
        let opened = (0..CHANCES).map(|chance| epoch_min(1000, 1, chance));
        assert!(opened.is_sorted_by(|a, b| a < b), "all differ");
    }
}
