//! Call control under whatever phones, people, engine and log may do, in any order.
//!
//! The input is a story in the world of call control's own tests (`tandem_pbx::sim`): numbers that make
//! something happen there, texts that callers dial and are called by, and registers that another version
//! may have written. Properties: the promises that
//! the world watches (nothing is asked of a leg that has ended, every sound that begins is sealed once,
//! every leg is in one place), no panic, and nothing is left when everybody has gone.

use tandem_pbx::sim::World;
use tandem_pbx::{KeyMap, PbxConfig};

use crate::feed::Feed;

/// A story is no longer than that.
const STEPS_MAX: usize = 600;
/// The longest number that somebody dials here, in bytes.
const TEXT_BYTES_MAX: usize = 80;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut world = World::new(config(&mut feed), &["101", "102", "103"]);
    let mut leg = 100_001;
    for _ in 0..STEPS_MAX {
        if feed.is_empty() || !world.faults.is_empty() {
            break;
        }
        match feed.below(8) {
            0 => {
                let (from, dialed) = (text(&mut feed), text(&mut feed));
                world.tell(&format!("call {leg} ~{from} {dialed}"));
                leg += 2;
            }
            1 => drop(world.tell(&format!(
                "group 60{} members=10{}",
                feed.below(3),
                feed.below(5)
            ))),
            3 if feed.one_in(4) => {
                const KEYS: [&str; 7] = [
                    "user/a.1.1",
                    "user/a.1.2/forward",
                    "user/a.1.2/blocked",
                    "user/a.1.3/pin",
                    "group/a.1.9",
                    "group/a.1.9/out/a.1.1",
                    "mailbox/a.1.1/quota-minutes",
                ];
                let key = match feed.below(KEYS.len() + 1) {
                    n if n < KEYS.len() => KEYS[n].to_owned(),
                    _ => text(&mut feed),
                };
                world.tell(&format!("register {key} {}", text(&mut feed)));
            }
            2 if feed.one_in(8) => drop(world.tell(["drain", "stop", "power cut"][feed.below(3)])),
            _ => {
                let number = u64::from(feed.u32()) | u64::from(feed.u16()) << 32;
                world.stir(number);
            }
        }
    }
    if world.faults.is_empty() {
        world.finish();
        world.check_rest();
    }
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn config(feed: &mut Feed<'_>) -> PbxConfig {
    let choice = feed.byte();
    let mut config = PbxConfig::default();
    if choice & 1 != 0 {
        config.keys = KeyMap::Intuity;
    }
    if choice & 2 != 0 {
        (config.messages_max, config.calls_max) = (3, 5);
    }
    config
}

/// Something without a space: what was dialled, or who calls.
fn text(feed: &mut Feed<'_>) -> String {
    let count = feed.below(TEXT_BYTES_MAX);
    let text = String::from_utf8_lossy(feed.take(count)).into_owned();
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
