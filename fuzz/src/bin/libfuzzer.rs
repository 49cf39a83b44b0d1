//! The targets under libFuzzer, guided by coverage. `tools/fuzz.sh` builds and runs it.
//!
//! `TANDEM_FUZZ_TARGET` names the target; arguments are libFuzzer's.
#![no_main]

use std::sync::OnceLock;

use tandem_fuzz::targets::{self, Target};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (chosen().run)(bytes));

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("TANDEM_FUZZ_TARGET").unwrap_or_default();
        targets::find(&name).unwrap_or_else(|| {
            let names: Vec<_> = targets::TARGETS.iter().map(|t| t.name).collect();
            eprintln!("set TANDEM_FUZZ_TARGET to one of: {}", names.join(" "));
            std::process::exit(2)
        })
    })
}
