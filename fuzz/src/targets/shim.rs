//! Whole datagrams into the shim: it never panics, answers are few and are SIP, and when everybody
//! has gone nothing is left: no dialog, no port, no timer.
//!
//! The input is pieces separated by 0x1e. The first is a datagram; of the others the first byte
//! says what it is. In datagrams some bytes stand for what the shim said last, since nobody could
//! guess it: 0x01 its To tag, 0x02 the branch, 0x03 the Call-ID and 0x04 the From tag of its last
//! request, 0x05 the Authorization that its last challenge asks for, 0x06 the
//! RAck of its last reliable response.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tandem_engine::seam::{Command, LegId};
use tandem_pbx::seam::{
    CallHistory, CallState, Caller, Cause, DIVERSIONS_MAX, Diversion, DiversionReason,
    MessageSummary, SipCommand, SipEvent, SipUser, Target, Watchable, WatchedCall,
};
use tandem_sip_shim::{Flow, Shim, ShimConfig, ShimInput, ShimOutput, WireIn, WireOut};
use tandem_sip_shim::{digest, validate};
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time, WallTime};

const SEPARATOR: u8 = 0x1e;
const PIECES_MAX: usize = 40;
/// One input leads to no more outputs than this: a user's phones, each called or told.
const OUTPUTS_MAX: usize = 64;
const DATAGRAM_BYTES_MAX: usize = 65_507;

pub(super) fn run(bytes: &[u8]) {
    let mut story = Story::new();
    story.tell(bytes);
    story.end();
}

struct Story {
    shim: Shim,
    now: Time,
    legs: BTreeSet<LegId>,
    open: BTreeSet<LegId>,
    last: Option<LegId>,
    leg_out: u64,
    said: Said,
    /// What call control was told, by name.
    events: Vec<String>,
}

/// What the shim said last.
#[derive(Default)]
struct Said {
    to_tag: String,
    branch: String,
    call_id: String,
    from_tag: String,
    authorization: String,
    rack: String,
    method: String,
}

impl Story {
    fn new() -> Story {
        let trusted = vec![tandem_sip_shim::Trusted::gateway(
            "198.51.100.0/24".parse().expect("a block"),
        )];
        let config = ShimConfig {
            trusted,
            ..ShimConfig::default()
        };
        let mut story = Story {
            shim: Shim::new(config, [1; 32]),
            now: Time(1),
            legs: BTreeSet::new(),
            open: BTreeSet::new(),
            last: None,
            leg_out: 0,
            said: Said::default(),
            events: Vec::new(),
        };
        for number in 1..=2 {
            story.input(ShimInput::User {
                id: id(number),
                user: Some(user(number)),
            });
        }
        story
    }

    fn tell(&mut self, bytes: &[u8]) {
        let pieces = bytes.split(|b| *b == SEPARATOR).take(PIECES_MAX);
        for (n, piece) in pieces.enumerate() {
            match (n, piece) {
                (0, datagram) | (_, [b'd', datagram @ ..]) => self.datagram(datagram, 1),
                (_, [b'D', datagram @ ..]) => self.datagram(datagram, 2),
                (_, [b'w', tenths, ..]) => {
                    self.wait(Duration::from_millis(100 * u64::from(*tenths)))
                }
                (_, [b'W', tens, ..]) => self.wait(Duration::from_secs(10 * u64::from(*tens))),
                (_, [command, ..]) => self.command(*command),
                (_, []) => {}
            }
        }
    }

    fn datagram(&mut self, text: &[u8], host: u8) {
        let bytes = self.said.fill_in(text);
        // The first host is trusted; the second has to log in.
        let peer = SocketAddr::from(match host {
            1 => ([198, 51, 100, 1], 5060),
            _ => ([192, 0, 2, 9], 5060),
        });
        if let Ok(message) = validate::read_datagram(&bytes) {
            self.input(ShimInput::Wire(WireIn::Message {
                flow: Flow::udp(peer),
                message,
            }));
        }
    }

