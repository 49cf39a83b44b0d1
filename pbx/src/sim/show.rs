//! What call control asks for, in words: users by extension, sounds as S1, S2 … in the order in
//! which they are first seen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tandem_engine::seam::{Command, Member, PlayItem};
use tandem_storage::name::Id;
use tandem_storage::seam::{Append, ChunkPlace};

use crate::call_log::{self, CallRecord, LegDirection};
use crate::counters::cause_name;
use crate::seam::{AdminAnswer, Happened, Output, SipCommand, Target, Watchable};

/// What goes on and on is shown once.
const RINGING: &str = "<ringing>";
const MUSIC: &str = "<music>";

pub(super) struct Names {
    users: BTreeMap<Id, Arc<str>>,
    sounds: RefCell<Vec<Id>>,
}

impl Names {
    pub(super) fn new(users: &BTreeMap<Arc<str>, Id>) -> Names {
        let users = users
            .iter()
            .map(|(extension, id)| (*id, extension.clone()))
            .collect();
        Names {
            users,
            sounds: RefCell::default(),
        }
    }

    fn user(&self, id: Id) -> String {
        self.users
            .get(&id)
            .map_or_else(|| id.to_string(), |extension| extension.to_string())
    }

    fn line_of(&self, what: Watchable) -> String {
        match what {
            Watchable::User(user) => self.user(user),
            Watchable::Group(group) => self.sound(group),
            Watchable::Slot(slot) => format!("slot {slot}"),
        }
    }

    fn sound(&self, id: Id) -> String {
        let mut sounds = self.sounds.borrow_mut();
        let known = sounds.iter().position(|known| *known == id);
        let index = known.unwrap_or_else(|| {
            sounds.push(id);
            sounds.len() - 1
        });
        format!("S{}", index + 1)
    }

    /// One line; with single quotes, so that it can stand in a string of a test.
    pub(super) fn show(&self, output: &Output) -> String {
        self.line(output).trim_end().replace('"', "'")
    }

    fn line(&self, output: &Output) -> String {
        match output {
            Output::Sip(command) => self.sip(command),
            Output::Media(command) => self.media(command),
            Output::Log { append, .. } => self.log(append),
            Output::User { id, user } => {
                let extension = user
                    .as_ref()
                    .map_or("gone".into(), |user| user.extension.clone());
                format!("user {}: {extension}", self.user(*id))
            }
            Output::Fetch { sound, .. } => format!("fetch {sound}"),
            Output::CheckPin { leg, hash, pin } => format!("check pin {}: {pin} {hash}", leg.0),
            Output::HashPin { leg, pin } => format!("hash pin {}: {pin}", leg.0),
            Output::Admin(reply) => match &reply.answer {
                Ok(AdminAnswer::Json(Value::Array(rows)))
                    if rows.first().is_some_and(|row| row.get("tracks").is_some()) =>
                {
                    let rows = rows.iter().map(|row| self.recording(row));
                    format!("reply: {}", rows.collect::<Vec<String>>().join(" | "))
                }
                Ok(AdminAnswer::Json(json)) => {
                    let mut json = json.clone();
                    json.sort_all_objects();
                    number_legs(&mut json);
                    format!("reply: {}", self.text(&json.to_string()))
                }
                Ok(AdminAnswer::Sound { places, .. }) => format!("reply: {}", length(places)),
                Ok(AdminAnswer::Tracks { tracks, .. }) => format!("reply: {} tracks", tracks.len()),
                Ok(AdminAnswer::CallLog(part)) => {
                    let bodies = part.entries.iter().filter_map(|(_, body)| record(body));
                    format!("reply: {}", bodies.collect::<Vec<String>>().join(" | "))
                }
                Ok(AdminAnswer::Done) => "reply: done".to_owned(),
                Ok(AdminAnswer::Imported { id }) => format!("reply: imported {}", self.sound(*id)),
                Err(why) => format!("reply: no, {why}"),
            },
            Output::Event(Happened { kind, body }) => self.event(kind, body),
            Output::Stopped => "stopped".to_owned(),
        }
    }

