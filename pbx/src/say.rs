//! Numbers, dates and times as a row of prompts, in English.
//!
//! A [`Say`] is built word by word and becomes the items of one `Play`. Civil time is turned into
//! local time here and nowhere else, from tables that are part of the program.
//!
//! Invariant: never more than `PLAY_ITEMS_MAX` items; what would be more is left out.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tandem_engine::seam::{PLAY_ITEMS_MAX, PlayItem};
use tandem_storage::time::WallTime;

use crate::fetches::{Open, Playable};
use crate::words::{self, Word};

/// Between words and the beep that follows them.
const BEEP_PAUSE_MS: u32 = 300;

/// Something to be said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Say {
    items: Vec<PlayItem>,
    /// The one sound in it that is still coming.
    open: Option<Open>,
}

impl Say {
    /// Nothing yet.
    pub(crate) fn new() -> Say {
        Say::default()
    }

    /// One prompt.
    pub(crate) fn one(word: Word) -> Say {
        Say::new().word(word)
    }

    /// Ends with this prompt.
    pub(crate) fn word(self, word: Word) -> Say {
        self.item(PlayItem::Prompt(Arc::from(word.0)))
    }

    /// Ends with this.
    pub(crate) fn item(mut self, item: PlayItem) -> Say {
        if self.items.len() < PLAY_ITEMS_MAX {
            self.items.push(item);
        }
        self
    }

    /// Ends with a recorded sound.
    pub(crate) fn sound(mut self, sound: Playable) -> Say {
        self.open = self.open.or(sound.open);
        self.item(sound.item)
    }

    /// Ends with all of that.
    pub(crate) fn then(self, other: Say) -> Say {
        let open = self.open.or(other.open);
        let said = other.items.into_iter().fold(self, Say::item);
        Say { open, ..said }
    }

    /// A moment of nothing.
    pub(crate) fn pause(self, duration_ms: u32) -> Say {
        self.item(PlayItem::Silence { duration_ms })
    }

    /// The tone after which one speaks: after a moment of nothing if there are words before it, and as loud
    /// as they are (a sine of -17 dBFS has -20 dBFS RMS).
    pub(crate) fn beep(self) -> Say {
        let said = if self.items.is_empty() {
            self
        } else {
            self.pause(BEEP_PAUSE_MS)
        };
        said.item(PlayItem::Tone {
            frequency_hz: 1000,
            duration_ms: 300,
            level_dbfs: -17,
        })
    }

    /// The call is recorded from now on.
    pub(crate) fn recording_began() -> Say {
        Say::recording_tone(200)
    }

    /// It is not, for now: two short ones.
    pub(crate) fn recording_paused() -> Say {
        let short = || Say::recording_tone(100);
        short().pause(100).then(short())
    }

    /// The pitch by which recording is known (47 CFR 64.501, formerly).
    fn recording_tone(duration_ms: u32) -> Say {
        Say::new().item(PlayItem::Tone {
            frequency_hz: 1400,
            duration_ms,
            level_dbfs: -20,
        })
    }

    /// Two tones up: somebody has come into the room.
    pub(crate) fn somebody_came() -> Say {
        Say::tones([440, 660])
    }

    /// Two tones down: somebody has left the room.
    pub(crate) fn somebody_went() -> Say {
        Say::tones([660, 440])
    }

    fn tones(hz: [u16; 2]) -> Say {
        hz.into_iter().fold(Say::new(), |said, frequency_hz| {
            said.item(PlayItem::Tone {
                frequency_hz,
                duration_ms: 150,
                level_dbfs: -22,
            })
        })
    }

    /// Ringing, as the one who waits hears it: for more than two minutes.
    pub(crate) fn ringing() -> Say {
        (0..PLAY_ITEMS_MAX / 2).fold(Say::new(), |said, _| {
            let tone = PlayItem::Tone {
                frequency_hz: 425,
                duration_ms: 1_000,
                level_dbfs: -20,
            };
            said.item(tone).pause(4_000)
        })
    }

    /// Music for who waits.
    pub(crate) fn music() -> Say {
        (0..PLAY_ITEMS_MAX).fold(Say::new(), |said, _| said.word(words::MUSIC))
    }

    /// A cardinal, up to 999,999; more is said as digits.
    pub(crate) fn number(self, n: u32) -> Say {
        match n {
            0..=20 => self.word(words::NUMBERS[n as usize]),
            21..=99 => {
                let tens = self.word(words::TENS[n as usize / 10 - 2]);
                if n.is_multiple_of(10) {
                    tens
                } else {
                    tens.number(n % 10)
                }
            }
            100..=999 => self.many(n, 100, words::HUNDRED),
            1_000..=999_999 => self.many(n, 1_000, words::THOUSAND),
            _ => self.digits(&n.to_string()),
        }
    }

