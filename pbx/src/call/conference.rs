//! Conferences: legs that meet in a room, and pages, in which one speaks to many.
//!
//! A conference begins with the first who comes and ends with the last who goes. A page ends with the one
//! who speaks: all who were called in are hung up, and who still rings is not rung any more.
//!
//! Invariants: a leg is a member exactly while its place is [`App::Room`] of this conference. Who holds
//! the others with its phone is not heard: the phone's music is not for them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::{Command, LegId, RoomId};
use tandem_storage::name::Id;

use crate::app::room::{InRoom, RoomAct};
use crate::app::{App, Next};
use crate::call::dial_request::{DialRequest, Otherwise};
use crate::call::leg::Place;
use crate::office::group::Strategy;
use crate::pbx::Pbx;
use crate::say::Say;
use crate::seam::Cause;
use crate::words::{self, Word};

/// In a larger meeting nobody wants to hear each who comes and goes.
const TONES_MAX: usize = 20;
/// A phone that is paged and does not answer by itself is left alone after this long.
const PAGE_RING: Duration = Duration::from_secs(12);

/// A conference's number; its room in the engine has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ConferenceId(pub(crate) u64);

/// See the chapter above.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conference {
    /// The room of the office, or the group that is paged.
    pub(crate) of: Id,
    /// Who pages; `None`: it is a meeting.
    pub(crate) pager: Option<LegId>,
    /// In the order in which they came.
    pub(crate) members: Vec<LegId>,
    pub(crate) is_locked: bool,
    /// Only hosts are heard.
    pub(crate) is_lecture: bool,
}

impl ConferenceId {
    fn media(self) -> RoomId {
        RoomId(self.0)
    }
}

impl Pbx {
    /// A leg comes into a room.
    pub(crate) fn enter_room(&mut self, id: LegId, room: Id, is_host: bool) {
        let Some(office_room) = self.x.office.room(room).cloned() else {
            return self.go(id, Next::End(Cause::NoSuchNumber));
        };
        let known = self.board.conferences.iter();
        let known = known.filter(|(_, c)| c.of == room && c.pager.is_none());
        let conference = match known.map(|(id, _)| *id).next() {
            Some(conference) => conference,
            None => self.begin_conference(room, None, office_room.is_lecture),
        };
        let Some(meeting) = self.board.conferences.get(&conference) else {
            return;
        };
        let refused = if meeting.is_locked && !is_host {
            Some(words::ROOM_IS_LOCKED)
        } else if meeting.members.len() >= usize::from(office_room.members_max) {
            Some(words::ROOM_FULL)
        } else {
            None
        };
        if let Some(word) = refused {
            self.x.counters.rooms_refused += 1;
            return self.go(id, Next::goodbye(Say::one(word).pause(300)));
        }
        self.x.counters.rooms_entered += 1;
        self.come_in(id, InRoom::new(conference, is_host));
    }

    fn begin_conference(&mut self, of: Id, pager: Option<LegId>, is_lecture: bool) -> ConferenceId {
        let id = ConferenceId(self.board.new_place());
        let conference = Conference {
            of,
            pager,
            members: Vec::new(),
            is_locked: false,
            is_lecture,
        };
        self.board.conferences.insert(id, conference);
        id
    }

    fn come_in(&mut self, id: LegId, app: InRoom) {
        let conference = app.conference;
        let Some(meeting) = self.board.conferences.get_mut(&conference) else {
            return;
        };
        let before = meeting.members.first().copied();
        meeting.members.push(id);
        let count = meeting.members.len();
        let is_meeting = meeting.pager.is_none();
        self.board.member_of.insert(id, conference);
        let of = self.x.office.extension(meeting.of).cloned();
        if let Some(leg) = self.board.legs.get_mut(&id) {
            let app = App::Room(app);
            leg.history.went(self.x.now.wall, app.name(), of.as_ref());
            leg.place = Place::App(Box::new(app));
        }
        self.update_member(id);
        match (before, count) {
            (None, _) if is_meeting => self.wait_alone(id, Say::one(words::ROOM_FIRST)),
            (Some(first), 2) => self.with_member(first, |app, leg, x| app.has_company(leg, x)),
            _ => {}
        }
        if is_meeting && count > 1 {
            self.sound_tones(conference, Say::somebody_came());
        }
        self.board.note_leg(id);
    }

