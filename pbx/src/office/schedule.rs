//! Schedules: when the office is open.
//!
//! | key | value (JSON) |
//! |---|---|
//! | `schedule/ID` | [`Schedule`] |
//! | `schedule/ID/override` | `"open"` or `"closed"`, whatever the clock says; removed: by the clock |
//!
//! *Hours* are texts: days, and ranges of the clock on each of them, as in `mon-fri 09:00-12:00
//! 13:00-17:00` or `sat,sun 22:00-06:00`. A range belongs to the day it begins on, and may go over
//! midnight; `24:00` is the end of a day. *Holidays* are `2026-12-25`, or `12-25` in every year: no range
//! begins on them. A schedule without hours is open on all days that are no holidays.
//!
//! Who switches a schedule by hand does so apart from the rest, so that it is not lost when an
//! administrator changes the hours at another node at the same time.
//!
//! Invariants: the time is handed in. A range lasts from the moment at which a clock on the wall first
//! shows its beginning to the one at which it first shows its end; where the clocks are put forward over
//! one of them, to that moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time as ClockTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;
use tandem_storage::time::WallTime;

use crate::say;

/// The most schedules.
pub const SCHEDULES_MAX: usize = 200;
/// The most lines of hours, and the most holidays, of one schedule.
pub const HOURS_MAX: usize = 50;
/// See [`HOURS_MAX`].
pub const HOLIDAYS_MAX: usize = 500;
/// The numbers by which schedules are switched.
pub const NUMBERS: std::ops::RangeInclusive<u16> = 1..=9999;

/// When the office is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What it is called.
    pub name: Arc<str>,
    /// What is dialled behind the code that switches it.
    pub number: u16,
    /// As above.
    #[serde(default)]
    pub hours: Vec<Arc<str>>,
    /// As above.
    #[serde(default)]
    pub holidays: Vec<Arc<str>>,
    /// Where its clock hangs, as in `Europe/Zurich`; `None`: where the node's does.
    #[serde(default)]
    pub time_zone: Option<Arc<str>>,
}

/// Who says whether a schedule is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Its hours.
    #[default]
    Clock,
    /// Somebody has opened it.
    Open,
    /// Somebody has closed it.
    Closed,
}

impl Override {
    const ALL: [Override; 3] = [Override::Clock, Override::Open, Override::Closed];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Override::Clock => "clock",
            Override::Open => "open",
            Override::Closed => "closed",
        }
    }

    /// Reads what was written.
    pub fn parse(text: &str) -> Option<Override> {
        Override::ALL.into_iter().find(|by| by.name() == text)
    }
}

/// A schedule that can be read: its texts, and what they say.
#[derive(Clone, Debug)]
struct Kept {
    schedule: Schedule,
    table: Timetable,
}

/// What the texts of a schedule say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timetable {
    ranges: Vec<Range>,
    holidays: Vec<Holiday>,
    zone: Option<TimeZone>,
}

/// A range of the clock on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// On which days it begins, Monday first.
    days: [bool; 7],
    /// In minutes of the day.
    begins_min: u16,
    /// Likewise, up to 1440; before the beginning: on the day after.
    ends_min: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holiday {
    Once(Date),
    EachYear { month: i8, day: i8 },
}

const DAY_MIN: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All schedules.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    kept: BTreeMap<Id, Kept>,
    overrides: BTreeMap<Id, Override>,
}

