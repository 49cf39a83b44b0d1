//! A room: legs that hear each other, mixed.
//!
//! Every 20 ms the worker takes a frame of each member from its playout buffer ([`Room::take_in`]),
//! has them mixed ([`Room::mix`]) and asks what each of them hears ([`Room::heard_by`]): all the
//! others that talk to a group it hears, never itself. Who does not talk hears what everybody does
//! who does not talk, so that it is encoded once for all of them.
//!
//! Of many who make a noise at once the loudest [`TALKERS_MAX`] are heard. Levels are evened out,
//! what lies below [`GATE_DBFS`] is not mixed, and a sum that is too large is bent, not cut.
//!
//! Bounds: [`MEMBERS_MAX`] members. Nothing is allocated for a frame once a member has been heard.

use tandem_storage::time::Time;

use crate::codec::halfband::HalfBand;
use crate::output::Slot;
use crate::player::{Filled, Player};
use crate::playout::FRAME_MS;
use crate::seam::{Codec, Member};

/// The most members of a room: those whose packets a core can carry.
pub const MEMBERS_MAX: usize = 2048;
/// The most who are heard at once.
pub const TALKERS_MAX: usize = 8;
/// What is quieter is noise.
const GATE_DBFS: f32 = -52.0;
/// A talker stays one for so many frames of quiet: the ends of words are quiet.
const HANG_FRAMES: u8 = 12;
/// A talker goes on being encoded by itself for so many frames.
const APART_FRAMES: u8 = 100;
/// Who is mixed already is taken for so much louder: talkers do not alternate.
const STAYS: f32 = 2.0;
/// What a level falls by in a frame.
const LEVEL_FALLS: f32 = 0.85;
/// The level that talkers are brought to, and how far they are moved for it.
const EVEN_DBFS: f32 = -22.0;
const EVEN_DB: (f32, f32) = (-9.0, 9.0);
/// How fast: a second or so up, quicker down.
const EVEN_UP: f32 = 0.02;
const EVEN_DOWN: f32 = 0.1;
/// From here on a sum is bent.
const KNEE: i32 = 24_000;

/// A room.
#[derive(Debug)]
pub struct Room {
    seats: Vec<Seat>,
    rate_hz: u32,
    /// When the next frame is mixed.
    pub due: Time,
    /// What is said to all.
    pub player: Option<Player>,
    announcement: Vec<i16>,
    announcement_up: Option<HalfBand>,
    sums: Vec<Sum>,
    /// What one hears that hears something of its own, before and after it is limited.
    own: Vec<i32>,
    limited: Vec<i16>,
}

/// A member in its place.
#[derive(Debug)]
struct Seat {
    slot: Slot,
    member: Member,
    /// What it says in this frame, at the room's rate.
    frame: Vec<i16>,
    resampler: Option<(u32, HalfBand)>,
    /// Mean square of what it says, rising at once and falling slowly.
    level: f32,
    gain: f32,
    hang: u8,
    /// For how many frames it is still encoded by itself.
    apart: u8,
    /// It is among those that are mixed in this frame.
    is_mixed: bool,
}

/// All that is said to some groups, before it is limited.
#[derive(Debug, Default)]
struct Sum {
    hears: u8,
    total: Vec<i32>,
    limited: Vec<i16>,
}

/// What a member hears in this frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// What all hear that hear these groups and say nothing.
    Shared(u8),
    /// All but itself.
    Apart(&'a [i16]),
    /// Nothing, for it hears no group.
    Nothing,
}

impl Room {
    /// A room of nobody, whose first frame is mixed at `due`.
    pub fn new(due: Time) -> Room {
        Room {
            seats: Vec::new(),
            rate_hz: 8000,
            due,
            player: None,
            announcement: Vec::new(),
            announcement_up: None,
            sums: Vec::new(),
            own: Vec::new(),
            limited: Vec::new(),
        }
    }

    /// A leg comes in, or its rights change. False: the room is full.
    pub fn join(&mut self, slot: Slot, member: Member) -> bool {
        if let Some(seat) = self.seats.iter_mut().find(|s| s.slot == slot) {
            seat.member = member;
            return true;
        }
        if self.seats.len() >= MEMBERS_MAX {
            return false;
        }
        self.seats.push(Seat {
            slot,
            member,
            frame: Vec::new(),
            resampler: None,
            level: 0.0,
            gain: 1.0,
            hang: 0,
            apart: 0,
            is_mixed: false,
        });
        true
    }

