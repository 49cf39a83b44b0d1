//! Users as an administrator makes, changes and removes them.
//!
//! Passwords and PINs come as their digests: whoever asks has made them from what was typed. Each thing
//! that is set is a register of its own (`office.rs`); the asker is answered when the last of them is
//! durable. A user who is removed leaves the directory; its messages stay in the log under its identity.

use std::sync::Arc;

use tandem_storage::name::Id;

use crate::config::PbxConfig;
use crate::office::{
    self, Account, Entry, ForwardCase, RecordWish, account_key, blocked_key,
    blocked_to_mailbox_key, caller_id_key, class_key, company_blocked_key, dnd_except_key, dnd_key,
    forward_case_key, forward_key, forward_outside_key, json, pin_key, record_key,
    reject_anonymous_key, rings_also_key, works_at_key,
};
use crate::pbx::Pbx;
use crate::seam::UserChange;
use crate::state::Waiter;
use crate::trunks::{is_phone_number, number_fault};

/// Extensions are so many digits.
const EXTENSION_DIGITS: std::ops::RangeInclusive<usize> = 2..=10;
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The most numbers that a user can block.
pub(crate) const BLOCKED_MAX: usize = 200;
/// The most numbers that ring though a user wants no calls.
pub(crate) const DND_EXCEPT_MAX: usize = 200;
/// The most numbers that the company can block.
pub(crate) const COMPANY_BLOCKED_MAX: usize = 10_000;
/// The most numbers outside that ring with a user's phones.
pub(crate) const RINGS_ALSO_MAX: usize = 5;

/// What is wrong with an extension, for the one who typed it.
pub fn extension_fault(extension: &str) -> Option<String> {
    let is_right = EXTENSION_DIGITS.contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = (EXTENSION_DIGITS.start(), EXTENSION_DIGITS.end());
    (!is_right).then(|| format!("'{extension}' is not an extension: {least} to {most} digits"))
}

/// What is wrong with a name, likewise.
pub fn name_fault(name: &str) -> Option<String> {
    let is_right = !name.trim().is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    (!is_right).then(|| {
        format!(
            "'{}' is not a name: 1 to {NAME_CHARS_MAX} characters",
            name.escape_debug()
        )
    })
}

/// What is wrong with a new PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinFault {
    /// It has fewer digits than [`PbxConfig::pin_digits_min`].
    TooShort,
    /// It has more digits than [`PbxConfig::pin_digits_max`].
    TooLong,
    /// It is the extension, or a row of digits: 1111, 1234, 9876.
    TooSimple,
}

/// What is wrong with a new PIN for this extension.
pub fn pin_fault(config: &PbxConfig, extension: &str, pin: &str) -> Option<PinFault> {
    if pin.len() < config.pin_digits_min {
        Some(PinFault::TooShort)
    } else if pin.len() > config.pin_digits_max {
        Some(PinFault::TooLong)
    } else if is_row(pin) || pin == extension {
        Some(PinFault::TooSimple)
    } else {
        None
    }
}

/// What everybody tries first.
fn is_row(pin: &str) -> bool {
    let pairs = pin.as_bytes().windows(2);
    let steps: Vec<i16> = pairs
        .map(|pair| i16::from(pair[1]) - i16::from(pair[0]))
        .collect();
    [-1, 0, 1]
        .iter()
        .any(|step| steps.iter().all(|s| s == step))
}

/// What is wrong with a list of numbers, if anything.
pub(crate) fn numbers_fault(numbers: &[Arc<str>], most: usize) -> Option<String> {
    let wrong = numbers.iter().find(|number| !is_phone_number(number));
    match numbers.len() > most {
        true => Some(format!("at most {most} numbers can be named")),
        false => wrong.map(|number| number_fault(number)),
    }
}

/// A register and its text; `None`: it is removed.
type Setting = (Arc<str>, Option<Arc<str>>);