    fn many(self, n: u32, unit: u32, name: Word) -> Say {
        let said = self.number(n / unit).word(name);
        if n.is_multiple_of(unit) {
            said
        } else {
            said.number(n % unit)
        }
    }

    /// A telephone number, character by character; what has no name is left out.
    pub(crate) fn digits(self, number: &str) -> Say {
        number.chars().fold(self, |said, c| match c {
            '0'..='9' => said.word(words::NUMBERS[c as usize - '0' as usize]),
            '*' => said.word(words::STAR),
            '#' => said.word(words::POUND),
            '+' => said.word(words::PLUS),
            _ => said,
        })
    }

    /// "Monday, November the twenty second".
    pub(crate) fn date(self, at: DateTime) -> Say {
        self.word(words::DAYS[at.weekday().to_monday_zero_offset() as usize])
            .word(words::MONTHS[at.month() as usize - 1])
            .word(words::THE)
            .word(words::ORDINALS[at.day() as usize - 1])
    }

    /// "ten forty six A M", "ten oh five", "ten o'clock".
    pub(crate) fn time(self, at: DateTime) -> Say {
        let hour = match at.hour() % 12 {
            0 => 12,
            hour => hour as u32,
        };
        let said = self.number(hour);
        let said = match at.minute() as u32 {
            0 => said.word(words::OCLOCK),
            minute @ 1..=9 => said.word(words::OH).number(minute),
            minute => said.number(minute),
        };
        said.word(if at.hour() < 12 { words::AM } else { words::PM })
    }

    /// When a message came, as one would say it at `now`.
    pub(crate) fn when(self, at: DateTime, now: DateTime) -> Say {
        let said = if at.date() == now.date() {
            self.word(words::TODAY_AT)
        } else if Some(at.date()) == now.date().yesterday().ok() {
            self.word(words::YESTERDAY_AT)
        } else {
            self.word(words::ON).date(at).word(words::AT)
        };
        said.time(at)
    }

    /// The items of a `Play`, and the sound among them that is still coming.
    pub(crate) fn into_items(self) -> (Vec<PlayItem>, Option<Open>) {
        (self.items, self.open)
    }
}

/// The time zone of this name, from the tables inside the program.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

/// What a clock on the wall shows.
pub(crate) fn local(at: WallTime, zone: &TimeZone) -> DateTime {
    zone.to_datetime(timestamp(at))
}

/// The same time as the calendar counts it.
pub(crate) fn timestamp(at: WallTime) -> Timestamp {
    let at_ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: Say, expected: &str) {
        let words: Vec<String> = said
            .into_items()
            .0
            .into_iter()
            .map(|item| match item {
                PlayItem::Prompt(name) => name.split('/').next_back().unwrap().to_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn numbers() {
        check(Say::new().number(0), "0");
        check(Say::new().number(20), "20");
        check(Say::new().number(21), "20 1");
        check(Say::new().number(90), "90");
        check(Say::new().number(105), "1 hundred 5");
        check(Say::new().number(2_300), "2 thousand 3 hundred");
        check(Say::new().number(u32::MAX), "4 2 9 4 9 6 7 2 9 5");
        check(Say::new().digits("+41*7#x"), "plus 4 1 star 7 pound");
    }

    #[test]
    fn dates_and_times() {
        let zurich = zone("Europe/Zurich").unwrap();
        let at = |ms: u64| local(WallTime(ms), &zurich);
        // 2026-11-22 10:05 UTC is 11:05 in Zurich; a day has 86,400,000 ms.
        let now = 1_795_341_900_000;
        check(Say::new().date(at(now)), "sunday november the 22");
        check(Say::new().time(at(now)), "11 oh 5 am");
        check(Say::new().when(at(now), at(now)), "today-at 11 oh 5 am");
        check(
            Say::new().when(at(now - 86_400_000), at(now)),
            "yesterday-at 11 oh 5 am",
        );
        check(
            Say::new().when(at(now - 2 * 86_400_000), at(now)),
            "on friday november the 20 at 11 oh 5 am",
        );
        check(Say::new().time(at(now + 55 * 60_000)), "12 oclock pm");
        check(
            Say::new().time(at(now + (13 * 60 + 10) * 60_000)),
            "12 15 am",
        );
    }

    #[test]
    fn far_times_and_long_rows_are_cut_not_a_panic() {
        let _ = Say::new().date(local(WallTime(u64::MAX), &TimeZone::UTC));
        let long = Say::new().digits(&"7".repeat(1000)).into_items().0;
        assert_eq!(long.len(), PLAY_ITEMS_MAX);
    }
}
