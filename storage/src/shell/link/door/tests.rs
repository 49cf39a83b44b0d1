//! A cluster of real sockets: who is let in, and who is not.

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::super::invite::{Invitation, LIFE_MS};
use super::*;
use crate::seam::Hlc;

/// A node with its door open. Its log is a list of members.
struct Office {
    runtime: Runtime,
    _dir: TempDir,
    site: Arc<Site>,
    members: watch::Sender<Members>,
    door: Door,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Office {
    fn open(name: &str) -> Office {
        let dir = tempfile::tempdir().unwrap();
        Site::init(dir.path(), name.parse().unwrap()).unwrap();
        Office::at(dir)
    }

    /// The node whose site is there already.
    fn at(dir: TempDir) -> Office {
        let (site, members) = Site::open(dir.path()).unwrap().unwrap();
        let site = Arc::new(site);
        let (members, seen) = watch::channel(members);
        let log = members.clone();
        let write: WriteRegisters = Arc::new(move |registers| {
            let (done, answer) = oneshot::channel();
            log.send_modify(|members| {
                for (key, value) in &registers {
                    members.take(key, Hlc(wall().0 << 16), value.as_deref());
                }
            });
            done.send(Ok(())).unwrap();
            answer
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let at = "127.0.0.1:0".parse().unwrap();
        let (door, arrivals) = runtime
            .block_on(Door::open(at, site.clone(), seen, write))
            .unwrap();
        Office {
            runtime,
            _dir: dir,
            site,
            members,
            door,
            arrivals,
        }
    }

    fn invite(&self, name: &str, at: WallTime) -> Invitation {
        let address = self.door.local().to_string();
        let secret = [name.len() as u8; 16];
        self.site
            .invite(name.parse().unwrap(), &address, secret, at)
            .unwrap()
    }

    /// Dials this office as `from`, which believes it to have its own certificate.
    fn dialled_by(&self, from: &Site) -> Result<Box<client::TlsStream<TcpStream>>, SiteError> {
        let address = self.door.local().to_string();
        let (node, cert) = (self.site.node(), self.site.fingerprint());
        self.runtime.block_on(dial(from, node, &address, cert))
    }

    /// The connection is ended from the other side, with nothing but why.
    fn hears_only(&self, mut stream: Box<client::TlsStream<TcpStream>>, why: Sorry) {
        let mut heard = Vec::new();
        let read = async {
            stream.read_to_end(&mut heard).await.ok();
        };
        self.runtime.block_on(read);
        let (length, said) = heard.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, said.len());
        assert_eq!(frame::decode(said), Ok(Message::Sorry { why }));
    }
}

/// A machine that joins, which must succeed.
fn joined(data: &std::path::Path, invitation: &Invitation) -> Site {
    match join::join(data, invitation, false).unwrap() {
        join::Joined::Node(site) => site,
        join::Joined::Met(node) => panic!("a node already, which met {node}"),
    }
}

#[test]
fn a_machine_joins_with_a_token_once_and_is_let_in() {
    let mut office = Office::open("office");
    let token = office.invite("branch", wall()).to_string();
    let branch = tempfile::tempdir().unwrap();
    let site = joined(branch.path(), &token.parse().unwrap());
    assert_eq!(site.node().as_str(), "branch");
    let (_, members) = Site::open(branch.path()).unwrap().unwrap();
    assert!(members.get(office.site.node()).is_some(), "{members:?}");

    let stream = office.dialled_by(&site).unwrap();
    let arrival = office.runtime.block_on(office.arrivals.recv()).unwrap();
    assert_eq!(arrival.peer, site.node());
    drop(stream);

    // A second machine with the same token is not.
    let other = tempfile::tempdir().unwrap();
    let refused = join::join(other.path(), &token.parse().unwrap(), false);
    assert!(
        matches!(refused, Err(SiteError::Refused(..))),
        "{refused:?}"
    );
    assert!(Site::open(other.path()).unwrap().is_none());
}

#[test]
fn any_node_lets_others_in_when_the_first_is_lost() {
    let office = Office::open("office");
    let dir = tempfile::tempdir().unwrap();
    join::join(dir.path(), &office.invite("branch", wall()), false).unwrap();
    drop(office);

    let mut branch = Office::at(dir);
    let third = tempfile::tempdir().unwrap();
    let site = joined(third.path(), &branch.invite("third", wall()));
    let _stream = branch.dialled_by(&site).unwrap();
    let arrival = branch.runtime.block_on(branch.arrivals.recv()).unwrap();
    assert_eq!(arrival.peer, site.node());
}

#[test]
fn a_token_that_is_too_old_lets_nobody_in() {
    let office = Office::open("office");
    let old = office.invite("branch", WallTime(wall().0 - LIFE_MS));
    let branch = tempfile::tempdir().unwrap();
    let refused = join::join(branch.path(), &old, false);
    assert!(
        matches!(refused, Err(SiteError::Refused(..))),
        "{refused:?}"
    );
}

#[test]
fn a_token_is_shown_to_nobody_but_the_node_that_made_it() {
    let office = Office::open("office");
    let thief = Office::open("office");
    let mut token = office.invite("branch", wall());
    token.address = thief.door.local().to_string();
    let branch = tempfile::tempdir().unwrap();
    let failed = join::join(branch.path(), &token, false);
    assert!(matches!(failed, Err(SiteError::Network(..))), "{failed:?}");
}

#[test]
fn a_node_of_another_cluster_is_refused_by_both() {
    let office = Office::open("office");
    let other = Office::open("branch");
    assert!(office.dialled_by(&other.site).is_err());
    assert_eq!(office.door.stats().admitted, 0);
}

#[test]
fn a_node_that_was_removed_is_refused_at_once_and_its_old_certificate_for_good() {
    let mut office = Office::open("office");
    let old = tempfile::tempdir().unwrap();
    let site = joined(old.path(), &office.invite("branch", wall()));
    let key = super::super::members::cert_register_key(site.node());
    office.members.send_modify(|members| {
        members.take(&key, Hlc(wall().0 << 16), None);
    });
    // TLS 1.3 tells the one who dials before it is known whether it is let in.
    let stream = office.dialled_by(&site).unwrap();
    office.hears_only(stream, Sorry::Removed);
    assert_eq!(office.door.stats().strangers, 1);

    let fresh = tempfile::tempdir().unwrap();
    let again = joined(fresh.path(), &office.invite("branch", wall()));
    let _stream = office.dialled_by(&again).unwrap();
    let arrival = office.runtime.block_on(office.arrivals.recv()).unwrap();
    assert_eq!(arrival.cert, again.fingerprint());
    let stream = office.dialled_by(&site).unwrap();
    office.hears_only(stream, Sorry::Replaced);
    assert_eq!(office.door.stats().strangers, 2);
}

#[test]
fn a_node_that_joins_where_it_is_a_node_already_learns_where_the_other_is_and_loses_nothing() {
    let office = Office::open("office");
    let branch = tempfile::tempdir().unwrap();
    let site = joined(branch.path(), &office.invite("branch", wall()));
    let mut token = office.invite("branch", wall());
    token.address = "192.0.2.7:7650".into();
    let met = join::join(branch.path(), &token, false).unwrap();
    assert!(
        matches!(met, join::Joined::Met(node) if node == office.site.node()),
        "{met:?}"
    );
    let (again, members) = Site::open(branch.path()).unwrap().unwrap();
    assert_eq!(again.fingerprint(), site.fingerprint());
    let member = members.get(office.site.node()).unwrap();
    assert!(member.addresses().contains(&token.address), "{member:?}");
    // The token is not used up, and of another cluster's nothing is taken.
    let stranger = Office::open("stranger");
    let refused = join::join(branch.path(), &stranger.invite("branch", wall()), false);
    assert!(matches!(refused, Err(SiteError::Exists(_))), "{refused:?}");
}

#[test]
fn a_node_that_was_removed_joins_again_when_that_is_said() {
    let mut office = Office::open("office");
    let branch = tempfile::tempdir().unwrap();
    let old = joined(branch.path(), &office.invite("branch", wall()));
    let key = super::super::members::cert_register_key(old.node());
    office.members.send_modify(|members| {
        members.take(&key, Hlc(wall().0 << 16), None);
    });
    let again = join::join(branch.path(), &office.invite("branch", wall()), true).unwrap();
    let join::Joined::Node(site) = again else {
        panic!("{again:?}");
    };
    assert_ne!(site.fingerprint(), old.fingerprint());
    let _stream = office.dialled_by(&site).unwrap();
    let arrival = office.runtime.block_on(office.arrivals.recv()).unwrap();
    assert_eq!(arrival.cert, site.fingerprint());
    assert!(branch.path().join("site.old-1/node.pem").exists());
}
