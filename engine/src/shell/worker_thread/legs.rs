//! Legs and their sockets on a worker's thread: opened, received from, connected, moved, closed.
//!
//! A receive that should end is cancelled; only its last completion says that it has ended. A leg
//! is closed, or goes to another worker, when none is left, and whatever it sends has been
//! submitted: its descriptor may be another's the moment it is closed.
//!
//! A receive that ends for want of buffers begins again when buffers are back, some in each round:
//! begun at once it would end again at once.

use super::*;

/// Starved legs that receive again in one round.
const ARMED_PER_ROUND: usize = 256;

impl<S: SoundStore, E: Fn(Event)> Thread<S, E> {
    pub(super) fn open(&mut self, now: Time, leg: LegId, sockets: Pair, port: u16) {
        let Some(slot) = self.setup.core.open(now, leg) else {
            tracing::error!(leg = leg.0, "no room for a leg");
            drop(sockets);
            let _ = self.setup.ports_back.send(port);
            (self.setup.events)(Event::Closed {
                leg,
                report: LegReport::default(),
            });
            return;
        };
        let leg = Leg {
            sockets,
            port,
            address: None,
            mode: Mode::WithAddress,
            rtp_armed: None,
            rtcp_armed: false,
            is_starved: false,
            ending: None,
        };
        self.put(slot, leg);
    }

    /// Sends a leg to another worker, once nothing is under way for it here.
    pub(super) fn release(&mut self, id: LegId, to: Sender<Moved>, wake: Arc<Wake>) {
        match self.setup.core.release(id) {
            Some((slot, leg)) => self.end(slot, Ending::Move(leg, to, wake)),
            None => {
                let _ = to.send(Moved(id, None));
                wake.wake();
            }
        }
    }

    pub(super) fn adopt(&mut self, moved: Option<(Box<leg::Leg>, Leg)>) {
        let Some((leg, sockets)) = moved else { return };
        match self.setup.core.adopt(leg) {
            Ok(slot) => self.put(slot, sockets),
            Err(leg) => {
                let (id, port, report) = (leg.id(), sockets.port, leg.report());
                drop(sockets);
                let _ = self.setup.ports_back.send(port);
                (self.setup.events)(Event::Closed { leg: id, report });
            }
        }
    }

    fn put(&mut self, slot: Slot, leg: Leg) {
        let index = slot.0 as usize;
        if self.legs.len() <= index {
            self.legs.resize_with(index + 1, || None);
        }
        self.legs[index] = Some(leg);
        self.legs_open += 1;
        self.ring.lend_for(self.legs_open);
        self.arm(slot);
    }

