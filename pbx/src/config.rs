//! What an administrator can set about call control, with defaults right for a small company.
//!
//! Read once, at start. The star codes are data: routing looks them up and knows none by heart.

use std::sync::Arc;
use std::time::Duration;

use crate::office::ForwardCase;
use crate::voicemail::keys::KeyMap;

/// How call control behaves.
#[derive(Clone, Debug)]
pub struct PbxConfig {
    /// How long a phone rings before the mailbox takes the call.
    pub ring_for: Duration,
    /// How long a number outside rings.
    pub outward_ring_for: Duration,
    /// How many calls outside each user has.
    pub outward_limits: OutwardLimits,
    /// How long somebody is parked before it rings where it was parked from.
    pub park_for: Duration,
    /// The most calls at once; more are refused with [`Cause::Congestion`](crate::seam::Cause).
    pub calls_max: usize,
    /// The most times one call is passed on by "forward all" before the mailbox takes it.
    pub hops_max: usize,
    /// The longest message.
    pub message_max: Duration,
    /// The least speech that makes a message.
    pub message_min: Duration,
    /// The longest greeting or spoken name.
    pub greeting_max: Duration,
    /// The least speech that makes a greeting; a name may be short.
    pub greeting_min: Duration,
    /// So much silence ends a recording.
    pub silence_for: Duration,
    /// The most messages in one mailbox, all folders together; more callers are told it is full.
    pub messages_max: usize,
    /// The longest that all messages of one mailbox may be together.
    pub quota: Duration,
    /// How long a deleted message can be had back; then it is destroyed.
    pub undelete_for: Duration,
    /// How often one caller may speak a message anew.
    pub takes_max: u8,
    /// Between two digits of a number; after it, the number counts as complete.
    pub digit_wait: Duration,
    /// After a question, until it is asked again.
    pub answer_wait: Duration,
    /// How often a question is asked before we say goodbye.
    pub asks_max: u8,
    /// Wrong PINs in a row before a mailbox pauses.
    pub pin_tries: u32,
    /// The first pause; each further one is twice as long.
    pub pin_pause: Duration,
    /// The longest pause.
    pub pin_pause_max: Duration,
    /// Fewest digits of a new PIN.
    pub pin_digits_min: usize,
    /// Most digits of a new PIN.
    pub pin_digits_max: usize,
    /// How far one key moves within a message.
    pub skip: Duration,
    /// So much of a message must have been heard before a key that leaves it makes it "heard".
    pub heard_after: Duration,
    /// The speaking clock says the time again after this long.
    pub clock_every: Duration,
    /// The speaking clock ends after this long.
    pub clock_for: Duration,
    /// Name of the time zone in which dates and times are spoken, as in `Europe/Zurich`.
    pub time_zone: String,
    /// Say what the echo test is before it starts. Off: echo from the first packet.
    pub echo_prompt: bool,
    /// Which digits mean what to somebody who hears their messages.
    pub keys: KeyMap,
    /// What a user presses in a call to transfer the other party; empty: nothing does.
    pub transfer_keys: Arc<str>,
    /// What a user presses in a call to record it, to pause, and to go on; empty: nothing does.
    pub record_keys: Arc<str>,
    /// Both parties hear it when a recording begins, pauses and goes on.
    pub recording_beep: bool,
    /// The longest recording of a call.
    pub recording_max: Duration,
    /// How long recordings are kept; then they are deleted, as messages are.
    pub recordings_for: Duration,
    /// Codes to dial.
    pub codes: Vec<StarCode>,
    /// There are other nodes: sound that one of them recorded may have to be fetched.
    pub has_peers: bool,
}

/// How many calls outside one user has; for calls of gateways, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutwardLimits {
    /// Under way at once.
    pub at_once: usize,
    /// Begun within an hour of the clock.
    pub an_hour: u32,
    /// Begun within 24 hours of the clock.
    pub a_day: u32,
}

/// A code and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StarCode {
    /// What is dialled, as in `*97`. Where a number follows, only its beginning.
    pub code: Arc<str>,
    /// What it does.
    pub service: Service,
}

