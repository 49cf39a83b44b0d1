//! What makes a machine a node of a cluster: the folder `site` beside its log.
//!
//! | file | what |
//! |---|---|
//! | `ca.pem`, `ca-key.pem` | the cluster's certificate authority (`ca.rs`) |
//! | `node.pem`, `node-key.pem` | this node's certificate and key |
//! | `members.json` | this node's name, and whom the log last said to be members |
//! | `tokens.json` | invitations that are open at this node (`invite.rs`) |
//! | `epoch.json` | the last epoch of its log that is known to have been used |
//!
//! It is apart from the log so that a node whose log is lost finds the others by itself and gets it
//! back. Every file is written whole under another name, then renamed; all are of mode 0600.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::ca::{Ca, Fingerprint, NodeKey, Pem, fingerprint};
use super::invite::{Book, Invitation};
use super::members::{Member, Members};
use crate::name::NodeName;
use crate::record::EPOCH_MAX;
use crate::time::WallTime;

const FOLDER: &str = "site";
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const NODE: &str = "node.pem";
const NODE_KEY: &str = "node-key.pem";
const MEMBERS: &str = "members.json";
const TOKENS: &str = "tokens.json";
const EPOCH: &str = "epoch.json";
const PROBE: &str = "probe";

/// Sites that may be put aside.
const ASIDE_MAX: usize = 100;

/// This machine's part in a cluster.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    node: NodeName,
    ca: Ca,
    ca_key: Pem,
    cert: Pem,
    key: Pem,
    fingerprint: Fingerprint,
    invitations: Mutex<Book>,
}

/// What a joining machine is given. Travels only over TLS, to whoever showed the secret.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Papers {
    pub(super) node: String,
    pub(super) ca: Pem,
    pub(super) ca_key: Pem,
    pub(super) cert: Pem,
    pub(super) members: BTreeMap<String, Member>,
}

/// What is kept of the members.
#[derive(Debug, Serialize, Deserialize)]
struct SiteFile {
    node: String,
    members: BTreeMap<String, Member>,
}

