//! The node's side of the command socket.
//!
//! Only the user who runs the node can reach it, from the moment at which it has its name. So many are
//! served at once, others wait; who is slow to ask, or to take the answer, is let go.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::name::{Id, NodeName};
use tandem_storage::seam::{ChunkPlace, SoundCodec};
use tandem_storage::site::{backups_key, cert_key, value};
use tandem_storage::time::WallTime;
use tandem_storage::{SoundReader, wav};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{
    Answerer, Inviter, LINE_BYTES_MAX, NO_COMPANY, Question, Reply, WAV_BYTES_MAX, WAV_SECONDS_MAX,
    socket_path, users,
};
use crate::control::{Answer, Ask, ControlHandle};

/// Served at once; the kernel lets others wait.
const ASKERS_MAX: usize = 32;
/// How long somebody may take to ask.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How long sound may take, in or out.
const SOUND_WITHIN: Duration = Duration::from_secs(120);
/// After nobody could be let in: descriptors may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The node's side of the socket.
pub(crate) struct AdminServer {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl AdminServer {
    /// Listens in `data`. The data directory's lock is held, so an old socket is nobody's.
    pub(crate) fn start(data: &Path, answerer: Answerer) -> std::io::Result<AdminServer> {
        let path = socket_path(data);
        let listener = bind_private(data, &path)?;
        let task = tokio::spawn(accept(listener, answerer));
        Ok(AdminServer { path, task })
    }

    pub(crate) fn close(self) {
        self.task.abort();
        std::fs::remove_file(&self.path).ok();
    }
}

/// A socket gets the rights that the process gives to new files, and only then others: so it is made in a
/// folder that nobody else can enter.
fn bind_private(data: &Path, path: &Path) -> std::io::Result<UnixListener> {
    let folder = data.join("control.new");
    std::fs::remove_dir_all(&folder).or_else(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })?;
    DirBuilder::new().mode(0o700).create(&folder)?;
    let inside = folder.join("sock");
    let listener = UnixListener::bind(&inside)?;
    std::fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
    std::fs::rename(&inside, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, answerer: Answerer) {
    let places = Arc::new(Semaphore::new(ASKERS_MAX));
    let mut is_told = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                is_told = false;
                let served = serve(stream, answerer.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(e) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("nobody can ask this node for now: {e}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, answerer: Answerer) {
    let (input, mut output) = stream.into_split();
    let mut input = tokio::io::BufReader::new(input);
    let (reply, bytes) = match answer(&mut input, answerer).await {
        Ok((value, bytes)) => {
            let ok = Some(value);
            (
                Reply {
                    ok,
                    ..Reply::default()
                },
                bytes,
            )
        }
        Err(error) => {
            let error = Some(error);
            (
                Reply {
                    error,
                    ..Reply::default()
                },
                Vec::new(),
            )
        }
    };
    let reply = Reply {
        bytes: bytes.len() as u64,
        ..reply
    };
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    let all = async {
        output.write_all(&line).await?;
        output.write_all(&bytes).await
    };
    // An asker who has gone needs no answer.
    timeout(SOUND_WITHIN, all).await.ok();
}

async fn answer(
    input: &mut (impl AsyncBufReadExt + AsyncReadExt + Unpin),
    answerer: Answerer,
) -> Result<(Value, Vec<u8>), String> {
    let Answerer {
        control,
        reader,
        inviter,
        keeper,
    } = answerer;
    let mut line = String::new();
    let read = (&mut *input).take(LINE_BYTES_MAX);
    timeout(ASKED_WITHIN, { read }.read_line(&mut line))
        .await
        .map_err(|_| "nothing was asked")?
        .map_err(|e| e.to_string())?;
    let question = serde_json::from_str(&line).map_err(|e| format!("not a question: {e}"))?;
    let mut told = Value::Null;
    let ask = match question {
        Question::Status => Ask::Status,
        Question::SiteToken { name } => {
            return Ok((invite(&name, inviter, &control).await?, Vec::new()));
        }
        Question::SiteList => Ask::Nodes,
        Question::SiteRemove { name } => {
            let node = known_node(&name, &control).await?;
            if inviter.is_some_and(|inviter| inviter.site.node() == node) {
                return Err(format!(
                    "{name} is this node; remove it at another one, which goes on without it"
                ));
            }
            Ask::Registers(vec![(cert_key(node), None)])
        }
        Question::SiteKeeps { name, backups } => {
            let node = known_node(&name, &control).await?;
            for name in backups.iter().flat_map(|names| names.split(' ')) {
                known_node(name, &control).await?;
            }
            Ask::Registers(vec![(backups_key(node), backups.as_deref().map(value))])
        }
        Question::Phones => Ask::Phones,
        Question::Conflicts => Ask::Pbx(AdminAsk::Conflicts),
        Question::UserList => Ask::Pbx(AdminAsk::Users),
        Question::UserAdd {
            extension,
            name,
            password,
            pin,
        } => {
            let made = move || users::add(&keeper, extension, name, password, pin);
            let (ask, made) = blocking(made).await?;
            told = made;
            Ask::Pbx(ask)
        }
        Question::UserSet {
            extension,
            settings,
        } => Ask::Pbx(blocking(move || users::set(&keeper, extension, &settings)).await?),
        Question::UserRemove { extension } => Ask::Pbx(AdminAsk::RemoveUser {
            extension: extension.into(),
        }),
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
        Answer::Pbx(AdminAnswer::Done) => Ok((told, Vec::new())),
        Answer::Pbx(AdminAnswer::Imported { id }) => {
            Ok((Value::String(id.to_string()), Vec::new()))
        }
        Answer::Pbx(AdminAnswer::Sound {
            codec,
            places,
            is_incomplete,
        }) => {
            let told = json!({ "incomplete": is_incomplete });
            Ok((told, write_wav(reader, codec, places).await?))
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
    let invitation = blocking(make).await?;
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
    let samples = blocking(read).await?;
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
    let mut sound = input.take(bytes);
    timeout(SOUND_WITHIN, sound.read_to_end(&mut read))
        .await
        .map_err(|_| "the sound did not come")?
        .map_err(|e| e.to_string())?;
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
    blocking(write).await
}

/// What takes long, away from the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| e.to_string())?
}