    /// A leg goes.
    pub fn leave(&mut self, slot: Slot) {
        self.seats.retain(|seat| seat.slot != slot);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Where the nth member is.
    pub fn slot(&self, nth: usize) -> Slot {
        self.seats[nth].slot
    }

    /// Does the nth member talk to anybody?
    pub fn talks(&self, nth: usize) -> bool {
        self.seats[nth].member.talks != 0
    }

    /// Samples a second of what is mixed.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Mixes at this rate from now on: the highest that anybody hears.
    pub fn set_rate(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
    }

    /// The level of the nth member, in decibels to full scale.
    pub fn level_dbfs(&self, nth: usize) -> f32 {
        dbfs(self.seats[nth].level)
    }

    /// What the nth member says in this frame; nothing, if `pcm` is empty.
    pub fn take_in(&mut self, nth: usize, pcm: &[i16], rate_hz: u32) {
        let to_hz = self.rate_hz;
        let seat = &mut self.seats[nth];
        seat.frame.clear();
        if pcm.is_empty() {
            seat.level *= LEVEL_FALLS;
            seat.hang = 0;
            return;
        }
        if rate_hz == to_hz {
            seat.frame.extend_from_slice(pcm);
        } else {
            if seat.resampler.as_ref().is_none_or(|r| r.0 != rate_hz) {
                let filter = if rate_hz < to_hz {
                    HalfBand::up()
                } else {
                    HalfBand::down()
                };
                seat.resampler = Some((rate_hz, filter));
            }
            if let Some((_, filter)) = &mut seat.resampler {
                if rate_hz < to_hz {
                    filter.double(pcm, &mut seat.frame);
                } else {
                    filter.halve(pcm, &mut seat.frame);
                }
            }
            seat.frame.resize(samples(to_hz), 0);
        }
        seat.listen();
    }

    /// Chooses who is heard, and adds them up for each of the sets of groups that somebody hears.
    pub fn mix(&mut self) {
        self.choose();
        self.announce();
        let count = samples(self.rate_hz);
        for sum in &mut self.sums {
            sum.hears = 0;
        }
        for nth in 0..self.seats.len() {
            let hears = self.seats[nth].member.hears;
            if hears == 0 || self.sums.iter().any(|sum| sum.hears == hears) {
                continue;
            }
            let free = self.sums.iter().position(|sum| sum.hears == 0);
            let place = free.unwrap_or_else(|| {
                self.sums.push(Sum::default());
                self.sums.len() - 1
            });
            let sum = &mut self.sums[place];
            sum.hears = hears;
            sum.total.clear();
            sum.total.resize(count, 0);
            if !self.announcement.is_empty() {
                add(&mut sum.total, &self.announcement);
            }
            for seat in self
                .seats
                .iter()
                .filter(|s| s.is_mixed && s.member.talks & hears != 0)
            {
                add(&mut sum.total, &seat.frame);
            }
            sum.limited.clear();
            sum.limited.extend(sum.total.iter().map(|s| limit(*s)));
        }
    }

    /// What the nth member hears.
    pub fn heard_by(&mut self, nth: usize) -> Heard<'_> {
        let Room {
            seats,
            sums,
            own,
            limited,
            ..
        } = self;
        let seat = &mut seats[nth];
        let hears = seat.member.hears;
        let Some(sum) = sums.iter().find(|sum| hears != 0 && sum.hears == hears) else {
            return Heard::Nothing;
        };
        let is_in_it = seat.is_mixed && seat.member.talks & hears != 0;
        let gain_db = seat.member.hears_gain_db;
        if is_in_it {
            seat.apart = APART_FRAMES;
        }
        if is_in_it || gain_db != 0 {
            own.clear();
            own.extend_from_slice(&sum.total);
            if is_in_it {
                for (all, mine) in own.iter_mut().zip(&seat.frame) {
                    *all -= i32::from(*mine);
                }
            }
            let gain = factor(gain_db);
            limited.clear();
            limited.extend(own.iter().map(|all| limit(scaled(*all, gain))));
            return Heard::Apart(limited);
        }
        if seat.apart > 0 {
            seat.apart -= 1;
            return Heard::Apart(&sum.limited);
        }
        Heard::Shared(hears)
    }