impl Schedules {
    /// `ID` or `ID/override`, behind `schedule/`. `None`: it cannot be read, and changes nothing.
    pub(super) fn apply(&mut self, rest: &str, value: Option<&str>) -> Option<Id> {
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        let id = id.parse().ok()?;
        match (part, value) {
            ("", Some(value)) => {
                let schedule: Schedule = serde_json::from_str(value).ok()?;
                let table = Timetable::read(&schedule).ok()?;
                self.kept.insert(id, Kept { schedule, table });
            }
            ("", None) => drop(self.kept.remove(&id)),
            ("override", Some(value)) => {
                self.overrides.insert(id, serde_json::from_str(value).ok()?);
            }
            ("override", None) => drop(self.overrides.remove(&id)),
            _ => return None,
        }
        Some(id)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Schedule> {
        self.kept.get(&id).map(|kept| &kept.schedule)
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Id, &Schedule)> {
        self.kept.iter().map(|(id, kept)| (*id, &kept.schedule))
    }

    /// The schedule of this name; of several the one made first.
    pub(crate) fn named(&self, name: &str) -> Option<Id> {
        let found = self.all().find(|(_, schedule)| &*schedule.name == name);
        found.map(|(id, _)| id)
    }

    /// The schedule that is switched by this number; of several the one made first.
    pub(crate) fn numbered(&self, number: u16) -> Option<Id> {
        let found = self.all().find(|(_, schedule)| schedule.number == number);
        found.map(|(id, _)| id)
    }

    /// The least number that no schedule has, and none of these.
    pub(crate) fn free_number(&self, taken: &[u16]) -> u16 {
        let is_free = |n: &u16| self.numbered(*n).is_none() && !taken.contains(n);
        NUMBERS.into_iter().find(is_free).unwrap_or_default()
    }

    /// Who says whether it is open.
    pub(crate) fn overridden(&self, id: Id) -> Override {
        self.overrides.get(&id).copied().unwrap_or_default()
    }

    /// What its hours say, whatever anybody has switched. One that is no more is always open.
    pub(crate) fn is_open_by_clock(&self, id: Id, now: WallTime, local: &TimeZone) -> bool {
        let kept = self.kept.get(&id);
        kept.is_none_or(|kept| kept.table.is_open(now, local))
    }

    /// It is open.
    pub(crate) fn is_open(&self, id: Id, now: WallTime, local: &TimeZone) -> bool {
        match self.overridden(id) {
            _ if !self.kept.contains_key(&id) => true,
            Override::Open => true,
            Override::Closed => false,
            Override::Clock => self.is_open_by_clock(id, now, local),
        }
    }
}

impl Timetable {
    /// Reads the texts. What is wrong with one of them is said with its key.
    pub(crate) fn read(schedule: &Schedule) -> Result<Timetable, (&'static str, String)> {
        let too_many = |key, most| Err((key, format!("a schedule has at most {most} of them")));
        if schedule.hours.len() > HOURS_MAX {
            return too_many("hours", HOURS_MAX);
        }
        if schedule.holidays.len() > HOLIDAYS_MAX {
            return too_many("holidays", HOLIDAYS_MAX);
        }
        let mut table = Timetable::default();
        for text in &schedule.hours {
            let ranges = ranges(text).ok_or_else(|| ("hours", hours_fault(text)))?;
            table.ranges.extend(ranges);
        }
        for text in &schedule.holidays {
            let holiday = holiday(text).ok_or_else(|| ("holidays", holiday_fault(text)))?;
            table.holidays.push(holiday);
        }
        if let Some(name) = &schedule.time_zone {
            let zone = say::zone(name).ok_or_else(|| ("time_zone", zone_fault(name)))?;
            table.zone = Some(zone);
        }
        Ok(table)
    }

    /// It is open by the clock at this time.
    pub(crate) fn is_open(&self, now: WallTime, local: &TimeZone) -> bool {
        let zone = self.zone.as_ref().unwrap_or(local);
        let today = say::local(now, zone).date();
        if self.ranges.is_empty() {
            return !self.is_holiday(today);
        }
        let now = say::timestamp(now);
        // Yesterday's goes over midnight; tomorrow's has begun where clocks are put back over midnight.
        let days = [today.yesterday().ok(), Some(today), today.tomorrow().ok()];
        let mut days = days.into_iter().flatten();
        days.any(|day| {
            let begins = |range: &&Range| range.days[weekday(day)] && !self.is_holiday(day);
            let mut ranges = self.ranges.iter().filter(begins);
            ranges.any(|range| range.holds(day, now, zone))
        })
    }

