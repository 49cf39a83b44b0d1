//! `tandem room add | set | remove | list`, and `tandem rooms`.

use axum::http::Method;

use crate::admin::Client;
use crate::admin::bodies::{self, RoomSettings};
use crate::cli::{Ask, Room};
use crate::commands::lists::{print_table, show};

pub(crate) fn run(room: &Room) -> Result<(), String> {
    match room {
        Room::Add {
            extension,
            name,
            settings,
            node,
        } => {
            let settings = RoomSettings {
                extension: Some(extension.clone()),
                name: Some(name.clone()),
                ..parse(settings)?
            };
            Client::of(node.data()).send(Method::POST, &["rooms"], &settings)
        }
        Room::Set {
            extension,
            settings,
            node,
        } => {
            let (path, settings) = (["rooms", extension], parse(settings)?);
            Client::of(node.data()).send(Method::PATCH, &path, &settings)
        }
        Room::Remove { extension, node } => {
            let path = ["rooms", extension];
            Client::of(node.data()).carry_out(Method::DELETE, &path)
        }
        Room::List(how) => show(how, &["rooms"], print_rooms),
    }
}

/// Who is in which room.
pub(crate) fn members(how: &Ask) -> Result<(), String> {
    show(how, &["rooms"], |rooms: Vec<bodies::Room>| {
        let rows = rooms.into_iter().flat_map(|room| {
            let extension = room.extension;
            room.members.into_iter().map(move |member| {
                let mut is = Vec::new();
                is.extend(member.host.then_some("host"));
                is.extend(member.muted.then_some("muted"));
                vec![
                    extension.clone(),
                    format!("{} {}", member.number, member.name)
                        .trim()
                        .to_owned(),
                    is.join(", "),
                    super::lists::when(member.since),
                ]
            })
        });
        print_table(&["ROOM", "WHO", "IS", "SINCE"], rows, "nobody is in a room");
    })
}

fn print_rooms(rooms: Vec<bodies::Room>) {
    let rows = rooms.into_iter().map(|room| {
        let mut is = Vec::new();
        is.extend(room.has_pin.then_some("PIN"));
        is.extend(room.has_host_pin.then_some("PIN of hosts"));
        is.extend(room.lecture.then_some("lecture"));
        is.extend(room.locked.then_some("locked"));
        vec![
            room.extension,
            room.name,
            format!("{} of {}", room.members.len(), room.members_max),
            is.join(", "),
        ]
    });
    print_table(
        &["ROOM", "NAME", "IN IT", "HAS"],
        rows,
        "no rooms yet; tandem room add EXT NAME makes one",
    );
}

/// What was typed as `key=value`; an empty PIN is none.
fn parse(typed: &[String]) -> Result<RoomSettings, String> {
    let mut settings = RoomSettings::default();
    for setting in typed {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("'{setting}' is not key=value"))?;
        let text = || Some(value.to_owned());
        match key {
            "name" => settings.name = text(),
            "extension" => settings.extension = text(),
            "members_max" => {
                let wrong = |_| format!("members_max is a number, not '{value}'");
                settings.members_max = Some(value.parse().map_err(wrong)?);
            }
            "lecture" => {
                let wrong = |_| format!("lecture is true or false, not '{value}'");
                settings.lecture = Some(value.parse().map_err(wrong)?);
            }
            "pin" => settings.pin = Some(text().filter(|pin| !pin.is_empty())),
            "host_pin" => settings.host_pin = Some(text().filter(|pin| !pin.is_empty())),
            _ => {
                return Err(format!(
                    "'{key}' cannot be set; what can: name, extension, members_max, lecture \
                     (true, false), pin, host_pin (nothing: none is needed)"
                ));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let typed = ["members_max=12", "lecture=true", "pin=4321", "host_pin="];
        let settings = parse(&typed.map(str::to_owned)).unwrap();
        let wanted = RoomSettings {
            members_max: Some(12),
            lecture: Some(true),
            pin: Some(Some("4321".into())),
            host_pin: Some(None),
            ..RoomSettings::default()
        };
        assert_eq!(settings, wanted);
        for (wrong, said) in [
            ("lecture=yes", "lecture is true or false, not 'yes'"),
            ("members_max=x", "members_max is a number, not 'x'"),
        ] {
            assert_eq!(parse(&[wrong.to_owned()]).unwrap_err(), said);
        }
    }
}
