//! Asking the caller for one key, or for a number that ends with `#`.
//!
//! The question can be interrupted by the answer. Without an answer it is asked again, a few
//! times; then the silence is reported. Digits of a number may come late by [`digit_wait`]; then
//! what is there counts.
//!
//! [`digit_wait`]: crate::config::PbxConfig::digit_wait

use serde::{Deserialize, Serialize};
use tandem_engine::seam::PlayId;
use tandem_storage::time::Time;

use crate::call::{Leg, LegEvent};
use crate::say::Say;
use crate::state::PbxState;

/// A question that was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    say: Say,
    /// While it is being said.
    play: Option<PlayId>,
    /// Until when an answer is waited for.
    pub(crate) until: Time,
    asked: u8,
    /// For a number: what has been typed of it.
    typed: Option<String>,
}

/// What the caller made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// A key.
    Key(char),
    /// A number, complete; may be empty.
    Number(String),
    /// Nothing, as often as it was asked.
    Silence,
}

/// Digits of a number that are kept; more are ignored.
const DIGITS_MAX: usize = 32;

/// No question lasts as long: for an engine that lost the end of it.
const SAYING_MAX: std::time::Duration = std::time::Duration::from_secs(90);

impl Question {
    /// Asks for one key.
    pub(crate) fn key(leg: &Leg, x: &mut PbxState, say: Say) -> Question {
        Question::ask(leg, x, say, None)
    }

    /// Asks for a number.
    pub(crate) fn number(leg: &Leg, x: &mut PbxState, say: Say) -> Question {
        Question::ask(leg, x, say, Some(String::new()))
    }

    fn ask(leg: &Leg, x: &mut PbxState, say: Say, typed: Option<String>) -> Question {
        let play = Some(leg.say(x, say.clone()));
        Question {
            say,
            play,
            until: x.after(SAYING_MAX),
            asked: 1,
            typed,
        }
    }

    /// Takes in an event; an answer ends the question.
    pub(crate) fn on(&mut self, leg: &Leg, x: &mut PbxState, event: &LegEvent) -> Option<Reply> {
        match event {
            LegEvent::Digit { digit, .. } => self.on_digit(leg, x, *digit),
            LegEvent::PlayDone(play) if Some(*play) == self.play => {
                self.play = None;
                self.until = x.after(x.config.answer_wait);
                None
            }
            LegEvent::Timer if x.now.mono >= self.until => self.on_silence(leg, x),
            _ => None,
        }
    }

    fn on_digit(&mut self, leg: &Leg, x: &mut PbxState, digit: char) -> Option<Reply> {
        if self.play.take().is_some() {
            leg.stop_playback(x);
        }
        self.until = x.after(x.config.digit_wait);
        let Some(typed) = &mut self.typed else {
            return Some(Reply::Key(digit));
        };
        match digit {
            '#' => return Some(Reply::Number(std::mem::take(typed))),
            // Begin anew.
            '*' => typed.clear(),
            _ if typed.len() < DIGITS_MAX => typed.push(digit),
            _ => x.counters.digits_dropped += 1,
        }
        None
    }

    fn on_silence(&mut self, leg: &Leg, x: &mut PbxState) -> Option<Reply> {
        if let Some(typed) = self.typed.as_mut().filter(|typed| !typed.is_empty()) {
            return Some(Reply::Number(std::mem::take(typed)));
        }
        if self.asked >= x.config.asks_max {
            return Some(Reply::Silence);
        }
        self.asked += 1;
        self.play = Some(leg.say(x, self.say.clone()));
        self.until = x.after(SAYING_MAX);
        None
    }
}
