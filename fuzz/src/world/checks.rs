//! What must hold while people are up, once they have gone to bed, and in the night.

use std::time::Duration;

use tandem_pbx::seam::{AdminAnswer, AdminAsk};

use super::phone::{self, Phone};
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
            let known = self.up_since.max(phone.back_since + phone::PATIENCE);
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
        let Life::Up(node) = &self.life else { return };
        if !self.network.is_fair() {
            return;
        }
        let users = node.users();
        let up_since = self.up_since;
        let known =
            |p: &&mut Phone| p.is_there() && p.registered_at.is_some_and(|at| at > up_since);
        for phone in self.phones.iter_mut().filter(known) {
            let expected = lamps::expected(node.pbx.view(), users[&phone.who.extension]);
            let shown = phone.lamp;
            if shown == Some(expected) || phone.lamp_owed.is_none_or(|(_, owed)| owed != expected) {
                phone.lamp_owed = (shown != Some(expected)).then_some((self.now, expected));
            }
            let overdue = phone
                .lamp_owed
                .is_some_and(|(since, _)| self.now > since + LAMP_MAX);
            let extension = &phone.who.extension;
            assert!(
                !overdue,
                "the lamp of {extension} shows {shown:?}, not {expected:?}"
            );
        }
    }

    /// No call is left anywhere, and every lamp shows what is there.
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
        let Life::Up(node) = &mut self.life else {
            panic!("the node is down")
        };
        assert_eq!(node.pbx.calls_len(), 0, "calls without anybody in them");
        assert_eq!(
            node.pbx.deadline(),
            None,
            "call control waits for something"
        );
        assert_eq!(node.engine.legs(), 0, "media legs without a call");
        assert_eq!(node.engine.opened, node.engine.closed);
        assert_eq!(node.shim.dialogs(), 0, "dialogs without a call");
        let users = node.users();
        for phone in self.phones.iter().filter(|p| p.registered_at.is_some()) {
            let id = users[&phone.who.extension];
            let expected = lamps::expected(node.pbx.view(), id);
            assert_eq!(
                phone.lamp,
                Some(expected),
                "the lamp of {}",
                phone.who.extension
            );
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
            let expected: Vec<String> = lamps::messages(node.pbx.view(), id)
                .map(|s| s.id.to_string())
                .collect();
            check_list(listed, expected, &extension);
        }
    }

    pub(super) fn check_night(&mut self) {
        let Life::Up(node) = &mut self.life else {
            panic!("the node is down")
        };
        assert_eq!(
            node.shim.deadline(),
            None,
            "the shim waits for something: {:?}",
            node.shim
        );
        assert_eq!(node.pbx.deadline(), None);
        // What is there now is there after a last power cut, too: the oracle compares.
        self.cut_power(Duration::ZERO);
        self.start_node();
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
