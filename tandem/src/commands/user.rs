//! `tandem user add | set | remove | list`.

use axum::http::Method;
use serde_json::json;

use crate::admin::bodies::{NewUser, UserMade, UserSettings};
use crate::admin::{self, Client};
use crate::cli::User;
use crate::commands::lists::{print_json, print_table, show};
use crate::out::say;

pub(crate) fn run(user: &User) -> Result<(), String> {
    match user {
        User::Add {
            extension,
            name,
            password,
            pin,
            ask: how,
        } => {
            let user = NewUser {
                extension: extension.clone(),
                name: name.clone(),
                password: password.clone(),
                pin: pin.clone(),
            };
            let node = Client::of(how.node.data());
            let made: UserMade = node.send(Method::POST, &["users"], &user)?;
            if how.json {
                return print_json(&json!(made));
            }
            let UserMade {
                extension,
                name,
                password,
                pin,
            } = made;
            say!("{extension}  {name}  password {password}  voicemail PIN {pin}");
            Ok(())
        }
        User::Set {
            extension,
            settings,
            node,
        } => {
            let (path, settings) = (["users", extension], parse(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        User::Remove { extension, node } => {
            let path = ["users", extension];
            Client::of(node.data()).carry_out(Method::DELETE, &path)
        }
        User::List(how) => show(how, &["users"], print_users),
    }
}

fn print_users(users: Vec<admin::bodies::User>) {
    let rows = users.into_iter().map(|user| {
        let mut marks = Vec::new();
        if user.dnd {
            let mut mark = "do not disturb".to_owned();
            if !user.dnd_except.is_empty() {
                mark = format!("{mark} but {}", user.dnd_except.join(" "));
            }
            marks.push(mark);
        }
        if let Some(to) = user.forward {
            marks.push(format!("forwarded to {to}"));
        }
        for (to, case) in [
            (user.forward_busy, "busy"),
            (user.forward_no_answer, "no answer"),
            (user.forward_unreachable, "unreachable"),
        ] {
            marks.extend(to.map(|to| format!("{case}: to {to}")));
        }
        if user.reject_anonymous {
            marks.push("no anonymous calls".to_owned());
        }
        if !user.blocked.is_empty() {
            let to = if user.blocked_to_mailbox {
                "blocked, to the mailbox"
            } else {
                "blocked"
            };
            marks.push(format!("{to}: {}", user.blocked.join(" ")));
        }
        if user.class != "outward" {
            marks.push(format!("class: {}", user.class));
        }
        if let Some(number) = user.works_at {
            marks.push(format!("works at {number}"));
        }
        if !user.rings_also.is_empty() {
            marks.push(format!("rings also: {}", user.rings_also.join(" ")));
        }
        if user.record != "on-demand" {
            marks.push(format!("recorded: {}", user.record));
        }
        if user.conflict {
            marks.push("another user has this extension".into());
        }
        let new = user.messages.new.to_string();
        vec![user.extension, user.name, new, marks.join(", ")]
    });
    let if_empty = "no users yet; tandem user add EXT NAME makes one";
    print_table(&["USER", "NAME", "NEW", ""], rows, if_empty);
}

/// What was typed as `key=value`.
fn parse(typed: &[String]) -> Result<UserSettings, String> {
    let mut settings = UserSettings::default();
    for setting in typed {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("'{setting}' is not key=value"))?;
        let text = || Some(value.to_owned());
        match key {
            "name" => settings.name = text(),
            "extension" => settings.extension = text(),
            "password" => settings.password = text(),
            "pin" => settings.pin = text(),
            "dnd_except" => settings.dnd_except = Some(list(value)),
            "dnd" => settings.dnd = Some(on_or_off(key, value)?),
            "forward" => settings.forward = extension(value),
            "forward_busy" => settings.forward_busy = extension(value),
            "forward_no_answer" => settings.forward_no_answer = extension(value),
            "forward_unreachable" => settings.forward_unreachable = extension(value),
            "reject_anonymous" => settings.reject_anonymous = Some(on_or_off(key, value)?),
            "blocked" => settings.blocked = Some(list(value)),
            "blocked_to_mailbox" => settings.blocked_to_mailbox = Some(on_or_off(key, value)?),
            "class" => settings.class = text(),
            "forward_outside" => settings.forward_outside = Some(on_or_off(key, value)?),
            "rings_also" => settings.rings_also = Some(list(value)),
            "works_at" => settings.works_at = extension(value),
            "caller_id" => settings.caller_id = extension(value),
            "record" => settings.record = text(),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, extension, password, pin, dnd (on, off), dnd_except (numbers), forward, forward_busy, \
                     forward_no_answer, forward_unreachable (an extension, or nothing), reject_anonymous (on, off), \
                     blocked (numbers), blocked_to_mailbox (on, off), class (internal, outward, international), forward_outside (on, off), \
                     rings_also (numbers), works_at, caller_id (a number, or nothing), record (never, on-demand, always)"
                ));
            }
        }
    }
    Ok(settings)
}

fn list(value: &str) -> Vec<String> {
    let items = value.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// An extension, or nothing: no longer.
#[expect(clippy::option_option, reason = "the inner one is what was typed")]
fn extension(value: &str) -> Option<Option<String>> {
    Some((!value.is_empty()).then(|| value.to_owned()))
}

fn on_or_off(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{key} is on or off, not '{value}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &[&str]) -> Result<UserSettings, String> {
        let typed: Vec<String> = typed.iter().map(|&some| some.to_owned()).collect();
        parse(&typed)
    }

    #[test]
    fn what_is_typed_and_what_is_left_out() {
        let settings = parsed(&["name=Eve = Adam", "dnd=on", "forward="]).unwrap();
        let wanted = UserSettings {
            name: Some("Eve = Adam".into()),
            dnd: Some(true),
            forward: Some(None),
            ..UserSettings::default()
        };
        assert_eq!(settings, wanted);
        let travelled = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            travelled,
            r#"{"name":"Eve = Adam","dnd":true,"forward":null}"#
        );
        let back: UserSettings = serde_json::from_str(&travelled).unwrap();
        assert_eq!(back, wanted);
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        assert_eq!(parsed(&["pin"]).unwrap_err(), "'pin' is not key=value");
        let error = parsed(&["dnd=maybe"]).unwrap_err();
        assert_eq!(error, "dnd is on or off, not 'maybe'");
        assert!(
            parsed(&["colour=red"])
                .unwrap_err()
                .starts_with("'colour' cannot be set")
        );
    }
}