    /// What all hear that hear these groups and say nothing.
    pub fn shared(&self, hears: u8) -> &[i16] {
        let sum = self.sums.iter().find(|sum| sum.hears == hears);
        sum.map_or(&[], |sum| &sum.limited)
    }

    /// The loudest who make more than noise.
    fn choose(&mut self) {
        let mut loudest = [(0.0_f32, usize::MAX); TALKERS_MAX];
        for (nth, seat) in self.seats.iter().enumerate() {
            if seat.hang == 0 || seat.frame.is_empty() || seat.member.talks == 0 {
                continue;
            }
            let level = if seat.is_mixed {
                seat.level * STAYS
            } else {
                seat.level
            };
            let last = TALKERS_MAX - 1;
            if level > loudest[last].0 || loudest[last].1 == usize::MAX {
                loudest[last] = (level, nth);
                loudest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            }
        }
        for seat in &mut self.seats {
            seat.is_mixed = false;
        }
        for (_, nth) in loudest {
            if let Some(seat) = self.seats.get_mut(nth) {
                seat.is_mixed = true;
            }
        }
    }

    /// The next frame of what is said to all.
    fn announce(&mut self) {
        self.announcement.clear();
        let Some(player) = &mut self.player else {
            return;
        };
        let mut law = [0; 8 * FRAME_MS];
        if player.fill(Codec::Pcmu, &mut law) == Filled::Nothing {
            self.player = None;
            return;
        }
        let pcm = law.map(|byte| Codec::Pcmu.decode(byte));
        if self.rate_hz == 8000 {
            self.announcement.extend_from_slice(&pcm);
        } else {
            let filter = self.announcement_up.get_or_insert_with(HalfBand::up);
            filter.double(&pcm, &mut self.announcement);
        }
    }
}

impl Seat {
    /// Judges the frame, and brings it to the level it is to have.
    fn listen(&mut self) {
        let power = power(&self.frame);
        self.level = power.max(self.level * LEVEL_FALLS);
        let is_loud = dbfs(power) > GATE_DBFS;
        self.hang = if is_loud {
            HANG_FRAMES
        } else {
            self.hang.saturating_sub(1)
        };
        let fixed = factor(self.member.gain_db);
        if self.member.is_evened {
            if is_loud {
                let wanted_db = (EVEN_DBFS - dbfs(self.level)).clamp(EVEN_DB.0, EVEN_DB.1);
                let wanted = 10.0_f32.powf(wanted_db / 20.0);
                let speed = if wanted > self.gain {
                    EVEN_UP
                } else {
                    EVEN_DOWN
                };
                self.gain += (wanted - self.gain) * speed;
            }
        } else {
            self.gain = 1.0;
        }
        let gain = self.gain * fixed;
        if (gain - 1.0).abs() > 0.01 {
            for sample in &mut self.frame {
                // The cast saturates.
                *sample = (f32::from(*sample) * gain) as i16;
            }
        }
    }
}

/// Samples of a frame.
fn samples(rate_hz: u32) -> usize {
    rate_hz as usize / 1000 * FRAME_MS
}

fn add(total: &mut [i32], frame: &[i16]) {
    for (sum, sample) in total.iter_mut().zip(frame) {
        *sum += i32::from(*sample);
    }
}

/// Brings a sum into range: as it is up to the knee, above it bent, so that it never clips.
fn limit(sum: i32) -> i16 {
    let over = sum.abs() - KNEE;
    if over <= 0 {
        return sum as i16;
    }
    let room = i32::from(i16::MAX) - KNEE;
    let bent = KNEE + (i64::from(room) * i64::from(over) / i64::from(over + room)) as i32;
    (bent * sum.signum()) as i16
}

/// What a sample is multiplied by. Beyond 24 dB there is nothing but noise or silence.
fn factor(gain_db: i8) -> f32 {
    10.0_f32.powf(f32::from(gain_db.clamp(-24, 24)) / 20.0)
}

fn scaled(sum: i32, gain: f32) -> i32 {
    // The cast saturates.
    (sum as f32 * gain) as i32
}

/// Mean square.
fn power(pcm: &[i16]) -> f32 {
    let sum: f32 = pcm.iter().map(|s| f32::from(*s) * f32::from(*s)).sum();
    sum / pcm.len().max(1) as f32
}

/// A mean square, in decibels to full scale.
fn dbfs(power: f32) -> f32 {
    10.0 * (power.max(1e-3) / (32_768.0 * 32_768.0)).log10()
}

#[cfg(test)]
mod tests;
