//! The codes to dial, as an administrator sets them.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `code/SERVICE` | string: what is dialled for it; empty: nothing is |
//!
//! What is not set is as people know it ([`StarCode::defaults`]). Counts from the next call on, at every
//! node. Of two services that two nodes gave one code while apart, the first of the list has it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{Service, StarCode};
use crate::office::{Office, json};
use crate::pbx::Pbx;
use crate::state::Waiter;

/// The longest code.
const CODE_LEN_MAX: usize = 8;

/// The register that holds a service's code.
pub(crate) fn code_key(service: Service) -> Arc<str> {
    format!("code/{}", service.name()).into()
}

/// The codes that count: those of the configuration, but for what the office has set.
pub(crate) fn effective(base: &[StarCode], office: &Office) -> Vec<StarCode> {
    let set = base.iter().filter_map(|code| {
        let own = office.code(code.service);
        let code = StarCode {
            code: own.unwrap_or(&code.code).clone(),
            service: code.service,
        };
        (!code.code.is_empty()).then_some(code)
    });
    set.collect()
}

/// What is wrong with a code, if anything.
pub(crate) fn code_fault(code: &str) -> Option<String> {
    let dialable = |b: u8| b.is_ascii_digit() || b"*#".contains(&b);
    let is_right = code.len() <= CODE_LEN_MAX && code.bytes().all(dialable);
    (!is_right).then(|| {
        format!(
            "'{}' is not a code: up to {CODE_LEN_MAX} digits, * and #",
            code.escape_debug()
        )
    })
}

impl Pbx {
    /// Sets a service's code; `None`: as people know it, `Some("")`: it has none.
    pub(crate) fn set_code(
        &mut self,
        asker: u64,
        service: &str,
        code: Option<Arc<str>>,
    ) -> Result<(), String> {
        let service = Service::parse(service)
            .ok_or_else(|| format!("no code is called {service}; tandem code list shows them"))?;
        let mut base = self.x.config.codes.iter();
        let default = base.find(|code| code.service == service);
        let code = code.filter(|code| default.is_none_or(|default| default.code != *code));
        if let Some(code) = &code {
            code_fault(code).map_or(Ok(()), Err)?;
            self.is_free(code)?;
        }
        let dialled = code.as_ref().or(default.map(|default| &default.code));
        let mut others = self.x.codes.iter().filter(|other| other.service != service);
        let taken = others.find(|other| !other.code.is_empty() && Some(&other.code) == dialled);
        if let Some(other) = taken {
            return Err(format!(
                "{} is the code of {} already",
                other.code,
                other.service.name()
            ));
        }
        let value = code.map(|code| json(&code));
        self.x
            .append_register(Waiter::Asker(asker), code_key(service), value);
        Ok(())
    }

    /// All services, with what is dialled for each.
    pub(crate) fn codes_json(&self) -> Value {
        let rows = self.x.config.codes.iter().map(|default| {
            let set = self.x.office.code(default.service);
            let code = set.unwrap_or(&default.code);
            json!({
                "name": default.service.name(),
                "code": code,
                "default": default.code,
            })
        });
        rows.collect()
    }
}
