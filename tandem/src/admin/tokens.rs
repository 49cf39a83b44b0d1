//! Tokens for the API, by name: each with a role that says what it may do.
//!
//! From an administrator (`tandem token add | list | remove`), as registers `api-token/NAME` in the log, and so
//! at every node of a cluster; to the guard (`token`). What is kept of a token is its SHA-256: it is
//! shown once, when it is made, and is 256 bits of chance, so that a slow hash would add nothing.
//!
//! | role | may |
//! |---|---|
//! | `read` | status, lists, the call log, events |
//! | `operate` | the same, and begin calls |
//! | `administer` | everything |
//!
//! What a question needs is in one table ([`needed`]); what is not in it needs the right to administer.
//!
//! Invariants: call control takes no lock to hand over what has changed: it puts a copy of the table into a
//! cell of one pointer. A token is valid when its making is answered, and not any more when its removal is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use crossbeam::atomic::AtomicCell;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tandem_node::SHELL_REGISTERS;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::ErrorBody;
use super::fault::{Fault, Json, Named};
use super::{Answerer, ROOT};
use crate::control::Ask;

/// Tokens that can be made.
const TOKENS_MAX: usize = 64;
/// Tokens that are looked at: nodes that were apart can have made more than one of them could.
const TABLE_MAX: usize = 1024;
/// Of a token, in bytes.
const BYTES: usize = 32;
const NAME_CHARS_MAX: usize = 32;

/// What a token may do; each may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Look: status, lists, the call log, events
    Read,
    /// And begin calls
    Operate,
    /// Everything
    Administer,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Administer => "administer",
        }
    }
}

/// The right that a question needs.
pub(super) fn needed(method: &Method, path: &str) -> Role {
    let path = path
        .strip_prefix(ROOT)
        .and_then(|path| path.strip_prefix('/'));
    let parts: Vec<&str> = path.unwrap_or_default().split('/').collect();
    let is_reading = method == Method::GET || method == Method::HEAD;
    match parts[..] {
        [
            "status" | "calls" | "phones" | "users" | "groups" | "rooms" | "trunks" | "routes"
            | "schedules" | "blocked" | "speed-dials" | "codes" | "conflicts" | "nodes" | "events",
        ]
        | ["calls", "log" | "log.csv"]
        | ["mailboxes", _, "messages" | "deleted" | "quota"]
        | ["recordings"]
        | ["recordings", _]
            if is_reading =>
        {
            Role::Read
        }
        ["calls"] if method == Method::POST => Role::Operate,
        _ => Role::Administer,
    }
}

/// A token, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    role: Role,
    /// Lower-case hex.
    sha256: String,
    /// In milliseconds since 1970.
    made: u64,
}

type Table = BTreeMap<String, Kept>;

/// The tokens there are, for the guard and the verbs.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// What nobody has looked at yet.
    new: AtomicCell<Option<Box<Table>>>,
    /// Call control does not touch it.
    last: Mutex<Table>,
}

/// Call control's end.
#[derive(Default)]
pub(crate) struct TokensKeeper {
    table: Table,
    tokens: Tokens,
}

impl TokensKeeper {
    /// With the registers there are.
    pub(crate) fn new<'a>(registers: impl Iterator<Item = (&'a str, &'a str)>) -> TokensKeeper {
        let mut keeper = TokensKeeper::default();
        registers.for_each(|(key, value)| keeper.set(key, Some(value)));
        keeper
    }

    /// A register has this value now.
    pub(crate) fn set(&mut self, key: &str, value: Option<&str>) {
        let Some(name) = key.strip_prefix(SHELL_REGISTERS) else {
            return;
        };
        // What cannot be read opens nothing.
        let kept: Option<Kept> = value.and_then(|value| serde_json::from_str(value).ok());
        match kept {
            Some(kept) if self.table.len() < TABLE_MAX => {
                self.table.insert(name.to_owned(), kept);
            }
            _ => drop(self.table.remove(name)),
        }
        self.tokens.0.new.store(Some(Box::new(self.table.clone())));
    }

    pub(crate) fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }
}

impl Tokens {
    fn look<T>(&self, at: impl FnOnce(&Table) -> T) -> T {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(new) = self.0.new.take() {
            *last = *new;
        }
        at(&last)
    }

    /// Whose token it is, and what it may do.
    pub(super) fn find(&self, given: &[u8]) -> Option<(String, Role)> {
        let sha256 = hashed(given);
        let is_it = |kept: &Kept| bool::from(kept.sha256.as_bytes().ct_eq(sha256.as_bytes()));
        self.look(|table| {
            let found = table.iter().find(|(_, kept)| is_it(kept));
            found.map(|(name, kept)| (name.clone(), kept.role))
        })
    }
}

fn hashed(token: &[u8]) -> String {
    hex(&Sha256::digest(token))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// 1 to 32 characters of a-z, 0-9 and -.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// A token that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenMade {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Shown here and never again.
    pub(crate) token: String,
}

/// A token, as far as it is shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenListed {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) made: u64,
}

pub(super) fn routes() -> OpenApiRouter<Answerer> {
    OpenApiRouter::new()
        .routes(routes!(list_tokens, add_token))
        .routes(routes!(remove_token))
}

