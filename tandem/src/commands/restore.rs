//! `tandem restore`: a whole node onto a bare machine.

use serde_json::json;
use tandem_storage::name::NodeName;
use tandem_storage::{Backup, RestoreJob};

use crate::cli::Restore;
use crate::commands::lists::{print_json, when};
use crate::commands::progress::Progress;

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
    };
    let backup = Backup::open(&job).map_err(|e| e.to_string())?;
    let mut progress = Progress::new("restoring");
    std::fs::create_dir_all(&args.data).map_err(|e| format!("{}: {e}", args.data.display()))?;
    let log = args.data.join("log");
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
    println!(
        "backup {} of {}, made {}: {} records and {} sounds restored to {}",
        report.number,
        report.node,
        when(&json!(report.made)),
        report.records,
        report.sounds,
        args.data.display(),
    );
    if report.cut_short > 0 {
        println!(
            "{} sounds were being spoken when it was made; they end there",
            report.cut_short
        );
    }
    println!(
        "start the node with [node] name = \"{}\" and data = \"{}\"",
        report.node,
        args.data.display()
    );
    Ok(())
}
