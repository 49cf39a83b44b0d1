//! How commands speak to a running node: over a Unix socket in its data directory.
//!
//! One line of JSON asks, one answers; sound follows its line as so many raw bytes:
//!
//! ```text
//! > {"ask":"calls"}
//! < {"ok":[…]}
//! > {"ask":"mailbox-export","extension":"102","id":"demo.3.17"}
//! < {"ok":null,"bytes":160044}  and 160,044 bytes of WAV
//! > {"ask":"mailbox-import","extension":"102","bytes":160044}  and the bytes
//! < {"ok":"demo.3.18"}
//! < {"error":"there is no extension 109"}
//! ```
//!
//! Only the user who runs the node can reach the socket (mode 0600).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tandem_pbx::kept::Kept;
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{ChunkPlace, SoundCodec};
use tandem_storage::site::{Site, backups_key, cert_key, value};
use tandem_storage::time::WallTime;
use tandem_storage::{SoundReader, wav};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::control::{Answer, Ask, ControlHandle};

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

/// The node's side of the socket.
pub(crate) struct AdminServer {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl AdminServer {
    /// Listens in `data`. The data directory's lock is held, so an old socket is nobody's.
    pub(crate) fn start(
        data: &Path,
        control: ControlHandle,
        reader: SoundReader,
        inviter: Option<Inviter>,
    ) -> std::io::Result<AdminServer> {
        let path = socket_path(data);
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = serve(stream, control.clone(), reader.clone(), inviter.clone());
                tokio::spawn(served);
            }
        });
        Ok(AdminServer { path, task })
    }

    pub(crate) fn close(self) {
        self.task.abort();
        std::fs::remove_file(&self.path).ok();
    }
}

