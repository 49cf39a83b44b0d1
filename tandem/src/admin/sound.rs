//! Sound of messages, out as WAV and in, and messages out of a backup. Read and written away from the
//! threads that serve everybody.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::seam::{ChunkPlace, SoundCodec};
use tandem_storage::{SoundReader, wav};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{ErrorBody, INCOMPLETE, MessageMade, MessageRestored, RestoreMessage, Wav};
use super::fault::{Fault, Json, Named, SOUND_WITHIN, parse, read};
use super::mailboxes::message_id;
use super::{Answerer, WAV_BYTES_MAX, WAV_SECONDS_MAX, blocking};

/// The longest message that can be put back, in samples of one byte.
const SAMPLES_MAX: usize = WAV_SECONDS_MAX as usize * 8000;
/// As much in base64, and what else is said of it.
const RESTORE_BYTES_MAX: usize = SAMPLES_MAX.div_ceil(3) * 4 + 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(message_sound))
        .routes(routes!(import_message))
        .routes(routes!(restore_message))
}

/// A message as a WAV file
#[utoipa::path(
    get, path = "/mailboxes/{extension}/messages/{id}/sound", tag = "mailboxes",
    params(
        ("extension" = String, Path, description = "Whose"),
        ("id" = String, Path, description = "Which, from the list"),
    ),
    responses(
        (
            status = 200, description = "16-bit PCM", content_type = "audio/wav", body = Wav,
            headers(("tandem-incomplete" = bool, description = "Some of it is damaged and not in the file"))
        ),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn message_sound(
    State(answerer): State<Answerer>,
    Named((extension, id)): Named<(String, String)>,
) -> Result<(HeaderMap, Vec<u8>), Fault> {
    let ask = AdminAsk::Message {
        extension: extension.into(),
        id: message_id(&id)?,
    };
    let AdminAnswer::Sound {
        codec,
        places,
        is_incomplete,
    } = answerer.ask_pbx(ask).await?
    else {
        return Err(Fault::internal("call control gave another answer"));
    };
    let wav = write_wav(answerer.reader, codec, places).await?;
    let incomplete = HeaderValue::from_static(if is_incomplete { "true" } else { "false" });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    headers.insert(INCOMPLETE, incomplete);
    Ok((headers, wav))
}

/// Put a WAV file into a mailbox as a new message
///
/// PCM of 8 to 32 bits, floating point, A-law or mu-law
#[utoipa::path(
    post, path = "/mailboxes/{extension}/messages", tag = "mailboxes",
    params(("extension" = String, Path, description = "Whose")),
    request_body(content = Wav, content_type = "audio/wav"),
    responses(
        (status = 201, description = "It is durable", body = MessageMade),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn import_message(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    body: Body,
) -> Result<(StatusCode, Json<MessageMade>), Fault> {
    let wav = read(body, WAV_BYTES_MAX, SOUND_WITHIN).await?;
    let import =
        move || wav::import(std::io::Cursor::new(wav), WAV_SECONDS_MAX).map_err(|e| e.to_string());
    let ask = AdminAsk::Import {
        extension: extension.into(),
        codec: SoundCodec::Pcmu,
        samples: blocking(import).await?.into(),
    };
    match answerer.ask_pbx(ask).await? {
        AdminAnswer::Imported { id } => {
            let id = id.to_string();
            Ok((StatusCode::CREATED, Json(MessageMade { id })))
        }
        _ => Err(Fault::internal("call control gave another answer")),
    }
}

/// Put a message out of a backup back, unless it is there
#[utoipa::path(
    post, path = "/mailboxes/{extension}/restored", tag = "mailboxes", request_body = RestoreMessage,
    params(("extension" = String, Path, description = "Whose")),
    responses(
        (status = 200, description = "It is durable, or was there", body = MessageRestored),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn restore_message(
    State(answerer): State<Answerer>,
    Named(extension): Named<String>,
    body: Body,
) -> Result<Json<MessageRestored>, Fault> {
    let bytes = read(body, RESTORE_BYTES_MAX, SOUND_WITHIN).await?;
    let RestoreMessage { kept, samples } = parse(&bytes)?;
    drop(bytes);
    let samples = BASE64_STANDARD
        .decode(samples)
        .map_err(|e| format!("the samples are not base64: {e}"))?;
    if samples.len() > SAMPLES_MAX {
        return Err(format!("a message of {} samples is too long", samples.len()).into());
    }
    let ask = AdminAsk::Restore {
        extension: extension.into(),
        kept,
        samples: samples.into(),
    };
    let id = match answerer.ask_pbx(ask).await? {
        AdminAnswer::Imported { id } => Some(id.to_string()),
        _ => None,
    };
    Ok(Json(MessageRestored { id }))
}

async fn write_wav(
    reader: SoundReader,
    codec: SoundCodec,
    places: Arc<[ChunkPlace]>,
) -> Result<Vec<u8>, Fault> {
    let write = move || {
        let mut file = std::io::Cursor::new(Vec::new());
        wav::export(&reader, codec, &places, &mut file).map_err(|e| e.to_string())?;
        Ok(file.into_inner())
    };
    blocking(write).await
}
