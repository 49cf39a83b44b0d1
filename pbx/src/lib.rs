//! Call control, pure: what happens when somebody dials, is busy, does not answer, leaves a
//! message, presses a key.
//!
//! [`Pbx`] is the whole of it: events in, commands out, no clock, socket or file. Reading order:
//! [`seam`] (both sides), `pbx` (who is told), `call` (one call and its phases), `voicemail`;
//! `state`, [`office`] and `mailbox` hold what calls share.
#![forbid(unsafe_code)]

mod admin;
mod app;
pub mod backup_message;
mod call;
pub mod call_log;
mod codes;
pub mod config;
mod conflicts;
pub mod counters;
mod events;
mod fetches;
mod groups;
mod guard;
mod imports;
mod mailbox;
pub mod office;
mod pbx;
pub mod quota;
pub mod recordings;
pub mod retention;
mod returned;
mod rooms;
mod say;
mod schedules;
pub mod seam;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod state;
mod toll;
mod trunks;
pub mod users;
mod voicemail;
mod words;

pub use config::PbxConfig;
pub use counters::Counters;
pub use pbx::Pbx;
pub use retention::{DAYS_MAX, days};
pub use voicemail::keys::KeyMap;
pub use words::prompts;
