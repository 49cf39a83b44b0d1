//! `tandem token add | list | remove`.

use axum::http::Method;
use serde_json::json;

use crate::admin::Client;
use crate::admin::tokens::{NewToken, TokenListed, TokenMade};
use crate::cli::Token;
use crate::commands::lists::{print_json, print_table, show, when};
use crate::out::say;

pub(crate) fn run(token: &Token) -> Result<(), String> {
    match token {
        Token::Add { name, role, ask } => {
            let new = NewToken {
                name: name.clone(),
                role: *role,
            };
            let node = Client::of(ask.node.data());
            let made: TokenMade = node.send(Method::POST, &["tokens"], &new)?;
            match ask.json {
                true => return print_json(&json!(made)),
                false => say!("{}", made.token),
            }
            Ok(())
        }
        Token::List(how) => show(how, &["tokens"], |tokens: Vec<TokenListed>| {
            let rows = tokens
                .into_iter()
                .map(|token| vec![token.name, token.role.as_str().to_owned(), when(token.made)]);
            let none = "no tokens but the one in the file api.token";
            print_table(&["TOKEN", "MAY", "MADE"], rows, none);
        }),
        Token::Remove { name, node } => {
            let path = ["tokens", name];
            Client::of(node.data()).carry_out(Method::DELETE, &path)
        }
    }
}
