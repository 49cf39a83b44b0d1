//! What has come in the ring: to the core, and on from the buffer it is in.

use super::*;

/// Packets of one leg that are still wanted when the worker sheds: 60 ms of most sound.
const FRESH_MAX: u32 = 3;

/// A packet that is one of a stream; a mark is always that of a leg there was.
fn is_rtp(done: &Completion) -> bool {
    done.mark != MARK_WOKEN && done.received.is_some() && unmark(done.mark).1 != Kind::Rtcp
}

impl<S: SoundStore, E: Fn(Event)> Thread<S, E> {
    pub(super) fn take_completions(&mut self) {
        let now = self.now();
        if self.pace.sheds() {
            self.take_freshest(now);
        } else {
            for _ in 0..self.ring.ready() {
                let Some(done) = self.ring.next() else { break };
                self.on_completion(now, done, false);
            }
        }
        self.carry_out(now);
    }

    /// The worker has been behind for long: of each leg only the newest packets are taken. Sound
    /// that is late is of no use, and with all of it everybody would wait for ever.
    fn take_freshest(&mut self, now: Time) {
        let mut batch = std::mem::take(&mut self.batch);
        for _ in 0..self.ring.ready() {
            batch.extend(self.ring.next());
        }
        self.here.clear();
        self.here.resize(self.legs.len(), 0);
        for done in batch.iter().filter(|done| is_rtp(done)) {
            self.here[unmark(done.mark).0.0 as usize] += 1;
        }
        for done in batch.drain(..) {
            let mut stale = false;
            if is_rtp(&done) {
                let left = &mut self.here[unmark(done.mark).0.0 as usize];
                stale = *left > FRESH_MAX;
                *left -= 1;
            }
            self.on_completion(now, done, stale);
        }
        self.batch = batch;
    }

    fn on_completion(&mut self, now: Time, done: Completion, stale: bool) {
        if done.mark == MARK_WOKEN {
            let _ = self.setup.woken.read(&mut [0; 64]);
            self.ring
                .read_event(self.setup.woken.as_raw_fd(), MARK_WOKEN);
            return;
        }
        let (slot, kind) = unmark(done.mark);
        if let Some(received) = done.received {
            if stale {
                self.setup.core.counters().packets_stale += 1;
            } else if done.result >= 0 {
                self.on_datagram(now, slot, kind, received);
            }
        }
        if !done.more {
            let short = done.result == -libc::ENOBUFS;
            self.setup.core.counters().buffers_short += u64::from(short);
            self.on_receive_ended(slot, kind, short);
        }
    }

    /// The buffer is given back when `received` ends, here or behind the send it is used for.
    fn on_datagram(&mut self, now: Time, slot: Slot, kind: Kind, mut received: Received) {
        let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        if kind == Kind::RtpConnected {
            // Received while the socket was being disconnected: nobody knows from whom.
            if leg.mode != Mode::Connected {
                return;
            }
            let forward = self.setup.core.on_rtp(now, slot, None, received.bytes());
            return self.forward(received, 0, forward);
        }
        let Some((from, range)) = received.with_address() else {
            self.setup.core.counters().packets_malformed += 1;
            return;
        };
        let start = range.start;
        let bytes = &mut received.bytes()[range];
        if kind == Kind::Rtcp {
            return self.setup.core.on_rtcp(now, slot, from, bytes);
        }
        let forward = self.setup.core.on_rtp(now, slot, Some(from), bytes);
        self.forward(received, start, forward);
    }

    fn forward(&mut self, received: Received, start: usize, forward: Option<Forward>) {
        let Some(Forward { slot, range }) = forward else {
            return;
        };
        let Some(Some(to)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        let range = range.start + start..range.end + start;
        self.ring
            .send_from(to.rtp_fd(), received, range, to.unless_connected());
    }
}
