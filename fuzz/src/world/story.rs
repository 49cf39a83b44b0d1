//! What people do all day, drawn from the seed: whom they call, how they take calls, how long
//! they speak, which keys they press, when they lose patience.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::calls::{Plan, Step};
use super::phone::{Voice, Who};

/// A call to be made: the number and what is done in it.
pub(super) fn errand(who: &Who, others: &[Who], rng: &mut ChaCha8Rng) -> (String, Plan) {
    let other = &others[rng.random_range(0..others.len())];
    let extension = &other.extension;
    match rng.random_range(0..24) {
        20 => (format!("**{extension}"), with_patience(rng, conversation)),
        21 => (
            ["600", "*8", "*69", "*80101"][rng.random_range(0..4)].into(),
            with_patience(rng, conversation),
        ),
        22 => (
            ["68", "681", "682"][rng.random_range(0..3)].into(),
            with_patience(rng, conversation),
        ),
        0..8 => (extension.clone(), with_patience(rng, conversation)),
        8..11 => (format!("*{extension}"), with_patience(rng, message)),
        11..15 => ("*97".into(), mailbox(&who.pin, rng)),
        15 => (format!("*98{extension}"), mailbox(&other.pin, rng)),
        16 => (
            ["*43", "*60", "*65"][rng.random_range(0..3)].into(),
            with_patience(rng, conversation),
        ),
        17 => (
            ["*78", "*79", "*79"][rng.random_range(0..3)].into(),
            with_patience(rng, conversation),
        ),
        18 => {
            let number = [format!("*72{extension}"), "*73".into(), "*73".into()];
            (
                number[rng.random_range(0..3)].clone(),
                with_patience(rng, conversation),
            )
        }
        _ => (
            ["999", "%00", "*", "#", "1%402"][rng.random_range(0..5)].into(),
            bye_at_last(rng),
        ),
    }
}

/// How a call is taken.
pub(super) fn called(rng: &mut ChaCha8Rng) -> Plan {
    let mut plan = Plan::new();
    let soon = |rng: &mut ChaCha8Rng| ms(rng, 20, 900);
    if rng.random_ratio(9, 10) {
        plan.push_back((soon(rng), Step::Ring));
    }
    match rng.random_range(0..10) {
        0..4 => {
            plan.push_back((ms(rng, 1, 12_000), Step::Answer));
            plan.extend(conversation(rng));
        }
        4 => {
            // At the very moment the node loses patience.
            plan.push_back((ms(rng, 19_000, 21_000), Step::Answer));
            plan.extend(conversation(rng));
        }
        5 => plan.push_back((soon(rng), Step::Refuse(486))),
        6 => plan.push_back((ms(rng, 1, 9000), Step::Refuse(603))),
        7 => {
            let status = [480, 404, 488, 302, 500, 600, 401][rng.random_range(0..7)];
            plan.push_back((soon(rng), Step::Refuse(status)));
        }
        8 => plan.push_back((ms(rng, 1, 20_000), Step::Vanish)),
        // Nobody there: it rings until the other side gives up, or the phone does.
        _ => plan.push_back((Duration::from_secs(90), Step::Refuse(480))),
    }
    plan
}

fn with_patience(rng: &mut ChaCha8Rng, then: fn(&mut ChaCha8Rng) -> Plan) -> Plan {
    if rng.random_ratio(1, 6) {
        return Plan::from([
            (ms(rng, 0, 25_000), Step::Cancel),
            (ms(rng, 0, 900), Step::Bye),
        ]);
    }
    then(rng)
}

fn conversation(rng: &mut ChaCha8Rng) -> Plan {
    let mut plan = Plan::new();
    for _ in 0..rng.random_range(0..6) {
        let step = match rng.random_range(0..14) {
            12 | 13 => Step::Refer(rng.random_range(0..=255)),
            0 | 1 => Step::Hold,
            2 | 3 => Step::Resume,
            4 => Step::Info(key(rng)),
            5 | 6 => Step::Press(key(rng)),
            7 => Step::Talk(Voice::Silence),
            8 | 9 => Step::Talk(Voice::Speech),
            _ => Step::Press('#'),
        };
        plan.push_back((ms(rng, 1, 15_000), step));
    }
    plan.extend(bye_at_last(rng));
    plan
}

/// Leaves a message, one way or another.
fn message(rng: &mut ChaCha8Rng) -> Plan {
    let mut plan = Plan::new();
    if rng.random_ratio(1, 2) {
        plan.push_back((ms(rng, 500, 6000), Step::Press('#')));
    }
    plan.push_back((ms(rng, 1000, 20_000), Step::Press('#')));
    for _ in 0..rng.random_range(0..4) {
        let digit = ['1', '2', '3', '4', '#', '9'][rng.random_range(0..6)];
        plan.push_back((ms(rng, 500, 6000), Step::Press(digit)));
    }
    plan.extend(bye_at_last(rng));
    plan
}

/// Hears messages: the PIN, then whatever keys.
fn mailbox(pin: &str, rng: &mut ChaCha8Rng) -> Plan {
    let mut plan = Plan::from([(ms(rng, 300, 3000), Step::Talk(Voice::Silence))]);
    let wrong = rng.random_ratio(1, 8);
    for digit in pin.chars() {
        let digit = if wrong { '0' } else { digit };
        plan.push_back((ms(rng, 50, 800), Step::Press(digit)));
    }
    plan.push_back((ms(rng, 50, 800), Step::Press('#')));
    for _ in 0..rng.random_range(1..25) {
        plan.push_back((ms(rng, 100, 6000), Step::Press(key(rng))));
    }
    plan.extend(bye_at_last(rng));
    plan
}

fn bye_at_last(rng: &mut ChaCha8Rng) -> Plan {
    let last = if rng.random_ratio(1, 12) {
        Step::Vanish
    } else {
        Step::Bye
    };
    Plan::from([(ms(rng, 1, 40_000), last)])
}

/// Those that do something more often than the others.
fn key(rng: &mut ChaCha8Rng) -> char {
    const KEYS: &[u8] = b"1111777666559994233008*#12345678";
    char::from(KEYS[rng.random_range(0..KEYS.len())])
}

fn ms(rng: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..to))
}