/// What can be reached by a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Hear my messages.
    MyMessages,
    /// Hear the messages of the extension that follows, or of one that is asked for.
    MessagesOf,
    /// Leave a message for the extension that follows, without ringing.
    LeaveMessage,
    /// Hear what I say.
    Echo,
    /// The date and time.
    Clock,
    /// Which number I call from.
    MyNumber,
    /// No calls for me, please.
    DndOn,
    /// Calls again.
    DndOff,
    /// All my calls to the extension that follows.
    ForwardOn,
    /// My calls to me again.
    ForwardOff,
    /// My calls go to the extension that follows, in this case.
    ForwardCaseOn(ForwardCase),
    /// They do not any more.
    ForwardCaseOff(ForwardCase),
    /// No calls of who withholds the number, please.
    RejectAnonymousOn,
    /// They are welcome again.
    RejectAnonymousOff,
    /// The number outside that follows is my phone.
    WorkAt,
    /// My phones are my phones again.
    WorkHere,
    /// Open the office, or close it: the schedule whose number follows.
    SwitchSchedule,
    /// Log in to the group whose extension follows, or to all my groups.
    GroupLogin,
    /// Log out.
    GroupLogout,
    /// What the two digits that follow stand for.
    SpeedDial,
    /// Call who called me last.
    CallBack,
    /// Ring me, and then whom I did not reach last, when that one is free.
    CallWhenFreeOn,
    /// Do so for nobody any more.
    CallWhenFreeOff,
    /// The phone of the extension that follows answers by itself.
    Intercom,
    /// Answer what rings at the extension that follows.
    PickUp,
    /// Answer what rings at somebody of my group.
    PickUpGroup,
    /// Park whom I hold; with a number behind it: fetch who is parked there.
    Park,
}

impl Default for PbxConfig {
    fn default() -> PbxConfig {
        PbxConfig {
            ring_for: Duration::from_secs(20),
            outward_ring_for: Duration::from_secs(120),
            outward_limits: OutwardLimits {
                at_once: 5,
                an_hour: 60,
                a_day: 300,
            },
            park_for: Duration::from_secs(120),
            calls_max: 20_000,
            hops_max: 5,
            message_max: Duration::from_secs(180),
            message_min: Duration::from_secs(2),
            greeting_max: Duration::from_secs(120),
            greeting_min: Duration::from_millis(300),
            silence_for: Duration::from_secs(5),
            messages_max: 5_000,
            quota: Duration::from_secs(600 * 60),
            undelete_for: Duration::from_secs(30 * 24 * 3600),
            takes_max: 10,
            digit_wait: Duration::from_secs(5),
            answer_wait: Duration::from_secs(7),
            asks_max: 3,
            pin_tries: 3,
            pin_pause: Duration::from_secs(60),
            pin_pause_max: Duration::from_secs(3600),
            pin_digits_min: 4,
            pin_digits_max: 16,
            skip: Duration::from_secs(3),
            heard_after: Duration::from_secs(3),
            clock_every: Duration::from_secs(10),
            clock_for: Duration::from_secs(120),
            time_zone: "UTC".to_owned(),
            echo_prompt: true,
            keys: KeyMap::Comedian,
            transfer_keys: "##".into(),
            record_keys: "*3".into(),
            recording_beep: true,
            recording_max: Duration::from_secs(4 * 3600),
            recordings_for: Duration::from_secs(365 * 24 * 3600),
            codes: StarCode::defaults(),
            has_peers: false,
        }
    }
}

impl PbxConfig {
    /// What is wrong with it, if anything: to be told before a node starts.
    pub fn check(&self) -> Result<(), String> {
        if crate::say::zone(&self.time_zone).is_none() {
            return Err(format!(
                "no time zone is called {:?}; use a name such as Europe/Zurich",
                self.time_zone
            ));
        }
        if let Some(twice) = self.codes.iter().enumerate().find_map(|(i, code)| {
            self.codes[..i]
                .iter()
                .any(|other| other.code == code.code)
                .then_some(code)
        }) {
            return Err(format!("the code {} is given twice", twice.code));
        }
        if self.message_min >= self.message_max {
            return Err("the shortest message must be shorter than the longest".to_owned());
        }
        Ok(())
    }
}

