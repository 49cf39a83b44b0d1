//! Codes of a file that are not as people know them, by the names of their services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use super::differences::Differences;
use super::{Comparison, Faults, OfficeFile};
use crate::codes::{code_fault, code_key};
use crate::config::{Service, StarCode};
use crate::office::{Office, json};

/// One code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeEntry {
    /// What it does, as `tandem code list` names it.
    pub name: Arc<str>,
    /// What is dialled for it; empty: nothing is.
    pub code: Arc<str>,
}

impl Office {
    pub(super) fn export_codes(&self, file: &mut OfficeFile) {
        let set = self.codes().map(|(service, code)| CodeEntry {
            name: service.name().into(),
            code: code.clone(),
        });
        file.code = set.collect();
        file.code.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub(super) fn codes_differ(&self, told: &mut Comparison, file: &OfficeFile) {
        let named = file.code.iter();
        let named = named.filter_map(|entry| Some((Service::parse(&entry.name)?, &entry.code)));
        let mut kept = BTreeSet::new();
        for (service, code) in named {
            kept.insert(service.name());
            if self.code(service) != Some(code) {
                let old = self.code(service).map_or("as known", |code| &**code);
                let mut diff = Differences::new(told);
                diff.see("dialled", old, code);
                diff.set(code_key(service), Some(json(code)));
                diff.finish("code", service.name(), "", false);
            }
        }
        for (service, _) in self
            .codes()
            .filter(|(service, _)| !kept.contains(service.name()))
        {
            let name = service.name();
            told.changes.push(format!("- code {name}"));
            told.registers.push((code_key(service), None));
        }
    }
}

/// Codes are as people know them but for those of the file, so those may not be another's.
pub(super) fn check_codes(
    file: &OfficeFile,
    extensions: &BTreeMap<Arc<str>, Id>,
    faults: &mut Faults,
) {
    let mut seen = BTreeSet::new();
    for (index, entry) in file.code.iter().enumerate() {
        let mut fault = |key: &str, what: String| faults.add("code", index, key, what);
        if Service::parse(&entry.name).is_none() {
            let what = format!(
                "no code is called {}; tandem code list shows them",
                entry.name
            );
            fault("name", what);
        } else if !seen.insert(&entry.name) {
            fault("name", format!("the code {} is there twice", entry.name));
        }
        if let Some(what) = code_fault(&entry.code) {
            fault("code", what);
        }
        if extensions.contains_key(&entry.code) {
            fault("code", format!("{} is an extension", entry.code));
        }
    }
    let own = |service: Service| {
        let mut entries = file.code.iter();
        let own = entries.position(|entry| &*entry.name == service.name());
        own.map(|at| (at, file.code[at].code.clone()))
    };
    let mut dialled = BTreeMap::new();
    for default in StarCode::defaults() {
        let (at, code) = match own(default.service) {
            Some((at, code)) => (Some(at), code),
            None => (None, default.code),
        };
        if code.is_empty() {
            continue;
        }
        if let Some((other_at, other)) = dialled.insert(code.clone(), (at, default.service)) {
            let index = at.or(other_at).unwrap_or_default();
            let what = format!("{code} is the code of {} already", other.name());
            faults.add("code", index, "code", what);
        }
    }
}
