//! What an administrator can ask of a running node, and how: one HTTP API, described in `docs/openapi.json`.
//!
//! ```text
//! curl --unix-socket DATA/control.sock http://node/api/v1/calls
//! ```
//!
//! - From: the command line (`client`), over a Unix socket in the data directory (`server`), which only the
//!   user who runs the node can reach (mode 0600); programs elsewhere, over the portal's port, with a token
//!   (`token`, `tokens`).
//! - To: call control, by [`ControlHandle`]; sound is read from the log.
//! - What goes in and out is in `bodies`, once, for both sides; what can go wrong, and how it is said, in
//!   `fault`. Each verb is a route with its description beside it: `lists`, `call_log`, `events`, `users`, `groups`, `office`,
//!   `mailboxes`, `sound`, `recordings`, `nodes`.
//!
//! Invariants: the description is made from the routes, so none is without it; an answer is the struct that
//! the description shows; every body has a bound and a time by which it must have come.

pub(crate) mod bodies;
pub(crate) mod call_log;
mod client;
pub(crate) mod codes;
mod events;
mod fault;
mod groups;
mod lists;
mod mailboxes;
mod nodes;
mod office;
pub(crate) mod outward;
mod recordings;
mod rooms;
pub(crate) mod schedules;
mod server;
mod sound;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod tokens;
mod users;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{any, get};
use axum::{Router, middleware};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::SoundReader;
use tandem_storage::site::Site;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::control::{Answer, Ask, ControlHandle};
use crate::events::EventsDoor;
use crate::secrets::Keeper;
use fault::{Fault, Json};

pub(crate) use client::Client;
pub(crate) use server::AdminServer;
pub(crate) use token::Token;
pub(crate) use tokens::{Tokens, TokensKeeper};

pub(crate) const NO_CLUSTER: &str =
    "this node belongs to no cluster yet; stop it, type tandem site init, and start it again";

/// Where all of it is.
const ROOT: &str = "/api/v1";

/// The longest sound that can be brought in.
const WAV_SECONDS_MAX: u32 = 3600;

/// As much in bytes: stereo at 48 kHz, 16 bits, and a header.
pub(crate) const WAV_BYTES_MAX: usize = WAV_SECONDS_MAX as usize * 48_000 * 4 + 4096;

/// What questions are answered with.
#[derive(Clone)]
pub(crate) struct Answerer {
    pub(crate) control: ControlHandle,
    pub(crate) reader: SoundReader,
    pub(crate) events: EventsDoor,
    pub(crate) tokens: Tokens,
    /// The other nodes' way in, if this one belongs to a cluster.
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

/// Where a node with this data directory listens.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Does a node run on `data`?
pub(crate) fn is_running(data: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket_path(data)).is_ok()
}

/// The API for the portal's port: all of it asks for a token, but what it is made of.
pub(crate) fn behind_token(answerer: Answerer, token: Token) -> Router {
    let guard = token::Guard {
        file: token,
        tokens: answerer.tokens.clone(),
    };
    let guard = middleware::from_fn_with_state(guard, token::guard);
    api(|verbs| verbs.with_state(answerer).route_layer(guard))
}

/// The API for whoever may reach the socket.
fn open(answerer: Answerer) -> Router {
    api(|verbs| verbs.with_state(answerer)).fallback(nothing_there)
}

fn api(finish: impl FnOnce(Router<Answerer>) -> Router) -> Router {
    let (verbs, description) = verbs();
    let text = Bytes::from(described(&description));
    let description = get(move || async { ([(CONTENT_TYPE, "application/json")], text) });
    finish(verbs.method_not_allowed_fallback(not_so))
        .route(&format!("{ROOT}/openapi.json"), description)
        .route(&format!("{ROOT}/{{*rest}}"), any(nothing_there))
}

/// All verbs, and their description.
fn verbs() -> (Router<Answerer>, OpenApi) {
    let all = OpenApiRouter::new()
        .merge(lists::routes())
        .merge(call_log::routes())
        .merge(events::routes())
        .merge(users::routes())
        .merge(groups::routes())
        .merge(rooms::routes())
        .merge(outward::routes())
        .merge(codes::routes())
        .merge(schedules::routes())
        .merge(office::routes())
        .merge(mailboxes::routes())
        .merge(sound::routes())
        .merge(recordings::routes())
        .merge(nodes::routes())
        .merge(tokens::routes());
    let root = OpenApiRouter::with_openapi(Description::openapi());
    let (verbs, mut description) = root.nest(ROOT, all).split_for_parts();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme("token", bearer);
    let no_scopes: [&str; 0] = [];
    description.security = Some(vec![SecurityRequirement::new("token", no_scopes)]);
    (verbs, description)
}

/// The description as it is served and kept in `docs/openapi.json`.
fn described(description: &OpenApi) -> String {
    // A description is plain data, which can always be written.
    let text = description.to_pretty_json().unwrap_or_default();
    text + "\n"
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Tandem",
    version = "1",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    description = "What an administrator can ask of a running node. On the Unix socket `control.sock` in its \
        data directory nothing else is needed; on the portal's port, a bearer token: the one in the file \
        `api.token` there, which may do everything, or one that `tandem token add` made, by its role: read \
        (status, lists, the call log, events), operate (and begin calls), administer (everything). What cannot be done is answered with a status of 400 or more and \
        `{\"error\": \"…\"}`."
))]
struct Description;

async fn nothing_there(uri: Uri) -> Fault {
    let path = uri.path();
    let error = format!("there is nothing at {path}; {ROOT}/openapi.json says what there is");
    Fault::new(StatusCode::NOT_FOUND, error)
}

async fn not_so(method: Method, uri: Uri) -> Fault {
    let path = uri.path();
    let error = format!("{path} has no {method}; {ROOT}/openapi.json says what it has");
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

impl Answerer {
    async fn ask(&self, ask: Ask) -> Result<Answer, Fault> {
        let answer = self.control.ask(ask).await;
        let answer = answer.map_err(|_| "the node is stopping".to_owned())?;
        Ok(answer?)
    }

    async fn ask_pbx(&self, ask: AdminAsk) -> Result<AdminAnswer, Fault> {
        match self.ask(Ask::Pbx(ask)).await? {
            Answer::Pbx(answer) => Ok(answer),
            _ => Err(Fault::internal("call control gave another answer")),
        }
    }

    /// What can be shown, as the description says it looks.
    async fn show<T: Serialize + DeserializeOwned>(&self, ask: Ask) -> Result<Json<T>, Fault> {
        let value = match self.ask(ask).await? {
            Answer::Json(value) | Answer::Pbx(AdminAnswer::Json(value)) => value,
            _ => return Err(Fault::internal("call control gave another answer")),
        };
        let told: T = T::deserialize(&value).map_err(|e| Fault::internal(&e.to_string()))?;
        debug_assert_eq!(
            serde_json::to_string(&told).ok(),
            Some(value.to_string()),
            "the description is not what call control says, or not in its order"
        );
        Ok(Json(told))
    }

    /// What is to be done, and durable when this is answered.
    async fn carry_out(&self, ask: AdminAsk) -> Result<StatusCode, Fault> {
        self.ask_pbx(ask).await.map(|_| StatusCode::NO_CONTENT)
    }
}

/// What takes long, away from the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| Fault::internal(&e.to_string()))??)
}
