//! Joining a cluster: a machine that was given a token becomes a node.
//!
//! ```text
//! new machine                                            inviting node
//!   makes its key
//!   ── TLS, believing only the certificate in the token ──>
//!   ── {"secret": …, "request": … } ──────────────────────>  uses the token up, signs,
//!                                                            writes `node/NAME/cert`, durable
//!   <───────────────────── {"papers": …} or {"error": …} ──
//!   writes its folder `site`
//! ```
//!
//! One line of JSON each way. Should the answer be lost, the token is used up and another one
//! joins the machine: its new certificate takes the place of the one that was lost.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::ca::{NodeKey, hex};
use super::invite::Invitation;
use super::members::{Member, Members, cert_register_key, value};
use super::site::{Papers, Site, SiteError};
use super::tls;
use crate::name::NodeName;
use crate::time::WallTime;

/// The longest line either side takes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How long the new machine waits for all of it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Writes registers into the log; the answer comes when the last one is durable. `None` removes.
pub type WriteRegisters = Arc<
    dyn Fn(Vec<(String, Option<String>)>) -> oneshot::Receiver<Result<(), String>> + Send + Sync,
>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    secret: String,
    request: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Papers(Papers),
    Error(String),
}

/// What became of a token.
#[derive(Debug)]
pub enum Joined {
    /// This machine is a node now.
    Node(Site),
    /// It is one already, and knows now where the node is that made the token. The token is not used up.
    Met(NodeName),
}

/// Makes the machine that keeps its data in `data` a node. Blocks for as long as it takes. Nothing is asked
/// of the other node before it is clear that the answer can be kept. `again`: its place in the cluster
/// was lost, and what is left of it is put aside.
pub fn join(data: &Path, invitation: &Invitation, again: bool) -> Result<Joined, SiteError> {
    if let Some((site, mut members)) = Site::open(data)?.filter(|_| !again) {
        let met = members.by_cert(&hex(&invitation.cert));
        let met = met.filter(|node| *node != site.node());
        let met = met.ok_or_else(|| SiteError::Exists(Site::folder(data)))?;
        members.tell_address(met, &invitation.address);
        site.keep_members(&members)?;
        return Ok(Joined::Met(met));
    }
    Site::can_keep(data)?;
    let network = |e: io::Error| SiteError::Network(invitation.address.clone(), e.to_string());
    let own = NodeKey::make()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(network)?;
    let asked = runtime.block_on(async {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
        tokio::time::timeout(PATIENCE, ask(invitation, &own.request))
            .await
            .unwrap_or_else(|_| Err(late()))
    });
    match asked.map_err(network)? {
        Answer::Papers(mut papers) => {
            know_where(&mut papers, invitation);
            if again {
                Site::put_aside(data)?;
            }
            Site::keep(data, &own.key, &papers).map(Joined::Node)
        }
        Answer::Error(why) => Err(SiteError::Refused(invitation.address.clone(), why)),
    }
}

/// The inviting node is there where it was joined, even if it has not come to say so itself.
fn know_where(papers: &mut Papers, invitation: &Invitation) {
    let shown = hex(&invitation.cert);
    let inviting = |member: &&mut Member| member.cert.as_deref() == Some(&shown);
    if let Some(member) = papers.members.values_mut().find(inviting) {
        let address = || invitation.address.clone();
        member.address.get_or_insert_with(address);
    }
}

async fn ask(invitation: &Invitation, request: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(&invitation.address).await?;
    let stream = tls::dial_to_join(stream, invitation.cert).await?;
    let mut stream = BufReader::new(stream);
    let request = Request {
        secret: URL_SAFE_NO_PAD.encode(invitation.secret),
        request: request.to_owned(),
    };
    write_line(&mut stream, &request).await?;
    read_line(&mut stream).await
}

/// The inviting node's side.
pub(super) async fn admit(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    site: &Site,
    members: &Members,
    write: &WriteRegisters,
    now: WallTime,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request: Request = read_line(&mut stream).await?;
    let answer = match decide(&request, site, members, write, now).await {
        Ok((node, papers)) => {
            tracing::info!(%node, "a node has joined");
            Answer::Papers(papers)
        }
        Err(why) => {
            tracing::warn!(why, "somebody wanted to join and was refused");
            Answer::Error(why)
        }
    };
    write_line(&mut stream, &answer).await?;
    stream.shutdown().await
}

async fn decide(
    request: &Request,
    site: &Site,
    members: &Members,
    write: &WriteRegisters,
    now: WallTime,
) -> Result<(NodeName, Papers), String> {
    let secret = URL_SAFE_NO_PAD.decode(&request.secret).unwrap_or_default();
    let unknown = || "the token is used up, too old, or void; make another one";
    let node = site
        .take(&secret, now)
        .map_err(|e| e.to_string())?
        .ok_or_else(unknown)?;
    let (papers, fingerprint) = site
        .papers(node, &request.request, members)
        .map_err(|e| e.to_string())?;
    let registers = vec![(cert_register_key(node), Some(value(&fingerprint)))];
    match write(registers).await {
        Ok(Ok(())) => Ok((node, papers)),
        Ok(Err(why)) => Err(format!("the log did not take the new node: {why}")),
        Err(_) => Err("the node is stopping".into()),
    }
}

async fn read_line<T: for<'de> Deserialize<'de>>(
    stream: &mut (impl AsyncBufReadExt + Unpin),
) -> io::Result<T> {
    let mut line = String::new();
    stream.take(LINE_BYTES_MAX).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

async fn write_line<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}
