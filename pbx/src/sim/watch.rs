//! Does what call control asks for, and watches that it asks for nothing it should not.

use tandem_engine::seam::{Command, LegId, RecordEnd};

use crate::seam::{Output, SipCommand};
use crate::sim::{Leg, Owes, Recording, World};

impl World {
    pub(super) fn take(&mut self, output: Output) {
        match output {
            Output::Sip(command) => self.take_sip(command),
            Output::Media(command) => self.take_media(command),
            Output::Log { token, append } => self.log.submit(self.now, token, append),
            Output::Stopped => self.stopped = true,
            Output::CheckPin { leg, .. } => self.owes(leg, Owes::Check),
            Output::HashPin { leg, .. } => self.owes(leg, Owes::Hash),
            Output::User { .. } | Output::Admin(_) | Output::Event(_) | Output::Fetch { .. } => {}
        }
    }

    fn owes(&mut self, leg: LegId, what: Owes) {
        self.legs.entry(leg).and_modify(|leg| leg.owes = Some(what));
    }

    pub(super) fn paid(&mut self, leg: LegId) {
        self.legs.entry(leg).and_modify(|leg| leg.owes = None);
    }

    pub(super) fn take_sip(&mut self, command: SipCommand) {
        match command {
            SipCommand::Call { leg, .. } => {
                if leg.0 % 2 != 0 || self.legs.insert(leg, Leg::default()).is_some() {
                    self.faults
                        .push(format!("{leg:?} is no number for a new leg"));
                }
            }
            SipCommand::Ring { leg } => self.expect(leg, "ring"),
            SipCommand::Progress { leg, .. } => self.expect(leg, "progress"),
            SipCommand::Answer { leg, .. } => {
                self.expect(leg, "answer");
                self.owes(leg, Owes::Confirmation);
            }
            SipCommand::ReferResult { leg, .. } => self.expect(leg, "refer result"),
            SipCommand::End { leg, .. } => {
                self.expect(leg, "end");
                self.close(leg);
            }
            SipCommand::Watchable { what, label } => {
                self.watchable.retain(|_, known| *known != what);
                if let Some(label) = label {
                    self.watchable.insert(label.extension, what);
                }
            }
            SipCommand::Text { .. }
            | SipCommand::MessageSummary { .. }
            | SipCommand::Calls { .. }
            | SipCommand::Trunk { .. }
            | SipCommand::Phone { .. } => {}
        }
    }

    pub(super) fn take_media(&mut self, command: Command) {
        match command {
            Command::Play { leg, play, .. } => {
                self.expect(leg, "play");
                self.legs.entry(leg).and_modify(|leg| leg.play = Some(play));
            }
            Command::PlayMore { leg, .. } => self.expect(leg, "play on"),
            Command::StopPlay { leg } => {
                self.expect(leg, "hush");
                self.legs.entry(leg).and_modify(|leg| leg.play = None);
            }
            Command::Bridge { a, b } => {
                self.expect(a, "bridge");
                self.expect(b, "bridge");
            }
            Command::Record { leg, sound, .. } => {
                self.expect(leg, "record");
                let recording = Recording {
                    sound,
                    samples: 0,
                    index: 0,
                };
                self.legs
                    .entry(leg)
                    .and_modify(|leg| leg.recording = Some(recording));
            }
            Command::StopRecord { leg } => {
                self.expect(leg, "stop record");
                self.recorded(leg, RecordEnd::Stopped);
            }
            Command::Tap { leg, sound, .. } => {
                self.expect(leg, "tap");
                let tap = Recording {
                    sound,
                    samples: 0,
                    index: 0,
                };
                self.legs.entry(leg).and_modify(|leg| leg.taps.push(tap));
            }
            Command::PauseTap { leg, .. } => self.expect(leg, "pause tap"),
            Command::Untap { sound, .. } => self.tap_ended(sound, RecordEnd::Stopped),
            Command::Join { leg, .. } | Command::PlayToRoom { leg, .. } => {
                self.expect(leg, "room");
            }
            Command::Echo { leg }
            | Command::Unbridge { leg }
            | Command::SendDigit { leg, .. }
            | Command::Close { leg }
            | Command::Set { leg, .. } => self.expect(leg, "media"),
        }
    }

    pub(super) fn expect(&mut self, leg: LegId, what: &str) {
        if !self.legs.contains_key(&leg) {
            self.faults
                .push(format!("{what} asked of {leg:?}, which is not there"));
        }
    }
}
