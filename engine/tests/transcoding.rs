//! Parties that speak different codecs hear each other: tones at their level, without a jump in the
//! numbers, whatever changes meanwhile.
#![allow(clippy::unwrap_used)]

mod parties;

use std::time::Duration;

use parties::{ALL, World, tone};
use tandem_engine::seam::*;

#[test]
fn any_codec_talks_to_any_other_whatever_the_packet_times() {
    for a in ALL {
        for b in ALL {
            for (ptime_a, ptime_b) in [(20, 20), (10, 60), (60, 20)] {
                let case = format!("{a:?} {ptime_a} and {b:?} {ptime_b}");
                let mut w = World::new();
                w.party(1, a, ptime_a, 1000.0);
                w.party(2, b, ptime_b, 440.0);
                w.bridge();
                w.talk(150);
                w.assert_hears(1, 440.0, &case);
                w.assert_hears(2, 1000.0, &case);
                for leg in [1, 2] {
                    assert_eq!(w.parties[&leg].breaks, 1, "{case}: only the beginning");
                }
            }
        }
    }
}

#[test]
fn a_codec_changes_in_the_middle_and_both_hear_on() {
    let mut w = World::new();
    w.party(1, Codec::Pcmu, 20, 1000.0);
    w.party(2, Codec::Pcmu, 20, 440.0);
    w.bridge();
    for codec in [
        Codec::Opus,
        Codec::G722,
        Codec::Pcma,
        Codec::Opus,
        Codec::Pcmu,
    ] {
        w.talk(100);
        w.assert_hears(1, 440.0, "before");
        w.assert_hears(2, 1000.0, "before");
        w.change_codec(2, codec);
    }
}

#[test]
fn an_echo_is_heard_in_every_codec() {
    for codec in ALL {
        let mut w = World::new();
        w.party(1, codec, 20, 1000.0);
        w.command(Command::Echo { leg: LegId(1) });
        w.talk(100);
        w.assert_hears(1, 1000.0, "echo");
    }
}

#[test]
fn prompts_are_played_to_every_codec_to_their_end() {
    for codec in ALL {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut w = World::new();
            w.party(1, codec, ptime_ms, 1000.0);
            let play = PlayId(5);
            let items = vec![PlayItem::Prompt("hum".into())];
            w.command(Command::Play {
                leg: LegId(1),
                play,
                items,
            });
            while w.told.is_empty() {
                w.pass(10);
            }
            w.assert_hears(1, 600.0, "prompt");
            assert_eq!(
                w.told,
                [Event::PlayDone {
                    leg: LegId(1),
                    play
                }]
            );
        }
    }
}

#[test]
fn what_is_said_in_any_codec_is_recorded_as_g711() {
    for codec in ALL {
        let mut w = World::new();
        w.party(1, codec, 20, 1000.0);
        let sound = "a.1.1".parse().unwrap();
        let limit = Duration::from_secs(60);
        w.command(Command::Record {
            leg: LegId(1),
            sound,
            limit,
            silence: None,
        });
        w.talk(200);
        w.command(Command::StopRecord { leg: LegId(1) });
        let law = Codec::of_sound(codec.sound());
        let pcm: Vec<i16> = w.log.iter().map(|b| law.decode(*b)).collect();
        assert!(
            pcm.len().abs_diff(16_000) <= 480,
            "{codec:?}: {}",
            pcm.len()
        );
        let (level, rest) = tone(&pcm[4000..15_000], 1000.0);
        assert!(
            level.abs() < 1.0 && rest < -14.0,
            "{codec:?}: {level} {rest}"
        );
    }
}

#[test]
fn a_key_reaches_a_party_with_another_clock_as_one_press() {
    let mut w = World::new();
    w.party(1, Codec::Pcmu, 20, 1000.0);
    w.party(2, Codec::Opus, 20, 440.0);
    w.bridge();
    w.talk(10);
    let party = w.parties.get_mut(&1).unwrap();
    party.header.payload_type = 101;
    for n in 1..=8u16 {
        let [high, low] = (n.min(5) * 160).to_be_bytes();
        let end = if n > 5 { 0x8a } else { 0x0a };
        w.send(1, 0, &[7, end, high, low]);
        w.pass(20);
    }
    w.pass(200);
    let pressed = Event::Digit {
        leg: LegId(1),
        digit: '7',
    };
    assert_eq!(w.told, [pressed]);
    let events = &w.parties[&2].events;
    assert!(
        events
            .iter()
            .all(|(timestamp, _)| *timestamp == events[0].0),
        "one press"
    );
    assert_eq!(events.last().unwrap().1, 4800, "100 ms at 48 kHz");
}
