//! Groups: one extension, several users.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `group/ID` | [`Group`] |
//! | `group/ID/pin` | string: Argon2 hash of the PIN of its mailbox, PHC form |
//! | `group/ID/out/USER` | `true`: this member has logged out |
//!
//! A group may go by a schedule ([`super::schedule`]): while that is closed nobody of it is rung, and calls
//! go where `night` says.
//!
//! Who logs in and out does so apart from the rest, so that it is not lost when an administrator changes
//! the group on another node at the same time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

/// Users who are rung under one extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What one dials.
    pub extension: Arc<str>,
    /// For display.
    pub name: Arc<str>,
    /// In their order.
    pub members: Vec<Id>,
    /// Who is rung when.
    pub strategy: Strategy,
    /// How long each step rings, in seconds.
    pub ring_s: u16,
    /// What follows if nobody answers.
    pub overflow: Overflow,
    /// When it is open; `None`: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
    /// What follows at once while it is closed.
    #[serde(default, skip_serializing_if = "Overflow::is_mailbox")]
    pub night: Overflow,
}

/// Who of a group is rung when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All at once.
    #[default]
    All,
    /// One after the other, in the group's order.
    InOrder,
    /// One after the other, beginning behind the one who was rung first the last time.
    Rotating,
    /// One after the other, who has had no call for longest first.
    LongestIdle,
    /// All idle phones answer by themselves and hear who calls.
    Page,
    /// The same, and all may speak.
    PageTwoWay,
}

/// Where a call to a group goes that nobody answers, or that comes while it is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// To the group's own mailbox, whose lamp every member has.
    #[default]
    Mailbox,
    /// Nowhere: the caller hears that all are busy.
    Busy,
    /// To this number.
    Number(Arc<str>),
}

impl Strategy {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::All => "all",
            Strategy::InOrder => "in_order",
            Strategy::Rotating => "rotating",
            Strategy::LongestIdle => "longest_idle",
            Strategy::Page => "page",
            Strategy::PageTwoWay => "page_two_way",
        }
    }

    /// Phones are made to answer, so that nobody's call goes to a mailbox.
    pub fn is_page(self) -> bool {
        matches!(self, Strategy::Page | Strategy::PageTwoWay)
    }

    /// The strategy of this name.
    pub fn parse(name: &str) -> Option<Strategy> {
        [
            Strategy::All,
            Strategy::InOrder,
            Strategy::Rotating,
            Strategy::LongestIdle,
            Strategy::Page,
            Strategy::PageTwoWay,
        ]
        .into_iter()
        .find(|strategy| strategy.name() == name)
    }
}

impl Overflow {
    fn is_mailbox(&self) -> bool {
        *self == Overflow::Mailbox
    }

    /// As it is typed: `mailbox`, `busy`, or a number.
    pub fn name(&self) -> &str {
        match self {
            Overflow::Mailbox => "mailbox",
            Overflow::Busy => "busy",
            Overflow::Number(number) => number,
        }
    }

    /// What was typed. Anything else is a number, to be checked by who knows them.
    pub fn parse(name: &str) -> Overflow {
        match name {
            "mailbox" => Overflow::Mailbox,
            "busy" => Overflow::Busy,
            number => Overflow::Number(number.into()),
        }
    }
}

/// The register that holds a group.
pub fn group_key(id: Id) -> Arc<str> {
    format!("group/{id}").into()
}

/// The register that says that a member has logged out.
pub(crate) fn logged_out_key(group: Id, user: Id) -> Arc<str> {
    format!("group/{group}/out/{user}").into()
}
