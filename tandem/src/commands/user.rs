//! `tandem user add | set | remove | list`.

use crate::admin::{Question, ask};
use crate::cli::User;
use crate::commands::lists::{print_json, print_table, text};
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
            let question = Question::UserAdd {
                extension: extension.clone(),
                name: name.clone(),
                password: password.clone(),
                pin: pin.clone(),
            };
            let (made, _) = ask(&how.node.data(), &question, &[])?;
            if how.json {
                return print_json(&made);
            }
            let [extension, name, password, pin] =
                ["extension", "name", "password", "pin"].map(|key| text(&made[key]));
            say!("{extension}  {name}  password {password}  voicemail PIN {pin}");
            Ok(())
        }
        User::Set {
            extension,
            settings,
            node,
        } => {
            let question = Question::UserSet {
                extension: extension.clone(),
                settings: settings.clone(),
            };
            ask(&node.data(), &question, &[]).map(drop)
        }
        User::Remove { extension, node } => {
            let extension = extension.clone();
            ask(&node.data(), &Question::UserRemove { extension }, &[]).map(drop)
        }
        User::List(how) => {
            let (users, _) = ask(&how.node.data(), &Question::UserList, &[])?;
            if how.json {
                return print_json(&users);
            }
            let rows = users.as_array().into_iter().flatten().map(|user| {
                let mut marks = Vec::new();
                if user["dnd"] == true {
                    marks.push("do not disturb".to_owned());
                }
                if let Some(to) = user["forward"].as_str() {
                    marks.push(format!("forwarded to {to}"));
                }
                if user["conflict"] == true {
                    marks.push("another user has this extension".into());
                }
                let new = text(&user["messages"]["new"]);
                let (extension, name) = (text(&user["extension"]), text(&user["name"]));
                vec![extension, name, new, marks.join(", ")]
            });
            print_table(
                &["USER", "NAME", "NEW", ""],
                rows,
                "no users yet; tandem user add EXT NAME makes one",
            );
            Ok(())
        }
    }
}