impl Pbx {
    pub(crate) fn add_user(
        &mut self,
        asker: u64,
        account: &Account,
        pin_hash: &str,
    ) -> Result<(), String> {
        let fault = extension_fault(&account.extension).or_else(|| name_fault(&account.name));
        fault.map_or(Ok(()), Err)?;
        self.is_free(&account.extension)?;
        let mut registers = office::new_user(self.x.new_id(), account, pin_hash);
        let last = registers.pop();
        for (key, value) in registers {
            self.x.append_register(Waiter::Nobody, key, Some(value));
        }
        if let Some((key, value)) = last {
            self.x
                .append_register(Waiter::Asker(asker), key, Some(value));
        }
        Ok(())
    }

    pub(crate) fn set_user(
        &mut self,
        asker: u64,
        extension: &str,
        change: UserChange,
    ) -> Result<(), String> {
        let user = self.user_of(extension)?;
        let mut registers = self.registers_of(user, change)?;
        let (key, value) = registers.pop().ok_or("there is nothing to set")?;
        for (key, value) in registers {
            self.x.append_register(Waiter::Nobody, key, value);
        }
        self.x.append_register(Waiter::Asker(asker), key, value);
        Ok(())
    }

    /// Nothing of a change is written unless all of it can be.
    fn registers_of(&self, user: Id, change: UserChange) -> Result<Vec<Setting>, String> {
        let old = self.x.office.account(user).ok_or("the user is gone")?;
        let mut account = old.clone();
        if let Some(name) = change.name {
            name_fault(&name).map_or(Ok(()), Err)?;
            account.name = name;
        }
        if let Some(extension) = change.extension.filter(|to| *to != old.extension) {
            extension_fault(&extension).map_or(Ok(()), Err)?;
            self.is_free(&extension)?;
            if change.ha1.is_none() {
                return Err("a new extension needs a new password: add password=…".into());
            }
            account.extension = extension;
        }
        if let Some((ha1_md5, ha1_sha256)) = change.ha1 {
            (account.ha1_md5, account.ha1_sha256) = (ha1_md5, ha1_sha256);
        }
        let in_case = |case| forward_case_key(user, case);
        let mut registers = Vec::new();
        if account != *old {
            registers.push((account_key(user), Some(json(&account))));
        }
        if let Some(hash) = change.pin_hash {
            registers.push((pin_key(user), Some(json(&hash))));
        }
        if let Some(on) = change.dnd {
            registers.push((dnd_key(user), on.then(|| json(&true))));
        }
        if let Some(numbers) = change.dnd_except {
            let fault = numbers_fault(&numbers, DND_EXCEPT_MAX);
            fault.map_or(Ok(()), Err)?;
            let value = (!numbers.is_empty()).then(|| json(&numbers));
            registers.push((dnd_except_key(user), value));
        }
        let forwards = [
            (forward_key(user), change.forward),
            (in_case(ForwardCase::Busy), change.forward_busy),
            (in_case(ForwardCase::NoAnswer), change.forward_no_answer),
            (
                in_case(ForwardCase::Unreachable),
                change.forward_unreachable,
            ),
        ];
        for (key, forward) in forwards {
            let Some(forward) = forward else { continue };
            if let Some(to) = &forward {
                self.check_forward(user, to, change.forward_outside)?;
            }
            registers.push((key, forward.map(|to| json(&to))));
        }
        if let Some(on) = change.reject_anonymous {
            registers.push((reject_anonymous_key(user), on.then(|| json(&true))));
        }
        if let Some(blocked) = change.blocked {
            if blocked.len() > BLOCKED_MAX {
                return Err(format!("at most {BLOCKED_MAX} numbers can be blocked"));
            }
            let value = (!blocked.is_empty()).then(|| json(&blocked));
            registers.push((blocked_key(user), value));
        }
        if let Some(on) = change.blocked_to_mailbox {
            registers.push((blocked_to_mailbox_key(user), on.then(|| json(&true))));
        }
        if let Some(class) = change.class {
            registers.push((class_key(user), Some(json(&class))));
        }
        if let Some(on) = change.forward_outside {
            registers.push((forward_outside_key(user), on.then(|| json(&true))));
        }
        if let Some(numbers) = change.rings_also {
            if numbers.len() > RINGS_ALSO_MAX {
                return Err(format!("at most {RINGS_ALSO_MAX} numbers can ring as well"));
            }
            let mut faults = numbers
                .iter()
                .filter_map(|n| self.x.outside_number_fault(n));
            faults.next().map_or(Ok(()), Err)?;
            let value = (!numbers.is_empty()).then(|| json(&numbers));
            registers.push((rings_also_key(user), value));
        }
        if let Some(number) = change.works_at {
            let fault = number.as_ref().and_then(|n| self.x.outside_number_fault(n));
            fault.map_or(Ok(()), Err)?;
            registers.push((works_at_key(user), number.map(|n| json(&n))));
        }
        if let Some(number) = change.caller_id {
            let wrong = number.as_ref().filter(|number| !is_phone_number(number));
            wrong.map_or(Ok(()), |number| Err(number_fault(number)))?;
            registers.push((caller_id_key(user), number.map(|n| json(&n))));
        }
        if let Some(wish) = change.record {
            let value = (wish != RecordWish::default()).then(|| json(wish.name()));
            registers.push((record_key(user), value));
        }
        Ok(registers)
    }

