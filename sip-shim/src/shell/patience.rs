//! How long a stream may keep us waiting: a connection costs a file descriptor, and strangers open them.
//!
//! Pure: the reader of a stream asks until when it should wait, and says what has come.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of every stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Between two arrivals.
    pub(super) idle: Duration,
    /// From the first byte of a message to its last.
    pub(super) message: Duration,
    /// From the beginning of the stream until somebody on it has shown who they are.
    pub(super) stranger: Duration,
}

/// Which limit is the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Idle,
    Message,
    Stranger,
}

/// One stream, measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    limits: Limits,
    opened_at: Instant,
    heard_at: Instant,
    /// When the message of which there is only a part began.
    began_at: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limits: Limits, now: Instant) -> Patience {
        Patience {
            limits,
            opened_at: now,
            heard_at: now,
            began_at: None,
        }
    }

    /// Bytes came. `took`: some of them ended a message; `rest`: some are a part of the next.
    pub(super) fn heard(&mut self, now: Instant, took: bool, rest: bool) {
        self.heard_at = now;
        let began_at = self.began_at.filter(|_| !took).unwrap_or(now);
        self.began_at = rest.then_some(began_at);
    }

    /// Until when to wait for more. More bytes of the same message do not put it off: otherwise one
    /// byte now and then would hold a connection for ever.
    pub(super) fn until(&self, is_known: bool) -> (Instant, Limit) {
        let own = match self.began_at {
            Some(at) => (at + self.limits.message, Limit::Message),
            None => (self.heard_at + self.limits.idle, Limit::Idle),
        };
        let stranger = self.opened_at + self.limits.stranger;
        if !is_known && stranger < own.0 {
            return (stranger, Limit::Stranger);
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        idle: Duration::from_secs(7200),
        message: Duration::from_secs(30),
        stranger: Duration::from_secs(60),
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_message_is_measured_from_its_first_byte() {
        let start = Instant::now();
        let mut patience = Patience::new(LIMITS, start);
        assert_eq!(patience.until(true), (after(start, 7200), Limit::Idle));
        for s in [5, 10, 15] {
            patience.heard(after(start, s), false, true);
            assert_eq!(patience.until(true), (after(start, 35), Limit::Message));
        }
        // The end of that message and the beginning of the next one.
        patience.heard(after(start, 20), true, true);
        assert_eq!(patience.until(true), (after(start, 50), Limit::Message));
        patience.heard(after(start, 25), true, false);
        assert_eq!(patience.until(true), (after(start, 7225), Limit::Idle));
    }

    #[test]
    fn a_stranger_is_measured_from_the_beginning() {
        let start = Instant::now();
        let mut patience = Patience::new(LIMITS, start);
        patience.heard(after(start, 50), true, false);
        assert_eq!(patience.until(false), (after(start, 60), Limit::Stranger));
        assert_eq!(patience.until(true), (after(start, 7250), Limit::Idle));
    }
}
