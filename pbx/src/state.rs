//! What all calls share: the office, the mailboxes, the way out.
//!
//! Calls are handed the state together with each event; they ask it for new numbers, look
//! people up in it and put into it what is to be done. It keeps no leg.
//!
//! Invariants: whatever the log has made durable is in `view`, `office` and `mailboxes` before
//! any call hears of it. A lamp is told when, and only when, its counts have changed (or the shim
//! asks). Every token is waited for until the log has answered it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tandem_engine::seam::{Command, LegId, PlayId};
use tandem_storage::View;
use tandem_storage::name::{Id, Ids, NodeName};
use tandem_storage::seam::{Append, Committed, Payload, SealKind, Token};
use tandem_storage::time::{Now, Time, WallTime};

use crate::call::parking::SLOTS;
use crate::codes;
use crate::config::{PbxConfig, Service, StarCode};
use crate::conflicts;
use crate::counters::Counters;
use crate::fetches::RemoteFetches;
use crate::guard::{Guard, Verdict, pause_key};
use crate::mailbox::{Mailboxes, Message};
use crate::office::file::{Comparison, OfficeFile};
use crate::office::{Office, greeting_of};
use crate::quota::{self, Warned};
use crate::recordings::{self, RecordingIndex};
use crate::returned::Returned;
use crate::say;
use crate::seam::{Caller, Label, MessageSummary, Output, SipCommand, TrunkHost, Watchable};
use crate::toll::Toll;

/// Who waits for the log's answer to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A leg.
    Leg(LegId),
    /// The caller on this leg, whose PIN was checked; it is told this.
    Pin(LegId, Verdict),
    /// A track of a recording under way, by its sound.
    Track(Id),
    /// An import by an administrator, by the sound it makes.
    Import(Id),
    /// An administrator, by its number.
    Asker(u64),
    /// Nobody; it is only counted if it is refused.
    Nobody,
}

/// See the chapter above.
pub(crate) struct PbxState {
    pub(crate) config: PbxConfig,
    pub(crate) now: Now,
    pub(crate) view: View,
    pub(crate) office: Office,
    /// The codes that count now.
    pub(crate) codes: Vec<StarCode>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) recordings: RecordingIndex,
    pub(crate) guard: Guard,
    pub(crate) warned: Warned,
    pub(crate) toll: Toll,
    pub(crate) counters: Counters,
    /// The log takes new sounds.
    pub(crate) can_record: bool,
    /// Somebody reads what happens.
    pub(crate) is_watched: bool,
    zone: TimeZone,
    ids: Ids,
    /// Lamps as last told.
    lamps: BTreeMap<Id, MessageSummary>,
    waiting: BTreeMap<Token, Waiter>,
    pub(crate) coming: RemoteFetches,
    pub(crate) returned: Returned,
    out: VecDeque<Output>,
    /// Who was rung first in each rotating group.
    rotation: BTreeMap<Id, Id>,
    /// When each user's last call ended.
    idle_since: BTreeMap<Id, Time>,
    /// Who called each user last.
    last_callers: BTreeMap<Id, Arc<str>>,
    leg_last: u64,
    play_last: u64,
    token_last: u64,
}

impl PbxState {
    /// Reads everything from the view, and tells the shim of everybody and their lamps.
    pub(crate) fn new(config: PbxConfig, view: View, ids: Ids, now: Now) -> PbxState {
        let mut x = PbxState {
            zone: say::zone(&config.time_zone).unwrap_or(TimeZone::UTC),
            config,
            now,
            view,
            office: Office::default(),
            codes: Vec::new(),
            mailboxes: Mailboxes::default(),
            recordings: RecordingIndex::default(),
            guard: Guard::default(),
            warned: Warned::default(),
            toll: Toll::default(),
            counters: Counters::default(),
            can_record: true,
            is_watched: false,
            ids,
            lamps: BTreeMap::new(),
            waiting: BTreeMap::new(),
            coming: RemoteFetches::default(),
            returned: Returned::default(),
            out: VecDeque::new(),
            rotation: BTreeMap::new(),
            idle_since: BTreeMap::new(),
            last_callers: BTreeMap::new(),
            leg_last: 0,
            play_last: 0,
            token_last: 0,
        };
        x.read_view();
        x
    }

    pub(crate) fn configure(&mut self, config: PbxConfig) {
        self.zone = say::zone(&config.time_zone).unwrap_or(TimeZone::UTC);
        self.config = config;
        self.set_codes();
    }

