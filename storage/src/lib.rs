//! The log every node writes, and what can be read from it.
pub mod block;
pub mod name;
pub mod seam;
pub mod time;
pub mod view;

pub use view::{Sound, View};