    fn command(&mut self, what: u8) {
        let leg = self.last.filter(|leg| self.legs.contains(leg));
        let command = match (what, leg) {
            (b'c', _) => {
                self.leg_out += 2;
                let leg = LegId(self.leg_out);
                self.legs.insert(leg);
                self.last = Some(leg);
                let caller = Caller {
                    user: None,
                    number: "101".into(),
                    name: "A \"B\" C".into(),
                    is_withheld: false,
                    class: tandem_pbx::seam::ClassOfService::Internal,
                };
                SipCommand::Call {
                    leg,
                    target: Target::User(id(1)),
                    caller,
                    like: None,
                    auto_answer: true,
                    history: CallHistory {
                        diversions: [Diversion {
                            number: "102".into(),
                            name: "B \"C".into(),
                            is_withheld: false,
                            reason: DiversionReason::Busy,
                        }]
                        .into(),
                        referred_by: None,
                    },
                }
            }
            (b'f', Some(leg)) => SipCommand::ReferResult { leg, refused: None },
            (b'F', Some(leg)) => SipCommand::ReferResult {
                leg,
                refused: Some(Cause::Busy),
            },
            (b'v', _) => {
                let call = WatchedCall {
                    leg: self.leg_out,
                    is_initiator: false,
                    state: CallState::Early,
                    holds: false,
                    number: "555".into(),
                    name: "A & <B>".into(),
                };
                SipCommand::Calls {
                    what: Watchable::User(id(1)),
                    calls: [call].into(),
                }
            }
            (b'l', _) => SipCommand::MessageSummary {
                user: id(1),
                lamp: MessageSummary {
                    new: 1,
                    ..MessageSummary::default()
                },
            },
            (b'r', Some(leg)) => SipCommand::Ring { leg },
            (b'p', Some(leg)) => SipCommand::Progress { leg, like: None },
            (b'a', Some(leg)) => SipCommand::Answer { leg, like: None },
            (b'e', Some(leg)) => {
                self.legs.remove(&leg);
                SipCommand::End {
                    leg,
                    cause: Cause::Normal,
                }
            }
            (b'b', Some(leg)) => {
                self.legs.remove(&leg);
                SipCommand::End {
                    leg,
                    cause: Cause::Busy,
                }
            }
            (b'g', _) => {
                return self.input(ShimInput::User {
                    id: id(1),
                    user: None,
                });
            }
            _ => return,
        };
        self.input(ShimInput::Pbx(command));
    }

