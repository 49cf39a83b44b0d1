//! `tandem backup`: from the files of the log, whether or not a node runs on them.

use std::path::Path;

use serde_json::json;
use tandem_storage::name::NodeName;
use tandem_storage::{BackupJob, BackupReport};

use crate::backups;
use crate::cli::Backup;
use crate::commands::lists::{print_json, when};
use crate::commands::progress::Progress;
use crate::out::say;

pub(crate) fn run(args: &Backup) -> Result<(), String> {
    let data = args.node.data();
    let job = BackupJob {
        log: data.join("log"),
        to: args.to.clone(),
        endpoint: None,
        keep: args.keep,
        afresh: None,
    };
    let mut report = make(&data, &job)?;
    if args.verify
        && let Err(why) = verify(&args.to, report.node)
    {
        eprintln!(
            "the backup in {} is damaged ({why}); all is copied anew",
            args.to
        );
        let afresh = Some(why);
        report = make(&data, &BackupJob { afresh, ..job })?;
        verify(&args.to, report.node).map_err(|why| {
            format!(
                "what is written to {} does not come back as it was ({why}): its disk may be failing; back up to another place",
                args.to
            )
        })?;
    }
    if args.json {
        return print_json(&json!({
            "node": report.node.to_string(),
            "number": report.number,
            "made": report.made,
            "records": report.records,
            "bytes": report.bytes,
            "records_new": report.records_new,
            "bytes_written": report.bytes_written,
            "destroyed": report.destroyed,
            "damages": report.damages,
            "pruned": report.pruned,
            "afresh": report.afresh,
            "verified": args.verify,
        }));
    }
    print(&report, &args.to);
    Ok(())
}

fn make(data: &Path, job: &BackupJob) -> Result<BackupReport, String> {
    let mut progress = Progress::new("backing up");
    let outcome = backups::make(data, job, &mut |p| progress.show(p));
    progress.end();
    outcome.map_err(|e| e.to_string())
}

fn verify(place: &str, node: NodeName) -> Result<(), String> {
    let mut progress = Progress::new("verifying");
    let outcome = tandem_storage::verify_backup(place, None, node, &mut |p| progress.show(p));
    progress.end();
    outcome.map(drop).map_err(|e| e.to_string())
}

fn print(report: &BackupReport, to: &str) {
    if let Some(why) = &report.afresh {
        say!("the backup before could not be built upon, so all was copied: {why}");
    }
    if report.damages > 0 {
        say!(
            "{} damaged places of the log were passed over; tandem log verify shows them",
            report.damages
        );
    }
    if report.destroyed > 0 {
        say!(
            "{} sounds were destroyed since the backup before and are not in this one",
            report.destroyed
        );
    }
    if report.pruned > 0 {
        say!("{} older backups deleted", report.pruned);
    }
    say!(
        "backup {} of {} in {to}: {} records, {} bytes; {} records new, {} bytes written, {}",
        report.number,
        report.node,
        report.records,
        report.bytes,
        report.records_new,
        report.bytes_written,
        when(report.made.0),
    );
}
