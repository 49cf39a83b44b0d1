//! The media engine: RTP in and out, relayed, played, recorded.
//!
//! [`Engine`] is started and commanded by the control thread; each of its workers owns a ring, its
//! sockets and its legs. Reading order: `seam` (what is asked and told), `worker` (who hears whom),
//! `leg` (one party), then what a leg is made of: `rtp`, `stream`, `latch`, `player`, `recorder`,
//! `rtcp`; `shell` last, which decides nothing.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod awaited;
pub mod codec;
pub mod dtmf;
pub mod jitter;
pub mod latch;
pub mod leg;
pub mod level;
pub mod output;
pub mod pace;
pub mod player;
pub mod playout;
pub mod ports;
pub mod prompts;
pub mod random;
pub mod recorder;
pub mod room;
pub mod rtcp;
pub mod rtp;
pub mod seam;
pub mod seq;
mod shell;
pub mod stats;
pub mod stream;
pub mod tap;
pub mod tone;
pub mod worker;

pub use shell::{Engine, SoundStore, StartError, TOKEN_CHUNK, Unread, WorkerFigures};
