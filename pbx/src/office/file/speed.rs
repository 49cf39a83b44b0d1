//! Speed dials of a file, by their digits.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::differences::Differences;
use super::{Comparison, Faults, OfficeFile};
use crate::office::speed::{SpeedDial, code_fault, speed_dial_fault, speed_key};
use crate::office::{Office, json};

/// One speed dial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpeedDialEntry {
    /// Its two digits: which it is.
    pub code: Arc<str>,
    /// What they stand for.
    pub number: Arc<str>,
    /// Whose number it is.
    pub name: Arc<str>,
}

impl SpeedDialEntry {
    fn dial(&self) -> SpeedDial {
        SpeedDial {
            number: self.number.clone(),
            name: self.name.clone(),
        }
    }
}

impl Office {
    pub(super) fn export_speed_dials(&self, file: &mut OfficeFile) {
        let all = self.speed_dials.all().map(|(code, dial)| SpeedDialEntry {
            code: code.clone(),
            number: dial.number.clone(),
            name: dial.name.clone(),
        });
        file.speed_dial = all.collect();
    }

    pub(super) fn speed_dials_differ(&self, told: &mut Comparison, file: &OfficeFile) {
        let mut kept = BTreeSet::new();
        for entry in &file.speed_dial {
            kept.insert(&entry.code);
            let (old, dial) = (self.speed_dials.get(&entry.code), entry.dial());
            let mut diff = Differences::new(told);
            if let Some(old) = old {
                diff.see("number", &old.number, &dial.number);
                diff.see("name", &old.name, &dial.name);
            }
            if old != Some(&dial) {
                diff.set(speed_key(&entry.code), Some(json(&dial)));
            }
            diff.finish("speed dial", &entry.code, &entry.number, old.is_none());
        }
        for (code, _) in self
            .speed_dials
            .all()
            .filter(|(code, _)| !kept.contains(code))
        {
            told.changes.push(format!("- speed dial {code}"));
            told.registers.push((speed_key(code), None));
        }
    }
}

pub(super) fn check_speed_dials(file: &OfficeFile, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, entry) in file.speed_dial.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("speed_dial", index, key, what);
        if let Some(what) = code_fault(&entry.code) {
            fault("code", what);
        } else if !seen.insert(&entry.code) {
            let what = format!("the speed dial {} is there twice", entry.code);
            fault("code", what);
        }
        if let Some((key, what)) = speed_dial_fault(&entry.dial()) {
            fault(key, what);
        }
    }
}
