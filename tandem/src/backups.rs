//! Backups: one that is asked for, and one each day at a time of its own.
//!
//! Whoever makes a backup, the command or the running node, notes how it went in `backup.json` in the
//! data directory; so status and metrics know of both, also after a restart. The node's thread `backup`
//! wakes every other second, reads that note, and makes a backup if one is due: when the last is older
//! than the time of day that passed last. One that failed is tried again half an hour later.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use jiff::civil::Time as TimeOfDay;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tandem_storage::{BackupError, BackupJob, BackupProgress, BackupReport, backup};

use crate::config::Config;

/// How often the note and the time are looked at.
const WAKE_EVERY: Duration = Duration::from_secs(2);
/// A backup that failed is tried again after this long, in milliseconds.
const RETRY_AFTER_MS: i64 = 30 * 60 * 1000;

/// How backups went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// The last that was made.
    pub(crate) made: Option<Made>,
    /// The last that was not, if that is the later one.
    pub(crate) failed: Option<Failed>,
    /// How many were not, ever.
    pub(crate) failures: u64,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) at_ms: i64,
    pub(crate) to: String,
    pub(crate) number: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_written: u64,
}

/// One that was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) at_ms: i64,
    pub(crate) to: String,
    pub(crate) why: String,
}

/// What the node knows of its backups, and the thread that makes them.
pub(crate) struct Backups {
    note: Noted,
    stop: Sender<()>,
}

/// How backups went, to be read from another thread.
#[derive(Clone)]
pub(crate) struct Noted(Arc<Mutex<Note>>);

/// When and what.
#[derive(Clone, Debug)]
struct Daily {
    job: BackupJob,
    at: TimeOfDay,
    zone: TimeZone,
}

