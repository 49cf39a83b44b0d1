//! Session timers: how a call that nobody is left in comes to an end (RFC 4028).
//!
//! Whoever refreshes sends a request half-way through the interval; whoever does not hangs up
//! when none came. With phones that know nothing of it we refresh by ourselves: their answer, or
//! the lack of one, tells as much.

use std::time::Duration;

use tandem_storage::time::Time;

use crate::context::ShimContext;
use crate::message::{Message, Name};
use crate::uri::param;

/// No session needs to be longer.
const DAY_S: u32 = 86_400;

/// One call's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The interval both agreed on.
    pub interval_s: u32,
    /// It is we who refresh.
    pub ours: bool,
    /// Both sides know of it: refreshes name the interval.
    pub spoken: bool,
    /// When we refresh, if we do; else when we hang up.
    pub due: Time,
}

/// The interval asked for is shorter than we allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSmall;

impl SessionTimer {
    /// As the one who accepts `request` (§9).
    pub(crate) fn for_request(
        cx: &ShimContext,
        request: &Message,
    ) -> Result<SessionTimer, TooSmall> {
        let spoken =
            request.lists(Name::Supported, "timer") || request.lists(Name::Require, "timer");
        let asked_s = request.number(Name::SessionExpires);
        if spoken && asked_s.is_some_and(|s| s < cx.config.min_se_s) {
            return Err(TooSmall);
        }
        let ours_s = cx.config.session_expires_s;
        let named_s = request.number(Name::MinSe).unwrap_or(0).min(DAY_S);
        let least_s = named_s.max(cx.config.min_se_s);
        let interval_s = asked_s.map_or(ours_s, |s| s.min(ours_s)).max(least_s);
        let refresher = refresher(request);
        let ours = !spoken || refresher == Some("uas");
        Ok(SessionTimer {
            interval_s,
            ours,
            spoken,
            due: Time(0),
        }
        .restarted(cx))
    }

    /// As the one whose request was accepted by `response` (§7.2).
    pub(crate) fn for_response(cx: &ShimContext, response: &Message) -> SessionTimer {
        let named_s = response.number(Name::SessionExpires);
        let wanted_s = named_s.unwrap_or(cx.config.session_expires_s).min(DAY_S);
        let interval_s = wanted_s.max(cx.config.min_se_s);
        let ours = named_s.is_none() || refresher(response) != Some("uas");
        SessionTimer {
            interval_s,
            ours,
            spoken: named_s.is_some(),
            due: Time(0),
        }
        .restarted(cx)
    }

    /// A refresh has just happened.
    pub(crate) fn restarted(self, cx: &ShimContext) -> SessionTimer {
        let interval_s = self.interval_s;
        let after_s = match self.ours {
            true => interval_s / 2,
            // §10: early enough that our BYE is not taken for part of another call.
            false => interval_s - (interval_s / 3).min(32),
        };
        let due = cx.now.mono + Duration::from_secs(u64::from(after_s));
        SessionTimer { due, ..self }
    }

    /// The headers of a response that accepts.
    pub(crate) fn response_headers(&self) -> String {
        if !self.spoken {
            return "Supported: timer, replaces\r\n".to_owned();
        }
        let (refresher, require) = if self.ours {
            ("uas", "")
        } else {
            ("uac", "Require: timer\r\n")
        };
        let interval_s = self.interval_s;
        format!(
            "Supported: timer, replaces\r\n{require}Session-Expires: {interval_s};refresher={refresher}\r\n"
        )
    }

    /// The headers of our refresh.
    pub(crate) fn request_headers(&self, cx: &ShimContext) -> String {
        let (interval_s, min_s) = (self.interval_s, cx.config.min_se_s);
        format!(
            "Supported: timer, replaces\r\nSession-Expires: {interval_s};refresher=uac\r\nMin-SE: {min_s}\r\n"
        )
    }
}

/// The headers of an INVITE that begins a call.
pub(crate) fn invite_headers(cx: &ShimContext, interval_s: u32, min_se_s: u32) -> String {
    let interval_s = interval_s.max(min_se_s).max(cx.config.min_se_s);
    format!(
        "Supported: timer, replaces, 100rel\r\nSession-Expires: {interval_s}\r\nMin-SE: {min_se_s}\r\n"
    )
}

fn refresher(message: &Message) -> Option<&str> {
    let value = message.header(Name::SessionExpires)?;
    param(&value[value.find(';')?..], "refresher")
}
