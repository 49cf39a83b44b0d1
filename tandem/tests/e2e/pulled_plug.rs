//! `kill -9` while people speak: what was spoken is there, but for the last second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bad_days::{Dice, speaking};
use crate::kit::node::Node;
use crate::kit::sound::counted_frames;
use crate::kit::ua::{Call, Ua};
use crate::kit::witness::Witness;
use crate::kit::{SOON, until};
use crate::mailbox::{messages, sound_of};

/// What may be lost on a machine that is not held up.
const LAST: Duration = Duration::from_secs(1);
/// Half a second is in the chunk being filled; the rest is for threads to get their turn.
const CHUNK: Duration = Duration::from_millis(600);
/// What may be lost when the plug is pulled at `pulled`. A chunk waits for the commit that is being
/// written and then for its own, so it is more than the last second only where two durable writes took
/// four tenths of one, and only if they did so among what may be lost.
fn may_be_lost(witness: &Witness, pulled: Instant) -> Duration {
    let mut allowed = LAST;
    loop {
        let longer = CHUNK + witness.two_longest(pulled - allowed, pulled);
        if longer <= allowed {
            return allowed;
        }
        allowed = longer;
    }
}

/// Twenty times the plug is pulled while five people speak, each at another moment of their message:
/// a hundred moments. What was spoken is there, but for the last second, and marked; what was
/// confirmed is there; the log is whole. `TEST_SEED=n` repeats the moments of a run.
#[test]
fn the_plug_is_pulled_while_messages_are_spoken() {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(u64::from(std::process::id()) | 1 << 40);
    let mut dice = Dice(seed);
    let mut node = Node::demo();
    let witness = Witness::on(node.data());
    let mut confirmed: BTreeMap<String, usize> = BTreeMap::new();
    let mut most_lost = Duration::ZERO;
    for round in 0..20 {
        let place = format!("seed {seed}, round {round}");
        let mut callers: Vec<Ua> = (0..6)
            .map(|n| Ua::gateway(&node, &format!("07{round:02}{n}")))
            .collect();
        let mut cut = all_speaking(&mut callers, &mut dice);
        let mut keeps = cut.pop().expect("six are speaking");
        let kept = keep(&node, &mut callers[5], &mut keeps);
        assert!(
            kept.len() > 100 && is_whole(&kept),
            "{place}: {} kept, {kept:?}",
            callers[5].user
        );
        confirmed.insert(callers[5].user.clone(), kept.len());
        std::thread::sleep(Duration::from_millis(dice.below(1500)));

        let status = node.json(&["status"]);
        let pulled = Instant::now();
        node.kill();
        let allowed = may_be_lost(&witness, pulled);
        node.start();

        if allowed > LAST {
            println!("{place}: the disk was so slow that {allowed:?} may be lost");
        }
        let said = node.cli(&["log", "verify"]);
        assert_eq!(said.code, 0, "{place}: {}{}", said.out, said.err);
        let now: BTreeMap<String, serde_json::Value> = messages(&node)
            .into_iter()
            .map(|message| (number_of(&message), message))
            .collect();
        for (caller, call) in callers[..5].iter().zip(&cut) {
            let Some(message) = now.get(&caller.user) else {
                panic!("{place}: the message of {} is lost", caller.user);
            };
            assert_eq!(message["cut_short"], true, "{place}: {message}");
            let frames = counted_frames(&sound_of(&node, message));
            let there = frames.last().map_or(0, |last| usize::from(*last) + 1);
            let due = call.media.counted_by(pulled - allowed);
            let lost = call.media.counted_at(there);
            let lost = lost.map_or(Duration::ZERO, |at| pulled.saturating_duration_since(at));
            assert!(
                there >= due && is_whole(&frames),
                "{place}: {due} frames had been sent {allowed:?} before the plug was pulled; there \
                 are {}, {:?} up to {there}, the first that is lost was sent {lost:?} before; {status}",
                frames.len(),
                frames.first()
            );
            most_lost = most_lost.max(lost);
            confirmed.insert(caller.user.clone(), frames.len());
        }
        for number in confirmed.keys() {
            assert!(now.contains_key(number), "{place}: {number} is lost");
        }
    }
    println!("at most the last {most_lost:?} were lost");
    // Once more: every message of all rounds is still what it was.
    for message in messages(&node) {
        let number = number_of(&message);
        let frames = counted_frames(&sound_of(&node, &message)).len();
        assert!(
            frames >= confirmed[&number],
            "{number}: {frames} of {}",
            confirmed[&number]
        );
    }
    assert_eq!(messages(&node).len(), confirmed.len());
}

/// All are counting after their beeps; they began at different moments.
pub fn all_speaking(callers: &mut [Ua], dice: &mut Dice) -> Vec<Call> {
    let pauses: Vec<u64> = callers.iter().map(|_| dice.below(1_500)).collect();
    std::thread::scope(|scope| {
        let speakers = callers.iter_mut().zip(pauses).map(|(caller, pause)| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(pause));
                speaking(caller)
            })
        });
        let speakers: Vec<_> = speakers.collect();
        speakers.into_iter().map(|s| s.join().unwrap()).collect()
    })
}

/// A caller ends the message, keeps it, and is told so. The frames that are in it.
pub fn keep(node: &Node, caller: &mut Ua, call: &mut Call) -> Vec<u16> {
    until("the one who keeps a message has said enough", SOON, || {
        (call.media.count() > 130).then_some(())
    });
    let from = call.media.mark();
    call.media.press("#1");
    call.media.wait_phrase(from, "vm/message-saved", SOON);
    let kept = messages(node)
        .into_iter()
        .find(|message| number_of(message) == caller.user)
        .expect("what was said to be saved is there");
    caller.hang_up_or_be_hung_up(call);
    counted_frames(&sound_of(node, &kept))
}

/// Nothing is missing between the first and the last.
pub fn is_whole(frames: &[u16]) -> bool {
    frames.windows(2).all(|two| two[1] == two[0] + 1)
}

/// The number a message came from.
pub fn number_of(message: &serde_json::Value) -> String {
    message["from"]["number"]
        .as_str()
        .expect("a number")
        .to_string()
}