    /// Of what happened, what does not change with the time of day.
    fn event(&self, kind: &str, body: &Value) -> String {
        let number = |name: &str| body[name].as_str().and_then(|id| id.parse::<Id>().ok());
        let number = |name: &str| number(name).map_or(0, |id| id.number);
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        if kind.starts_with("leg.") {
            let end = match body.get("outcome") {
                Some(_) => format!(", {} ({})", text("outcome"), text("cause")),
                None => String::new(),
            };
            return format!(
                "{kind} {} of {}: {} to {}, {}{end}",
                number("leg"),
                number("call"),
                text("from"),
                text("to"),
                text("place")
            );
        }
        let mut body = body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("at");
        }
        body.sort_all_objects();
        format!("{kind}: {}", self.text(&body.to_string()))
    }

    fn sip(&self, command: &SipCommand) -> String {
        match command {
            SipCommand::Ring { leg } => format!("ring {}", leg.0),
            SipCommand::Answer { leg, like: None } => format!("answer {}", leg.0),
            SipCommand::Answer {
                leg,
                like: Some(like),
            } => {
                format!("answer {} like {}", leg.0, like.0)
            }
            SipCommand::Progress { leg, like } => {
                format!("progress {} like {}", leg.0, like.map_or(0, |like| like.0))
            }
            SipCommand::Call {
                leg,
                target,
                caller,
                auto_answer,
                history,
                ..
            } => {
                let via = history.diversions.iter();
                let via: String = via
                    .map(|d| format!(", via {} {:?}", d.number, d.reason))
                    .collect();
                let referred = history.referred_by.as_ref();
                let referred = referred.map(|by| format!(", referred by {}", by.number));
                let referred = referred.unwrap_or_default();
                let by_itself = if *auto_answer {
                    ", to answer by itself"
                } else {
                    ""
                };
                let target = match target {
                    Target::User(user) => self.user(*user),
                    Target::Address(to) => {
                        let shown = to.identity.as_ref();
                        let shown = shown.map(|number| format!(" as {number}"));
                        let shown = shown.unwrap_or_default();
                        format!("{} at {}{shown}", to.number, to.peer)
                    }
                };
                format!(
                    "call {}: {target} from {}{by_itself}{via}{referred}",
                    leg.0, caller.number
                )
            }
            SipCommand::Text { number, target } => match target {
                Ok(user) => format!("text {number}: to {}", self.user(*user)),
                Err(cause) => format!("text {number}: {}", cause_name(*cause)),
            },
            SipCommand::ReferResult { leg, refused } => {
                let result = refused.map_or("done", cause_name);
                format!("refer result {}: {result}", leg.0)
            }
            SipCommand::End { leg, cause } => format!("end {}: {}", leg.0, cause_name(*cause)),
            SipCommand::Phone { user, slot, seen } => {
                format!("phone {} {slot}: {seen}", self.user(*user))
            }
            SipCommand::Trunk { id, host } => {
                let at = host.map_or("gone".to_owned(), |host| host.peer.to_string());
                format!("trunk {}: {at}", self.text(&id.to_string()))
            }
            SipCommand::Watchable { what, label } => {
                let extension = label.as_ref().map_or("gone", |label| &*label.extension);
                format!("watchable {}: {extension}", self.line_of(*what))
            }
            SipCommand::Calls { what, calls } => {
                let calls = calls.iter().map(|call| {
                    let way = if call.is_initiator { "to" } else { "from" };
                    let holds = if call.holds { ", holds" } else { "" };
                    format!(" {:?} {way} {}{holds}", call.state, call.number)
                });
                let calls: String = calls.collect();
                format!("calls of {}:{calls}", self.line_of(*what))
            }
            SipCommand::MessageSummary { user, lamp } => format!(
                "lamp {}: {}/{} ({}/{})",
                self.user(*user),
                lamp.new,
                lamp.old,
                lamp.new_urgent,
                lamp.old_urgent
            ),
        }
    }

    fn media(&self, command: &Command) -> String {
        match command {
            Command::Play { leg, items, .. } => {
                let mut items: Vec<String> = items.iter().filter_map(item).collect();
                items.dedup_by(|a, b| a == b && [RINGING, MUSIC].contains(&a.as_str()));
                format!("play {}: {}", leg.0, items.join(" "))
            }
            Command::PlayMore {
                leg,
                places,
                is_last,
                ..
            } => {
                let end = if *is_last { ", the last" } else { "" };
                format!("play on {}: <{}>{end}", leg.0, length(places))
            }
            Command::StopPlay { leg } => format!("hush {}", leg.0),
            Command::Bridge { a, b } => format!("bridge {} {}", a.0, b.0),
            Command::Unbridge { leg } => format!("unbridge {}", leg.0),
            Command::Echo { leg } => format!("echo {}", leg.0),
            Command::Join { leg, room, member } => {
                let Member {
                    talks,
                    hears,
                    hears_gain_db,
                    ..
                } = member;
                let says = if *talks == 0 { ", muted" } else { "" };
                let deaf = if *hears == 0 { ", deaf" } else { "" };
                let louder = match hears_gain_db {
                    0 => String::new(),
                    db => format!(", hears {db:+} dB"),
                };
                format!("join {} room {}{says}{deaf}{louder}", leg.0, room.0)
            }
            Command::PlayToRoom { leg, items } => {
                let items: Vec<String> = items.iter().filter_map(item).collect();
                format!("play to the room of {}: {}", leg.0, items.join(" "))
            }
            Command::Record {
                leg, sound, limit, ..
            } => {
                format!(
                    "record {}: {} up to {} s",
                    leg.0,
                    self.sound(*sound),
                    limit.as_secs()
                )
            }
            Command::StopRecord { leg } => format!("stop record {}", leg.0),
            Command::Tap { leg, sound, .. } => format!("tap {}: {}", leg.0, self.sound(*sound)),
            Command::PauseTap { leg, is_paused, .. } => match is_paused {
                true => format!("pause tap {}", leg.0),
                false => format!("tap {} again", leg.0),
            },
            Command::Untap { leg, .. } => format!("untap {}", leg.0),
            Command::SendDigit { leg, digit } => format!("send {}: {digit}", leg.0),
            other => format!("{other:?}"),
        }
    }

    fn log(&self, append: &Append) -> String {
        match append {
            Append::Begin { id, about, .. } if about.starts_with("{\"kind\":\"recording\"") => {
                format!("log begin {}: {}", self.sound(*id), self.track(about))
            }
            Append::Begin { id, about, .. } => {
                format!("log begin {}: {}", self.sound(*id), self.text(about))
            }
            Append::Chunk { id, .. } => format!("log chunk of {}", self.sound(*id)),
            Append::Seal { id, kind, about } if about.contains("\"packets\"") => {
                let sealed: Value = serde_json::from_str(about).unwrap_or_default();
                let (samples, end) = (&sealed["samples"], &sealed["end"]);
                let end = end.as_str().unwrap_or("not told");
                format!(
                    "log seal {}: {kind:?}, {samples} samples, {end}",
                    self.sound(*id)
                )
            }
            Append::Register { key, value } if key.ends_with("/recording") => {
                let ending = value
                    .as_deref()
                    .map(|value| serde_json::from_str(value).unwrap_or(Value::Null));
                let tracks = ending.map(|ending| ending["tracks"].to_string());
                format!(
                    "log set {} = {} tracks",
                    self.text(key),
                    tracks.unwrap_or_default()
                )
            }
            Append::Seal { id, kind, about } => {
                format!("log seal {}: {kind:?} {about}", self.sound(*id))
                    .trim_end()
                    .to_owned()
            }
            Append::Register { key, value } => {
                let value = value
                    .as_deref()
                    .map_or("removed".to_owned(), |v| self.text(v));
                format!("log set {} = {value}", self.text(key))
            }
            Append::Entry { topic, body } if is_of_leg_out(topic, body) => String::new(),
            Append::Entry { topic, body } => format!("log {topic}: {}", self.entry(body)),
            Append::Replica { stamp, .. } => format!("log restates {stamp:?}"),
        }
    }

    /// A track that begins.
    fn track(&self, about: &str) -> String {
        let about: Value = serde_json::from_str(about).unwrap_or_default();
        let text = |value: &Value| self.text(value.as_str().unwrap_or_default());
        format!(
            "track {} of {}, {}, {}, {}",
            about["track"],
            text(&about["recording"]),
            text(&about["side"]),
            text(&about["who"]["number"]),
            text(&about["why"]),
        )
    }

    /// A recording in a list.
    fn recording(&self, row: &Value) -> String {
        let text = |value: &Value| self.text(value.as_str().unwrap_or_default());
        let tracks = row["tracks"].as_array().into_iter().flatten();
        let tracks = tracks.map(|track| {
            let (number, side) = (text(&track["number"]), text(&track["side"]));
            format!("{number} {side} {} ms", track["length_ms"])
        });
        let tracks = tracks.collect::<Vec<String>>().join(", ");
        format!("{} {}: {tracks}", text(&row["id"]), text(&row["state"]))
    }

    /// The part of an entry that does not change with the time of day.
    fn entry(&self, body: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let part = |name: &str| match &json[name] {
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        if let Some(what) = json["what"].as_str() {
            let parts = ["mailbox", "pause_s", "percent"].map(part);
            let parts = parts.iter().filter(|part| !part.is_empty());
            return parts.fold(what.to_owned(), |said, part| format!("{said} {part}"));
        }
        let from = json["from"]["number"].as_str().unwrap_or_default();
        let answered = if json["answered"].is_null() {
            "not answered"
        } else {
            "answered"
        };
        let line = format!(
            "{from} to {}, {answered}, {} {}",
            part("to"),
            part("cause"),
            part("message")
        );
        line.trim_end().to_owned()
    }

    /// Ids in a text, as names.
    fn text(&self, text: &str) -> String {
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let mut shown = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_id) {
            shown.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find(|c| !is_id(c)).unwrap_or(rest.len());
            let word = &rest[..end];
            shown.push_str(&match word.parse::<Id>() {
                Ok(id) if self.users.contains_key(&id) => self.user(id),
                Ok(id) => self.sound(id),
                Err(_) => word.to_owned(),
            });
            rest = &rest[end..];
        }
        shown + rest
    }
}