    /// Lets the engine know what a member may do.
    pub(crate) fn update_member(&mut self, id: LegId) {
        let Some(leg) = self.board.legs.get(&id) else {
            return;
        };
        let Some(app) = leg.in_room() else { return };
        let Some(meeting) = self.board.conferences.get(&app.conference) else {
            return;
        };
        let is_heard = app.is_host || !meeting.is_lecture;
        let member = app.member(is_heard && !leg.holds && leg.is_alive);
        let room = app.conference.media();
        let leg = id;
        self.x.media(Command::Join { leg, room, member });
    }

    fn update_all(&mut self, conference: ConferenceId) {
        let members = self.board.conferences.get(&conference);
        for id in members.map_or_else(Vec::new, |c| c.members.clone()) {
            self.update_member(id);
        }
    }

    /// A member of a room asks for something.
    pub(crate) fn room_act(&mut self, id: LegId, app: InRoom, act: RoomAct) {
        let (conference, is_host) = (app.conference, app.is_host);
        if let Some(leg) = self.board.legs.get_mut(&id) {
            leg.place = Place::App(Box::new(App::Room(app)));
        }
        self.board.note_leg(id);
        let Some(meeting) = self.board.conferences.get_mut(&conference) else {
            return self.go(id, Next::End(Cause::Normal));
        };
        let count = meeting.members.len();
        match act {
            RoomAct::Leave => return self.go_out(id, words::GOODBYE),
            RoomAct::Back => {}
            RoomAct::Update => self.update_member(id),
            RoomAct::Count => {
                let said = Say::one(words::ROOM_THERE_ARE).number(count as u32);
                return self.tell_member(id, said);
            }
            RoomAct::Lock => {
                meeting.is_locked = !meeting.is_locked;
                let word = match meeting.is_locked {
                    true => words::ROOM_LOCKED,
                    false => words::ROOM_UNLOCKED,
                };
                return self.tell_member(id, Say::one(word));
            }
            RoomAct::Lecture => {
                meeting.is_lecture = !meeting.is_lecture;
                let word = match meeting.is_lecture {
                    true => words::ROOM_LECTURE_ON,
                    false => words::ROOM_LECTURE_OFF,
                };
                self.update_all(conference);
                return self.sound_to_all(conference, Say::one(word));
            }
            RoomAct::MuteOthers => {
                for other in meeting.members.clone() {
                    self.with_member(other, |app, _, _| app.is_muted |= !app.is_host);
                }
                self.update_all(conference);
                return self.sound_to_all(conference, Say::one(words::ROOM_ALL_MUTED));
            }
            RoomAct::RemoveLast => {
                let others = meeting.members.iter().rev().copied();
                let last = others.filter(|other| *other != id).collect::<Vec<_>>();
                let is_guest = |other: &LegId| {
                    let leg = self.board.legs.get(other);
                    leg.and_then(|leg| leg.in_room())
                        .is_some_and(|app| !app.is_host)
                };
                if let Some(last) = last.into_iter().find(is_guest) {
                    self.go_out(last, words::ROOM_REMOVED);
                }
            }
            RoomAct::EndForAll if is_host => {
                for member in meeting.members.clone() {
                    self.go_out(member, words::ROOM_ENDED);
                }
                return;
            }
            RoomAct::EndForAll => {}
        }
        if count == 1 {
            self.wait_alone(id, Say::new());
        }
    }

    /// A member leaves the room, hears a word and is hung up.
    fn go_out(&mut self, id: LegId, word: Word) {
        self.leave_conference(id);
        if let Some(leg) = self.board.legs.get_mut(&id) {
            leg.place = Place::Between;
        }
        let said = match word == words::GOODBYE {
            true => Say::new(),
            false => Say::one(word),
        };
        self.go(id, Next::goodbye(said));
    }

    /// A leg is no longer in the conference that it was in, if any.
    pub(crate) fn leave_conference(&mut self, id: LegId) {
        let Some(conference) = self.board.member_of.remove(&id) else {
            return;
        };
        if self.board.legs.get(&id).is_some_and(|leg| leg.is_alive) {
            self.x.media(Command::Unbridge { leg: id });
        }
        let Some(meeting) = self.board.conferences.get_mut(&conference) else {
            return;
        };
        meeting.members.retain(|member| *member != id);
        if meeting.pager == Some(id) {
            return self.end_page(conference);
        }
        let is_page = meeting.pager.is_some();
        match meeting.members[..] {
            [] => drop(self.board.conferences.remove(&conference)),
            _ if is_page => {}
            [last] => {
                self.wait_alone(last, Say::new());
            }
            _ => self.sound_tones(conference, Say::somebody_went()),
        }
    }