/// A time of day, as in `02:30`.
pub(crate) fn time_of_day(text: &str) -> Option<TimeOfDay> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    TimeOfDay::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// Makes a backup of the node in `data`, and notes how it went.
pub(crate) fn make(
    data: &Path,
    job: &BackupJob,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<BackupReport, BackupError> {
    let outcome = backup(job, progress);
    // Made by two at once, one is noted as failed: that is what happened to it.
    let mut note = read_note(data);
    let at_ms = Timestamp::now().as_millisecond();
    match &outcome {
        Ok(report) => {
            note.failed = None;
            note.made = Some(Made {
                at_ms,
                to: job.to.clone(),
                number: report.number,
                records: report.records,
                bytes: report.bytes,
                bytes_written: report.bytes_written,
            });
        }
        Err(error) => {
            note.failures += 1;
            note.failed = Some(Failed {
                at_ms,
                to: job.to.clone(),
                why: error.to_string(),
            });
        }
    }
    if let Err(error) = write_note(data, &note) {
        tracing::warn!(%error, "how the backup went could not be noted in the data directory");
    }
    outcome
}

impl Backups {
    /// For a running node.
    pub(crate) fn start(config: &Config) -> std::io::Result<Backups> {
        let data = config.node.data.clone();
        let note = Arc::new(Mutex::new(read_note(&data)));
        let (stop, stopped) = bounded(1);
        let daily = daily(config);
        let shared = note.clone();
        std::thread::Builder::new()
            .name("backup".into())
            .spawn(move || run(&data, daily.as_ref(), &shared, &stopped))?;
        let note = Noted(note);
        Ok(Backups { note, stop })
    }

    /// How backups went.
    pub(crate) fn noted(&self) -> Noted {
        self.note.clone()
    }

    /// For `tandem status`; `now_ms`: since 1970.
    pub(crate) fn status(&self, now_ms: u64) -> Value {
        let Note {
            made,
            failed,
            failures,
        } = self.note.get();
        json!({
            "last": made.as_ref().map_or("never".into(), |m| Timestamp::from_millisecond(m.at_ms)
                .map_or_else(|e| e.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
            "last_age_s": made.as_ref().map(|m| age_s(m.at_ms, now_ms)),
            "last_to": made.as_ref().map(|m| &m.to),
            "last_bytes": made.as_ref().map(|m| m.bytes),
            "failed": failed.as_ref().map(|f| &f.why),
            "failures": failures,
        })
    }

    /// No other backup begins. One that is being made is not waited for: what it has stored is
    /// named by nobody.
    pub(crate) fn close(&self) {
        self.stop.try_send(()).ok();
    }
}

impl Noted {
    /// As it is now.
    pub(crate) fn get(&self) -> Note {
        let note = self.0.lock();
        note.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long ago.
pub(crate) fn age_s(at_ms: i64, now_ms: u64) -> u64 {
    let at_ms = u64::try_from(at_ms).unwrap_or(0);
    now_ms.saturating_sub(at_ms) / 1000
}

fn daily(config: &Config) -> Option<Daily> {
    let section = &config.backup;
    let to = section.to.clone()?;
    Some(Daily {
        job: BackupJob {
            log: config.node.data.join("log"),
            to,
            endpoint: section.endpoint.clone(),
            keep: Some(section.keep),
            afresh: None,
        },
        at: time_of_day(&section.at)?,
        zone: TimeZone::get(&config.node.time_zone).ok()?,
    })
}

fn run(data: &Path, daily: Option<&Daily>, shared: &Mutex<Note>, stopped: &Receiver<()>) {
    loop {
        let note = read_note(data);
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = note.clone();
        if let Some(daily) = daily
            && is_due(daily, &note, Timestamp::now())
        {
            match make(data, &daily.job, &mut |_| {}) {
                Ok(made) => tracing::info!(
                    number = made.number,
                    records_new = made.records_new,
                    bytes_written = made.bytes_written,
                    pruned = made.pruned,
                    "backed up"
                ),
                Err(error) => tracing::error!(%error, "the backup was not made"),
            }
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = read_note(data);
        }
        match stopped.recv_timeout(WAKE_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The time of day has passed since the last backup, and since the last try a while. What is noted for
/// a time to come was noted by a clock that went wrong, and counts for nothing.
fn is_due(daily: &Daily, note: &Note, now: Timestamp) -> bool {
    let Some(passed) = passed_last(daily, now) else {
        return false;
    };
    let now_ms = now.as_millisecond();
    let made_before = |made: &Made| made.at_ms < passed.as_millisecond() || made.at_ms > now_ms;
    let tried_long_ago = |failed: &Failed| {
        failed.at_ms.saturating_add(RETRY_AFTER_MS) <= now_ms || failed.at_ms > now_ms
    };
    // A backup made by hand to somewhere else is not the daily one.
    let made = note.made.as_ref().filter(|made| made.to == daily.job.to);
    made.is_none_or(made_before) && note.failed.as_ref().is_none_or(tried_long_ago)
}

/// When that time of day was last.
fn passed_last(daily: &Daily, now: Timestamp) -> Option<Timestamp> {
    let local = now.to_zoned(daily.zone.clone());
    let on = |date: jiff::civil::Date| {
        let at = date.to_datetime(daily.at).to_zoned(daily.zone.clone());
        at.ok().map(|at| at.timestamp())
    };
    let today = on(local.date())?;
    if today <= now {
        return Some(today);
    }
    on(local.date().checked_sub(1.day()).ok()?)
}

fn note_file(data: &Path) -> PathBuf {
    data.join("backup.json")
}

/// What is noted; nothing, if that cannot be read.
fn read_note(data: &Path) -> Note {
    let text = std::fs::read_to_string(note_file(data));
    text.ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn write_note(data: &Path, note: &Note) -> std::io::Result<()> {
    let file = note_file(data);
    let new = file.with_extension("json.new");
    let text = serde_json::to_string_pretty(note).map_err(std::io::Error::other)?;
    std::fs::File::create(&new)?.write_all(text.as_bytes())?;
    std::fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily_at(at: &str, zone: &str) -> Daily {
        Daily {
            job: BackupJob {
                log: "log".into(),
                to: "there".into(),
                endpoint: None,
                keep: Some(1),
                afresh: None,
            },
            at: time_of_day(at).unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn made(at: &str) -> Note {
        Note {
            made: Some(Made {
                at_ms: ms(at),
                to: "there".into(),
                number: 1,
                records: 1,
                bytes: 1,
                bytes_written: 1,
            }),
            ..Note::default()
        }
    }

    fn ms(at: &str) -> i64 {
        at.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn check(note: &Note, now: &str, due: bool) {
        let daily = daily_at("02:30", "Europe/Vienna");
        assert_eq!(is_due(&daily, note, now.parse().unwrap()), due, "{now}");
    }

    #[test]
    fn a_backup_is_due_once_a_day_in_the_companys_time_zone() {
        check(&Note::default(), "2026-01-10T12:00:00Z", true);
        // 02:30 in Vienna is 01:30 UTC in winter, 00:30 in summer.
        let note = made("2026-01-10T01:30:05Z");
        check(&note, "2026-01-10T23:00:00Z", false);
        check(&note, "2026-01-11T01:29:59Z", false);
        check(&note, "2026-01-11T01:30:00Z", true);
        check(&made("2026-07-10T01:00:00Z"), "2026-07-11T00:29:59Z", false);
        check(&made("2026-07-10T01:00:00Z"), "2026-07-11T00:30:00Z", true);
    }

    #[test]
    fn in_a_year_there_is_one_each_day_at_its_time_and_one_more_after_each_that_failed() {
        let daily = daily_at("02:30", "Europe/Vienna");
        let mut note = made("2026-01-01T01:30:00Z");
        let (mut now, end) = (ms("2026-01-01T01:31:00Z"), ms("2027-01-01T01:31:00Z"));
        let (mut tries, mut days) = (0, std::collections::BTreeSet::new());
        while now < end {
            let at = Timestamp::from_millisecond(now).unwrap();
            if is_due(&daily, &note, at) {
                tries += 1;
                let local = at.to_zoned(daily.zone.clone());
                let minutes = local.hour() as i32 * 60 + local.minute() as i32 - (2 * 60 + 30);
                if tries % 10 == 0 {
                    note.failed = Some(Failed {
                        at_ms: now,
                        to: "there".into(),
                        why: "no".into(),
                    });
                } else {
                    // Where there was no 02:30 it is 03:30; after a failure, half an hour later.
                    let late = if note.failed.is_some() { 32 } else { 2 };
                    assert!((0..=late).contains(&minutes) || minutes == 60, "{local}");
                    assert!(days.insert(local.date()), "{local}");
                    note = Note {
                        made: note.made.clone().map(|made| Made { at_ms: now, ..made }),
                        ..Note::default()
                    };
                }
            }
            now += 2 * WAKE_EVERY.as_millis() as i64;
        }
        assert_eq!((days.len(), tries), (365, 365 + 365 / 9));
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_stops_no_backup() {
        let mut note = made("2027-01-10T01:30:05Z");
        check(&note, "2026-01-10T12:00:00Z", true);
        note.made = None;
        note.failed = Some(Failed {
            at_ms: i64::MAX,
            to: "there".into(),
            why: "no".into(),
        });
        check(&note, "2026-01-10T12:00:00Z", true);
    }

    #[test]
    fn a_night_without_a_02_30_has_its_backup_all_the_same() {
        let note = made("2026-03-28T01:30:05Z");
        check(&note, "2026-03-29T12:00:00Z", true);
    }

    #[test]
    fn a_backup_elsewhere_is_not_the_daily_one() {
        let mut note = made("2026-01-10T10:00:00Z");
        note.made.as_mut().unwrap().to = "elsewhere".into();
        check(&note, "2026-01-10T11:00:00Z", true);
    }

    #[test]
    fn one_that_failed_is_tried_again_after_half_an_hour() {
        let mut note = made("2026-01-09T01:30:05Z");
        note.failed = Some(Failed {
            at_ms: ms("2026-01-10T01:30:00Z"),
            to: "there".into(),
            why: "no".into(),
        });
        check(&note, "2026-01-10T01:59:00Z", false);
        check(&note, "2026-01-10T02:00:00Z", true);
    }

    #[test]
    fn a_time_of_day_is_hours_and_minutes() {
        for bad in ["", "2:30", "24:00", "02:60", "02:30:00", "night"] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
        assert!(time_of_day("23:59").is_some());
    }
}
