//! The link itself.

use std::collections::VecDeque;

use super::seam::{LinkConfig, LinkInput, LinkOutput, LinkStatus};
use crate::time::Time;

/// One node's end of all its links.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    outputs: VecDeque<LinkOutput>,
}

impl Link {
    /// Without peers.
    pub fn new(config: LinkConfig, _now: Time) -> Link {
        Link {
            config,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, _now: Time, _input: LinkInput) {
        let _ = &self.config;
    }

    /// The next thing asked for.
    pub fn poll(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    /// When to hand in [`LinkInput::Tick`].
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// How it stands.
    pub fn status(&self) -> LinkStatus {
        LinkStatus::default()
    }
}