    fn is_holiday(&self, day: Date) -> bool {
        self.holidays.iter().any(|holiday| match holiday {
            Holiday::Once(date) => *date == day,
            Holiday::EachYear { month, day: of } => (day.month(), day.day()) == (*month, *of),
        })
    }
}

impl Range {
    /// The range that begins on this day goes on at this time.
    fn holds(&self, day: Date, now: Timestamp, zone: &TimeZone) -> bool {
        let next = || day.tomorrow().ok();
        let ends = match self.ends_min {
            DAY_MIN => next().and_then(|day| moment(day, 0, zone)),
            ends if ends <= self.begins_min => next().and_then(|day| moment(day, ends, zone)),
            ends => moment(day, ends, zone),
        };
        let begins = moment(day, self.begins_min, zone);
        matches!((begins, ends), (Some(begins), Some(ends)) if begins <= now && now < ends)
    }
}

/// When a clock on the wall first shows this minute of the day, or first shows a later one.
fn moment(day: Date, minute: u16, zone: &TimeZone) -> Option<Timestamp> {
    let (hour, minute) = (minute / 60, minute % 60);
    let time = ClockTime::new(hour.try_into().ok()?, minute.try_into().ok()?, 0, 0).ok()?;
    let at = zone.to_ambiguous_timestamp(day.to_datetime(time));
    if !at.is_ambiguous() || matches!(at.offset(), jiff::tz::AmbiguousOffset::Fold { .. }) {
        return at.earlier().ok();
    }
    // The clocks are put forward over it: at that moment.
    let before = at.earlier().ok()?;
    let put_forward = zone.following(before).next().map(|next| next.timestamp());
    put_forward.or(Some(before))
}

fn weekday(day: Date) -> usize {
    usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or(0)
}

/// `mon-fri 09:00-12:00 13:00-17:00`.
fn ranges(text: &str) -> Option<Vec<Range>> {
    let mut words = text.split_whitespace();
    let days = days(words.next()?)?;
    let ranges: Option<Vec<Range>> = words.map(|word| range(word, days)).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

/// `mon-fri`, `sat,sun`, `fri-mon`, `daily`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|after| days[(first + after) % 7] = true);
    }
    Some(days)
}

/// `09:00-12:00`.
fn range(text: &str, days: [bool; 7]) -> Option<Range> {
    let (begins, ends) = text.split_once('-')?;
    let (begins_min, ends_min) = (minute(begins)?, minute(ends)?);
    let is_some_time = begins_min < DAY_MIN && begins_min != ends_min;
    is_some_time.then_some(Range {
        days,
        begins_min,
        ends_min,
    })
}

/// `09:00`, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str, most: usize| {
        let is_right = (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        is_right.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute_of) = (
        digits(hour, 2)?,
        digits(minute, 2).filter(|_| minute.len() == 2)?,
    );
    let of_day = hour * 60 + minute_of;
    (minute_of < 60 && of_day <= DAY_MIN).then_some(of_day)
}

/// `2026-12-25` or `12-25`.
fn holiday(text: &str) -> Option<Holiday> {
    let numbers = text.split('-').map(|part| {
        let is_right = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        is_right.then(|| part.parse::<i16>().ok()).flatten()
    });
    let numbers: Vec<i16> = numbers.collect::<Option<_>>()?;
    let small = |number: i16| i8::try_from(number).ok();
    match numbers[..] {
        [year, month, day] => {
            let date = Date::new(year, small(month)?, small(day)?).ok()?;
            (year >= 1970).then_some(Holiday::Once(date))
        }
        [month, day] => {
            let (month, day) = (small(month)?, small(day)?);
            // A leap year has every day there is.
            Date::new(2024, month, day).ok()?;
            Some(Holiday::EachYear { month, day })
        }
        _ => None,
    }
}

fn hours_fault(text: &str) -> String {
    format!(
        "'{}' are no hours: days and times, as in mon-fri 09:00-12:00 13:00-17:00",
        text.escape_debug()
    )
}

fn holiday_fault(text: &str) -> String {
    format!(
        "'{}' is no holiday: 2026-12-25, or 12-25 for every year",
        text.escape_debug()
    )
}

fn zone_fault(name: &str) -> String {
    format!(
        "no time zone is called '{}'; use a name such as Europe/Zurich",
        name.escape_debug()
    )
}

/// The register that holds a schedule.
pub fn schedule_key(id: Id) -> Arc<str> {
    format!("schedule/{id}").into()
}

