//! Moves: what takes a leg from one place to another.
//!
//! | move | from | if | to | asks for |
//! |---|---|---|---|---|
//! | call | outside | there is room | dial, application, or ended | ring, answer, or end |
//! | answer | rings in a dial | – | bridge with who waits | answer, bridge; end of the others |
//! | give up | waits in a dial | – | over | end of those who ring |
//! | nobody answers | waits in a dial | no step is left | the mailbox | answer |
//! | forward (302) | rings in a dial | it goes on to somebody new | over; another rings | call |
//! | record, pause by keys | bridge | nobody in it is never recorded | stays | taps; a beep |
//! | hold, resume | bridge | – | stays | music for who is held; its end |
//! | transfer by keys | bridge of two | a user presses them and a number | as a blind transfer; the transferor is hung up | play, unbridge |
//! | transfer, blind | bridge of two | the number may be called | dial or application; the transferor waits | unbridge |
//! | transfer, attended | bridge of two | both calls are the transferor's | bridge of the far ends | bridge; end of one |
//! | transfer, attended | bridge of two | the second call rings | the first far end waits | unbridge |
//! | take over (Replaces) | outside | the leg is of the same party | its place | end of the other |
//! | pick up | outside | something rings there | bridge with who waits | answer, bridge; end of those who ring |
//! | park | bridge of two | the parker holds; a slot is free | parked, with music | unbridge; end of the parker |
//! | fetch | outside | somebody is parked there | bridge with who was parked | answer, bridge |
//! | recall | parked | nobody came in time | dial of the parker | – |
//! | call when free | a user is on the phone no more | another asked for that, and is not on the phone | dial of who asked, who calls then | call |
//! | hang up, fall silent | bridge | – | over | end of who is left alone |
//! | hang up | application | a recording waits for its seal | stays until then | – |
//! | hang up | application | otherwise | over | – |
//! | stop of the node | anywhere | – | as on hanging up | end |
//!
//! Here the table is carried out: every event of a leg comes through [`Pbx::tell`], and every
//! application begins in [`Pbx::go`].

use tandem_engine::seam::LegId;

use crate::app::{App, Next};
use crate::call::LegEvent;
use crate::call::leg::{LegState, Place};
use crate::pbx::Pbx;
use crate::seam::Cause;

impl Pbx {
    /// Tells a leg something, and then the digits that were typed ahead if they are wanted now.
    pub(crate) fn tell(&mut self, id: LegId, event: &LegEvent) {
        let Some(leg) = self.board.legs.get_mut(&id) else {
            self.x.counters.events_stray += 1;
            return;
        };
        match event {
            LegEvent::Ended(cause) if leg.is_alive => {
                leg.gone(*cause);
                self.left(id);
            }
            LegEvent::Ended(_) => {}
            LegEvent::Silent if leg.state == LegState::Ringing => {}
            LegEvent::Silent => self.hang_up(id, Cause::MediaTimeout),
            LegEvent::Stop => self.hang_up(id, Cause::ShuttingDown),
            LegEvent::Held(holds) => {
                leg.holds = *holds;
                self.board.note_leg(id);
                self.update_member(id);
                if let Some(bridge) = self.bridge_of(id) {
                    self.update_music(bridge);
                }
            }
            LegEvent::Digit { digit, .. } if !leg.wants_digits() => {
                leg.type_ahead(&mut self.x, *digit);
            }
            _ => self.step(id, event),
        }
        while let Some(digit) = self
            .board
            .legs
            .get_mut(&id)
            .and_then(|leg| leg.take_typed())
        {
            let signalled = false;
            self.step(id, &LegEvent::Digit { digit, signalled });
        }
    }

