//! `tandem code set | list`.

use axum::http::Method;

use crate::admin::Client;
use crate::admin::codes::{self, CodeSettings};
use crate::cli::Code;
use crate::commands::lists::{print_table, show};

pub(crate) fn run(code: &Code) -> Result<(), String> {
    match code {
        Code::Set { codes, node } => {
            let parsed: Result<Vec<_>, String> = codes.iter().map(|typed| parse(typed)).collect();
            let node = Client::of(node.data());
            for (name, settings) in parsed? {
                node.send::<()>(Method::PUT, &["codes", &name], &settings)?;
            }
            Ok(())
        }
        Code::List(how) => show(how, &["codes"], |codes: Vec<codes::Code>| {
            let rows = codes.into_iter().map(|code| {
                let default = match code.default == code.code {
                    true => String::new(),
                    false => format!("elsewhere {}", code.default),
                };
                vec![code.code, code.name, default]
            });
            print_table(&["DIAL", "FOR", ""], rows, "there are no codes");
        }),
    }
}

/// `NAME=CODE`.
fn parse(typed: &str) -> Result<(String, CodeSettings), String> {
    let pair = typed.split_once('=');
    let (name, code) = pair.ok_or_else(|| format!("'{typed}' is not NAME=CODE"))?;
    let code = (code != "default").then(|| code.to_owned());
    Ok((name.to_owned(), CodeSettings { code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked() {
        for (typed, name, code) in [
            ("park=70", "park", Some("70")),
            ("echo=", "echo", Some("")),
            ("echo=default", "echo", None),
        ] {
            let (said, settings) = parse(typed).unwrap();
            assert_eq!((&*said, settings.code.as_deref()), (name, code));
        }
        assert_eq!(parse("park").unwrap_err(), "'park' is not NAME=CODE");
    }
}
