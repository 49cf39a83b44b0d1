//! What an administrator asks, and its answers. Messages that are brought in are in `imports`.

use serde_json::{Value, json};
use tandem_storage::name::Id;
use tandem_storage::seam::Refusal;

use crate::conflicts;
use crate::mailbox::{self, Message, deleted_key};
use crate::office::file::OfficeFile;
use crate::office::speed::{self, SpeedDial};
use crate::pbx::Pbx;
use crate::quota::{self, messages_max_key, quota_minutes_key};
use crate::retention::{hold_key, keep_heard_key};
use crate::seam::{AdminAnswer, AdminAsk, AdminReply, AdminRequest, MessageSummary, Output};
use crate::state::{PbxState, SAMPLES_PER_MS, Waiter};

pub(crate) type Answer = Result<AdminAnswer, String>;

impl Pbx {
    pub(crate) fn on_admin(&mut self, request: AdminRequest) {
        let AdminRequest { asker, ask } = request;
        let answer = match ask {
            AdminAsk::Calls => Ok(AdminAnswer::Json(self.calls_json())),
            AdminAsk::CallLog {
                user,
                since,
                before,
            } => self.call_log(user.as_deref(), since, before),
            AdminAsk::Users => Ok(AdminAnswer::Json(self.users_json())),
            AdminAsk::AddUser { account, pin_hash } => {
                match self.add_user(asker, &account, &pin_hash) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::SetUser { extension, change } => {
                match self.set_user(asker, &extension, change) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::RemoveUser { extension } => match self.remove_user(asker, &extension) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Groups => Ok(AdminAnswer::Json(self.groups_json())),
            AdminAsk::AddGroup { extension, change } => {
                match self.add_group(asker, &extension, change) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::SetGroup { extension, change } => {
                match self.set_group(asker, &extension, change) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::RemoveGroup { extension } => match self.remove_group(asker, &extension) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Rooms => Ok(AdminAnswer::Json(self.rooms_json())),
            AdminAsk::AddRoom { extension, change } => {
                match self.add_room(asker, &extension, change) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::SetRoom { extension, change } => {
                match self.set_room(asker, &extension, change) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::RemoveRoom { extension } => match self.remove_room(asker, &extension) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Outward(ask) => match self.on_outward_ask(asker, ask) {
                Ok(Some(rows)) => Ok(AdminAnswer::Json(rows)),
                Ok(None) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Recordings { before, limit } => {
                Ok(AdminAnswer::Json(self.recordings_json(before, limit)))
            }
            AdminAsk::Recording { id } => self.recording_json(id),
            AdminAsk::RecordingTracks { id } => self.recording_tracks(id),
            AdminAsk::DeleteRecording { id } => match self.delete_recording(asker, id) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Schedule(ask) => match self.on_schedule_ask(asker, ask) {
                Ok(Some(rows)) => Ok(AdminAnswer::Json(rows)),
                Ok(None) => return,
                Err(why) => Err(why),
            },
            AdminAsk::SpeedDials => {
                let all = self.x.office.speed_dials.all();
                let rows = all.map(|(code, dial)| {
                    json!({ "code": code, "number": dial.number, "name": dial.name })
                });
                Ok(AdminAnswer::Json(rows.collect()))
            }
            AdminAsk::SetSpeedDial { code, dial } => {
                match self.set_speed_dial(asker, &code, dial.as_ref()) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::Blocked => {
                let numbers = self.x.office.blocked();
                Ok(AdminAnswer::Json(numbers.map(|number| &**number).collect()))
            }
            AdminAsk::Block { number, is_blocked } => {
                match self.block(asker, &number, is_blocked) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::Codes => Ok(AdminAnswer::Json(self.codes_json())),
            AdminAsk::SetCode { service, code } => match self.set_code(asker, &service, code) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::ExportOffice => Ok(AdminAnswer::Json(json!(self.x.office.export()))),
            AdminAsk::CompareOffice(file) => {
                let told = self.x.compare_office(&file);
                let (faults, changes) = (told.faults, told.changes);
                Ok(AdminAnswer::Json(
                    json!({ "faults": faults, "changes": changes }),
                ))
            }
            AdminAsk::ApplyOffice(file) => match self.apply_office(asker, &file) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Dial { extension, number } => self.click_to_dial(&extension, &number),
            AdminAsk::Conflicts => Ok(AdminAnswer::Json(conflicts::list(&self.x))),
            AdminAsk::Counts => Ok(AdminAnswer::Json(self.counts_json())),
            AdminAsk::Mailbox { extension } => self.mailbox_json(&extension),
            AdminAsk::Deleted { extension } => self.deleted_json(&extension),
            AdminAsk::Undelete { extension, id } => match self.undelete(asker, &extension, id) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Hold { extension, hold } => {
                match self.set_mailbox(asker, &extension, hold_key, hold.then_some(&true)) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::KeepHeard { extension, days } => {
                match self.set_mailbox(asker, &extension, keep_heard_key, days.as_ref()) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            AdminAsk::Quota { extension } => self.quota_json(&extension),
            AdminAsk::SetQuota {
                extension,
                minutes,
                messages,
            } => match self.set_quota(asker, &extension, minutes, messages) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Message { extension, id } => self.message(&extension, id),
            AdminAsk::There { extension } => self.there_json(&extension),
            AdminAsk::Restore {
                extension,
                kept,
                samples,
            } => match self.restore(asker, &extension, &kept, samples) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            AdminAsk::Import {
                extension,
                codec,
                samples,
            } => match self.import(asker, &extension, codec, samples) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
        };
        self.reply(asker, answer);
    }

    pub(crate) fn reply(&mut self, asker: u64, answer: Answer) {
        self.x.push(Output::Admin(AdminReply { asker, answer }));
    }

    fn calls_json(&self) -> Value {
        self.board.rows(&self.x)
    }

    fn users_json(&self) -> Value {
        let users = self.x.office.users().filter_map(|id| user_row(&self.x, id));
        users.collect()
    }

    fn counts_json(&self) -> Value {
        let counters = serde_json::to_value(&self.x.counters).unwrap_or_default();
        json!({
            "since_start": counters,
            "calls": self.calls_len(),
            "legs": self.legs_len(),
            "users": self.x.office.users().count(),
            "can_record": self.x.can_record,
            "recordings": self.x.recordings.len(),
            "registers_unreadable": self.x.office.unreadable + self.x.guard.unreadable,
        })
    }

    pub(crate) fn mailbox_of(&self, extension: &str) -> Result<Id, String> {
        let none = || format!("no user has the extension {extension}");
        self.x.office.mailbox(extension).ok_or_else(none)
    }

    pub(crate) fn user_of(&self, extension: &str) -> Result<Id, String> {
        let none = || format!("no user has the extension {extension}");
        self.x.office.by_extension(extension).ok_or_else(none)
    }

    fn mailbox_json(&self, extension: &str) -> Answer {
        let mailbox = self.mailbox_of(extension)?;
        let messages = self
            .x
            .mailboxes
            .of(mailbox)
            .filter(|message| !message.deleted);
        Ok(AdminAnswer::Json(
            messages
                .map(|message| message_row(&self.x, message))
                .collect(),
        ))
    }

    fn deleted_json(&self, extension: &str) -> Answer {
        let mailbox = self.mailbox_of(extension)?;
        let messages = self.x.mailboxes.of(mailbox).filter(|m| m.deleted);
        Ok(AdminAnswer::Json(
            messages
                .map(|message| message_row(&self.x, message))
                .collect(),
        ))
    }

    fn undelete(&mut self, asker: u64, extension: &str, id: Id) -> Result<(), String> {
        let mailbox = self.mailbox_of(extension)?;
        let message = self.x.mailboxes.message(id);
        if !message.is_some_and(|m| m.mailbox == mailbox && m.deleted) {
            return Err(format!(
                "extension {extension} has no deleted message {id}; tandem mailbox deleted {extension} lists them"
            ));
        }
        self.x
            .register::<bool>(Waiter::Asker(asker), deleted_key(id), None);
        Ok(())
    }

    /// All registers of a file in one go; the last of them answers.
    fn apply_office(&mut self, asker: u64, file: &OfficeFile) -> Result<(), String> {
        let told = self.x.compare_office(file);
        if let Some(fault) = told.faults.first() {
            return Err(fault.what.clone());
        }
        let mut registers = told.registers;
        let (last, value) = registers.pop().ok_or("there is nothing to change")?;
        for (key, value) in registers {
            self.x.append_register(Waiter::Nobody, key, value);
        }
        self.x.append_register(Waiter::Asker(asker), last, value);
        Ok(())
    }

    fn set_speed_dial(
        &mut self,
        asker: u64,
        code: &str,
        dial: Option<&SpeedDial>,
    ) -> Result<(), String> {
        speed::code_fault(code).map_or(Ok(()), Err)?;
        match dial {
            Some(dial) => speed::speed_dial_fault(dial).map_or(Ok(()), |(_, what)| Err(what))?,
            None if self.x.office.speed_dials.get(code).is_none() => {
                return Err(format!("no speed dial has the digits {code}"));
            }
            None => {}
        }
        let key = speed::speed_key(code);
        self.x.register(Waiter::Asker(asker), key, dial);
        Ok(())
    }

    fn quota_json(&self, extension: &str) -> Answer {
        let mailbox = self.mailbox_of(extension)?;
        Ok(AdminAnswer::Json(quota::standing(&self.x, mailbox)))
    }

    /// The log keeps order: when the second is durable, the first is.
    fn set_quota(
        &mut self,
        asker: u64,
        extension: &str,
        minutes: Option<u32>,
        messages: Option<u32>,
    ) -> Result<(), String> {
        let mailbox = self.mailbox_of(extension)?;
        let set = [
            (minutes, quota_minutes_key(mailbox)),
            (messages, messages_max_key(mailbox)),
        ];
        let mut set: Vec<_> = set
            .into_iter()
            .filter_map(|(value, key)| Some((value?, key)))
            .collect();
        let (last, last_key) = set.pop().ok_or("there is nothing to set")?;
        let own = |value: u32| (value > 0).then_some(value);
        for (value, key) in set {
            let value = own(value);
            self.x.register(Waiter::Nobody, key.into(), value.as_ref());
        }
        let last = own(last);
        self.x
            .register(Waiter::Asker(asker), last_key.into(), last.as_ref());
        Ok(())
    }

    fn set_mailbox<T: serde::Serialize>(
        &mut self,
        asker: u64,
        extension: &str,
        key: fn(Id) -> String,
        value: Option<&T>,
    ) -> Result<(), String> {
        let mailbox = self.mailbox_of(extension)?;
        self.x
            .register(Waiter::Asker(asker), key(mailbox).into(), value);
        Ok(())
    }

    /// The log has answered what an administrator had written.
    pub(crate) fn on_asker_answer(&mut self, asker: u64, refused: Option<Refusal>) {
        let answer = match refused {
            None => Ok(AdminAnswer::Done),
            Some(why) => Err(format!("the log did not take it: {why}")),
        };
        self.reply(asker, answer);
    }

    fn message(&self, extension: &str, id: Id) -> Answer {
        let mailbox = self.mailbox_of(extension)?;
        let message = self
            .x
            .mailboxes
            .message(id)
            .filter(|m| m.mailbox == mailbox);
        let sound = message.and_then(|message| self.x.view.sound(message.id));
        let sound = sound.ok_or_else(|| {
            format!("extension {extension} has no message {id}; tandem mailbox list {extension} lists them")
        })?;
        let is_incomplete = sound.samples() < message.map_or(0, |m| self.x.length(m));
        if is_incomplete && self.x.others_may_have(id) {
            return Err(format!(
                "not all of message {id} is at this node; listen to it here once, which fetches it, or export it where it was left"
            ));
        }
        if is_incomplete && sound.samples() == 0 {
            return Err(format!("nothing of message {id} can be read any more"));
        }
        Ok(AdminAnswer::Sound {
            codec: sound.codec,
            places: sound.chunks.as_slice().into(),
            is_incomplete,
        })
    }
}

/// A user as it is listed.
pub(crate) fn user_row(x: &PbxState, id: Id) -> Option<Value> {
    let user = x.office.user(id)?;
    Some(json!({
        "id": user.id,
        "extension": user.account.extension,
        "name": user.account.name,
        "dnd": user.settings.dnd,
        "dnd_except": user.settings.dnd_except,
        "forward": user.settings.forward,
        "forward_busy": user.settings.forward_busy,
        "forward_no_answer": user.settings.forward_no_answer,
        "forward_unreachable": user.settings.forward_unreachable,
        "reject_anonymous": user.settings.reject_anonymous,
        "blocked": user.settings.blocked,
        "blocked_to_mailbox": user.settings.blocked_to_mailbox,
        "class": user.settings.class(),
        "forward_outside": user.settings.forward_outside,
        "rings_also": user.settings.rings_also,
        "works_at": user.settings.works_at,
        "caller_id": user.settings.caller_id,
        "record": user.settings.record,
        "conflict": x.office.in_conflict(user.id),
        "messages": lamp_json(x.mailboxes.lamp(user.id)),
    }))
}

/// A message as it is listed.
pub(crate) fn message_row(x: &PbxState, message: &Message) -> Value {
    let from = mailbox::from(&x.view, message.id);
    json!({
        "id": message.id,
        "at": message.at,
        "from": { "number": from.number, "name": from.name },
        "folder": message.folder().name(),
        "heard": message.heard,
        "urgent": message.urgent,
        "cut_short": message.cut_short,
        "incomplete": x.is_incomplete(message),
        "length_ms": x.length(message) / SAMPLES_PER_MS,
    })
}

fn lamp_json(lamp: MessageSummary) -> Value {
    json!({
        "new": lamp.new,
        "old": lamp.old,
        "new_urgent": lamp.new_urgent,
        "old_urgent": lamp.old_urgent,
    })
}
