//! A SIP message as it came.

/// A message from outside that can at least be answered.
#[derive(Debug)]
pub struct Incoming {}