/// What each service is called, the code that most people know it by, and what it is.
const KNOWN: [(&str, &str, Service); 31] = [
    ("my_messages", "*97", Service::MyMessages),
    ("messages_of", "*98", Service::MessagesOf),
    ("leave_message", "*", Service::LeaveMessage),
    ("echo", "*43", Service::Echo),
    ("clock", "*60", Service::Clock),
    ("my_number", "*65", Service::MyNumber),
    ("dnd_on", "*78", Service::DndOn),
    ("dnd_off", "*79", Service::DndOff),
    ("forward_on", "*72", Service::ForwardOn),
    ("forward_off", "*73", Service::ForwardOff),
    (
        "forward_busy_on",
        "*90",
        Service::ForwardCaseOn(ForwardCase::Busy),
    ),
    (
        "forward_busy_off",
        "*91",
        Service::ForwardCaseOff(ForwardCase::Busy),
    ),
    (
        "forward_no_answer_on",
        "*92",
        Service::ForwardCaseOn(ForwardCase::NoAnswer),
    ),
    (
        "forward_no_answer_off",
        "*93",
        Service::ForwardCaseOff(ForwardCase::NoAnswer),
    ),
    (
        "forward_unreachable_on",
        "*94",
        Service::ForwardCaseOn(ForwardCase::Unreachable),
    ),
    (
        "forward_unreachable_off",
        "*95",
        Service::ForwardCaseOff(ForwardCase::Unreachable),
    ),
    ("reject_anonymous_on", "*77", Service::RejectAnonymousOn),
    ("reject_anonymous_off", "*87", Service::RejectAnonymousOff),
    ("work_at", "*75", Service::WorkAt),
    ("work_here", "*76", Service::WorkHere),
    ("switch_schedule", "*28", Service::SwitchSchedule),
    ("group_login", "*45", Service::GroupLogin),
    ("group_logout", "*46", Service::GroupLogout),
    ("call_back", "*69", Service::CallBack),
    ("call_when_free", "*66", Service::CallWhenFreeOn),
    ("call_when_free_off", "*86", Service::CallWhenFreeOff),
    ("speed_dial", "*0", Service::SpeedDial),
    ("intercom", "*80", Service::Intercom),
    ("pick_up", "**", Service::PickUp),
    ("pick_up_group", "*8", Service::PickUpGroup),
    ("park", "68", Service::Park),
];

impl Service {
    /// As it is set and listed.
    pub fn name(self) -> &'static str {
        let mut known = KNOWN.iter();
        let found = known.find(|(_, _, service)| *service == self);
        found.map_or("", |(name, ..)| name)
    }

    /// Reads what was written.
    pub fn parse(text: &str) -> Option<Service> {
        let mut known = KNOWN.iter();
        let found = known.find(|(name, ..)| *name == text);
        found.map(|(.., service)| *service)
    }
}

impl StarCode {
    /// The codes most people know already.
    pub fn defaults() -> Vec<StarCode> {
        let known = KNOWN.iter().map(|(_, code, service)| StarCode {
            code: (*code).into(),
            service: *service,
        });
        known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        assert_eq!(PbxConfig::default().check(), Ok(()));
        let bad = PbxConfig {
            time_zone: "Mars/Olympus".to_owned(),
            ..PbxConfig::default()
        };
        assert!(bad.check().unwrap_err().contains("Mars/Olympus"));
        let mut bad = PbxConfig::default();
        bad.codes.push(StarCode {
            code: "*43".into(),
            service: Service::Clock,
        });
        assert!(bad.check().unwrap_err().contains("*43"));
    }

    #[test]
    fn every_service_has_a_name_of_its_own() {
        for code in StarCode::defaults() {
            assert_eq!(Service::parse(code.service.name()), Some(code.service));
        }
        assert_eq!(Service::parse("dance"), None);
    }
}
