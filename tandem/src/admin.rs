//! How commands speak to a running node: over a Unix socket in its data directory.
//!
//! One line of JSON asks, one answers; sound follows its line as so many raw bytes:
//!
//! ```text
//! > {"ask":"calls"}
//! < {"ok":[…]}
//! > {"ask":"mailbox-export","extension":"102","id":"demo.3.17"}
//! < {"ok":{"incomplete":false},"bytes":160044}  and 160,044 bytes of WAV
//! > {"ask":"mailbox-import","extension":"102","bytes":160044}  and the bytes
//! < {"ok":"demo.3.18"}
//! < {"error":"there is no extension 109"}
//! ```
//!
//! Only the user who runs the node can reach the socket (mode 0600).

mod server;
mod users;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tandem_pbx::kept::Kept;
use tandem_storage::SoundReader;
use tandem_storage::site::Site;

use crate::control::ControlHandle;
use crate::secrets::Keeper;

pub(crate) use server::AdminServer;

pub(crate) const NO_COMPANY: &str =
    "this node belongs to no company yet; stop it, type tandem site init, and start it again";

/// The longest question.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The longest sound that can be brought in.
const WAV_SECONDS_MAX: u32 = 3600;

/// As much in bytes: stereo at 48 kHz, 16 bits, and a header.
const WAV_BYTES_MAX: u64 = WAV_SECONDS_MAX as u64 * 48_000 * 4 + 4096;

/// A question as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Question {
    Status,
    Calls,
    Phones,
    UserList,
    Conflicts,
    UserAdd {
        extension: String,
        name: String,
        password: Option<String>,
        pin: Option<String>,
    },
    UserSet {
        extension: String,
        settings: Vec<String>,
    },
    UserRemove {
        extension: String,
    },
    MailboxList {
        extension: String,
    },
    MailboxDeleted {
        extension: String,
    },
    MailboxUndelete {
        extension: String,
        id: String,
    },
    MailboxHold {
        extension: String,
        hold: bool,
    },
    MailboxKeepHeard {
        extension: String,
        days: f64,
    },
    MailboxQuota {
        extension: String,
    },
    MailboxSetQuota {
        extension: String,
        minutes: Option<u32>,
        messages: Option<u32>,
    },
    MailboxThere {
        extension: String,
    },
    MailboxRestore {
        extension: String,
        kept: Box<Kept>,
        bytes: u64,
    },
    MailboxExport {
        extension: String,
        id: String,
    },
    MailboxImport {
        extension: String,
        bytes: u64,
    },
    SiteToken {
        name: String,
    },
    SiteList,
    SiteRemove {
        name: String,
    },
    SiteKeeps {
        name: String,
        backups: Option<String>,
    },
}

/// What questions are answered with.
#[derive(Clone)]
pub(crate) struct Answerer {
    pub(crate) control: ControlHandle,
    pub(crate) reader: SoundReader,
    /// The other nodes' way in, if this one belongs to a company.
    pub(crate) inviter: Option<Inviter>,
    pub(crate) keeper: Keeper,
}

/// What is needed to invite a machine.
#[derive(Clone)]
pub(crate) struct Inviter {
    pub(crate) site: Arc<Site>,
    /// Where this node's link is.
    pub(crate) address: String,
}

/// An answer as it travels.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reply {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// So many bytes follow the line.
    #[serde(default, skip_serializing_if = "is_zero")]
    bytes: u64,
}

/// Where a node with this data directory listens.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Does a node run on `data`?
pub(crate) fn is_running(data: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket_path(data)).is_ok()
}

/// Asks the node that runs on `data`; `body` goes behind the question.
pub(crate) fn ask(
    data: &Path,
    question: &Question,
    body: &[u8],
) -> Result<(Value, Vec<u8>), String> {
    let path = socket_path(data);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).map_err(|e| {
        format!(
            "no node is running on {} ({e}); start one, or say which with --data DIR",
            data.display()
        )
    })?;
    let lost = |e: std::io::Error| format!("the node at {} went away: {e}", path.display());
    let mut line = serde_json::to_string(question).map_err(|e| e.to_string())?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .and_then(|()| stream.write_all(body))
        .map_err(lost)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).map_err(lost)?;
    let reply: Reply =
        serde_json::from_str(&line).map_err(|e| format!("the node's answer is broken: {e}"))?;
    let mut bytes = Vec::new();
    reader
        .take(reply.bytes)
        .read_to_end(&mut bytes)
        .map_err(lost)?;
    match reply.error {
        Some(error) => Err(error),
        None => Ok((reply.ok.unwrap_or_default(), bytes)),
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
