//! The guard of the API on the portal's port, and the token that opens all of it: in the file `api.token` in
//! the data directory, for the eyes of the user who runs the node. Made by chance at the first start.
//! Tokens that open less are in `tokens`.
//!
//! Invariants: a token that others could have read, or that could be guessed, opens nothing; compared in
//! constant time; never logged.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::fault::Fault;
use super::tokens::{Tokens, needed};

/// Of one made by chance: 256 bits.
const BYTES: usize = 32;
/// Of one that is there: 128 bits, if it is hexadecimal.
const CHARS_MIN: usize = 32;
const CHARS_MAX: u64 = 1024;

/// See the chapter above. `None` opens nothing.
#[derive(Clone)]
pub(crate) struct Token(Option<Arc<str>>);

impl Token {
    /// That of the node on `data`. If it cannot be used, that is told; calls need none.
    pub(crate) fn of(data: &Path) -> Token {
        let path = data.join("api.token");
        let token = match read(&path) {
            Err(why) if why == MISSING => make(&path).map_err(|e| e.to_string()),
            read => read,
        };
        if let Err(why) = &token {
            let path = path.display();
            tracing::warn!("the API is not served on the portal's port: {path}: {why}");
        }
        Token(token.ok().map(Into::into))
    }

    fn opens(&self, given: &[u8]) -> bool {
        let token = self.0.as_deref();
        token.is_some_and(|token| token.as_bytes().ct_eq(given).into())
    }
}

const MISSING: &str = "is missing";

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => MISSING.to_owned(),
        _ => e.to_string(),
    })?;
    let mode = file.metadata().map_err(|e| e.to_string())?.permissions();
    if mode.mode() & 0o077 != 0 {
        return Err("others can read it; delete it, and start the node again".into());
    }
    let mut text = String::new();
    let read = file.take(CHARS_MAX).read_to_string(&mut text);
    read.map_err(|e| e.to_string())?;
    let token = text.trim();
    if token.len() < CHARS_MIN {
        return Err("it is too short; delete it, and start the node again".into());
    }
    Ok(token.to_owned())
}

/// All of it is there before it has its name.
fn make(path: &Path) -> std::io::Result<String> {
    let token: [u8; BYTES] = rand::random();
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = path.with_extension("new");
    std::fs::remove_file(&new).or_else(|e| match e.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(token)
}

/// Who is let in.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) file: Token,
    pub(super) tokens: Tokens,
}

/// Lets in who has a token with the right that is needed.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|given| given.as_bytes().strip_prefix(b"Bearer "));
    let needed = needed(request.method(), request.uri().path());
    match given {
        Some(given) if guard.file.opens(given) => return next.run(request).await,
        Some(given) => match guard.tokens.find(given) {
            Some((_, role)) if role >= needed => return next.run(request).await,
            Some((name, role)) => {
                let (needed, role) = (needed.as_str(), role.as_str());
                let error = format!(
                    "this needs a token that may {needed}; the token {name} may only {role}"
                );
                return Fault::new(StatusCode::FORBIDDEN, error).into_response();
            }
            None => {}
        },
        None => {}
    }
    let error = "this needs a token, as Authorization: Bearer TOKEN: the one in the file api.token in \
                 the node's data directory, or one that tandem token add made";
    let mut refused = Fault::new(StatusCode::UNAUTHORIZED, error).into_response();
    let bearer = HeaderValue::from_static("Bearer");
    refused.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = Token::of(dir.path()).0.unwrap();
        assert_eq!(made.len(), 2 * BYTES);
        assert_eq!(Token::of(dir.path()).0.as_ref(), Some(&made));
        let path = dir.path().join("api.token");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path) & 0o777, 0o600);
    }

    #[test]
    fn a_token_that_others_can_read_or_guess_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let made = Token::of(dir.path()).0.unwrap();
        let path = dir.path().join("api.token");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).unwrap();
        let token = Token::of(dir.path());
        assert!(!token.opens(made.as_bytes()) && !token.opens(b""));
        std::fs::remove_file(&path).unwrap();
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.unwrap().write_all(b"123\n").unwrap();
        assert!(!Token::of(dir.path()).opens(b"123"));
    }

    #[test]
    fn only_all_of_a_token_opens() {
        let token = Token(Some("0123456789abcdef0123456789abcdef".into()));
        assert!(token.opens(b"0123456789abcdef0123456789abcdef"));
        assert!(!token.opens(b"0123456789abcdef0123456789abcdeF"));
        assert!(!token.opens(b"0123456789abcdef") && !token.opens(b""));
    }
}
