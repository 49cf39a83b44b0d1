//! Text messages between users: for whom one is. Nothing of it is kept here.
//!
//! Users write to users. Whose calls somebody refuses, their texts are refused, too; do not disturb and
//! forwarding are about calls and change nothing.

use tandem_storage::name::Id;

use crate::call::groups;
use crate::office::Entry;
use crate::pbx::Pbx;
use crate::seam::{Caller, Cause, SipCommand};

impl Pbx {
    /// Somebody sends a text to a number.
    pub(crate) fn on_text(&mut self, number: u64, caller: &Caller, to: &str) {
        let target = self.text_target(caller, to);
        self.x.sip(SipCommand::Text { number, target });
    }

    fn text_target(&self, caller: &Caller, to: &str) -> Result<Id, Cause> {
        if caller.user.is_none() {
            return Err(Cause::Forbidden);
        }
        let Some(Entry::User(user)) = self.x.office.entry(to) else {
            return Err(Cause::NoSuchNumber);
        };
        match groups::unwanted(&self.x, caller, user) {
            Some(_) => Err(Cause::Declined),
            None => Ok(user),
        }
    }
}