    fn read_view(&mut self) {
        for (key, value) in self.view.registers("user/") {
            self.office.apply(key, Some(value));
        }
        for (key, value) in self.view.registers("group/") {
            self.office.apply(key, Some(value));
        }
        for (key, value) in self.view.registers("room/") {
            self.office.apply(key, Some(value));
        }
        for prefix in [
            "trunk/",
            "route/",
            "schedule/",
            "code/",
            "blocked/",
            "speed/",
        ] {
            for (key, value) in self.view.registers(prefix) {
                self.office.apply(key, Some(value));
            }
        }
        for (key, value) in self.view.registers("mailbox/") {
            self.warned.apply(key, Some(value));
        }
        self.codes = codes::effective(&self.config.codes, &self.office);
        let samples_min = samples(self.config.message_min);
        self.mailboxes = Mailboxes::read(&self.view, samples_min);
        self.recordings = RecordingIndex::read(&self.view);
        let groups = self.office.groups().map(|(id, _)| id);
        let rooms = self.office.rooms().map(|(id, _)| id);
        let have_pins: Vec<Id> = self.office.users().chain(groups).chain(rooms).collect();
        for id in have_pins {
            if let Some(pause) = self.view.register(&pause_key(id)) {
                self.guard.restore(id, pause, self.now, &self.config);
            }
        }
        for user in self.office.users().collect::<Vec<_>>() {
            self.tell_user(user);
            self.tell_lamp(user);
        }
        let groups: Vec<Id> = self.office.groups().map(|(id, _)| id).collect();
        for group in groups {
            self.tell_group(group);
        }
        let trunks: Vec<Id> = self.office.outside.trunks().map(|(id, _)| id).collect();
        for trunk in trunks {
            self.tell_trunk(trunk);
        }
        self.tell_slots();
        self.tell_phones();
    }

    /// Calls from a trunk's host come by the trunk.
    fn tell_trunk(&mut self, id: Id) {
        let trunk = self.office.outside.trunk(id);
        let host = trunk.and_then(|trunk| {
            Some(TrunkHost {
                peer: trunk.address()?,
                transport: trunk.transport,
                is_any_port: trunk.is_any_port(),
            })
        });
        self.sip(SipCommand::Trunk { id, host });
    }

    /// Who subscribes to a group's number watches it.
    fn tell_group(&mut self, id: Id) {
        let is_hidden = self.office.group_in_conflict(id);
        let group = self.office.group(id).filter(|_| !is_hidden);
        let label = group.map(|group| Label {
            extension: group.extension.clone(),
            name: group.name.clone(),
        });
        let what = Watchable::Group(id);
        self.sip(SipCommand::Watchable { what, label });
    }

    /// The codes that count now. If they are others, slots are watched under other numbers.
    fn set_codes(&mut self) {
        let codes = codes::effective(&self.config.codes, &self.office);
        if codes != self.codes {
            self.codes = codes;
            self.tell_slots();
        }
    }

    /// Who subscribes to the number by which a parked party is fetched watches the slot.
    fn tell_slots(&mut self) {
        let mut codes = self.codes.iter();
        let code = codes.find(|code| code.service == Service::Park);
        let code = code.map(|code| code.code.clone());
        for slot in SLOTS {
            let label = code.as_ref().map(|code| Label {
                extension: format!("{code}{slot}").into(),
                name: format!("Parking {slot}").into(),
            });
            let what = Watchable::Slot(slot);
            self.sip(SipCommand::Watchable { what, label });
        }
    }

    /// The phones that were registered at this node when it last ran.
    fn tell_phones(&mut self) {
        let prefix = phones_key(self.node());
        let phones = self.view.registers(&prefix).filter_map(|(key, seen)| {
            let (user, slot) = key.strip_prefix(&*prefix)?.split_once('/')?;
            Some(SipCommand::Phone {
                user: user.parse().ok()?,
                slot: slot.parse().ok()?,
                seen: seen.into(),
            })
        });
        let phones: Vec<SipCommand> = phones.collect();
        for phone in phones {
            self.sip(phone);
        }
    }

