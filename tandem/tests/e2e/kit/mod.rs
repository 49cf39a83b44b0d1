//! What the end-to-end tests are made with: a node that is started and ended, telephones of our own
//! whose every move the test decides, and other people's telephones (SIPp, baresip).
//!
//! Everything waits for events with a generous limit; nothing sleeps a fixed time and hopes.

pub mod baresip;
pub mod kamailio;
pub mod node;
pub mod place;
pub mod proxy;
pub mod rtp;
pub mod sip;
pub mod sipp;
pub mod sound;
pub mod ua;
pub mod witness;

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once. Generous: the machine may be busy.
pub const SOON: Duration = Duration::from_secs(15);

/// Asks until the answer is there, at most `limit`; for what can only be asked, not awaited.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "waited {limit:?} in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
