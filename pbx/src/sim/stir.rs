//! Something happens, by the numbers: half of the time what is due (a confirmation, the end of a
//! prompt, a key), so that calls come far; else anything, at any leg, due or not.

use tandem_engine::seam::LegId;

use crate::call::leg::{Leg, Place};
use crate::sim::{Owes, World};

/// Numbers worth dialling, and some that are not.
const DIALED: [&str; 45] = [
    "801", "801", "802", "750", "101", "102", "103", "101", "102", "103", "199", "*97", "*97",
    "*98", "*98101", "*101", "*102", "*103", "*43", "*60", "*65", "*78", "*79", "*72102", "*72103",
    "*73", "*8", "**101", "**102", "68", "68", "681", "682", "9111", "9222", "*72903", "*66",
    "*66", "*86", "600", "*281", "*001", "68", "68", "**103",
];
const FROM: [&str; 5] = ["101", "102", "103", "~5551234", "~102"];
const CAUSES: [&str; 6] = [
    "normal",
    "busy",
    "declined",
    "no_answer",
    "not_registered",
    "cancelled",
];
const KEYS: [&str; 16] = [
    "1", "2", "3", "4", "5", "6", "7", "9", "0", "#", "*", "1101#", "4711#", "02", "01", "#1",
];
const LENGTHS_MS: [&str; 5] = ["1", "500", "2500", "7000", "31000"];

/// More calls at once than this bring nothing new.
const CALLS_MAX: usize = 12;

/// Cuts a number into choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        let sides = sides.max(1) as u64;
        let side = self.0 % sides;
        self.0 /= sides;
        usize::try_from(side).unwrap_or(0)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

impl World {
    /// Makes one thing happen, chosen by the number; returns the line it is (see [`World::tell`])
    /// and what call control asked for.
    pub fn stir(&mut self, number: u64) -> (String, Vec<String>) {
        if number.is_multiple_of(16) {
            self.reread();
        }
        let line = self.choose(&mut Dice(number / 16));
        let said = self.tell(&line);
        self.check_legs();
        (line, said)
    }

    /// Ends everything that is under way, and lets the timers run out.
    pub fn finish(&mut self) {
        for line in ["log go", "disk ok"] {
            self.tell(line);
        }
        for leg in self.legs.keys().copied().collect::<Vec<_>>() {
            if self.legs.contains_key(&leg) {
                self.tell(&format!("ended {} normal", leg.0));
            }
        }
        self.tell("wait 10000000");
    }

    /// Every leg is in some place, or it would ring or talk for ever; and in no two.
    fn check_legs(&mut self) {
        self.faults.extend(self.pbx.board.faults());
        for leg in self.legs.keys() {
            if !self.pbx.knows_leg(*leg) {
                self.faults
                    .push(format!("{leg:?} is there and belongs to no call"));
            }
        }
    }

    fn choose(&mut self, dice: &mut Dice) -> String {
        if dice.below(2) == 0
            && let Some(line) = self.due(dice)
        {
            return line;
        }
        let what = dice.below(100);
        let leg = self.some_leg(dice);
        match what {
            0..=13 if self.pbx.calls_len() < CALLS_MAX => {
                self.leg_last += 2;
                if dice.below(12) == 0 {
                    let dialed = dice.pick(&["555", "777"]);
                    return format!("call {} ~5551234 {dialed} by p", self.leg_last);
                }
                format!(
                    "call {} {} {}",
                    self.leg_last,
                    dice.pick(&FROM),
                    dice.pick(&DIALED)
                )
            }
            0..=19 => format!("confirmed {leg}"),
            20..=23 => format!("ringing {leg}"),
            24..=29 => format!("answered {leg}"),
            30..=33 => format!("ended {leg} {}", dice.pick(&CAUSES)),
            34..=35 => format!("cut {leg} {}", dice.pick(&CAUSES)),
            36..=47 => format!("keys {leg} {}", dice.pick(&KEYS)),
            48..=53 => self.moves(dice, leg),
            54..=55 => format!("info {leg} {}", dice.pick(&KEYS)),
            56..=69 => format!("played {leg}"),
            70..=75 => format!("speak {leg} {}", dice.pick(&LENGTHS_MS)),
            76..=77 => format!("recorded {leg} {}", dice.pick(&["silence", "limit"])),
            78 => format!("vanish {leg}"),
            79..=84 => format!("wait {}", dice.pick(&LENGTHS_MS)),
            85..=89 => format!(
                "pin {leg} {}",
                dice.pick(&["right", "right", "right", "wrong"])
            ),
            90 => format!("hash {leg} {}", dice.pick(&["ok", "failed"])),
            91..=93 => format!("log {}", dice.pick(&["hold", "go", "go", "go", "go"])),
            94..=95 => format!("disk {}", dice.pick(&["full", "ok", "ok", "ok", "ok"])),
            96 | 97 if dice.below(3) > 0 => dice
                .pick(&[
                    "trunk p host=192.0.2.1 calls_max=3 numbers=555:101 otherwise=102",
                    "trunk p calls_max=4",
                    "trunk q host=192.0.2.2",
                    "route 9. strip=1 trunks=p,q",
                    "route 9. strip=1 trunks=p",
                    "user 101 forward_outside=on",
                    "user 101 rings_also=901",
                    "user 102 works_at=902",
                    "user 102 works_at=",
                ])
                .to_owned(),
            96 => format!("phone {}", dice.pick(&["101", "102"])),
            97 => format!(
                "import {} {}",
                dice.pick(&["101", "102"]),
                dice.pick(&LENGTHS_MS)
            ),
            98 => dice
                .pick(&[
                    "list 102",
                    "room 801",
                    "room 802 pin=1101 host_pin=4711",
                    "group 750 members=101,102,103 strategy=page",
                    "schedule day hours=daily_10:00-10:30",
                    "group 600 members=101,102 schedule=day night=103",
                    "user 102 dnd_except=101",
                    "speed 01 9111",
                ])
                .to_owned(),
            _ if dice.below(20) == 0 => "power cut".to_owned(),
            _ => "calls".to_owned(),
        }
    }

