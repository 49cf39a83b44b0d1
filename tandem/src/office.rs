//! The office a first start writes into an empty log: for the demo, four people.
//!
//! Passwords and PINs are here in plain text because the demo prints them; in the log there are
//! only digests of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tandem_pbx::office::group::{Group, Overflow, Strategy, group_key};
use tandem_pbx::office::outside::{OutsideRoute, Trunk, route_key, trunk_key};
use tandem_pbx::office::room::{Room, room_key};
use tandem_pbx::office::{Account, new_user};
use tandem_storage::Opened;
use tandem_storage::name::Ids;

use crate::secrets::Keeper;

/// People, and what can be dialled.
pub(crate) struct Office {
    pub(crate) users: Vec<NewUser>,
    pub(crate) groups: Vec<NewGroup>,
    /// The extensions of rooms.
    pub(crate) rooms: std::ops::RangeInclusive<u32>,
    /// What is reached behind a 9: where the trunk is, which extension it calls back.
    pub(crate) loops_to: Option<(SocketAddr, &'static str)>,
    /// For people to read: number, and what it does.
    pub(crate) numbers: &'static [(&'static str, &'static str)],
}

/// Somebody who is to have a phone and a mailbox.
pub(crate) struct NewUser {
    pub(crate) extension: String,
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) pin: String,
}

/// Users under one extension.
pub(crate) struct NewGroup {
    pub(crate) extension: &'static str,
    pub(crate) name: &'static str,
    pub(crate) members: &'static [&'static str],
    pub(crate) strategy: Strategy,
}

/// How long a group of the demo rings, in seconds.
const RING_S: u16 = 20;

impl Office {
    /// The demo office of the README.
    ///
    /// Its trunk is at `sip`: this node itself, so that what is called outside comes in from there.
    pub(crate) fn demo(sip: SocketAddr) -> Office {
        let user = |extension: u32, name: &str| NewUser {
            extension: extension.to_string(),
            name: name.into(),
            password: format!("demo-{extension}"),
            pin: format!("1{extension}"),
        };
        Office {
            users: vec![
                user(101, "Reception"),
                user(102, "Sales"),
                user(103, "Workshop"),
                user(104, "Warehouse"),
            ],
            groups: vec![
                NewGroup {
                    extension: "600",
                    name: "Everybody",
                    members: &["102", "103", "104"],
                    strategy: Strategy::All,
                },
                NewGroup {
                    extension: "750",
                    name: "Page",
                    members: &["101", "102", "103", "104"],
                    strategy: Strategy::Page,
                },
            ],
            rooms: 800..=809,
            loops_to: Some((sip, "600")),
            numbers: &[
                ("101-104", "the users"),
                ("600", "102, 103 and 104 at once"),
                ("750", "speak to every idle phone"),
                ("800-809", "rooms to meet in; * is their menu"),
                ("9...", "the trunk: it leads back here, to 600"),
                ("*97, *98EXT", "my messages; EXT's messages"),
                ("*EXT", "leave EXT a message without ringing"),
                ("*43, *60, *65", "echo, speaking clock, my number"),
                ("*78, *79", "do not disturb on, off"),
                ("*72EXT, *73", "forward all calls to EXT; no longer"),
                (
                    "*90EXT, *92EXT",
                    "the same when busy, when nobody answers; *91, *93: no longer",
                ),
                (
                    "**EXT, *8",
                    "pick up what rings at EXT; at somebody of my group",
                ),
                ("68, 68N", "park whom I hold; fetch who is parked at N"),
                ("*3 in a call", "record it; pause; go on"),
                (
                    "*66, *86",
                    "ring me when whom I did not reach is free; no longer",
                ),
                (
                    "*69, *80EXT",
                    "call back who called last; EXT's phone answers by itself",
                ),
            ],
        }
    }

    /// The registers that say it.
    pub(crate) fn registers(
        &self,
        keeper: &Keeper,
        ids: &mut Ids,
    ) -> Result<Vec<(String, String)>, String> {
        let mut registers = Vec::new();
        let mut named = BTreeMap::new();
        for user in &self.users {
            let pin = keeper.pin_hash(&user.pin)?;
            let account = user.account(keeper);
            let id = ids.next_id();
            named.insert(user.extension.as_str(), id);
            let pairs = new_user(id, &account, &pin);
            registers.extend(
                pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_string(), v.to_string())),
            );
        }
        for group in &self.groups {
            let members = group.members.iter();
            let group = Group {
                extension: group.extension.into(),
                name: group.name.into(),
                members: members.filter_map(|m| named.get(m).copied()).collect(),
                strategy: group.strategy,
                ring_s: RING_S,
                overflow: Overflow::Mailbox,
                schedule: None,
                night: Overflow::Mailbox,
            };
            let value = serde_json::to_string(&group).map_err(|e| e.to_string())?;
            registers.push((group_key(ids.next_id()).to_string(), value));
        }
        if let Some((sip, extension)) = self.loops_to {
            let trunk = ids.next_id();
            let line = Trunk {
                number: Some("+4930555".into()),
                otherwise: Some(extension.into()),
                ..Trunk::new("loop".into(), sip.to_string().into())
            };
            let route = OutsideRoute {
                strip: 1,
                trunks: vec![trunk],
                ..OutsideRoute::new("9.".into())
            };
            let text = |value| serde_json::to_string(value).map_err(|e| e.to_string());
            registers.push((trunk_key(trunk).to_string(), text(&line)?));
            let route = serde_json::to_string(&route).map_err(|e| e.to_string())?;
            registers.push((route_key(ids.next_id()).to_string(), route));
        }
        for extension in self.rooms.clone() {
            let room = Room::new(extension.to_string().into());
            let value = serde_json::to_string(&room).map_err(|e| e.to_string())?;
            registers.push((room_key(ids.next_id()).to_string(), value));
        }
        Ok(registers)
    }
}

impl NewUser {
    fn account(&self, keeper: &Keeper) -> Account {
        let (ha1_md5, ha1_sha256) = keeper.ha1(&self.extension, &self.password);
        Account {
            extension: self.extension.as_str().into(),
            name: self.name.as_str().into(),
            ha1_md5,
            ha1_sha256,
        }
    }
}

/// Is there nobody in the log yet?
pub(crate) fn is_empty(opened: &Opened) -> bool {
    opened.view.registers("user/").next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_storage::cipher::Keyring;

    fn keeper(realm: &str) -> Keeper {
        let (realm, keyring) = (realm.into(), Keyring::default());
        Keeper { realm, keyring }
    }

    #[test]
    fn digests_are_those_a_phone_computes() {
        // RFC 2617 §3.5's user, realm and password.
        let user = NewUser {
            extension: "Mufasa".into(),
            name: String::new(),
            password: "Circle Of Life".into(),
            pin: String::new(),
        };
        let account = user.account(&keeper("testrealm@host.com"));
        assert_eq!(&*account.ha1_md5, "939e7578ed9e3c518a452acee763bce9");
    }

    #[test]
    fn no_secret_is_in_a_register() {
        let mut ids = Ids::new("demo".parse().unwrap(), 1);
        let office = Office::demo("127.0.0.1:5060".parse().unwrap());
        let registers = office.registers(&keeper("tandem"), &mut ids).unwrap();
        assert_eq!(
            registers.len(),
            2 * office.users.len() + office.groups.len() + office.rooms.clone().count() + 2
        );
        for user in &office.users {
            let pin = format!("\"{}\"", user.pin);
            for (key, value) in &registers {
                assert!(
                    !value.contains(&user.password) && !value.contains(&pin),
                    "{key}: {value}"
                );
            }
        }
    }
}