    fn wait_alone(&mut self, id: LegId, first: Say) {
        self.with_member(id, |app, leg, x| app.is_alone(leg, x, first));
    }

    /// One member hears something, and then the room again, or music.
    fn tell_member(&mut self, id: LegId, said: Say) {
        let count = self.conference_of(id).map_or(0, |c| c.members.len());
        if count == 1 {
            return self.wait_alone(id, said);
        }
        if let Some(leg) = self.board.legs.get(&id) {
            leg.say(&mut self.x, said);
        }
    }

    fn conference_of(&self, id: LegId) -> Option<&Conference> {
        let conference = self.board.member_of.get(&id)?;
        self.board.conferences.get(conference)
    }

    /// Who is there hears that somebody comes or goes, unless it is a crowd.
    fn sound_tones(&mut self, conference: ConferenceId, said: Say) {
        let members = self.board.conferences.get(&conference);
        if members.is_some_and(|c| c.members.len() <= TONES_MAX) {
            self.sound_to_all(conference, said);
        }
    }

    fn sound_to_all(&mut self, conference: ConferenceId, said: Say) {
        let Some(meeting) = self.board.conferences.get(&conference) else {
            return;
        };
        let alive = |id: &&LegId| self.board.legs.get(id).is_some_and(|leg| leg.is_alive);
        let Some(leg) = meeting.members.iter().find(alive).copied() else {
            return;
        };
        let (items, _) = said.into_items();
        self.x.media(Command::PlayToRoom { leg, items });
    }

    /// Does something with a member's place, which stays what it is.
    fn with_member(
        &mut self,
        id: LegId,
        change: impl FnOnce(&mut InRoom, &crate::call::Leg, &mut crate::state::PbxState),
    ) {
        let Some(leg) = self.board.legs.get_mut(&id) else {
            return;
        };
        match std::mem::replace(&mut leg.place, Place::Between) {
            Place::App(mut app) => {
                if let App::Room(in_room) = &mut *app
                    && leg.is_alive
                {
                    change(in_room, leg, &mut self.x);
                }
                leg.place = Place::App(app);
            }
            place => leg.place = place,
        }
        self.board.note_leg(id);
    }

    /// A leg speaks to all phones of a group that are idle.
    pub(crate) fn page(&mut self, id: LegId, group: Id) {
        let Some(paged) = self.x.office.group(group).cloned() else {
            return self.go(id, Next::End(Cause::NoSuchNumber));
        };
        let Some(leg) = self.board.legs.get(&id) else {
            return;
        };
        let (shown, own) = (leg.party.clone(), leg.party.user);
        let is_idle = |user: &Id| {
            let settings = self.x.office.settings(*user);
            let is_there = self.x.office.account(*user).is_some();
            let is_out = self.x.office.is_logged_out(group, *user);
            let is_busy = self.board.legs_of(*user).any(|leg| leg.is_alive);
            is_there && !is_out && !is_busy && !settings.dnd && own != Some(*user)
        };
        let idle: Vec<Id> = paged.members.iter().copied().filter(is_idle).collect();
        if idle.is_empty() {
            return self.go(id, Next::goodbye(Say::one(words::NO_ANSWER).pause(300)));
        }
        self.x.counters.pages += 1;
        let one_way = paged.strategy == Strategy::Page;
        let conference = self.begin_conference(group, Some(id), one_way);
        self.come_in(id, InRoom::new(conference, true));
        for user in idle {
            let request = DialRequest {
                skips_busy: true,
                auto_answer: true,
                otherwise: Otherwise::End(Cause::NoAnswer),
                ..DialRequest::user(user, vec![user], PAGE_RING)
            };
            self.dial_into(conference, shown.clone(), request);
        }
        self.sound_to_all(conference, Say::new().beep());
    }

    /// A phone that was paged has answered.
    pub(crate) fn paged(&mut self, id: LegId, conference: ConferenceId) {
        if self.board.conferences.contains_key(&conference) {
            self.come_in(id, InRoom::paged(conference));
        } else {
            self.go(id, Next::End(Cause::Normal));
        }
    }

    /// Who paged has gone.
    fn end_page(&mut self, conference: ConferenceId) {
        self.cancel_dials_into(conference);
        let Some(page) = self.board.conferences.remove(&conference) else {
            return;
        };
        for member in page.members {
            self.board.member_of.remove(&member);
            self.hang_up(member, Cause::Normal);
        }
    }
}