    /// Begins whatever receiving should be and is not.
    fn arm(&mut self, slot: Slot) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let (rtp, rtcp) = (leg.rtp_fd(), leg.rtcp_fd());
        if leg.rtp_armed.is_none() {
            leg.rtp_armed = Some(leg.mode);
            match leg.mode {
                Mode::WithAddress => self.ring.receive_with_address(rtp, mark(slot, Kind::Rtp)),
                Mode::Connected => self.ring.receive(rtp, mark(slot, Kind::RtpConnected)),
            }
        }
        if !leg.rtcp_armed {
            leg.rtcp_armed = true;
            self.ring.receive_with_address(rtcp, mark(slot, Kind::Rtcp));
        }
    }

    /// Right after an enter: if it took everything, the buffers spent before it are back, and all
    /// sends are submitted.
    pub(super) fn arm_starved(&mut self) {
        if !self.ring.has_submitted_all() {
            return;
        }
        let mut most = (self.ring.buffers_free() / 2).min(ARMED_PER_ROUND);
        while most > 0
            && let Some(slot) = self.starved.pop_front()
        {
            most -= 1;
            let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
                continue;
            };
            leg.is_starved = false;
            if leg.ending.is_some() {
                self.end_if_idle(slot);
            } else {
                self.arm(slot);
            }
        }
    }

    fn starve(&mut self, slot: Slot) {
        if let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize)
            && !std::mem::replace(&mut leg.is_starved, true)
        {
            self.starved.push_back(slot);
        }
    }

    pub(super) fn set_address(&mut self, slot: Slot, address: Option<SocketAddr>, connect: bool) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let bind = self.setup.bind;
        leg.address = address.map(|a| KernelAddress::new(a, bind));
        let to = leg.address.as_ref().filter(|_| connect);
        if to.is_none() && leg.mode == Mode::WithAddress {
            return;
        }
        // A network that cannot be reached just now: go on by address.
        let connected = socket::connect(&leg.sockets.rtp, to).is_ok() && to.is_some();
        leg.mode = if connected {
            Mode::Connected
        } else {
            Mode::WithAddress
        };
        match leg.rtp_armed {
            Some(Mode::WithAddress) if connected => self.ring.cancel(mark(slot, Kind::Rtp)),
            Some(Mode::Connected) if !connected => {
                self.ring.cancel(mark(slot, Kind::RtpConnected));
            }
            // It is starved; what is queued may be a stranger's.
            None if connected => self.drain(slot),
            _ => {}
        }
    }

    /// Ends all receiving of a leg.
    pub(super) fn end(&mut self, slot: Slot, ending: Ending) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        leg.ending = Some(ending);
        match leg.rtp_armed {
            Some(Mode::WithAddress) => self.ring.cancel(mark(slot, Kind::Rtp)),
            Some(Mode::Connected) => self.ring.cancel(mark(slot, Kind::RtpConnected)),
            None => {}
        }
        if leg.rtcp_armed {
            self.ring.cancel(mark(slot, Kind::Rtcp));
        }
        if leg.rtp_armed.is_none() && !leg.rtcp_armed {
            // No completion will come, but what it has sent must be submitted first.
            self.starve(slot);
        }
    }

    /// A receive has ended: begin the next, now or when there are buffers, or close if that was
    /// the last.
    pub(super) fn on_receive_ended(&mut self, slot: Slot, kind: Kind, starved: bool) {
        let Some(Some(leg)) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let mut drain = false;
        match kind {
            Kind::Rtcp => leg.rtcp_armed = false,
            Kind::Rtp => {
                leg.rtp_armed = None;
                drain = leg.mode == Mode::Connected;
            }
            Kind::RtpConnected => leg.rtp_armed = None,
        }
        if leg.ending.is_none() {
            if drain {
                self.drain(slot);
            }
            return if starved {
                self.starve(slot);
            } else {
                self.arm(slot);
            };
        }
        self.end_if_idle(slot);
    }

    /// Closes an ending leg, or sends it off, if it receives nothing any more. What was sent for it
    /// was queued before the last enter; if that did not take everything, it is looked at again.
    fn end_if_idle(&mut self, slot: Slot) {
        if !self.ring.has_submitted_all() {
            return self.starve(slot);
        }
        let Some(place) = self.legs.get_mut(slot.0 as usize) else {
            return;
        };
        let idle = |leg: &mut Leg| leg.rtp_armed.is_none() && !leg.rtcp_armed;
        if let Some(mut leg) = place.take_if(|leg| leg.ending.is_some() && idle(leg))
            && let Some(ending) = leg.ending.take()
        {
            self.legs_open -= 1;
            self.ring.lend_for(self.legs_open);
            self.on_ended(slot, leg, ending);
        }
    }

    fn on_ended(&mut self, slot: Slot, leg: Leg, ending: Ending) {
        match ending {
            Ending::Close(id, report) => {
                let port = leg.port;
                drop(leg);
                let _ = self.setup.ports_back.send(port);
                self.setup.core.on_closed(slot, id, report);
            }
            Ending::Move(core_leg, to, wake) => {
                self.setup.core.on_left(slot);
                let _ = to.send(Moved(core_leg.id(), Some((core_leg, leg))));
                wake.wake();
            }
        }
    }

    /// What was queued before the socket was connected may be a stranger's: it is read with its
    /// address.
    fn drain(&mut self, slot: Slot) {
        let mut bytes = [0; BUFFER_BYTES];
        for _ in 0..DRAIN_MAX {
            let Some(Some(leg)) = self.legs.get(slot.0 as usize) else {
                return;
            };
            let Ok((len, from)) = leg.sockets.rtp.recv_from(&mut bytes) else {
                return;
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            let now = self.now();
            let forward = self
                .setup
                .core
                .on_rtp(now, slot, Some(from), &mut bytes[..len]);
            if let Some(Forward { slot, range }) = forward
                && let Some(Some(to)) = self.legs.get(slot.0 as usize)
            {
                self.ring
                    .send_copy(to.rtp_fd(), &bytes[range], to.unless_connected());
            }
        }
    }
}