    /// Whatever place the leg is in takes in the event.
    fn step(&mut self, id: LegId, event: &LegEvent) {
        let Some(leg) = self.board.legs.get_mut(&id) else {
            return;
        };
        if let LegEvent::Confirmed(codec) = event {
            leg.codec = *codec;
            leg.state = LegState::Up;
        }
        match &mut leg.place {
            Place::App(_) => {
                let Place::App(app) = std::mem::replace(&mut leg.place, Place::Between) else {
                    return;
                };
                let next = app.on(leg, &mut self.x, event);
                self.go(id, next);
            }
            Place::Rings(dial) => {
                let dial = *dial;
                match event {
                    LegEvent::Ringing => self.target_rings(dial),
                    LegEvent::Progress => self.target_progresses(dial, id),
                    LegEvent::Redirected(to) => self.target_redirects(dial, id, to),
                    LegEvent::Answered(codec) => self.target_answers(dial, id, Some(*codec)),
                    _ => {}
                }
            }
            Place::Bridge(bridge) => {
                let bridge = *bridge;
                match event {
                    // The phone forwards a call that it has: it is gone.
                    LegEvent::Redirected(_) => {
                        leg.gone(Cause::Failed);
                        self.left(id);
                    }
                    _ => self.on_bridged(bridge, id, event),
                }
            }
            Place::Waits(dial) => {
                let dial = *dial;
                if let LegEvent::PlayDone(_) = event {
                    self.ringing_played(dial, id);
                }
            }
            Place::Between => {}
        }
    }

    /// Carries out what follows for a leg.
    pub(crate) fn go(&mut self, id: LegId, mut next: Next) {
        loop {
            let Some(leg) = self.board.legs.get_mut(&id) else {
                return;
            };
            next = match next {
                Next::Stay(app) => {
                    if app.is_a_place() {
                        leg.history.went(self.x.now.wall, app.name(), None);
                    }
                    leg.place = Place::App(Box::new(app));
                    self.board.set_through(id, Vec::new());
                    return self.board.note_leg(id);
                }
                Next::Start(start) => {
                    leg.answer(&mut self.x, None);
                    match start.waits_for_confirmation() && leg.state == LegState::Answered {
                        true => Next::Stay(App::answering(start, &self.x)),
                        false => start.begin(leg, &mut self.x),
                    }
                }
                Next::Dial(request) => return self.dial(id, request, None),
                Next::PickUp(whose) => return self.pick_up(id, whose),
                Next::WhenFree(is_wanted) => return self.when_free(id, is_wanted),
                Next::ParkHeld => return self.park_held(id),
                Next::Park(parker) => return self.park(id, parker),
                Next::FetchParked(slot) => return self.fetch_parked(id, slot),
                Next::EnterRoom(room, is_host) => return self.enter_room(id, room, is_host),
                Next::Room(app, act) => return self.room_act(id, app, act),
                Next::Page(group) => return self.page(id, group),
                Next::End(cause) => {
                    leg.end(&mut self.x, cause);
                    Next::Over
                }
                Next::Over => return self.over(id),
            };
        }
    }

    /// Ends a leg from our side.
    pub(crate) fn hang_up(&mut self, id: LegId, cause: Cause) {
        if let Some(leg) = self.board.legs.get_mut(&id)
            && leg.is_alive
        {
            leg.end(&mut self.x, cause);
            self.left(id);
        }
    }

    /// The party of a leg is no longer there: its place is told.
    fn left(&mut self, id: LegId) {
        let Some(leg) = self.board.legs.get_mut(&id) else {
            return;
        };
        self.x.hears_nothing(id);
        let cause = leg.cause;
        match std::mem::replace(&mut leg.place, Place::Between) {
            Place::App(app) => {
                let next = app.party_gone(leg, &mut self.x);
                self.go(id, next);
            }
            Place::Waits(dial) => {
                if cause == Cause::Normal {
                    leg.cause = Cause::Cancelled;
                }
                self.dial_abandoned(dial, cause);
                self.over(id);
            }
            Place::Rings(dial) => self.target_gone(dial, id, cause),
            Place::Bridge(bridge) => {
                self.bridge_left(bridge, id, cause);
                self.over(id);
            }
            Place::Between => self.over(id),
        }
    }

    /// Nothing of a leg is left to wait for.
    pub(crate) fn over(&mut self, id: LegId) {
        self.x.hears_nothing(id);
        self.leave_conference(id);
        self.recorded_leg_over(id);
        let Some(leg) = self.board.remove_leg(id) else {
            return;
        };
        if let Some(user) = leg.party.user.filter(|_| leg.answered.is_some()) {
            self.x.note_idle(user);
            self.when_free.over(user);
        }
        self.file_record(&leg);
    }
}
