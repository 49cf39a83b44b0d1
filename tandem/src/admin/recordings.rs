//! Recordings of calls: lists, what proves that one is whole, and their sound as WAV.
//!
//! Call control says where the samples lie; they are read here, away from the threads that serve
//! everybody, and a WAV file leaves block by block while it is mixed. What lies at another node is
//! fetched first, and waited for ([`FETCHED_WITHIN`]).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Frame;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tandem_engine::seam::RecordEnd;
use tandem_pbx::recordings::{Ending, PAGE_MAX, Side, TrackSealed};
use tandem_pbx::seam::{AdminAnswer, AdminAsk, TrackSound};
use tandem_storage::SoundReader;
use tandem_storage::name::Id;
use tandem_storage::seam::SealKind;
use tandem_storage::tracks::{Checked, Line, Mixer, check};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{
    ErrorBody, INCOMPLETE, Recording, RecordingGap, RecordingPause, RecordingVerified,
    TrackVerified, Wav,
};
use super::fault::{Fault, Json, Named, SOUND_WITHIN};
use super::mailboxes::message_id;
use super::{Answerer, blocking};
use crate::control::Ask;

/// Sound from another node is waited for so long.
const FETCHED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Blocks of a WAV file that wait for their reader.
const BLOCKS_MAX: usize = 8;
/// Samples are kept at 8 kHz.
const SAMPLES_PER_MS: u64 = 8;

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_recordings))
        .routes(routes!(recording, delete_recording))
        .routes(routes!(verify_recording))
        .routes(routes!(recording_sound))
}

/// Which recordings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Those behind this one: the last of the page before
    before: Option<String>,
    /// So many at most: 1 to 200, 100 if it is left out
    limit: Option<usize>,
}

/// Recordings of calls, the newest first
#[utoipa::path(
    get, path = "/recordings", tag = "recordings", params(Page),
    responses(
        (status = 200, description = "Recordings", body = [Recording]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_recordings(
    State(answerer): State<Answerer>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Vec<Recording>>, Fault> {
    let Query(Page { before, limit }) = page.map_err(not_asked)?;
    let before = before.as_deref().map(message_id).transpose()?;
    let limit = limit.unwrap_or(100);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(format!("limit must be 1 to {PAGE_MAX}").into());
    }
    let ask = AdminAsk::Recordings { before, limit };
    answerer.show(Ask::Pbx(ask)).await
}

fn not_asked(rejected: QueryRejection) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, rejected.body_text())
}

