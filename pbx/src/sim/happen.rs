//! What people, phones, the engine and administrators do.

use std::time::Duration;

use tandem_engine::TOKEN_CHUNK;
use tandem_engine::seam::{Event, LegId, LegReport, RecordEnd, TapPackets, TapReport};
use tandem_storage::name::Id;
use tandem_storage::seam::{LogEvent, SoundCodec};

use crate::office::RecordWish;
use crate::office::group::{Overflow, Strategy};
use crate::seam::{
    AdminAsk, AdminRequest, Caller, Cause, ClassOfService, GroupChange, Input, Referrer,
    RoomChange, SipEvent, UserChange,
};
use crate::sim::{Leg, World, log};

impl World {
    pub(super) fn sip(&mut self, event: SipEvent) {
        self.inbox.push_back(Input::Sip(event));
    }

    pub(super) fn ask(&mut self, ask: AdminAsk) {
        self.inbox
            .push_back(Input::Admin(AdminRequest { asker: 1, ask }));
    }

    pub(super) fn group(&mut self, extension: &str, settings: &[&str]) {
        let mut change = GroupChange::default();
        for (key, value) in settings
            .iter()
            .filter_map(|setting| setting.split_once('='))
        {
            match key {
                "members" => {
                    let members = value.split(',').filter(|member| !member.is_empty());
                    change.members = Some(members.map(Into::into).collect());
                }
                "strategy" => change.strategy = Strategy::parse(value),
                "ring_s" => change.ring_s = value.parse().ok(),
                "overflow" => change.overflow = Some(Overflow::parse(value)),
                "schedule" => {
                    change.schedule = Some(Some(value).filter(|v| !v.is_empty()).map(Into::into))
                }
                "night" => change.night = Some(Overflow::parse(value)),
                _ => self.faults.push(format!("a group has no {key}")),
            }
        }
        let is_there = self.groups.contains(extension);
        self.groups.insert(extension.to_owned());
        let extension = extension.into();
        self.ask(match is_there {
            true => AdminAsk::SetGroup { extension, change },
            false => AdminAsk::AddGroup { extension, change },
        });
    }

    /// PINs are hashed as those of users are: to what was typed.
    pub(super) fn office_room(&mut self, extension: &str, settings: &[&str]) {
        let mut change = RoomChange::default();
        for (key, value) in settings.iter().filter_map(|s| s.split_once('=')) {
            match key {
                "pin" => change.pin_hash = Some(Some(value.into())),
                "host_pin" => change.host_pin_hash = Some(Some(value.into())),
                "members_max" => change.members_max = value.parse().ok(),
                "lecture" => change.is_lecture = Some(value == "true"),
                _ => self.faults.push(format!("a room has no {key}")),
            }
        }
        let is_there = self.groups.contains(extension);
        self.groups.insert(extension.to_owned());
        let extension = extension.into();
        self.ask(match is_there {
            true => AdminAsk::SetRoom { extension, change },
            false => AdminAsk::AddRoom { extension, change },
        });
    }

