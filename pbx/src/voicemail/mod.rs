//! Voicemail: leaving a message, and hearing what was left.
//!
//! `deposit` and `session` are phases of a call; `take` (recording one sound) and `question`
//! (asking for a key or a number) are the two small machines both are made of. `keys` says what
//! each key means, `header` what is said about a message.

pub(crate) mod deposit;
pub(crate) mod filing;
pub(crate) mod header;
pub(crate) mod keys;
pub(crate) mod listening;
pub(crate) mod login;
pub(crate) mod options;
pub(crate) mod question;
pub(crate) mod session;
pub(crate) mod take;
