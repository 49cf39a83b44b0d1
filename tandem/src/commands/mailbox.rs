//! `tandem mailbox list | deleted | undelete | hold | keep-heard | quota | export | import`.

use serde_json::Value;

use crate::admin::{Question, ask};
use crate::cli::Mailbox;
use crate::commands::lists::{party, print_json, print_table, text, when};
use crate::out::say;

pub(crate) fn run(mailbox: &Mailbox) -> Result<(), String> {
    match mailbox {
        Mailbox::List {
            extension,
            ask: how,
        } => {
            let question = Question::MailboxList {
                extension: extension.clone(),
            };
            let (list, _) = ask(&how.node.data(), &question, &[])?;
            if how.json {
                return print_json(&list);
            }
            print_messages(&list);
            Ok(())
        }
        Mailbox::Deleted {
            extension,
            ask: how,
        } => {
            let question = Question::MailboxDeleted {
                extension: extension.clone(),
            };
            let (list, _) = ask(&how.node.data(), &question, &[])?;
            if how.json {
                return print_json(&list);
            }
            print_messages(&list);
            Ok(())
        }
        Mailbox::Undelete {
            extension,
            id,
            node,
        } => {
            let question = Question::MailboxUndelete {
                extension: extension.clone(),
                id: id.clone(),
            };
            ask(&node.data(), &question, &[]).map(drop)
        }
        Mailbox::Hold {
            extension,
            state,
            node,
        } => {
            let question = Question::MailboxHold {
                extension: extension.clone(),
                hold: state == "on",
            };
            ask(&node.data(), &question, &[]).map(drop)
        }
        Mailbox::KeepHeard {
            extension,
            days,
            node,
        } => {
            let question = Question::MailboxKeepHeard {
                extension: extension.clone(),
                days: *days,
            };
            ask(&node.data(), &question, &[]).map(drop)
        }
        Mailbox::Quota {
            extension,
            minutes,
            messages,
            ask: how,
        } => {
            let (data, extension) = (how.node.data(), extension.clone());
            if minutes.is_some() || messages.is_some() {
                let question = Question::MailboxSetQuota {
                    extension: extension.clone(),
                    minutes: *minutes,
                    messages: *messages,
                };
                ask(&data, &question, &[])?;
            }
            let (standing, _) = ask(&data, &Question::MailboxQuota { extension }, &[])?;
            if how.json {
                return print_json(&standing);
            }
            print_quota(&standing);
            Ok(())
        }
        Mailbox::Export {
            extension,
            id,
            file,
            overwrite,
            node,
        } => {
            if !overwrite && file.exists() {
                return Err(format!(
                    "{} is there already; name another file, or say --overwrite",
                    file.display()
                ));
            }
            let question = Question::MailboxExport {
                extension: extension.clone(),
                id: id.clone(),
            };
            let (told, wav) = ask(&node.data(), &question, &[])?;
            if told["incomplete"] == true {
                eprintln!("some of message {id} is damaged and not in the file");
            }
            std::fs::write(file, wav).map_err(|e| format!("{}: {e}", file.display()))
        }
        Mailbox::Import {
            extension,
            file,
            node,
        } => {
            let wav = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            let question = Question::MailboxImport {
                extension: extension.clone(),
                bytes: wav.len() as u64,
            };
            let (id, _) = ask(&node.data(), &question, &wav)?;
            say!("{}", text(&id));
            Ok(())
        }
    }
}

fn print_quota(standing: &Value) {
    let of = |used: &str, most: &str| {
        let (used, most) = (text(&standing[used]), text(&standing[most]));
        vec![used, "of".into(), most]
    };
    let rows = [
        ("messages", of("messages", "messages_max")),
        ("minutes", of("minutes", "quota_minutes")),
    ];
    for (what, of) in rows {
        say!("{what:<10}{}", of.join(" "));
    }
    say!("{:<10}{} %", "used", text(&standing["percent"]));
}

fn print_messages(list: &Value) {
    let rows = list.as_array().into_iter().flatten().map(|message| {
        let seconds = message["length_ms"].as_u64().unwrap_or(0).div_ceil(1000);
        let marks = ["urgent", "cut_short", "incomplete"].into_iter();
        let marks: Vec<_> = marks
            .filter(|mark| message[mark] == Value::Bool(true))
            .collect();
        vec![
            text(&message["id"]),
            when(&message["at"]),
            party(&message["from"]),
            format!("{seconds} s"),
            text(&message["folder"]),
            marks.join(", ").replace('_', " "),
        ]
    });
    print_table(
        &["ID", "WHEN", "FROM", "LENGTH", "FOLDER", ""],
        rows,
        "no messages",
    );
}