    /// Some move of a leg that needs two calls, or a phone with more than ten keys: as a rule at legs
    /// where it makes sense.
    fn moves(&mut self, dice: &mut Dice, leg: u64) -> String {
        let other = self.some_leg(dice);
        let board = &self.pbx.board;
        let bridged = board.legs.values();
        let bridged: Vec<&Leg> = bridged
            .filter(|leg| matches!(leg.place, Place::Bridge(_)))
            .collect();
        let rude = dice.below(8) == 0 || bridged.is_empty();
        let at = bridged.get(dice.below(bridged.len()));
        let (leg, party) = match at {
            Some(at) if !rude => (at.id.0, at.party.number.to_string()),
            _ => (leg, dice.pick(&FROM).to_owned()),
        };
        let holds = at.is_some_and(|at| at.holds);
        let kind = dice.below(9);
        if kind > 3 && self.pbx.calls_len() < CALLS_MAX {
            self.leg_last += 2;
            let (new, from) = (self.leg_last, dice.pick(&FROM));
            return match kind {
                4 => format!("call {new} {from} over {leg}"),
                5..=8 if holds => format!("call {new} {party} 68"),
                _ => format!("call {new} {party} {}", dice.pick(&DIALED)),
            };
        }
        match kind {
            0 => format!("refer {leg} {}", dice.pick(&DIALED)),
            1 => format!("refer {leg} with {other}"),
            3 if holds && dice.below(2) == 0 => format!("resume {leg}"),
            2 | 3 => format!("hold {leg}"),
            _ => format!("answered {other}"),
        }
    }

    /// What some leg's party would do next.
    fn due(&self, dice: &mut Dice) -> Option<String> {
        let (LegId(id), leg) = self.legs.iter().nth(dice.below(self.legs.len()))?;
        let is_bridged = self.pbx.bridge_of(LegId(*id)).is_some();
        let key = match dice.pick(&KEYS) {
            "*" if is_bridged => "*3",
            key => key,
        };
        Some(match leg.owes {
            Some(Owes::Confirmation) => format!("confirmed {id}"),
            Some(Owes::Check) => format!("pin {id} right"),
            Some(Owes::Hash) => format!("hash {id} ok"),
            None if leg.recording.is_some() && dice.below(3) == 0 => format!("keys {id} #"),
            None if leg.recording.is_some() => format!("speak {id} 2500"),
            None if leg.play.is_some() && dice.below(2) == 0 => format!("played {id}"),
            None => format!("keys {id} {key}"),
        })
    }

    /// Mostly one that is there.
    fn some_leg(&self, dice: &mut Dice) -> u64 {
        let rude = dice.below(50) == 0;
        let side = dice.below(self.legs.len().max(4));
        match self.legs.keys().nth(side) {
            Some(LegId(leg)) if !rude => *leg,
            _ => side as u64,
        }
    }
}