    pub(super) fn set_user(&mut self, extension: &str, setting: &str) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let to = || Some(Some(value).filter(|to| !to.is_empty()).map(Into::into));
        let mut change = UserChange::default();
        match key {
            "forward" => change.forward = to(),
            "forward_busy" => change.forward_busy = to(),
            "forward_no_answer" => change.forward_no_answer = to(),
            "forward_unreachable" => change.forward_unreachable = to(),
            "class" => change.class = ClassOfService::parse(value),
            "forward_outside" => change.forward_outside = Some(value == "on"),
            "rings_also" => {
                let numbers = value.split(',').filter(|number| !number.is_empty());
                change.rings_also = Some(numbers.map(Into::into).collect());
            }
            "works_at" => change.works_at = to(),
            "caller_id" => change.caller_id = to(),
            "dnd" => change.dnd = Some(value == "on"),
            "reject_anonymous" => change.reject_anonymous = Some(value == "on"),
            "blocked_to_mailbox" => change.blocked_to_mailbox = Some(value == "on"),
            "dnd_except" => {
                let numbers = value.split(',').filter(|number| !number.is_empty());
                change.dnd_except = Some(numbers.map(Into::into).collect());
            }
            "record" => change.record = RecordWish::named(value),
            "blocked" => change.blocked = Some(value.split(',').map(Into::into).collect()),
            _ => self.faults.push(format!("a user has no {key}")),
        }
        let extension = extension.into();
        self.ask(AdminAsk::SetUser { extension, change });
    }

    pub(super) fn import(&mut self, extension: &str, ms: u64) {
        let samples = vec![0xff; usize::try_from(ms * 8).unwrap_or(0)].into();
        let codec = SoundCodec::Pcmu;
        self.ask(AdminAsk::Import {
            extension: extension.into(),
            codec,
            samples,
        });
    }

    pub(super) fn call(&mut self, leg: LegId, from: &str, dialed: &str, replaces: Option<LegId>) {
        let caller = self.caller(from);
        let diversions = std::mem::take(&mut self.diversions);
        let trunk = self.trunk.take();
        self.legs.insert(leg, Leg::default());
        self.sip(SipEvent::Incoming {
            leg,
            caller,
            dialed: dialed.into(),
            replaces,
            diversions,
            trunk,
        });
    }

    pub(super) fn text(&mut self, number: u64, from: &str, to: &str) {
        let (caller, to) = (self.caller(from), to.into());
        self.sip(SipEvent::Text { number, caller, to });
    }

    /// `101`, `101/withheld`, `~555` for a stranger, `~anonymous`.
    fn caller(&self, from: &str) -> Caller {
        let (from, is_withheld) = match from.strip_suffix("/withheld") {
            Some(from) => (from, true),
            None => (from, from == "~anonymous"),
        };
        let (user, number) = match from.strip_prefix('~') {
            Some(_) if is_withheld => (None, ""),
            Some(number) => (None, number),
            None if is_withheld => (self.users.get(from).copied(), ""),
            None => (self.users.get(from).copied(), from),
        };
        Caller {
            user,
            number: number.into(),
            name: "".into(),
            is_withheld,
            class: ClassOfService::Internal,
        }
    }

    pub(super) fn refer(&mut self, leg: LegId, to: &str, replaces: Option<LegId>) {
        let to = to.into();
        // What the party says of itself counts for a gateway's only.
        let referred_by = Some(Referrer {
            number: "said".into(),
            name: "".into(),
        });
        self.sip(SipEvent::Refer {
            leg,
            to,
            replaces,
            referred_by,
        });
    }

    pub(super) fn held(&mut self, leg: LegId, held: bool) {
        self.sip(SipEvent::Held { leg, held });
    }

    /// The far side ends a leg.
    pub(super) fn ended(&mut self, leg: LegId, cause: Cause) {
        self.sip(SipEvent::Ended { leg, cause });
        self.close(leg);
    }

    /// A phone forwards the call itself: its leg is over.
    pub(super) fn redirected(&mut self, leg: LegId, to: &str) {
        self.sip(SipEvent::Redirected { leg, to: to.into() });
        self.close(leg);
    }

    /// A leg ends, but the news of the recording's end overtakes that of the leg's.
    pub(super) fn cut(&mut self, leg: LegId, cause: Cause) {
        self.recorded(leg, RecordEnd::Stopped);
        self.settle();
        self.ended(leg, cause);
    }

    pub(super) fn keys(&mut self, leg: LegId, keys: &str, signalled: bool) {
        for digit in keys.chars() {
            self.inbox.push_back(match signalled {
                true => Input::Sip(SipEvent::Digit { leg, digit }),
                false => Input::Media(Event::Digit { leg, digit }),
            });
        }
    }

    pub(super) fn played(&mut self, leg: LegId) {
        if let Some(play) = self.legs.get_mut(&leg).and_then(|leg| leg.play.take()) {
            self.inbox
                .push_back(Input::Media(Event::PlayDone { leg, play }));
        }
    }

    /// The engine finds that it has no key for what it plays.
    pub(super) fn locked(&mut self, leg: LegId) {
        if let Some(play) = self.legs.get(&leg).and_then(|leg| leg.play) {
            self.inbox
                .push_back(Input::Media(Event::SoundLocked { leg, play }));
        }
    }

    pub(super) fn speak(&mut self, leg: LegId, ms: u64) {
        for _ in 0..ms / 500 {
            self.wait(Duration::from_millis(500));
            let Some(leg) = self.legs.get_mut(&leg) else {
                return;
            };
            let mut chunks = Vec::new();
            for recording in leg.recording.iter_mut().chain(&mut leg.taps) {
                recording.samples += 4000;
                chunks.push(log::chunk(recording.sound, recording.index));
                recording.index += 1;
            }
            for append in chunks {
                self.log.submit(self.now, TOKEN_CHUNK, append);
            }
            self.settle();
        }
    }

    pub(super) fn recorded(&mut self, leg: LegId, end: RecordEnd) {
        if let Some(recording) = self.legs.get_mut(&leg).and_then(|leg| leg.recording.take()) {
            self.inbox.push_back(Input::Media(Event::RecordDone {
                leg,
                sound: recording.sound,
                samples: recording.samples,
                samples_speech: recording.samples,
                end,
            }));
        }
    }

    pub(super) fn tap_ended(&mut self, sound: Id, end: RecordEnd) {
        for (leg, it) in &mut self.legs {
            let Some(at) = it.taps.iter().position(|tap| tap.sound == sound) else {
                continue;
            };
            let tap = it.taps.remove(at);
            let packets = TapPackets {
                expected: tap.samples / 160,
                come: tap.samples / 160,
                ..TapPackets::default()
            };
            let report = Box::new(TapReport {
                sound,
                samples: tap.samples,
                end,
                packets,
                gaps: Vec::new(),
                gaps_more: 0,
                pauses: Vec::new(),
                sha256: (end == RecordEnd::Stopped).then_some([7; 32]),
            });
            let done = Event::TapDone { leg: *leg, report };
            self.inbox.push_back(Input::Media(done));
            return;
        }
    }

    pub(super) fn close(&mut self, leg: LegId) {
        self.recorded(leg, RecordEnd::Stopped);
        let taps = self.legs.get(&leg).map(|leg| &leg.taps);
        let taps = taps.into_iter().flatten().map(|tap| tap.sound);
        for sound in taps.collect::<Vec<Id>>() {
            self.tap_ended(sound, RecordEnd::Stopped);
        }
        if self.legs.remove(&leg).is_some() {
            let report = LegReport {
                packets_received: 100,
                packets_sent: 99,
                ..LegReport::default()
            };
            let closed = Event::Closed { leg, report };
            self.inbox.push_back(Input::Media(closed));
        }
    }

    pub(super) fn room(&mut self, can_record: bool) {
        self.log.full = !can_record;
        self.inbox
            .push_back(Input::Log(LogEvent::Room { can_record }));
    }
}
