use super::*;

const PLAIN: Member = Member {
    is_evened: false,
    ..Member::TALKER
};

fn room(members: &[Member]) -> Room {
    let mut room = Room::new(Time(0));
    for (nth, member) in members.iter().enumerate() {
        assert!(room.join(Slot(nth as u32), *member));
    }
    room
}

/// A frame in which all say their number of thousands.
fn all_talk(room: &mut Room) {
    for nth in 0..room.len() {
        room.take_in(nth, &[(nth as i16 + 1) * 1000; 160], 8000);
    }
    room.mix();
}

fn apart(room: &mut Room, nth: usize) -> i16 {
    match room.heard_by(nth) {
        Heard::Apart(pcm) => {
            assert_eq!(pcm.len(), 160);
            pcm[80]
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_hears_all_others_and_not_itself() {
    let mut room = room(&[PLAIN; 3]);
    all_talk(&mut room);
    let heard = [0, 1, 2].map(|nth| apart(&mut room, nth));
    assert_eq!(heard, [5000, 4000, 3000]);
}

#[test]
fn those_who_only_listen_share_what_they_hear() {
    let listener = Member { talks: 0, ..PLAIN };
    let mut room = room(&[PLAIN, listener, listener]);
    all_talk(&mut room);
    assert_eq!(room.heard_by(1), Heard::Shared(1));
    assert_eq!(room.heard_by(2), Heard::Shared(1));
    assert_eq!(room.shared(1)[80], 1000);
    assert_eq!(apart(&mut room, 0), 0);
}

#[test]
fn groups_say_who_hears_whom() {
    // A customer and an agent talk; who supervises hears both and whispers to the agent.
    let customer = Member {
        talks: 1,
        hears: 2,
        ..PLAIN
    };
    let agent = Member {
        talks: 2,
        hears: 5,
        ..PLAIN
    };
    let whispers = Member {
        talks: 4,
        hears: 3,
        ..PLAIN
    };
    let deaf = Member {
        talks: 0,
        hears: 0,
        ..PLAIN
    };
    let mut room = room(&[customer, agent, whispers, deaf]);
    all_talk(&mut room);
    let mut heard = |nth| match room.heard_by(nth) {
        Heard::Shared(hears) => room.shared(hears)[80],
        Heard::Apart(pcm) => pcm[80],
        Heard::Nothing => -1,
    };
    assert_eq!([0, 1, 2, 3].map(&mut heard), [2000, 4000, 3000, -1]);
}

#[test]
fn only_the_loudest_are_heard_and_they_stay() {
    let mut room = room(&[PLAIN; TALKERS_MAX + 4]);
    for _ in 0..3 {
        all_talk(&mut room);
    }
    let mixed = |room: &Room| -> Vec<usize> {
        (0..room.len())
            .filter(|n| room.seats[*n].is_mixed)
            .collect()
    };
    let loudest: Vec<usize> = (4..TALKERS_MAX + 4).collect();
    assert_eq!(mixed(&room), loudest);
    // A little louder is not enough to push somebody out, much louder is.
    let say = |room: &mut Room, first: i16| {
        for nth in 0..room.len() {
            let level = if nth == 0 {
                first
            } else {
                (nth as i16 + 1) * 1000
            };
            room.take_in(nth, &[level; 160], 8000);
        }
        room.mix();
    };
    say(&mut room, 5500);
    assert_eq!(mixed(&room), loudest);
    say(&mut room, 9000);
    assert!(mixed(&room).contains(&0) && !mixed(&room).contains(&4));
}

#[test]
fn a_sum_that_is_too_large_is_bent_and_never_wraps() {
    let mut before = i16::MIN;
    for sum in (-400_000..400_000).step_by(37) {
        let limited = limit(sum);
        assert!(limited >= before, "{sum}");
        before = limited;
        assert!((limited == sum as i16) || sum.abs() > KNEE);
    }
    assert!(limit(i32::MAX) > 32_000 && limit(-i32::MAX) < -32_000);
}

#[test]
fn louder_for_one_and_softer_for_another() {
    let louder = Member {
        talks: 0,
        hears_gain_db: 6,
        ..PLAIN
    };
    let softer = Member {
        hears_gain_db: -6,
        ..PLAIN
    };
    let mut room = room(&[PLAIN, louder, softer]);
    all_talk(&mut room);
    let heard = [0, 1, 2].map(|nth| apart(&mut room, nth));
    assert_eq!(heard[0], 3000);
    assert!(
        (heard[1] - 7981).abs() < 10 && (heard[2] - 501).abs() < 5,
        "{heard:?}"
    );
}

#[test]
fn levels_are_evened_out() {
    let mut room = room(&[Member::TALKER, Member::TALKER]);
    let tone = |peak: f32| -> Vec<i16> {
        let at = |n: usize| (n as f32 * 0.2).sin() * peak;
        (0..160).map(|n| at(n) as i16).collect()
    };
    let mut heard = [0.0, 0.0];
    for _ in 0..400 {
        room.take_in(0, &tone(1200.0), 8000);
        room.take_in(1, &tone(12_000.0), 8000);
        room.mix();
        for (nth, level) in heard.iter_mut().enumerate() {
            let Heard::Apart(pcm) = room.heard_by(nth) else {
                panic!()
            };
            *level = dbfs(power(pcm));
        }
    }
    // They were 20 dB apart.
    assert!((heard[0] - heard[1]).abs() < 6.0, "{heard:?}");
}

#[test]
fn noise_is_not_mixed_but_the_end_of_a_word_is() {
    let mut room = room(&[PLAIN, PLAIN]);
    let mut say = |level: i16| {
        room.take_in(0, &[level; 160], 8000);
        room.mix();
        match room.heard_by(1) {
            Heard::Shared(hears) => room.shared(hears)[80],
            Heard::Apart(pcm) => pcm[80],
            Heard::Nothing => -1,
        }
    };
    assert_eq!(say(30), 0);
    assert_eq!(say(5000), 5000);
    assert_eq!(say(30), 30);
    let after: Vec<i16> = (0..20).map(|_| say(30)).collect();
    assert_eq!(after[19], 0);
}

#[test]
fn narrow_and_wide_sound_meet_at_the_rate_of_the_room() {
    let mut room = room(&[PLAIN, PLAIN, PLAIN]);
    room.set_rate(16_000);
    for _ in 0..3 {
        room.take_in(0, &[3000; 160], 8000);
        room.take_in(1, &[2000; 320], 16_000);
        room.take_in(2, &[], 8000);
        room.mix();
    }
    let Heard::Shared(hears) = room.heard_by(2) else {
        panic!()
    };
    let sum = room.shared(hears);
    assert_eq!(sum.len(), 320);
    assert!((sum[160] - 5000).abs() < 60, "{}", sum[160]);
}

#[test]
fn a_full_room_takes_nobody_but_changes_who_is_in_it() {
    let mut room = Room::new(Time(0));
    for n in 0..MEMBERS_MAX {
        assert!(room.join(Slot(n as u32), PLAIN));
    }
    assert!(!room.join(Slot(u32::MAX), PLAIN));
    assert!(room.join(Slot(5), Member { talks: 0, ..PLAIN }));
    room.leave(Slot(7));
    assert!(room.join(Slot(u32::MAX), PLAIN));
    assert_eq!(room.len(), MEMBERS_MAX);
}
