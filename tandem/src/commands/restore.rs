//! `tandem restore`: a whole node onto a bare machine; or, with `--mailbox`, see `restore_mailbox`.

use serde_json::json;
use tandem_storage::name::NodeName;
use tandem_storage::time::WallTime;
use tandem_storage::{Backup, RestoreJob};

use crate::cli::Restore;
use crate::commands::lists::{print_json, when};
use crate::commands::progress::Progress;
use crate::commands::restore_mailbox;
use crate::out::say;

pub(crate) fn run(args: &Restore) -> Result<(), String> {
    let node: Option<NodeName> = match &args.node {
        Some(name) => Some(name.parse().map_err(|e| format!("--node {name}: {e}"))?),
        None => None,
    };
    let job = RestoreJob {
        from: args.from.clone(),
        endpoint: None,
        node,
        number: args.number,
        as_of: args.as_of.map(|at| {
            let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
            WallTime(ms)
        }),
    };
    let backup = Backup::open(&job).map_err(|e| e.to_string())?;
    if let Some(extension) = &args.mailbox {
        return restore_mailbox::run(args, &backup, extension);
    }
    let data = args.data.as_deref().ok_or("say where to with --data DIR")?;
    let mut progress = Progress::new("restoring");
    std::fs::create_dir_all(data).map_err(|e| format!("{}: {e}", data.display()))?;
    let log = data.join("log");
    let outcome = tandem_storage::restore(&backup, &log, &mut |p| progress.show(p));
    progress.end();
    let report = outcome.map_err(|e| e.to_string())?;
    if args.json {
        return print_json(&json!({
            "node": report.node.to_string(),
            "number": report.number,
            "made": report.made,
            "records": report.records,
            "sounds": report.sounds,
            "cut_short": report.cut_short,
        }));
    }
    say!(
        "backup {} of {}, made {}: {} records and {} sounds restored to {}",
        report.number,
        report.node,
        when(report.made.0),
        report.records,
        report.sounds,
        data.display(),
    );
    if report.cut_short > 0 {
        say!(
            "{} sounds were being spoken when it was made; they end there",
            report.cut_short
        );
    }
    say!(
        "start the node with [node] name = \"{}\" and data = \"{}\"",
        report.node,
        data.display()
    );
    Ok(())
}