    fn input(&mut self, input: ShimInput) {
        self.shim.handle(self.now(), input);
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ticks = 0;
        while let Some(due) = self.shim.deadline().filter(|due| *due <= end) {
            ticks += 1;
            assert!(ticks < 10_000, "the shim's timers spin");
            self.now = due.max(self.now);
            self.shim.tick(self.now());
            self.drain();
            let next = self.shim.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what was due is still due"
            );
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for outputs in 0.. {
            let Some(output) = self.shim.poll() else {
                break;
            };
            assert!(outputs < OUTPUTS_MAX, "one input, too many outputs");
            match output {
                ShimOutput::Wire(WireOut::Send { bytes, .. }) => self.said.hear(&bytes),
                ShimOutput::Wire(WireOut::Keep { flow }) => assert!(flow.is_reliable()),
                ShimOutput::Pbx(event) => self.hear(event),
                ShimOutput::Media(Command::Close { leg }) => {
                    assert!(self.open.remove(&leg), "closed and not open: {leg:?}");
                }
                ShimOutput::OpenMedia { leg } => {
                    assert!(self.open.insert(leg), "opened twice: {leg:?}");
                    let port = Ok(40_000 + 2 * (leg.0 % 1000) as u16);
                    self.shim
                        .handle(self.now(), ShimInput::MediaOpened { leg, port });
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, event: SipEvent) {
        let name = format!("{event:?}");
        self.events
            .extend(name.split(' ').next().map(str::to_owned));
        match event {
            SipEvent::Incoming {
                leg,
                caller,
                dialed,
                replaces,
                diversions,
                ..
            } => {
                assert!(diversions.len() <= DIVERSIONS_MAX);
                assert!(replaces.is_none_or(|replaced| self.legs.contains(&replaced)));
                assert!(caller.number.chars().count() <= 64 && caller.name.chars().count() <= 64);
                assert!(dialed.chars().count() <= 64);
                assert!(
                    leg.0 % 2 == 1 && self.legs.insert(leg),
                    "{leg:?} comes in twice"
                );
                self.last = Some(leg);
            }
            SipEvent::Ended { leg, .. } | SipEvent::Redirected { leg, .. } => {
                assert!(self.legs.remove(&leg), "{leg:?} ends and was not there");
            }
            SipEvent::Ringing { leg }
            | SipEvent::Progress { leg }
            | SipEvent::Answered { leg, .. }
            | SipEvent::Confirmed { leg, .. }
            | SipEvent::Held { leg, .. }
            | SipEvent::Refer { leg, .. }
            | SipEvent::Digit { leg, .. } => {
                assert!(
                    self.legs.contains(&leg),
                    "{leg:?} is spoken of after its end"
                );
            }
            SipEvent::Text { number, to, .. } => {
                assert!(to.chars().count() <= 64);
                let target = Ok(id(1));
                self.shim.handle(
                    self.now(),
                    ShimInput::Pbx(SipCommand::Text { number, target }),
                );
            }
            SipEvent::PhoneSeen { .. } | SipEvent::PhoneCame { .. } | SipEvent::Watched { .. } => {}
        }
    }

    /// Everybody goes; then nothing may be left.
    fn end(&mut self) {
        for leg in std::mem::take(&mut self.legs) {
            self.input(ShimInput::Pbx(SipCommand::End {
                leg,
                cause: Cause::Normal,
            }));
        }
        self.wait(Duration::from_secs(3 * 3600));
        assert_eq!(self.shim.dialogs(), 0, "a dialog is left");
        assert!(self.open.is_empty(), "media is left open: {:?}", self.open);
        assert_eq!(self.shim.deadline(), None, "a timer is left");
        assert!(self.shim.phones(self.now()).is_empty(), "a phone is left");
    }

    fn now(&self) -> Now {
        Now {
            mono: self.now,
            wall: WallTime(1_790_000_000_000 + self.now.0 / 1_000_000),
        }
    }
}

impl Said {
    fn fill_in(&self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        for byte in text {
            match byte {
                1 => bytes.extend_from_slice(self.to_tag.as_bytes()),
                2 => bytes.extend_from_slice(self.branch.as_bytes()),
                3 => bytes.extend_from_slice(self.call_id.as_bytes()),
                4 => bytes.extend_from_slice(self.from_tag.as_bytes()),
                6 => bytes.extend_from_slice(self.rack.as_bytes()),
                5 => bytes.extend_from_slice(self.authorization.as_bytes()),
                other => bytes.push(*other),
            }
        }
        bytes
    }

    fn hear(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= DATAGRAM_BYTES_MAX,
            "does not fit into a datagram"
        );
        if bytes == b"\r\n\r\n" {
            // A keep-alive, for a NAT.
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        let value = |name: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap_or_default()
        };
        let after = |text: &str, mark: &str| {
            let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
            rest.split([';', '>', ' ', '\r'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        if text.starts_with("SIP/2.0") {
            self.to_tag = after(value("To: "), "tag=");
            if text.contains("\r\nRSeq: ") {
                self.rack = format!("{} {}", value("RSeq: "), value("CSeq: "));
            }
            if text.starts_with("SIP/2.0 401") {
                self.authorization = authorization(value("WWW-Authenticate: "));
            }
            return;
        }
        let read = validate::read_datagram(bytes);
        assert!(read.is_ok(), "we sent what is no SIP ({read:?}):\n{text}");
        self.method = text.split(' ').next().unwrap_or_default().to_owned();
        self.branch = after(value("Via: "), "branch=");
        self.call_id = value("Call-ID: ").trim().to_owned();
        self.from_tag = after(value("From: "), "tag=");
    }
}

/// What the first user's phone would answer to a challenge of its registration.
fn authorization(challenge: &str) -> String {
    let line = digest::answer(
        challenge.trim(),
        "REGISTER",
        "sip:tandem",
        "101",
        "secret",
        1,
    );
    line.unwrap_or_default().trim_end().to_owned()
}

fn user(number: u64) -> SipUser {
    let extension = (100 + number).to_string();
    let (md5, sha256) = digest::ha1(&extension, "tandem", "secret");
    SipUser {
        id: id(number),
        extension: extension.into(),
        name: "Somebody".into(),
        ha1_md5: md5.into(),
        ha1_sha256: sha256.into(),
    }
}

fn id(number: u64) -> Id {
    Id {
        node: "office".parse().expect("a legal name"),
        epoch: 1,
        number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    /// Plays an input of the corpus without its end.
    fn play(name: &str) -> Story {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/sip_shim/");
        let input = std::fs::read(format!("{folder}{name}")).unwrap();
        let mut story = Story::new();
        story.tell(&input);
        story
    }

    /// A fuzzer goes on from what the corpus reaches: it must reach far.
    #[test]
    fn the_corpus_reaches_calls_and_registrations() {
        assert!(!corpus::inputs("sip_shim", false).is_empty());
        assert_eq!(play("registered").shim.phones(Now::default()).len(), 1);
        assert_eq!(
            play("registered-and-left")
                .shim
                .phones(Now::default())
                .len(),
            0
        );
        assert_eq!(play("call-ended-by-us").said.method, "BYE");
        assert_eq!(play("called-and-given-up").said.method, "ACK");
        assert_eq!(play("lamp").said.method, "NOTIFY");
        for (name, events) in [
            ("transfer", "Incoming Confirmed Refer Refer Ended"),
            ("text", "PhoneSeen PhoneCame Text"),
            ("busy-lamp", "PhoneSeen PhoneCame Watched"),
            ("call-answered-and-ended", "Incoming Confirmed Ended"),
            ("confirmed-ringing", "Incoming Confirmed Ended"),
            ("diverted", "Incoming Confirmed Ended"),
            ("late-offer", "Incoming Confirmed Ended"),
            (
                "hold-info-update",
                "Incoming Confirmed Held Digit Held Ended",
            ),
            ("cancelled", "Incoming Ended"),
            (
                "called-and-answered",
                "PhoneSeen PhoneCame Ringing Answered",
            ),
            ("called-and-busy", "PhoneSeen PhoneCame Ended"),
        ] {
            assert_eq!(play(name).events.join(" "), events, "{name}");
        }
    }
}
