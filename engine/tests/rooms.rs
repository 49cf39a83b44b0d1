//! Parties in a room, around a worker's core: each hears all others and not itself, at their level,
//! whatever codec it speaks, and nobody hears anything any more once it has left.
#![allow(clippy::unwrap_used)]

mod parties;

use parties::{ALL, World, tone};
use tandem_engine::seam::*;
use tandem_storage::name::Ids;

const ROOM: RoomId = RoomId(800);
const PLAIN: Member = Member {
    is_evened: false,
    ..Member::TALKER
};

fn join(w: &mut World, leg: u64, member: Member) {
    w.command(Command::Join {
        leg: LegId(leg),
        room: ROOM,
        member,
    });
}

/// What the leg heard in the last two seconds: the level of each tone, in dB against one said.
fn levels(w: &mut World, leg: u64, tones: &[f64]) -> Vec<f64> {
    let party = w.parties.get_mut(&leg).unwrap();
    let heard = std::mem::take(&mut party.heard);
    let heard = &heard[heard.len().saturating_sub(16_000)..];
    assert!(heard.len() > 8000, "{leg} heard {}", heard.len());
    tones.iter().map(|hz| tone(heard, *hz).0).collect()
}

fn hears(level: f64) -> bool {
    level.abs() < 1.5
}

fn silent(level: f64) -> bool {
    level < -35.0
}

#[test]
fn four_codecs_in_one_room_each_hears_the_others_and_not_itself() {
    let tones = [310.0, 530.0, 790.0, 1130.0];
    let mut w = World::new();
    for (n, codec) in ALL.into_iter().enumerate() {
        let leg = n as u64 + 1;
        w.party(leg, codec, [20, 10, 20, 60][n], tones[n]);
        join(&mut w, leg, PLAIN);
    }
    w.talk(350);
    for leg in 1..=4 {
        let levels = levels(&mut w, leg, &tones);
        for (n, level) in levels.iter().enumerate() {
            let is_itself = n as u64 + 1 == leg;
            let fits = if is_itself {
                silent(*level)
            } else {
                hears(*level)
            };
            assert!(fits, "{leg} hears tone {n} at {level}: {levels:?}");
        }
        let party = &w.parties[&leg];
        assert_eq!(party.breaks, 1, "{leg}: only the beginning");
    }
    assert_eq!(w.worker.counters().rooms, 1);
}

#[test]
fn muted_deaf_and_gone() {
    let tones = [310.0, 530.0, 790.0];
    let mut w = World::new();
    for (n, hz) in tones.into_iter().enumerate() {
        w.party(n as u64 + 1, Codec::Pcmu, 20, hz);
        join(&mut w, n as u64 + 1, PLAIN);
    }
    join(&mut w, 2, Member { talks: 0, ..PLAIN });
    join(&mut w, 3, Member { hears: 0, ..PLAIN });
    w.talk(350);
    let one = levels(&mut w, 1, &tones);
    assert!(silent(one[0]) && silent(one[1]) && hears(one[2]), "{one:?}");
    let two = levels(&mut w, 2, &tones);
    assert!(hears(two[0]) && silent(two[1]) && hears(two[2]), "{two:?}");
    w.parties.get_mut(&3).unwrap().heard.clear();
    w.talk(50);
    assert!(w.parties[&3].heard.is_empty(), "it hears nothing");
    // Who leaves hears nobody and is heard by nobody; a bridge is a way to leave.
    w.command(Command::Unbridge { leg: LegId(3) });
    w.talk(300);
    let one = levels(&mut w, 1, &tones);
    assert!(one.iter().all(|level| silent(*level)), "{one:?}");
    w.command(Command::Bridge {
        a: LegId(1),
        b: LegId(3),
    });
    w.talk(300);
    let one = levels(&mut w, 1, &tones);
    assert!(hears(one[2]) && silent(one[1]), "{one:?}");
    w.command(Command::Close { leg: LegId(2) });
    assert_eq!(w.worker.counters().rooms, 0);
}

#[test]
fn what_is_played_to_the_room_is_heard_by_all_and_to_one_by_that_one() {
    let mut w = World::new();
    for leg in 1..=3 {
        w.party(leg, Codec::Pcmu, 20, 310.0 + 200.0 * leg as f64);
        join(&mut w, leg, Member { talks: 0, ..PLAIN });
    }
    let beep = |frequency_hz| {
        vec![PlayItem::Tone {
            frequency_hz,
            duration_ms: 3000,
            level_dbfs: -12,
        }]
    };
    w.command(Command::PlayToRoom {
        leg: LegId(1),
        items: beep(1000),
    });
    w.command(Command::Play {
        leg: LegId(2),
        play: PlayId(1),
        items: beep(1700),
    });
    w.talk(280);
    let all: Vec<Vec<f64>> = (1..=3)
        .map(|leg| levels(&mut w, leg, &[1000.0, 1700.0]))
        .collect();
    for (leg, wanted) in [(0, [true, false]), (1, [false, true]), (2, [true, false])] {
        for (heard, wanted) in all[leg].iter().zip(wanted) {
            assert!(
                wanted == (*heard > -4.0) && wanted != (*heard < -30.0),
                "{all:?}"
            );
        }
    }
    // When it is over, the room is heard again.
    w.talk(200);
    w.command(Command::PlayToRoom {
        leg: LegId(3),
        items: beep(1000),
    });
    w.talk(250);
    assert!(levels(&mut w, 2, &[1000.0])[0] > -4.0);
}

#[test]
fn keys_are_told_and_a_recording_goes_on_in_a_room() {
    let mut w = World::new();
    w.party(1, Codec::G722, 20, 700.0);
    w.party(2, Codec::Pcma, 20, 400.0);
    for leg in [1, 2] {
        join(&mut w, leg, PLAIN);
    }
    w.command(Command::Record {
        leg: LegId(1),
        sound: Ids::new("n1".parse().unwrap(), 1).next_id(),
        limit: std::time::Duration::from_secs(60),
        silence: None,
    });
    w.talk(300);
    w.command(Command::StopRecord { leg: LegId(1) });
    assert!(w.log.len() > 20_000, "{}", w.log.len());
    let recorded: Vec<i16> = w.log.iter().map(|b| Codec::Pcmu.decode(*b)).collect();
    assert!(hears(tone(&recorded[4000..20_000], 700.0).0));
    assert!(silent(tone(&recorded[4000..20_000], 400.0).0));
}

#[test]
fn a_member_changes_its_codec_and_goes_to_another_worker() {
    let tones = [310.0, 530.0];
    let mut w = World::new();
    w.party(1, Codec::Pcmu, 20, tones[0]);
    w.party(2, Codec::Pcmu, 20, tones[1]);
    for leg in [1, 2] {
        join(&mut w, leg, PLAIN);
    }
    for codec in [Codec::Opus, Codec::G722, Codec::Pcma] {
        w.talk(300);
        assert!(hears(levels(&mut w, 1, &tones)[1]), "before {codec:?}");
        assert!(hears(levels(&mut w, 2, &tones)[0]), "before {codec:?}");
        w.change_codec(2, codec);
    }
    let (slot, leg) = w.worker.release(LegId(2)).unwrap();
    w.worker.on_left(slot);
    w.parties.get_mut(&1).unwrap().heard.clear();
    w.parties.get_mut(&2).unwrap().slot = w.worker.adopt(leg).unwrap();
    w.talk(300);
    assert!(silent(levels(&mut w, 1, &tones)[1]), "it left the room");
    join(&mut w, 2, PLAIN);
    w.talk(300);
    assert!(hears(levels(&mut w, 1, &tones)[1]));
}
