//! Speed dials of the company: two digits that stand for a number.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `speed/NN` | [`SpeedDial`] |
//!
//! Each of them is a register of its own, so that nodes that set different ones while apart both have
//! their way. What one stands for is dialled by the rights of who dials it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::trunks::{is_phone_number, number_fault};
use crate::users::name_fault;

/// A number that somebody is reached at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedDial {
    /// As it would be dialled.
    pub number: Arc<str>,
    /// Whose it is.
    pub name: Arc<str>,
}

/// All of them, by their digits.
#[derive(Debug, Default)]
pub(crate) struct SpeedDials(BTreeMap<Arc<str>, SpeedDial>);

impl SpeedDials {
    /// `NN`, behind `speed/`. `None`: it cannot be read, and changes nothing.
    pub(super) fn apply(&mut self, code: &str, value: Option<&str>) -> Option<()> {
        code_fault(code).map_or(Some(()), |_| None)?;
        match value {
            Some(value) => drop(
                self.0
                    .insert(code.into(), serde_json::from_str(value).ok()?),
            ),
            None => drop(self.0.remove(code)),
        }
        Some(())
    }

    pub(crate) fn get(&self, code: &str) -> Option<&SpeedDial> {
        self.0.get(code)
    }

    /// In their order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &SpeedDial)> {
        self.0.iter()
    }
}

/// What is wrong with the digits of a speed dial, if anything.
pub(crate) fn code_fault(code: &str) -> Option<String> {
    let is_right = code.len() == 2 && code.bytes().all(|b| b.is_ascii_digit());
    (!is_right).then(|| {
        let code = code.escape_debug();
        format!("'{code}' are not the digits of a speed dial: 00 to 99")
    })
}

/// What is wrong with a speed dial, if anything, and with which of its keys. It stands for no code: that
/// could lead in a circle.
pub(crate) fn speed_dial_fault(dial: &SpeedDial) -> Option<(&'static str, String)> {
    if !is_phone_number(&dial.number) {
        return Some(("number", number_fault(&dial.number)));
    }
    if dial.number.starts_with('*') {
        let what = "a speed dial stands for an extension or a number outside, not for a code";
        return Some(("number", what.to_owned()));
    }
    name_fault(&dial.name).map(|what| ("name", what))
}

/// The register that holds a speed dial.
pub fn speed_key(code: &str) -> Arc<str> {
    format!("speed/{code}").into()
}