    /// A phone is somewhere else than before, or gone.
    pub(crate) fn phone_seen(&mut self, user: Id, slot: u32, seen: Option<Arc<str>>) {
        self.phone_happened(user, slot, seen.is_some());
        let key: Arc<str> = format!("{}{user}/{slot}", phones_key(self.node())).into();
        if self.view.register(&key) != seen.as_deref() {
            self.append(Waiter::Nobody, Append::Register { key, value: seen });
        }
    }

    /// Takes in what has become durable.
    pub(crate) fn apply(&mut self, record: &Committed) {
        conflicts::see(self, record);
        self.view.apply(record);
        if let Payload::Begin { id, .. } | Payload::Seal { id, .. } = record.what
            && let Some(sound) = self.view.sound(id)
        {
            self.recordings.see(&self.view, sound);
        }
        match &record.what {
            Payload::Register { key, .. } => self.on_register(record.stamp.node, key),
            // What is being spoken here goes on, even if a node that took this one to be dead has
            // ended it: its own seal comes yet, and counts.
            Payload::Seal {
                id,
                kind: SealKind::CutShort,
                ..
            } if self.is_of_this_life(*id) && record.stamp.node != self.node() => {}
            Payload::Seal { id, .. } => self.on_seal(record.stamp.node, *id),
            // From another node the parts of a sound may come in any order, and so they may from an
            // earlier life of this one.
            Payload::Begin { id, .. } | Payload::Chunk { id, .. } if !self.is_of_this_life(*id) => {
                self.on_part(record.stamp.node, *id);
                self.on_piece(*id);
            }
            Payload::Begin { .. } | Payload::Chunk { .. } | Payload::Entry { .. } => {}
        }
    }

    fn on_register(&mut self, node: NodeName, key: &str) {
        // The view decides which write of it is the last one.
        let value = self.view.register(key).map(str::to_owned);
        let id: Option<Id> = key.split('/').nth(1).and_then(|id| id.parse().ok());
        let before = id.and_then(|id| self.office.extension(id).cloned());
        let members = |office: &Office, id: Id| office.group(id).map(|g| g.members.clone());
        let members_before = id.and_then(|id| members(&self.office, id));
        let changed = self.office.apply(key, value.as_deref());
        let is_apart = ["trunk/", "route/", "schedule/"]
            .iter()
            .any(|prefix| key.starts_with(prefix));
        if key.starts_with("trunk/")
            && !key.ends_with("/password")
            && let Some(id) = changed
        {
            self.tell_trunk(id);
        }
        if let Some(id) = changed.filter(|_| !is_apart) {
            let after = self.office.extension(id).cloned();
            let members = [members_before, members(&self.office, id)];
            let extensions = [before, after];
            let mut touched = vec![id];
            for extension in extensions.iter().flatten() {
                touched.extend(self.office.claimants(extension));
            }
            for other in &touched {
                let was_group = *other == id && members[0].is_some();
                if was_group || self.office.group(*other).is_some() {
                    self.tell_group(*other);
                }
            }
            for id in touched {
                if key.starts_with("user/") || self.office.account(id).is_some() {
                    self.tell_user(id);
                }
            }
            self.lamp_changed(id);
            for member in members.into_iter().flatten().flatten() {
                self.lamp_changed(member);
            }
        }
        let is_of_office = |_: &Id| {
            is_apart
                || ["user/", "group/", "room/"]
                    .iter()
                    .any(|p| key.starts_with(p))
        };
        if let Some(id) = id.filter(is_of_office) {
            self.office_happened(id, key);
        }
        if let Some(service) = key.strip_prefix("code/") {
            self.set_codes();
            self.code_happened(service);
        }
        if let Some(number) = key.strip_prefix("blocked/") {
            self.blocking_happened(number, value.is_some());
        }
        if let Some(code) = key.strip_prefix("speed/") {
            self.speed_dial_happened(code);
        }
        if let Some(greeting) = greeting_of(key, value.as_deref()) {
            // Small, few, and heard by callers wherever they come in: every node has them.
            self.fetch(greeting);
        }
        if let Some(mailbox) = self.mailboxes.apply(key, value.as_deref()) {
            self.message_happened(key, value.as_deref());
            self.lamp_changed(mailbox);
            quota::changed(self, node, mailbox);
        }
        if let Some(id) = self.recordings.apply(key, value.as_deref()) {
            self.recording_happened("recording.deleted", id);
        }
        if let Some(id) = recordings::ended_by(key) {
            self.recording_happened("recording.end", id);
        }
        self.warned.apply(key, value.as_deref());
        if let Some(mailbox) = quota::set_by(key) {
            quota::changed(self, node, mailbox);
        }
    }