/// One recording
#[utoipa::path(
    get, path = "/recordings/{id}", tag = "recordings",
    params(("id" = String, Path, description = "Which, from the list")),
    responses(
        (status = 200, description = "The recording", body = Recording),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn recording(
    State(answerer): State<Answerer>,
    Named(id): Named<String>,
) -> Result<Json<Recording>, Fault> {
    let id = message_id(&id)?;
    answerer.show(Ask::Pbx(AdminAsk::Recording { id })).await
}

/// Delete a recording; it is destroyed when a message would be
#[utoipa::path(
    delete, path = "/recordings/{id}", tag = "recordings",
    params(("id" = String, Path, description = "Which, from the list")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn delete_recording(
    State(answerer): State<Answerer>,
    Named(id): Named<String>,
) -> Result<StatusCode, Fault> {
    let id = message_id(&id)?;
    answerer.carry_out(AdminAsk::DeleteRecording { id }).await
}

/// Read all of a recording: is it whole, or what is missing and why
#[utoipa::path(
    get, path = "/recordings/{id}/verified", tag = "recordings",
    params(("id" = String, Path, description = "Which, from the list")),
    responses(
        (status = 200, description = "What was found", body = RecordingVerified),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn verify_recording(
    State(answerer): State<Answerer>,
    Named(id): Named<String>,
) -> Result<Json<RecordingVerified>, Fault> {
    let id = message_id(&id)?;
    let (tracks, ending) = tracks_of(&answerer, id).await?;
    let reader = answerer.reader;
    let verified = blocking(move || Ok(verified(id, &reader, &tracks, ending.as_ref()))).await?;
    Ok(Json(verified))
}

/// Which of its sound.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Which {
    /// One track alone, by its number; left out: all of them, on two sides
    track: Option<u32>,
}

/// A recording as a WAV file: the parties left and right, or one track
#[utoipa::path(
    get, path = "/recordings/{id}/sound", tag = "recordings",
    params(("id" = String, Path, description = "Which, from the list"), Which),
    responses(
        (
            status = 200, description = "16-bit PCM", content_type = "audio/wav", body = Wav,
            headers(("tandem-incomplete" = bool, description = "Some of it cannot be read and is silence in the file"))
        ),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn recording_sound(
    State(answerer): State<Answerer>,
    Named(id): Named<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<(HeaderMap, Body), Fault> {
    let Query(Which { track }) = which.map_err(not_asked)?;
    let id = message_id(&id)?;
    let (mut tracks, _) = tracks_of(&answerer, id).await?;
    let mut channels = 2;
    if let Some(number) = track {
        tracks.retain(|track| track.number == number);
        channels = 1;
        if tracks.is_empty() {
            let error = format!("recording {id} has no track {number}");
            return Err(Fault::new(StatusCode::NOT_FOUND, error));
        }
    }
    let lines: Vec<Line> = tracks.iter().map(line).collect();
    let reader = answerer.reader;
    let is_incomplete = {
        let (reader, lines) = (reader.clone(), lines.clone());
        let is_damaged = move || {
            Ok(lines
                .iter()
                .any(|line| !check(&reader, line).faults.is_empty()))
        };
        blocking(is_damaged).await?
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    let incomplete = HeaderValue::from_static(if is_incomplete { "true" } else { "false" });
    headers.insert(INCOMPLETE, incomplete);
    let mixer = Mixer::new(reader, lines, channels);
    Ok((headers, Body::new(WavBody::of(mixer))))
}

/// Where the samples of its tracks lie, once all that other nodes have is here.
async fn tracks_of(
    answerer: &Answerer,
    id: Id,
) -> Result<(Vec<TrackSound>, Option<Ending>), Fault> {
    let until = Instant::now() + FETCHED_WITHIN;
    loop {
        let answer = answerer.ask_pbx(AdminAsk::RecordingTracks { id }).await?;
        let AdminAnswer::Tracks { tracks, ending } = answer else {
            return Err(Fault::internal("call control gave another answer"));
        };
        let is_coming = tracks.iter().any(|track| track.is_coming);
        if !is_coming || Instant::now() >= until {
            return Ok((tracks, ending));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn line(track: &TrackSound) -> Line {
    Line {
        from_sample: track.from_ms * SAMPLES_PER_MS,
        codec: track.codec,
        pieces: track.pieces.clone(),
        samples: track.sealed.as_ref().map(|sealed| sealed.samples),
        side: usize::from(track.side == Side::Right),
    }
}

/// Holds what can be read against what was said of it.
fn verified(
    id: Id,
    reader: &SoundReader,
    tracks: &[TrackSound],
    ending: Option<&Ending>,
) -> RecordingVerified {
    let checked: Vec<Checked> = tracks.iter().map(|t| check(reader, &line(t))).collect();
    let pairs = || tracks.iter().zip(&checked);
    let hashes: String = checked.iter().map(|c| hex(&c.sha256)).collect();
    let sha256 = hex(&Sha256::digest(hashes));
    let mut faults = Vec::new();
    let is_under_way = tracks.iter().any(|track| track.seal.is_none());
    match ending {
        None if is_under_way => faults.push("it is still being recorded".to_owned()),
        None => faults.push("its end was not written: the node stopped before".to_owned()),
        Some(ending) => {
            let (there, all) = (tracks.len(), ending.tracks as usize);
            if there != all {
                faults.push(format!("{there} of its {all} tracks are there"));
            } else if ending.sha256.as_ref().is_some_and(|s| **s != *sha256) {
                faults.push("the hash over its tracks is not the one that was written".to_owned());
            }
        }
    }
    let tracks: Vec<TrackVerified> = pairs().map(|(t, c)| track_verified(t, c)).collect();
    let is_whole = faults.is_empty() && tracks.iter().all(|track| track.gaps.is_empty());
    RecordingVerified {
        id: id.to_string(),
        whole: is_whole,
        faults,
        sha256,
        tracks,
    }
}

fn track_verified(track: &TrackSound, checked: &Checked) -> TrackVerified {
    let ms = |samples: u64| samples / SAMPLES_PER_MS;
    let read = checked.faults.iter().map(|fault| RecordingGap {
        from_ms: ms(fault.from_sample),
        to_ms: ms(fault.to_sample),
        why: match fault.what.as_str() {
            "not in the log" if track.is_elsewhere => "not at this node".to_owned(),
            what => what.to_owned(),
        },
    });
    let mut gaps: Vec<RecordingGap> = read.collect();
    let end_ms = ms(checked.samples);
    let at_end = |why: &str| RecordingGap {
        from_ms: end_ms,
        to_ms: end_ms,
        why: why.to_owned(),
    };
    if let Some(sealed) = &track.sealed {
        gaps.extend(lost(sealed));
        let is_hash_wrong = |hash: &str| hash != hex(&checked.sha256);
        if checked.faults.is_empty() && sealed.sha256.as_deref().is_some_and(is_hash_wrong) {
            gaps.push(RecordingGap {
                from_ms: 0,
                to_ms: end_ms,
                why: "it is not what was written: its hash is another".to_owned(),
            });
        }
    }
    let end = track.sealed.as_ref().map(|sealed| sealed.end);
    let cut = match (track.seal, end) {
        (None, _) => Some("it is still being recorded"),
        (_, Some(Some(RecordEnd::LogRefused))) => Some("the log took no more"),
        (_, Some(Some(RecordEnd::Limit))) => Some("the longest recording was reached"),
        (_, Some(None)) => Some("its end was not told"),
        (Some(SealKind::CutShort), _) => Some("cut short: the node stopped"),
        _ => None,
    };
    gaps.extend(cut.map(at_end));
    gaps.sort_by_key(|gap| gap.from_ms);
    let pauses = track.sealed.iter().flat_map(|sealed| &sealed.pauses);
    let pauses = pauses.map(|pause| RecordingPause {
        from_ms: ms(pause.from_sample),
        to_ms: ms(pause.to_sample),
    });
    TrackVerified {
        track: track.number,
        side: match track.side {
            Side::Left => "left".to_owned(),
            Side::Right => "right".to_owned(),
        },
        length_ms: end_ms,
        sha256: hex(&checked.sha256),
        gaps,
        pauses: pauses.collect(),
    }
}

/// Packets that the network lost. How long they were is what the others were on average.
fn lost(sealed: &TrackSealed) -> impl Iterator<Item = RecordingGap> {
    let per_packet = sealed.samples.checked_div(sealed.packets.expected);
    let packet_ms = per_packet.unwrap_or(160).clamp(80, 480) / SAMPLES_PER_MS;
    let named = sealed.gaps.iter().map(move |gap| {
        let from_ms = gap.at_sample / SAMPLES_PER_MS;
        let count = gap.packets;
        RecordingGap {
            from_ms,
            to_ms: from_ms + u64::from(count) * packet_ms,
            why: format!("{count} packets did not come from the party in time"),
        }
    });
    let more = (sealed.gaps_more > 0).then(|| RecordingGap {
        from_ms: sealed
            .gaps
            .last()
            .map_or(0, |gap| gap.at_sample / SAMPLES_PER_MS),
        to_ms: sealed.samples / SAMPLES_PER_MS,
        why: format!("packets are missing in {} more places", sealed.gaps_more),
    });
    named.chain(more)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A WAV file that is mixed while it leaves.
struct WavBody {
    blocks: mpsc::Receiver<Bytes>,
    /// Who takes nothing for so long is let go.
    until: Pin<Box<tokio::time::Sleep>>,
}

impl WavBody {
    fn of(mut mixer: Mixer) -> WavBody {
        let (to_body, blocks) = mpsc::channel(BLOCKS_MAX);
        tokio::task::spawn_blocking(move || {
            let head = Bytes::copy_from_slice(&mixer.wav_head());
            let mut next = Some(head);
            while let Some(block) = next {
                // Who asked has gone.
                if to_body.blocking_send(block).is_err() {
                    return;
                }
                let samples = mixer.block();
                next = samples.map(|samples| {
                    let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes());
                    bytes.collect::<Vec<u8>>().into()
                });
            }
        });
        let until = Box::pin(sleep(SOUND_WITHIN));
        WavBody { blocks, until }
    }
}

impl HttpBody for WavBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(block) = self.blocks.poll_recv(context) {
            return Poll::Ready(block.map(|block| Ok(Frame::data(block))));
        }
        let too_slow = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        self.until
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(too_slow())))
    }
}