/// The tokens by name; not the one in the file `api.token`
#[utoipa::path(
    get, path = "/tokens", tag = "tokens",
    responses(
        (status = 200, description = "Tokens", body = [TokenListed]),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn list_tokens(State(answerer): State<Answerer>) -> Json<Vec<TokenListed>> {
    let row = |(name, kept): (&String, &Kept)| TokenListed {
        name: name.clone(),
        role: kept.role,
        made: kept.made,
    };
    Json(
        answerer
            .tokens
            .look(|table| table.iter().map(row).collect()),
    )
}

/// Make a token; it opens the API at every node
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", request_body = NewToken,
    responses(
        (status = 201, description = "It is durable", body = TokenMade),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn add_token(
    State(answerer): State<Answerer>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<TokenMade>), Fault> {
    let NewToken { name, role } = new;
    name_fault(&name).map_or(Ok(()), Err)?;
    let (is_there, count) = answerer
        .tokens
        .look(|table| (table.contains_key(&name), table.len()));
    if is_there {
        return Err(format!("there is a token {name} already").into());
    }
    if count >= TOKENS_MAX {
        return Err(format!("there are {count} tokens already; remove one first").into());
    }
    let token = hex(&rand::random::<[u8; BYTES]>());
    let kept = Kept {
        role,
        sha256: hashed(token.as_bytes()),
        made: wall_ms(),
    };
    let value = serde_json::to_string(&kept).map_err(|e| Fault::internal(&e.to_string()))?;
    write(&answerer, &name, Some(value)).await?;
    let made = TokenMade { name, role, token };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Remove a token; it opens nothing any more
#[utoipa::path(
    delete, path = "/tokens/{name}", tag = "tokens",
    params(("name" = String, Path, description = "Which")),
    responses(
        (status = 204, description = "It is durable"),
        (status = "default", description = "Why not", body = ErrorBody),
    )
)]
async fn remove_token(
    State(answerer): State<Answerer>,
    Named(name): Named<String>,
) -> Result<StatusCode, Fault> {
    if !answerer.tokens.look(|table| table.contains_key(&name)) {
        let error = format!("there is no token {name}; tandem token list names them");
        return Err(Fault::new(StatusCode::NOT_FOUND, error));
    }
    write(&answerer, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn write(answerer: &Answerer, name: &str, value: Option<String>) -> Result<(), Fault> {
    let registers = vec![(format!("{SHELL_REGISTERS}{name}"), value)];
    answerer.ask(Ask::Registers(registers)).await.map(drop)
}

fn wall_ms() -> u64 {
    let ms = jiff::Timestamp::now().as_millisecond();
    u64::try_from(ms).unwrap_or(0)
}

fn name_fault(name: &str) -> Option<String> {
    let is_right = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    (!is_right).then(|| {
        let name = name.escape_debug();
        format!(
            "'{name}' is not a name for a token: 1 to {NAME_CHARS_MAX} characters of a-z, 0-9 and -"
        )
    })
}

/// What is kept of a token.
#[cfg(test)]
pub(super) fn register_of(role: &str, token: &str) -> String {
    let sha256 = hashed(token.as_bytes());
    serde_json::json!({ "role": role, "sha256": sha256, "made": 1 }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(role: Role, token: &str) -> String {
        register_of(role.as_str(), token)
    }

    #[test]
    fn a_token_counts_from_its_register_on_until_it_is_removed() {
        let first = register(Role::Read, "secret");
        let mut keeper = TokensKeeper::new([("api-token/crm", &*first)].into_iter());
        let tokens = keeper.tokens();
        assert_eq!(tokens.find(b"secret"), Some(("crm".into(), Role::Read)));
        assert_eq!(tokens.find(b"Secret"), None);
        assert_eq!(tokens.find(b""), None);
        // Nobody can log in with what is kept.
        assert_eq!(tokens.find(hashed(b"secret").as_bytes()), None);
        keeper.set("api-token/door", Some(&register(Role::Operate, "other")));
        assert_eq!(tokens.find(b"other").unwrap().1, Role::Operate);
        keeper.set("api-token/crm", None);
        assert_eq!(tokens.find(b"secret"), None);
        keeper.set("api-token/door", Some("nonsense"));
        assert_eq!(tokens.find(b"other"), None);
    }

    #[test]
    fn names_are_plain() {
        for right in ["crm", "a", "door-2"] {
            assert_eq!(name_fault(right), None);
        }
        for wrong in ["", "CRM", "a b", "a/b", "ä", &"x".repeat(33)] {
            assert!(name_fault(wrong).is_some(), "{wrong}");
        }
    }

    /// Every verb of the API, and what it needs: a new one is looked at here before anybody may use it
    /// with less than all rights.
    #[test]
    fn what_each_verb_needs() {
        let (_, description) = super::super::verbs();
        let description = serde_json::to_value(&description).unwrap();
        let mut open = Vec::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, _) in item.as_object().unwrap() {
                let upper = method.to_uppercase();
                let Ok(verb) = upper.parse::<Method>() else {
                    continue;
                };
                let role = needed(&verb, path);
                if role != Role::Administer {
                    let path = path.trim_start_matches(ROOT);
                    open.push(format!("{} {upper} {path}", role.as_str()));
                }
            }
        }
        open.sort();
        let expected = [
            "operate POST /calls",
            "read GET /blocked",
            "read GET /calls",
            "read GET /calls/log",
            "read GET /calls/log.csv",
            "read GET /codes",
            "read GET /conflicts",
            "read GET /events",
            "read GET /groups",
            "read GET /mailboxes/{extension}/deleted",
            "read GET /mailboxes/{extension}/messages",
            "read GET /mailboxes/{extension}/quota",
            "read GET /nodes",
            "read GET /phones",
            "read GET /recordings",
            "read GET /recordings/{id}",
            "read GET /rooms",
            "read GET /routes",
            "read GET /schedules",
            "read GET /speed-dials",
            "read GET /status",
            "read GET /trunks",
            "read GET /users",
        ];
        assert_eq!(open, expected);
        assert_eq!(needed(&Method::GET, "/api/v1//status"), Role::Administer);
        assert_eq!(needed(&Method::GET, "/elsewhere"), Role::Administer);
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Administer);
    }
}