/// Why a site could not be made, read or joined.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// There is one already.
    #[error(
        "{0} exists: this machine belongs to a cluster already; if it was removed from it, or to join another one, say --again"
    )]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// A file does not say what it should.
    #[error("{0}: {1}; put the file back from a backup, or join again")]
    Content(PathBuf, String),
    /// A certificate could not be made or read.
    #[error("certificates: {0}")]
    Cert(#[from] rcgen::Error),
    /// TLS does not take the certificates.
    #[error("certificates: {0}")]
    Tls(#[from] rustls::Error),
    /// The other node could not be talked to.
    #[error("{0}: {1}")]
    Network(String, String),
    /// The other node says no.
    #[error("{0} refused: {1}")]
    Refused(String, String),
}

impl Site {
    /// Where it is, for a node that keeps its data in `data`.
    pub fn folder(data: &Path) -> PathBuf {
        data.join(FOLDER)
    }

    /// Makes a cluster of one node.
    pub fn init(data: &Path, node: NodeName) -> Result<Site, SiteError> {
        refuse_existing(data)?;
        let (ca, ca_key) = Ca::make()?;
        let own = NodeKey::make()?;
        let cert = ca.sign(node, &own.request)?;
        let member = Member {
            cert: Some(fingerprint_of(&cert)?),
            ..Member::default()
        };
        let papers = Papers {
            node: node.to_string(),
            ca: ca.cert().to_owned(),
            ca_key,
            cert,
            members: BTreeMap::from([(node.to_string(), member)]),
        };
        Site::keep(data, &own.key, &papers)
    }

    /// Whether a site can be written here, before anything is asked of others.
    pub(super) fn can_keep(data: &Path) -> Result<(), SiteError> {
        let folder = Site::folder(data);
        fs::create_dir_all(&folder).map_err(|e| SiteError::File(folder.clone(), e))?;
        write(&folder, PROBE, b"")?;
        fs::remove_file(folder.join(PROBE)).map_err(|e| SiteError::File(folder.join(PROBE), e))
    }

    /// Puts a site that was lost aside, under another name.
    pub(super) fn put_aside(data: &Path) -> Result<(), SiteError> {
        let folder = Site::folder(data);
        let aside = (1..).map(|n| data.join(format!("{FOLDER}.old-{n}")));
        match aside.take(ASIDE_MAX).find(|aside| !aside.exists()) {
            Some(aside) => fs::rename(&folder, aside).map_err(|e| SiteError::File(folder, e)),
            None => Err(SiteError::Exists(folder)),
        }
    }

    /// Writes what makes this machine a member, its name in the cluster last: with that it is one.
    pub(super) fn keep(data: &Path, key: &str, papers: &Papers) -> Result<Site, SiteError> {
        refuse_existing(data)?;
        let folder = Site::folder(data);
        fs::create_dir_all(&folder).map_err(|e| SiteError::File(folder.clone(), e))?;
        let kept = SiteFile {
            node: papers.node.clone(),
            members: papers.members.clone(),
        };
        write(&folder, CA, papers.ca.as_bytes())?;
        write(&folder, CA_KEY, papers.ca_key.as_bytes())?;
        write(&folder, NODE, papers.cert.as_bytes())?;
        write(&folder, NODE_KEY, key.as_bytes())?;
        // The log of whoever had the name before went so far: this one's begins above.
        let before = papers.members.get(&papers.node);
        let epoch = before.and_then(|member| member.epoch.as_ref()?.parse::<u32>().ok());
        if let Some(epoch) = epoch.filter(|epoch| *epoch <= EPOCH_MAX / 2) {
            write_json(&folder, EPOCH, &epoch)?;
        }
        write_json(&folder, MEMBERS, &kept)?;
        let site = Site::open(data)?;
        site.map(|(site, _)| site).ok_or_else(|| {
            let gone = io::ErrorKind::NotFound.into();
            SiteError::File(folder.join(MEMBERS), gone)
        })
    }

    /// Reads it, with the members as last kept. `None`: this machine belongs to no cluster.
    pub fn open(data: &Path) -> Result<Option<(Site, Members)>, SiteError> {
        let folder = Site::folder(data);
        if !folder.join(MEMBERS).exists() {
            return Ok(None);
        }
        let kept: SiteFile = read_json(&folder, MEMBERS)?;
        let node = kept
            .node
            .parse()
            .map_err(|e| SiteError::Content(folder.join(MEMBERS), format!("{e}")))?;
        let ca_key = read(&folder, CA_KEY)?;
        let cert = read(&folder, NODE)?;
        let invitations = match folder.join(TOKENS).exists() {
            true => read_json(&folder, TOKENS)?,
            false => Book::default(),
        };
        let site = Site {
            node,
            ca: Ca::read(read(&folder, CA)?, &ca_key)?,
            ca_key,
            fingerprint: fingerprint_of(&cert)?,
            cert,
            key: read(&folder, NODE_KEY)?,
            invitations: Mutex::new(invitations),
            folder,
        };
        Ok(Some((site, Members::from_map(kept.members))))
    }

    /// This node's name in the cluster.
    pub fn node(&self) -> NodeName {
        self.node
    }

    /// This node's certificate.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Keeps whom the log says to be members.
    pub fn keep_members(&self, members: &Members) -> Result<(), SiteError> {
        let kept = SiteFile {
            node: self.node.to_string(),
            members: members.to_map(),
        };
        write_json(&self.folder, MEMBERS, &kept)
    }

    /// The log must not be opened with an epoch below this: those have been used. What the log itself says
    /// is not enough, since an old one may be put in its place; nor is the clock, which may be wrong.
    pub fn epoch_min(&self) -> u32 {
        let kept: Result<u32, SiteError> = read_json(&self.folder, EPOCH);
        kept.map_or(1, |epoch| epoch.saturating_add(1))
    }

    /// Notes that this epoch has been used. What no clock can lead to in thirty years is not believed.
    pub(super) fn keep_epoch(&self, epoch: u32) -> Result<(), SiteError> {
        if epoch < self.epoch_min() || epoch > EPOCH_MAX / 2 {
            return Ok(());
        }
        write_json(&self.folder, EPOCH, &epoch)
    }

    /// An invitation for `node` to a link that is reached at `address`.
    pub fn invite(
        &self,
        node: NodeName,
        address: &str,
        secret: [u8; 16],
        now: WallTime,
    ) -> Result<Invitation, SiteError> {
        let cert = certificate(&self.cert)?;
        let invitation = Invitation {
            node,
            address: address.to_owned(),
            cert: <sha2::Sha256 as sha2::Digest>::digest(&cert).into(),
            secret,
        };
        let mut book = self.book();
        book.open(&invitation, now);
        write_json(&self.folder, TOKENS, &*book)?;
        Ok(invitation)
    }

    /// Whom this secret invites, once.
    pub(super) fn take(&self, secret: &[u8], now: WallTime) -> Result<Option<NodeName>, SiteError> {
        let mut book = self.book();
        let taken = book.take(secret, now);
        if taken.is_some() {
            write_json(&self.folder, TOKENS, &*book)?;
        }
        Ok(taken)
    }

    /// What `node` is given to be a member, and the fingerprint of its certificate.
    pub(super) fn papers(
        &self,
        node: NodeName,
        request: &str,
        members: &Members,
    ) -> Result<(Papers, Fingerprint), SiteError> {
        let cert = self.ca.sign(node, request)?;
        let fingerprint = fingerprint_of(&cert)?;
        let mut members = members.clone();
        let before = members.ever_heard(node).cloned().unwrap_or_default();
        let member = Member {
            cert: Some(fingerprint.clone()),
            epoch: before.epoch,
            ..Member::default()
        };
        members.insert(node, member);
        let papers = Papers {
            node: node.to_string(),
            ca: self.ca.cert().to_owned(),
            ca_key: self.ca_key.clone(),
            cert,
            members: members.to_map(),
        };
        Ok((papers, fingerprint))
    }

    /// The authority's certificate.
    pub(super) fn root(&self) -> Result<CertificateDer<'static>, SiteError> {
        certificate(self.ca.cert())
    }

    /// This node's certificate and key.
    pub(super) fn identity(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), SiteError> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|e| {
            let file = self.folder.join(NODE_KEY);
            SiteError::Content(file, e.to_string())
        })?;
        Ok((certificate(&self.cert)?, key))
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        // A panic elsewhere leaves the list as it is: each change of it is a whole one.
        self.invitations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse_existing(data: &Path) -> Result<(), SiteError> {
    let folder = Site::folder(data);
    match folder.join(MEMBERS).exists() {
        true => Err(SiteError::Exists(folder)),
        false => Ok(()),
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, SiteError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| SiteError::Cert(rcgen::Error::CouldNotParseCertificate))
}