    /// A sound that had ended before may only now be known to be a message.
    fn on_part(&mut self, node: NodeName, id: Id) {
        let is_sealed = self
            .view
            .sound(id)
            .is_some_and(|sound| sound.seal.is_some());
        if is_sealed && self.mailboxes.message(id).is_none() {
            self.on_seal(node, id);
        }
    }

    fn on_seal(&mut self, node: NodeName, id: Id) {
        let samples_min = samples(self.config.message_min);
        let changed = self
            .view
            .sound(id)
            .and_then(|sound| self.mailboxes.sealed(&self.view, sound, samples_min));
        if let Some(mailbox) = changed {
            self.message_sealed(id, mailbox);
            self.lamp_changed(mailbox);
            quota::changed(self, node, mailbox);
        }
    }

    fn tell_user(&mut self, id: Id) {
        let user = self.office.sip_user(id);
        self.out.push_back(Output::User { id, user });
    }

    /// Tells a lamp even if nothing changed: phones have come, or the node has started.
    pub(crate) fn tell_lamp(&mut self, user: Id) {
        if self.office.account(user).is_none() {
            return;
        }
        let lamp = self.lamp(user);
        self.lamps.insert(user, lamp);
        self.sip(SipCommand::MessageSummary { user, lamp });
    }

    /// A user's own messages, and those of its groups.
    pub(crate) fn lamp(&self, user: Id) -> MessageSummary {
        let groups = self.office.groups_of(user);
        let lamps = groups.map(|group| self.mailboxes.lamp(group));
        lamps.fold(self.mailboxes.lamp(user), |sum, lamp| MessageSummary {
            new: sum.new + lamp.new,
            old: sum.old + lamp.old,
            new_urgent: sum.new_urgent + lamp.new_urgent,
            old_urgent: sum.old_urgent + lamp.old_urgent,
        })
    }

    fn lamp_changed(&mut self, mailbox: Id) {
        let members = self
            .office
            .group(mailbox)
            .map(|group| group.members.clone());
        for user in members.unwrap_or_else(|| vec![mailbox]) {
            if self.lamps.get(&user) != Some(&self.lamp(user)) {
                self.tell_lamp(user);
            }
        }
    }