    /// Calls may be forwarded to another's extension, or outside where that is allowed.
    fn check_forward(&self, user: Id, to: &str, outside: Option<bool>) -> Result<(), String> {
        let may = outside.unwrap_or(self.x.office.settings(user).forward_outside);
        if self.x.office.mailbox(to).is_none() && self.x.outside_number_fault(to).is_none() {
            let say =
                "calls of this user may not be forwarded outside; forward_outside=on lets them";
            return may.then_some(()).ok_or_else(|| say.to_owned());
        }
        match self.mailbox_of(to)? == user {
            true => Err("calls cannot be forwarded to where they come from".into()),
            false => Ok(()),
        }
    }

    pub(crate) fn remove_user(&mut self, asker: u64, extension: &str) -> Result<(), String> {
        let user = self.user_of(extension)?;
        self.x.append_register(Waiter::Nobody, pin_key(user), None);
        self.x
            .append_register(Waiter::Asker(asker), account_key(user), None);
        Ok(())
    }

    /// The company refuses the calls of a number from outside, or no longer.
    pub(crate) fn block(&mut self, asker: u64, number: &str, on: bool) -> Result<(), String> {
        let is_there = self.x.office.blocked().any(|blocked| &**blocked == number);
        match (on, is_there) {
            (true, true) => return Err(format!("{number} is blocked already")),
            (false, false) => return Err(format!("nobody has blocked {number}")),
            _ => {}
        }
        if on && self.x.office.blocked().len() >= COMPANY_BLOCKED_MAX {
            return Err(format!(
                "at most {COMPANY_BLOCKED_MAX} numbers can be blocked"
            ));
        }
        if on && !is_phone_number(number) {
            return Err(number_fault(number));
        }
        let key = company_blocked_key(number);
        let value = on.then(|| json(&true));
        self.x.append_register(Waiter::Asker(asker), key, value);
        Ok(())
    }

    pub(crate) fn is_free(&self, extension: &str) -> Result<(), String> {
        let name = match self.x.office.entry(extension) {
            Some(Entry::User(user)) => self.x.office.account(user).map(|user| &user.name),
            Some(Entry::Group(group)) => self.x.office.group(group).map(|group| &group.name),
            Some(Entry::Room(room)) => self.x.office.room(room).map(|room| &room.name),
            None => None,
        };
        match name {
            Some(name) => Err(format!("{name} has the extension {extension} already")),
            None => Ok(()),
        }
    }
}
