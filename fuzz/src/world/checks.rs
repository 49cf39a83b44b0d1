//! What must hold while people are up, once they have gone to bed, and in the night.

use std::collections::BTreeMap;
use std::time::Duration;

use tandem_pbx::seam::{AdminAnswer, AdminAsk};
use tandem_storage::seam::LOCAL_REGISTERS;

use super::phone::{self, Phone};
use super::start::name;
use super::{Life, World, lamps};

/// What call control allows, and the time in which a CANCEL is repeated.
const RINGING_MAX: Duration = Duration::from_secs(20 + 34);
/// How long a lamp may be wrong.
const LAMP_MAX: Duration = Duration::from_secs(6);

impl World {
    /// A phone rings only as long as the node wants it to; unless the node lost its memory, or the
    /// phone was found by the last repetition of an INVITE, which nobody can take back (RFC 3261
    /// §9.1).
    pub(super) fn check_ringing(&self) {
        for phone in &self.phones {
            let up_since = self.sites[phone.who.site].up_since;
            let known = up_since.max(phone.back_since + phone::PATIENCE);
            let ringing = phone
                .calls
                .iter()
                .filter(|call| call.is_ringing() && call.began > known);
            for call in ringing {
                let rings_for = self.now.since(call.began);
                assert!(rings_for < RINGING_MAX, "{} rings for ever", call.id);
            }
        }
    }

    /// In fair weather a lamp shows what is there within seconds, not only once the phone has
    /// registered again.
    pub(super) fn check_lamps(&mut self) {
        if !self.network.is_fair() {
            return;
        }
        for phone in &mut self.phones {
            let site = &self.sites[phone.who.site];
            let Life::Up(node) = &site.life else { continue };
            let is_known = phone.registered_at.is_some_and(|at| at > site.up_since);
            if !phone.is_there() || !is_known {
                continue;
            }
            let users = node.users();
            let Some(user) = users.get(&phone.who.extension) else {
                continue;
            };
            let expected = lamps::expected(node.core.view(), *user, |id| {
                id.node == name(phone.who.site) && self.oracle.is_open(id)
            });
            let shown = phone.lamp;
            if shown == Some(expected) || phone.lamp_owed.is_none_or(|(_, owed)| owed != expected) {
                phone.lamp_owed = (shown != Some(expected)).then_some((self.now, expected));
            }
            // What a node that is away was recording counts here as ended, though nothing in the log says so.
            if node.peers_up(self.now) + 1 < self.sites.len() {
                phone.lamp_owed = None;
            }
            let overdue = phone
                .lamp_owed
                .is_some_and(|(since, _)| self.now > since + LAMP_MAX);
            let extension = &phone.who.extension;
            assert!(
                !overdue,
                "the lamp of {extension} shows {shown:?}, not {expected:?}, at node {} of {}: {:?}",
                phone.who.site,
                self.sites.len(),
                lamps::messages(node.core.view(), *user)
                    .map(|sound| (sound.id, sound.samples(), sound.chunks.len()))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// No call is left anywhere, every lamp shows what is there, and all nodes say the same.
    pub(super) fn check_rest(&mut self) {
        for phone in &self.phones {
            assert!(
                phone.is_quiet(),
                "{} is not done: {:?}",
                phone.who.extension,
                phone.calls_left()
            );
        }
        self.oracle.on_quiet();
        for n in 0..self.sites.len() {
            self.check_node(n);
        }
        self.check_same();
    }

    fn check_node(&mut self, n: usize) {
        let is_removed = self.sites[n].is_removed;
        let Life::Up(node) = &mut self.sites[n].life else {
            panic!("node {n} is down")
        };
        let pbx = node.core.pbx();
        assert_eq!(pbx.calls_len(), 0, "calls without anybody in them");
        assert_eq!(pbx.deadline(), None, "call control waits for something");
        assert_eq!(node.engine.legs(), 0, "media legs without a call");
        assert_eq!(node.engine.opened, node.engine.closed);
        let shim = node.core.shim();
        assert_eq!(shim.dialogs(), 0, "dialogs without a call");
        let users = node.users();
        let here = |phone: &&Phone| phone.who.site == n && phone.registered_at.is_some();
        for phone in self.phones.iter().filter(here) {
            let id = users[&phone.who.extension];
            let expected = lamps::expected(node.core.view(), id, |_| false);
            assert_eq!(
                phone.lamp,
                Some(expected),
                "the lamp of {} at node {n}",
                phone.who.extension
            );
        }
        if !is_removed {
            self.oracle.on_rest(n, node.core.view(), node.disk());
        }
        for (extension, id) in users {
            let listed = node.ask(
                self.now,
                AdminAsk::Mailbox {
                    extension: extension.as_str().into(),
                },
                &mut self.oracle,
                &mut self.rng,
            );
            let expected: Vec<String> = lamps::messages(node.core.view(), id)
                .map(|s| s.id.to_string())
                .collect();
            check_list(listed, expected, &extension);
        }
    }

    /// All nodes have the same sounds, ended in the same way, and the same settings.
    fn check_same(&self) {
        let says = |n: usize| {
            let Life::Up(node) = &self.sites[n].life else {
                panic!("node {n} is down")
            };
            let view = node.core.view();
            let sounds = view.sounds().map(|sound| {
                let seal = sound.seal.as_ref().map(|(kind, _)| *kind);
                (sound.id, seal, sound.samples())
            });
            let registers = view
                .registers("")
                .map(|(k, v)| (k.to_owned(), v.to_owned()));
            let registers = registers.filter(|(key, _)| !key.starts_with(LOCAL_REGISTERS));
            let (mut sounds, registers): (Vec<_>, BTreeMap<_, _>) =
                (sounds.collect(), registers.collect());
            sounds.sort_by_key(|(id, ..)| *id);
            (sounds, registers)
        };
        let members = (0..self.sites.len()).filter(|n| !self.sites[*n].is_removed);
        let members: Vec<usize> = members.collect();
        for pair in members.windows(2) {
            assert_eq!(says(pair[0]), says(pair[1]), "nodes {pair:?}");
        }
    }

    pub(super) fn check_night(&mut self) {
        for n in 0..self.sites.len() {
            let Life::Up(node) = &mut self.sites[n].life else {
                panic!("node {n} is down")
            };
            let shim = node.core.shim();
            assert_eq!(
                shim.deadline(),
                None,
                "the shim waits for something: {shim:?}"
            );
            assert_eq!(node.core.pbx().deadline(), None);
            // What is there now is there after a last power cut, too: the oracle compares.
            self.cut_power(n, Duration::ZERO);
            self.start_node(n);
        }
    }
}

fn check_list(listed: Option<AdminAnswer>, mut expected: Vec<String>, extension: &str) {
    let Some(AdminAnswer::Json(listed)) = listed else {
        panic!("no list for {extension}")
    };
    let rows = listed
        .as_array()
        .or_else(|| listed["messages"].as_array())
        .cloned();
    let mut ids: Vec<String> = rows
        .unwrap_or_else(|| panic!("a list without messages: {listed}"))
        .iter()
        .filter(|row| row["deleted"] != true)
        .map(|row| row["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected, "the mailbox of {extension}");
}
