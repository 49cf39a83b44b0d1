//! What has come in the ring: to the core, and on from the buffer it is in.

use super::*;

impl<S: SoundStore, E: Fn(Event)> Thread<S, E> {
    pub(super) fn take_completions(&mut self) {
        let now = self.now();
        for _ in 0..self.ring.ready() {
            let Some(done) = self.ring.next() else { return };
            if done.mark == MARK_WOKEN {
                let _ = self.setup.woken.read(&mut [0; 64]);
                self.ring
                    .read_event(self.setup.woken.as_raw_fd(), MARK_WOKEN);
                continue;
            }
            let (slot, kind) = unmark(done.mark);
            if let Some(buffer) = done.buffer {
                self.on_datagram(now, slot, kind, buffer, done.result);
                self.ring.give_back(buffer);
            }
            if !done.more {
                self.count_ending(&done);
                self.on_receive_ended(slot, kind);
            }
        }
        self.carry_out(now);
    }

    fn count_ending(&mut self, done: &Completion) {
        let short = done.result == -libc::ENOBUFS;
        self.setup.core.counters().buffers_short += u64::from(short);
    }

    fn on_datagram(&mut self, now: Time, slot: Slot, kind: Kind, buffer: u16, result: i32) {
        let Ok(len) = usize::try_from(result) else {
            return;
        };
        let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        if kind == Kind::RtpConnected {
            // Received while the socket was being disconnected: nobody knows from whom.
            if leg.mode != Mode::Connected {
                return;
            }
            let bytes = self.ring.datagram(buffer, len);
            let forward = self.setup.core.on_rtp(now, slot, None, bytes);
            return self.forward(buffer, 0, forward);
        }
        let Some((from, range)) = self.ring.with_address(buffer, len) else {
            self.setup.core.counters().packets_malformed += 1;
            return;
        };
        let start = range.start;
        let bytes = &mut self.ring.datagram(buffer, len)[range];
        if kind == Kind::Rtcp {
            return self.setup.core.on_rtcp(now, slot, from, bytes);
        }
        let forward = self.setup.core.on_rtp(now, slot, Some(from), bytes);
        self.forward(buffer, start, forward);
    }

    fn forward(&mut self, buffer: u16, start: usize, forward: Option<Forward>) {
        let Some(Forward { slot, range }) = forward else {
            return;
        };
        let Some(Some(to)) = self.legs.get(slot.0 as usize) else {
            return;
        };
        let range = range.start + start..range.end + start;
        self.ring
            .send_from(to.rtp_fd(), buffer, range, to.unless_connected());
    }
}