async fn serve(
    stream: UnixStream,
    control: ControlHandle,
    reader: SoundReader,
    inviter: Option<Inviter>,
) {
    let (input, mut output) = stream.into_split();
    let mut input = tokio::io::BufReader::new(input);
    let (reply, bytes) = match answer(&mut input, &control, reader, inviter).await {
        Ok((value, bytes)) => (
            Reply {
                ok: Some(value),
                ..Reply::default()
            },
            bytes,
        ),
        Err(error) => (
            Reply {
                error: Some(error),
                ..Reply::default()
            },
            Vec::new(),
        ),
    };
    let reply = Reply {
        bytes: bytes.len() as u64,
        ..reply
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    // An asker who has gone needs no answer.
    if output.write_all(&line).await.is_ok() {
        output.write_all(&bytes).await.ok();
    }
}

async fn answer(
    input: &mut (impl AsyncBufReadExt + AsyncReadExt + Unpin),
    control: &ControlHandle,
    reader: SoundReader,
    inviter: Option<Inviter>,
) -> Result<(Value, Vec<u8>), String> {
    let mut line = String::new();
    (&mut *input)
        .take(LINE_BYTES_MAX)
        .read_line(&mut line)
        .await
        .map_err(|e| e.to_string())?;
    let question = serde_json::from_str(&line).map_err(|e| format!("not a question: {e}"))?;
    let ask = match question {
        Question::Status => Ask::Status,
        Question::SiteToken { name } => {
            return Ok((invite(&name, inviter, control).await?, Vec::new()));
        }
        Question::SiteList => Ask::Nodes,
        Question::SiteRemove { name } => {
            let node = known_node(&name, control).await?;
            if inviter.is_some_and(|inviter| inviter.site.node() == node) {
                return Err(format!(
                    "{name} is this node; remove it at another one, which goes on without it"
                ));
            }
            Ask::Registers(vec![(cert_key(node), None)])
        }
        Question::SiteKeeps { name, backups } => {
            let node = known_node(&name, control).await?;
            for name in backups.iter().flat_map(|names| names.split(' ')) {
                known_node(name, control).await?;
            }
            Ask::Registers(vec![(backups_key(node), backups.as_deref().map(value))])
        }
        Question::Phones => Ask::Phones,
        Question::Calls => Ask::Pbx(AdminAsk::Calls),
        Question::MailboxList { extension } => Ask::Pbx(AdminAsk::Mailbox {
            extension: extension.into(),
        }),
        Question::MailboxDeleted { extension } => Ask::Pbx(AdminAsk::Deleted {
            extension: extension.into(),
        }),
        Question::MailboxUndelete { extension, id } => Ask::Pbx(AdminAsk::Undelete {
            extension: extension.into(),
            id: id.parse().map_err(|e| format!("'{id}': {e}"))?,
        }),
        Question::MailboxHold { extension, hold } => Ask::Pbx(AdminAsk::Hold {
            extension: extension.into(),
            hold,
        }),
        Question::MailboxKeepHeard { extension, days } => Ask::Pbx(AdminAsk::KeepHeard {
            extension: extension.into(),
            days: (days > 0.0).then_some(days),
        }),
        Question::MailboxQuota { extension } => Ask::Pbx(AdminAsk::Quota {
            extension: extension.into(),
        }),
        Question::MailboxSetQuota {
            extension,
            minutes,
            messages,
        } => Ask::Pbx(AdminAsk::SetQuota {
            extension: extension.into(),
            minutes,
            messages,
        }),
        Question::MailboxThere { extension } => Ask::Pbx(AdminAsk::There {
            extension: extension.into(),
        }),
        Question::MailboxRestore {
            extension,
            kept,
            bytes,
        } => Ask::Pbx(AdminAsk::Restore {
            extension: extension.into(),
            kept,
            samples: read_samples(input, bytes).await?.into(),
        }),
        Question::MailboxExport { extension, id } => {
            let id: Id = id.parse().map_err(|e| format!("'{id}': {e}"))?;
            Ask::Pbx(AdminAsk::Message {
                extension: extension.into(),
                id,
            })
        }
        Question::MailboxImport { extension, bytes } => {
            let (codec, samples) = read_wav(input, bytes).await?;
            Ask::Pbx(AdminAsk::Import {
                extension: extension.into(),
                codec,
                samples,
            })
        }
    };
    let stopping = |_| "the node is stopping".to_owned();
    match control.ask(ask).await.map_err(stopping)?? {
        Answer::Json(value) => Ok((value, Vec::new())),
        Answer::Text(text) => Ok((Value::String(text), Vec::new())),
        Answer::Pbx(AdminAnswer::Json(value)) => Ok((value, Vec::new())),
        Answer::Pbx(AdminAnswer::Done) => Ok((Value::Null, Vec::new())),
        Answer::Pbx(AdminAnswer::Imported { id }) => {
            Ok((Value::String(id.to_string()), Vec::new()))
        }
        Answer::Pbx(AdminAnswer::Sound { codec, places }) => {
            Ok((Value::Null, write_wav(reader, codec, places).await?))
        }
        Answer::Done => Ok((Value::Null, Vec::new())),
    }
}

async fn invite(
    name: &str,
    inviter: Option<Inviter>,
    control: &ControlHandle,
) -> Result<Value, String> {
    let node: NodeName = name.parse().map_err(|e| format!("'{name}': {e}"))?;
    let inviter = inviter.ok_or(NO_COMPANY)?;
    if node == inviter.site.node() {
        return Err(format!(
            "{name} is this node; give the new one another name"
        ));
    }
    let replaces = known_node(name, control).await.is_ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = WallTime(now.unwrap_or_default().as_millis() as u64);
    let make = move || {
        inviter
            .site
            .invite(node, &inviter.address, rand::random(), now)
            .map_err(|e| e.to_string())
    };
    let invitation = tokio::task::spawn_blocking(make)
        .await
        .map_err(|e| e.to_string())??;
    Ok(json!({ "token": invitation.to_string(), "replaces": replaces }))
}

/// A node that belongs to the company.
async fn known_node(name: &str, control: &ControlHandle) -> Result<NodeName, String> {
    let stopping = |_| "the node is stopping".to_owned();
    let rows = match control.ask(Ask::Nodes).await.map_err(stopping)?? {
        Answer::Json(rows) => rows,
        _ => Value::Null,
    };
    let mut rows = rows.as_array().into_iter().flatten();
    if !rows.any(|row| row["name"].as_str() == Some(name)) {
        return Err(format!(
            "there is no node {name}; tandem site list names them"
        ));
    }
    name.parse().map_err(|e| format!("'{name}': {e}"))
}

async fn read_wav(
    input: &mut (impl AsyncReadExt + Unpin),
    bytes: u64,
) -> Result<(SoundCodec, Arc<[u8]>), String> {
    if bytes > WAV_BYTES_MAX {
        return Err(format!("a WAV file of {bytes} bytes is too large"));
    }
    let wav_bytes = read_bytes(input, bytes).await?;
    let read = move || {
        wav::import(std::io::Cursor::new(wav_bytes), WAV_SECONDS_MAX).map_err(|e| e.to_string())
    };
    let samples = tokio::task::spawn_blocking(read)
        .await
        .map_err(|e| e.to_string())??;
    Ok((SoundCodec::Pcmu, samples.into()))
}

/// Samples as they are kept: one byte each.
async fn read_samples(
    input: &mut (impl AsyncReadExt + Unpin),
    bytes: u64,
) -> Result<Vec<u8>, String> {
    if bytes > u64::from(WAV_SECONDS_MAX) * 8000 {
        return Err(format!("a message of {bytes} samples is too long"));
    }
    let samples = read_bytes(input, bytes).await?;
    match samples.len() as u64 == bytes {
        true => Ok(samples),
        false => Err("the message did not come whole".into()),
    }
}

async fn read_bytes(
    input: &mut (impl AsyncReadExt + Unpin),
    bytes: u64,
) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    let all = input.take(bytes).read_to_end(&mut read).await;
    all.map_err(|e| e.to_string())?;
    Ok(read)
}

async fn write_wav(
    reader: SoundReader,
    codec: SoundCodec,
    places: Arc<[ChunkPlace]>,
) -> Result<Vec<u8>, String> {
    let write = move || {
        let mut file = std::io::Cursor::new(Vec::new());
        wav::export(&reader, codec, &places, &mut file).map_err(|e| e.to_string())?;
        Ok(file.into_inner())
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|e| e.to_string())?
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