    /// The next thing to be done.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn sip(&mut self, command: SipCommand) {
        self.out.push_back(Output::Sip(command));
    }

    pub(crate) fn media(&mut self, command: Command) {
        self.out.push_back(Output::Media(command));
    }

    /// Writes to the log; the waiter hears what became of it.
    pub(crate) fn append(&mut self, waiter: Waiter, append: Append) -> Token {
        self.token_last += 1;
        let token = Token::call_control(self.token_last);
        self.waiting.insert(token, waiter);
        self.out.push_back(Output::Log { token, append });
        token
    }

    pub(crate) fn register<T: serde::Serialize + ?Sized>(
        &mut self,
        waiter: Waiter,
        key: Arc<str>,
        value: Option<&T>,
    ) -> Token {
        self.append_register(waiter, key, value.map(crate::office::json))
    }

    /// The same with a value that is a register's text already.
    pub(crate) fn append_register(
        &mut self,
        waiter: Waiter,
        key: Arc<str>,
        value: Option<Arc<str>>,
    ) -> Token {
        self.append(waiter, Append::Register { key, value })
    }

    pub(crate) fn seal(&mut self, waiter: Waiter, id: Id, kind: SealKind, about: &str) -> Token {
        self.append(
            waiter,
            Append::Seal {
                id,
                kind,
                about: about.into(),
            },
        )
    }

    pub(crate) fn entry(&mut self, topic: &str, body: &serde_json::Value) {
        let append = Append::Entry {
            topic: topic.into(),
            body: body.to_string().into(),
        };
        self.append(Waiter::Nobody, append);
    }

    /// Who waits for this token; nobody does from now on.
    pub(crate) fn answered(&mut self, token: Token) -> Option<Waiter> {
        self.waiting.remove(&token)
    }

    /// Everything that was written has been answered.
    pub(crate) fn all_answered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A number for a leg that goes out: even, so that the shim's (odd) are never met.
    pub(crate) fn new_leg(&mut self) -> LegId {
        self.leg_last += 2;
        LegId(self.leg_last)
    }

    /// A file beside the office as it is.
    pub(crate) fn compare_office(&mut self, file: &OfficeFile) -> Comparison {
        let PbxState { office, ids, .. } = self;
        office.compare(file, &mut || ids.next_id())
    }

    /// Who comes behind the one who was rung first the last time is rung first.
    pub(crate) fn rotate(&mut self, group: Id, members: &mut [Id]) {
        let last = self.rotation.get(&group);
        let at = members.iter().position(|member| Some(member) == last);
        members.rotate_left(at.map_or(0, |at| (at + 1) % members.len()));
        if let Some(first) = members.first() {
            self.rotation.insert(group, *first);
        }
    }

    /// When a user's last call ended; long ago, if it had none since the node started.
    pub(crate) fn idle_since(&self, user: Id) -> Time {
        self.idle_since.get(&user).copied().unwrap_or_default()
    }

    /// A call of this user has ended.
    pub(crate) fn note_idle(&mut self, user: Id) {
        self.idle_since.insert(user, self.now.mono);
    }

    /// Somebody rings a user, who may call back.
    pub(crate) fn note_caller(&mut self, user: Id, caller: &Caller) {
        if !caller.is_withheld && !caller.number.is_empty() {
            self.last_callers.insert(user, caller.number.clone());
        }
    }

    /// Who called a user last.
    pub(crate) fn last_caller(&self, user: Id) -> Option<Arc<str>> {
        self.last_callers.get(&user).cloned()
    }

    pub(crate) fn new_play(&mut self) -> PlayId {
        self.play_last += 1;
        PlayId(self.play_last)
    }

    pub(crate) fn new_id(&mut self) -> Id {
        self.ids.next_id()
    }

    /// It is made here, since this node started.
    fn is_of_this_life(&self, id: Id) -> bool {
        (id.node, id.epoch) == (self.node(), self.epoch())
    }

    /// The epoch of this node's log.
    pub(crate) fn epoch(&self) -> u32 {
        self.ids.epoch()
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeName {
        self.ids.node()
    }

    pub(crate) fn after(&self, wait: Duration) -> Time {
        self.now.mono + wait
    }

    /// A schedule says that the office is open now.
    pub(crate) fn is_open(&self, schedule: Id) -> bool {
        let schedules = &self.office.schedules;
        schedules.is_open(schedule, self.now.wall, &self.zone)
    }

    /// The same if nobody had switched it by hand.
    pub(crate) fn is_open_by_clock(&self, schedule: Id) -> bool {
        let schedules = &self.office.schedules;
        schedules.is_open_by_clock(schedule, self.now.wall, &self.zone)
    }

    /// What a clock on the office wall shows at this time.
    pub(crate) fn local(&self, at: WallTime) -> DateTime {
        say::local(at, &self.zone)
    }

    /// What a node that is away was recording is at an end, as far as it is here. If it comes back
    /// and has all of it, that holds.
    pub(crate) fn end_sounds_of(&mut self, node: NodeName) {
        let open: Vec<Id> = self.view.open_sounds(node).collect();
        for id in open {
            self.seal(Waiter::Nobody, id, SealKind::CutShort, "");
        }
    }

    /// Some of a message is missing: damaged here and not had back. What is on its way is not missing.
    pub(crate) fn is_incomplete(&self, message: &Message) -> bool {
        let others_may_have_it = self.others_may_have(message.id);
        message.is_incomplete(self.samples_here(message.id), others_may_have_it)
            && !self.is_coming(message.id)
    }

    /// What is not here of a sound may be at another node: at least at the one that took it.
    pub(crate) fn others_may_have(&self, sound: Id) -> bool {
        self.config.has_peers && sound.node != self.node()
    }

    /// How long a message is, in samples.
    pub(crate) fn length(&self, message: &Message) -> u64 {
        message.length(self.samples_here(message.id))
    }

    fn samples_here(&self, sound: Id) -> u64 {
        self.view.sound(sound).map_or(0, |sound| sound.samples())
    }
}

/// Where the phones of a node are written down, by user and slot.
fn phones_key(node: NodeName) -> String {
    format!("phone/{node}/")
}

/// How many samples a sound of this length has.
pub(crate) fn samples(length: Duration) -> u64 {
    u64::try_from(length.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_mul(SAMPLES_PER_MS)
}

/// All sounds are kept at 8 kHz.
pub(crate) const SAMPLES_PER_MS: u64 = 8;
