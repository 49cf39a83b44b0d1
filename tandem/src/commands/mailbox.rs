//! `tandem mailbox list | deleted | undelete | hold | keep-heard | quota | export | import`.

use axum::http::Method;

use crate::admin::Client;
use crate::admin::bodies::{Hold, KeepHeard, Message, MessageMade, Quota, QuotaSettings};
use crate::cli::{Ask, Mailbox};
use crate::commands::lists::{party, print_table, show, when};
use crate::out::say;

pub(crate) fn run(mailbox: &Mailbox) -> Result<(), String> {
    match mailbox {
        Mailbox::List { extension, ask } => list(ask, extension, "messages"),
        Mailbox::Deleted { extension, ask } => list(ask, extension, "deleted"),
        Mailbox::Undelete {
            extension,
            id,
            node,
        } => {
            let path = ["mailboxes", extension, "deleted", id, "undelete"];
            Client::of(node.data()).carry_out(Method::POST, &path)
        }
        Mailbox::Hold {
            extension,
            state,
            node,
        } => {
            let (path, hold) = (["mailboxes", extension, "hold"], state == "on");
            Client::of(node.data()).send(Method::PUT, &path, &Hold { hold })
        }
        Mailbox::KeepHeard {
            extension,
            days,
            node,
        } => {
            let (path, days) = (["mailboxes", extension, "keep-heard"], *days);
            Client::of(node.data()).send(Method::PUT, &path, &KeepHeard { days })
        }
        Mailbox::Quota {
            extension,
            minutes,
            messages,
            ask: how,
        } => {
            let (node, path) = (
                Client::of(how.node.data()),
                ["mailboxes", extension, "quota"],
            );
            let (minutes, messages) = (*minutes, *messages);
            if minutes.is_some() || messages.is_some() {
                let settings = QuotaSettings { minutes, messages };
                node.send::<()>(Method::PATCH, &path, &settings)?;
            }
            show(how, &path, print_quota)
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
            let path = ["mailboxes", extension, "messages", id, "sound"];
            let (wav, is_incomplete) = Client::of(node.data()).sound(&path)?;
            if is_incomplete {
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
            let path = ["mailboxes", extension, "messages"];
            let made: MessageMade = Client::of(node.data()).send_sound(&path, wav)?;
            say!("{}", made.id);
            Ok(())
        }
    }
}

fn list(how: &Ask, extension: &str, which: &str) -> Result<(), String> {
    show(how, &["mailboxes", extension, which], print_messages)
}

fn print_quota(quota: Quota) {
    let rows = [
        ("messages", quota.messages, quota.messages_max),
        ("minutes", quota.minutes, quota.quota_minutes),
    ];
    for (what, used, most) in rows {
        say!("{what:<10}{used} of {most}");
    }
    say!("{:<10}{} %", "used", quota.percent);
}

fn print_messages(list: Vec<Message>) {
    let rows = list.into_iter().map(|message| {
        let seconds = message.length_ms.div_ceil(1000);
        let marks = [
            (message.urgent, "urgent"),
            (message.cut_short, "cut short"),
            (message.incomplete, "incomplete"),
        ];
        let marks = marks.into_iter().filter(|(is_so, _)| *is_so);
        let marks: Vec<&str> = marks.map(|(_, mark)| mark).collect();
        vec![
            message.id,
            when(message.at),
            party(&message.from),
            format!("{seconds} s"),
            message.folder,
            marks.join(", "),
        ]
    });
    let header = ["ID", "WHEN", "FROM", "LENGTH", "FOLDER", ""];
    print_table(&header, rows, "no messages");
}