/// The record of a leg that went out: those are many, and shown when they are asked for.
fn is_of_leg_out(topic: &str, body: &str) -> bool {
    let record = CallRecord::parse(body).filter(|_| topic == call_log::TOPIC);
    record.is_some_and(|record| record.direction == LegDirection::Out)
}

/// A record in words, less its times.
fn record(body: &str) -> Option<String> {
    let record = CallRecord::parse(body)?;
    let number = |id: &Option<Id>| id.map_or(0, |id| id.number);
    let joined = record.joined.iter().map(|id| format!("+{}", id.number));
    let steps = record.through.iter().map(|step| {
        let whom = step.whom.as_deref().unwrap_or_default();
        format!(", {} {whom}", step.what).trim_end().to_owned()
    });
    let joined: String = joined.collect();
    let steps: String = steps.collect();
    let way = match record.direction {
        LegDirection::In => "in",
        LegDirection::Out => "out",
    };
    Some(format!(
        "{way} {} of {}{joined} [{}] {} to {}: {} ({}){steps}{}{}",
        number(&record.leg),
        number(&record.call),
        record.extension.as_deref().unwrap_or_default(),
        record.from.number,
        record.to,
        record.outcome().as_str(),
        record.cause,
        record
            .codec
            .map_or(String::new(), |codec| format!(" {codec}")),
        match record.quality {
            Some(quality) => format!(" {} packets", quality.packets_received),
            None => String::new(),
        }
    ))
}