/// The register that says that a schedule was switched by hand.
pub fn override_key(id: Id) -> Arc<str> {
    format!("schedule/{id}/override").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(hours: &[&str], holidays: &[&str]) -> Schedule {
        let texts = |all: &[&str]| all.iter().map(|text| Arc::from(*text)).collect();
        Schedule {
            name: "day".into(),
            number: 1,
            hours: texts(hours),
            holidays: texts(holidays),
            time_zone: Some("Europe/Berlin".into()),
        }
    }

    /// The hours at these times of Berlin, each as RFC 3339 has it.
    fn check(schedule: &Schedule, times: &[(&str, bool)]) {
        let table = Timetable::read(schedule).unwrap();
        for (at, is_open) in times {
            let at_ms = at.parse::<Timestamp>().unwrap().as_millisecond();
            let now = WallTime(at_ms.try_into().unwrap());
            let found = table.is_open(now, &TimeZone::UTC);
            assert_eq!(found, *is_open, "{at} of {:?}", schedule.hours);
        }
    }

    #[test]
    fn the_hours_of_a_week() {
        let day = schedule(
            &["mon-fri 09:00-12:00 13:00-17:00", "sat 10:00-14:00"],
            &["12-25", "2026-12-31"],
        );
        check(
            &day,
            &[
                ("2026-11-23T08:59:59+01:00", false),
                ("2026-11-23T09:00:00+01:00", true),
                ("2026-11-23T11:59:59.999+01:00", true),
                ("2026-11-23T12:00:00+01:00", false),
                ("2026-11-23T13:00:00+01:00", true),
                ("2026-11-23T17:00:00+01:00", false),
                ("2026-11-28T10:30:00+01:00", true),
                ("2026-11-28T15:00:00+01:00", false),
                ("2026-11-29T10:30:00+01:00", false),
                // Christmas in every year, New Year's Eve in one.
                ("2026-12-25T10:00:00+01:00", false),
                ("2028-12-25T10:00:00+01:00", false),
                ("2026-12-31T10:00:00+01:00", false),
                ("2027-12-31T10:00:00+01:00", true),
            ],
        );
    }

    #[test]
    fn a_range_belongs_to_the_day_it_begins_on() {
        let night = schedule(&["fri,sun 22:00-06:00"], &["2026-11-29"]);
        check(
            &night,
            &[
                ("2026-11-27T21:59:00+01:00", false),
                ("2026-11-27T22:00:00+01:00", true),
                ("2026-11-28T05:59:00+01:00", true),
                ("2026-11-28T06:00:00+01:00", false),
                // The evening before is no day of its own.
                ("2026-11-27T05:00:00+01:00", false),
                ("2026-11-29T23:00:00+01:00", false),
                ("2026-11-30T05:00:00+01:00", false),
                ("2026-12-07T05:00:00+01:00", true),
            ],
        );
        // What began the day before goes on into a holiday.
        check(
            &schedule(&["daily 22:00-06:00"], &["2026-11-29"]),
            &[
                ("2026-11-29T05:00:00+01:00", true),
                ("2026-11-29T23:00:00+01:00", false),
                ("2026-11-30T05:00:00+01:00", false),
                ("2026-11-30T23:00:00+01:00", true),
            ],
        );
        check(
            &schedule(&["sat-mon 18:00-24:00"], &[]),
            &[
                ("2026-11-29T23:59:59+01:00", true),
                ("2026-11-30T00:00:00+01:00", false),
                ("2026-12-01T19:00:00+01:00", false),
            ],
        );
    }

    #[test]
    fn clocks_that_are_put_forward_and_back() {
        // On 2026-03-29 the clocks go from 2 to 3 o'clock, on 2026-10-25 from 3 back to 2.
        let usual = schedule(&["daily 08:00-17:00"], &[]);
        check(
            &usual,
            &[
                ("2026-03-28T07:00:00Z", true),
                ("2026-03-28T16:00:00Z", false),
                ("2026-03-29T05:59:59Z", false),
                ("2026-03-29T06:00:00Z", true),
                ("2026-03-29T15:00:00Z", false),
                ("2026-10-25T06:30:00Z", false),
                ("2026-10-25T07:00:00Z", true),
                ("2026-10-25T15:59:59Z", true),
            ],
        );
        let early = schedule(&["sun 02:30-03:30"], &[]);
        check(
            &early,
            &[
                // There is no 02:30: it begins when the clocks are put forward.
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:00:00Z", true),
                ("2026-03-29T01:29:59Z", true),
                ("2026-03-29T01:30:00Z", false),
                // There are two: it begins at the first.
                ("2026-10-25T00:29:59Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:15:00Z", true),
                ("2026-10-25T02:29:59Z", true),
                ("2026-10-25T02:30:00Z", false),
            ],
        );
        // And it ends at the first.
        check(
            &schedule(&["sat 22:00-02:30"], &[]),
            &[
                ("2026-10-25T00:29:59Z", true),
                ("2026-10-25T00:30:00Z", false),
                ("2026-10-25T01:15:00Z", false),
                ("2026-03-29T00:59:59Z", true),
                ("2026-03-29T01:00:00Z", false),
            ],
        );
    }

    #[test]
    fn without_hours_it_is_open_but_on_holidays_and_without_a_zone_the_nodes_counts() {
        let mut manual = schedule(&[], &["01-01"]);
        check(
            &manual,
            &[
                ("2026-06-01T03:00:00+02:00", true),
                ("2027-01-01T12:00:00+01:00", false),
                ("2026-12-31T23:59:59+01:00", true),
            ],
        );
        manual.time_zone = None;
        check(&manual, &[("2026-12-31T23:59:59Z", true)]);
        let noon = Timetable::read(&Schedule {
            time_zone: None,
            ..schedule(&["daily 12:00-13:00"], &[])
        });
        let (noon, tokyo) = (noon.unwrap(), say::zone("Asia/Tokyo").unwrap());
        let at = |hour: u64| WallTime(1_795_305_600_000 + hour * 3_600_000);
        assert!(noon.is_open(at(3), &tokyo) && !noon.is_open(at(12), &tokyo));
        assert!(noon.is_open(at(12), &TimeZone::UTC));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for hours in [
            "",
            "mon",
            "mon-fri",
            "funday 09:00-17:00",
            "mon 09:00",
            "mon 9-17",
            "mon 09:60-17:00",
            "mon 09:00-24:01",
            "mon 24:00-25:00",
            "mon 09:00-09:00",
            "mon 09:0-17:00",
            "mon +9:00-17:00",
            "mon, 09:00-17:00",
            "Mon 09:00-17:00",
        ] {
            let fault = Timetable::read(&schedule(&[hours], &[])).unwrap_err();
            assert_eq!(fault.0, "hours", "{hours}");
        }
        for right in [
            "mon 9:00-17:00",
            "fri-mon,wed 00:00-24:00",
            "daily 23:00-00:00",
        ] {
            assert!(Timetable::read(&schedule(&[right], &[])).is_ok(), "{right}");
        }
        for day in [
            "",
            "christmas",
            "13-01",
            "02-30",
            "2026-02-29",
            "26-12-25",
            "1-2-3-4",
        ] {
            let fault = Timetable::read(&schedule(&[], &[day])).unwrap_err();
            assert_eq!(fault.0, "holidays", "{day}");
        }
        let zone = Schedule {
            time_zone: Some("Mars/Olympus".into()),
            ..schedule(&[], &[])
        };
        assert_eq!(Timetable::read(&zone).unwrap_err().0, "time_zone");
    }

    #[test]
    fn who_switches_it_has_the_last_word() {
        let mut schedules = Schedules::default();
        let id: Id = "a.1.1".parse().unwrap();
        let value = serde_json::to_string(&schedule(&["mon 09:00-17:00"], &[])).unwrap();
        assert_eq!(schedules.apply("a.1.1", Some(&value)), Some(id));
        let is_open = |schedules: &Schedules| schedules.is_open(id, WallTime(0), &TimeZone::UTC);
        assert!(!is_open(&schedules));
        schedules.apply("a.1.1/override", Some(r#""open""#));
        assert!(is_open(&schedules));
        assert_eq!(schedules.apply("a.1.1/override", Some("1")), None);
        schedules.apply("a.1.1/override", Some(r#""closed""#));
        assert!(!is_open(&schedules));
        // One that is gone closes nothing.
        schedules.apply("a.1.1", None);
        assert!(is_open(&schedules));
        assert_eq!(schedules.apply("a.1.1", Some("{}")), None);
        assert_eq!(schedules.apply("nobody", Some(&value)), None);
        assert_eq!(
            (schedules.all().count(), schedules.free_number(&[1])),
            (0, 2)
        );
    }
}
