//! `tandem group add | set | remove | list`, and `tandem dial`.

use axum::http::Method;

use crate::admin::Client;
use crate::admin::bodies::{self, GroupSettings, NewCall};
use crate::cli::{Dial, Group};
use crate::commands::lists::{print_table, show};

pub(crate) fn run(group: &Group) -> Result<(), String> {
    match group {
        Group::Add {
            extension,
            name,
            settings,
            node,
        } => {
            let settings = GroupSettings {
                extension: Some(extension.clone()),
                name: Some(name.clone()),
                ..parse(settings)?
            };
            Client::of(node.data()).send(Method::POST, &["groups"], &settings)
        }
        Group::Set {
            extension,
            settings,
            node,
        } => {
            let (path, settings) = (["groups", extension], parse(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        Group::Remove { extension, node } => {
            let path = ["groups", extension];
            Client::of(node.data()).carry_out(Method::DELETE, &path)
        }
        Group::List(how) => show(how, &["groups"], print_groups),
    }
}

pub(crate) fn dial(dial: &Dial) -> Result<(), String> {
    let call = NewCall {
        extension: dial.extension.clone(),
        number: dial.number.clone(),
    };
    Client::of(dial.node.data()).send(Method::POST, &["calls"], &call)
}

fn print_groups(groups: Vec<bodies::Group>) {
    let rows = groups.into_iter().map(|group| {
        let members = group
            .members
            .into_iter()
            .map(|member| match member.logged_in {
                true => member.extension,
                false => format!("({})", member.extension),
            });
        let members: Vec<String> = members.collect();
        vec![
            group.extension,
            group.name,
            members.join(" "),
            format!("{}, {} s", group.strategy, group.ring_s),
            group.overflow,
            match group.schedule {
                None => String::new(),
                Some(name) if group.open => format!("open by {name}"),
                Some(name) => format!("closed by {name}: {}", group.night),
            },
        ]
    });
    let header = [
        "GROUP",
        "NAME",
        "MEMBERS (LOGGED OUT)",
        "RINGS",
        "THEN",
        "NOW",
    ];
    print_table(
        &header,
        rows,
        "no groups yet; tandem group add EXT NAME makes one",
    );
}

/// What was typed as `key=value`.
fn parse(typed: &[String]) -> Result<GroupSettings, String> {
    let mut settings = GroupSettings::default();
    for setting in typed {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("'{setting}' is not key=value"))?;
        let text = || Some(value.to_owned());
        match key {
            "name" => settings.name = text(),
            "extension" => settings.extension = text(),
            "members" => {
                let members = value.split(',').map(str::trim);
                let members = members.filter(|member| !member.is_empty());
                settings.members = Some(members.map(str::to_owned).collect());
            }
            "strategy" => settings.strategy = text(),
            "ring_s" => {
                let ring_s = value.parse();
                let wrong = |_| format!("ring_s is a number of seconds, not '{value}'");
                settings.ring_s = Some(ring_s.map_err(wrong)?);
            }
            "overflow" => settings.overflow = text(),
            "schedule" => settings.schedule = Some(text().filter(|name| !name.is_empty())),
            "night" => settings.night = text(),
            "pin" => settings.pin = text(),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, extension, members (EXT,EXT), strategy \
                     (all, in_order, rotating, longest_idle), ring_s, overflow (mailbox, busy, EXT), \
                     schedule (a name, or nothing), night (mailbox, busy, EXT), pin"
                ));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &[&str]) -> Result<GroupSettings, String> {
        let typed: Vec<String> = typed.iter().map(|&some| some.to_owned()).collect();
        parse(&typed)
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let settings = parsed(&[
            "members=102, 103",
            "ring_s=15",
            "overflow=busy",
            "schedule=",
            "night=101",
        ])
        .unwrap();
        let wanted = GroupSettings {
            members: Some(vec!["102".into(), "103".into()]),
            ring_s: Some(15),
            overflow: Some("busy".into()),
            schedule: Some(None),
            night: Some("101".into()),
            ..GroupSettings::default()
        };
        assert_eq!(settings, wanted);
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        assert_eq!(
            parsed(&["members"]).unwrap_err(),
            "'members' is not key=value"
        );
        let error = parsed(&["ring_s=long"]).unwrap_err();
        assert_eq!(error, "ring_s is a number of seconds, not 'long'");
        assert!(
            parsed(&["colour=red"])
                .unwrap_err()
                .starts_with("'colour' cannot")
        );
    }
}