/// Legs and places by their numbers alone: their names look like those of users and sounds.
fn number_legs(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                let is_name = matches!(key.as_str(), "leg" | "place");
                match value.as_str().and_then(|text| text.parse::<Id>().ok()) {
                    Some(id) if is_name => *value = format!("#{}", id.number).into(),
                    _ => number_legs(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(number_legs),
        _ => {}
    }
}

/// Silences are left out.
fn item(item: &PlayItem) -> Option<String> {
    match item {
        PlayItem::Prompt(name) if &**name == "music/hold" => Some(MUSIC.to_owned()),
        PlayItem::Prompt(name) => Some(name.to_string()),
        PlayItem::Sound {
            places,
            from_sample: 0,
            ..
        } => Some(format!("<{}>", length(places))),
        PlayItem::Sound {
            places,
            from_sample,
            ..
        } => Some(format!("<{} from {} ms>", length(places), from_sample / 8)),
        PlayItem::Tone {
            frequency_hz: 425, ..
        } => Some(RINGING.to_owned()),
        PlayItem::Tone { .. } => Some("<beep>".to_owned()),
        PlayItem::Silence { .. } => None,
    }
}

fn length(places: &[ChunkPlace]) -> String {
    let samples: u32 = places.iter().map(|place| place.samples).sum();
    format!("sound of {} ms", samples / 8)
}