fn fingerprint_of(pem: &str) -> Result<Fingerprint, SiteError> {
    Ok(fingerprint(&certificate(pem)?))
}

fn read(folder: &Path, name: &str) -> Result<String, SiteError> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|e| SiteError::File(path, e))
}

fn read_json<T: for<'de> Deserialize<'de>>(folder: &Path, name: &str) -> Result<T, SiteError> {
    serde_json::from_str(&read(folder, name)?)
        .map_err(|e| SiteError::Content(folder.join(name), e.to_string()))
}

fn write_json<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), SiteError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|e| SiteError::Content(folder.join(name), e.to_string()))?;
    write(folder, name, &json)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), SiteError> {
    let path = folder.join(name);
    let fresh = folder.join(format!("{name}.new"));
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(folder)?.sync_all()
    };
    written().map_err(|e| SiteError::File(path.clone(), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_cluster_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Site::open(dir.path()).unwrap().is_none());
        let node = "office".parse().unwrap();
        let made = Site::init(dir.path(), node).unwrap();
        let (site, members) = Site::open(dir.path()).unwrap().unwrap();
        assert_eq!(site.node(), node);
        assert_eq!(site.fingerprint(), made.fingerprint());
        assert_eq!(members.by_cert(made.fingerprint()), Some(node));
        assert!(matches!(
            Site::init(dir.path(), node),
            Err(SiteError::Exists(_))
        ));
        for file in fs::read_dir(Site::folder(dir.path())).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn an_open_invitation_outlives_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::init(dir.path(), "a".parse().unwrap()).unwrap();
        let b = "b".parse().unwrap();
        site.invite(b, "192.0.2.1:7650", [1; 16], WallTime(0))
            .unwrap();
        let (site, _) = Site::open(dir.path()).unwrap().unwrap();
        assert_eq!(site.take(&[1; 16], WallTime(1)).unwrap(), Some(b));
        let (site, _) = Site::open(dir.path()).unwrap().unwrap();
        assert_eq!(site.take(&[1; 16], WallTime(1)).unwrap(), None);
    }
}
