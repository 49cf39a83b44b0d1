//! Call control over anything: registers and texts that another version may have written, any
//! events in any order. It never panics, asks for a bounded number of things, and when everybody
//! has hung up no call is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::{Codec, Command, Event, LegId, PlayId, RecordEnd};
use tandem_pbx::office::{Account, new_user};
use tandem_pbx::seam::{
    AdminAsk, AdminRequest, Caller, Cause, Input, Output, SipCommand, SipEvent,
};
use tandem_pbx::{Pbx, PbxConfig};
use tandem_storage::View;
use tandem_storage::name::{Id, Ids, NodeName};
use tandem_storage::seam::{
    Append, ChunkPlace, Committed, Hlc, LogEvent, Payload, Refusal, SealKind, SoundCodec, Stamp,
    Token,
};
use tandem_storage::time::{Now, Time, WallTime};

use crate::feed::Feed;

const OUTPUTS_MAX: usize = 500;
const USERS: u64 = 3;

pub(super) fn run(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let mut view = View::new();
    let mut seq = 0;
    for what in office().chain(any_records(&mut feed)) {
        seq += 1;
        view.apply(&Committed {
            stamp: stamp(1, seq),
            segment: 1,
            what,
        });
    }
    let now = Now {
        mono: Time(1),
        wall: WallTime(1_790_000_000_000),
    };
    let pbx = Pbx::new(PbxConfig::default(), view, Ids::new(node(), 2), now);
    let mut story = Story {
        pbx,
        now,
        seq: 0,
        legs: Vec::new(),
        gone: BTreeSet::new(),
        leg_last: 1,
        plays: Vec::new(),
        records: Vec::new(),
        pins: Vec::new(),
        log: Vec::new(),
    };
    story.drain();
    while !feed.is_empty() {
        story.happen(&mut feed);
        story.drain();
    }
    story.end();
}

struct Story {
    pbx: Pbx,
    now: Now,
    seq: u64,
    /// Legs there are, and those that were.
    legs: Vec<LegId>,
    gone: BTreeSet<LegId>,
    leg_last: u64,
    plays: Vec<(LegId, PlayId)>,
    records: Vec<(LegId, Id)>,
    pins: Vec<LegId>,
    log: Vec<(Token, Append)>,
}

impl Story {
    fn happen(&mut self, feed: &mut Feed<'_>) {
        let leg = self.legs.get(feed.below(self.legs.len().max(1))).copied();
        let leg = leg.unwrap_or(LegId(feed.below(20) as u64));
        let sip = |event| Input::Sip(event);
        let input = match feed.below(22) {
            0 => self.incoming(feed),
            1 if feed.one_in(3) => sip(SipEvent::Progress { leg }),
            1 => sip(SipEvent::Ringing { leg }),
            2 => sip(SipEvent::Answered {
                leg,
                codec: Codec::Pcmu,
            }),
            3 => sip(SipEvent::Confirmed {
                leg,
                codec: Codec::Pcma,
            }),
            4 if self.legs.contains(&leg) && leg.0 % 2 == 0 && feed.one_in(3) => {
                self.leave(leg);
                let to = ["102", "103", "999"][feed.below(3)].into();
                sip(SipEvent::Redirected { leg, to })
            }
            4 if self.legs.contains(&leg) => {
                self.leave(leg);
                sip(SipEvent::Ended {
                    leg,
                    cause: cause(feed),
                })
            }
            5 => sip(SipEvent::Digit {
                leg,
                digit: digit(feed),
            }),
            6 | 7 => Input::Media(Event::Digit {
                leg,
                digit: digit(feed),
            }),
            8 | 9 => self.play_done(),
            10 => Input::Media(Event::MediaTimeout { leg }),
            11 => self.record_done(feed),
            12 => self.pin_checked(feed, leg),
            13..=16 => self.log_answers(feed),
            17 => Input::Admin(AdminRequest {
                asker: 1,
                ask: ask(feed),
            }),
            19 => sip(SipEvent::Held {
                leg,
                held: feed.one_in(2),
            }),
            20 if self.legs.contains(&leg) => sip(SipEvent::Refer {
                leg,
                to: dialed(feed),
                replaces: feed.one_in(2).then(|| self.other(feed)),
            }),
            18 if feed.one_in(20) => [Input::Drain, Input::Stop][feed.below(2)].clone(),
            18 => sip(SipEvent::PhoneCame {
                user: id(1 + feed.below(4) as u64),
            }),
            _ => return self.wait(Duration::from_millis(feed.below(8000) as u64)),
        };
        self.pbx.handle(self.now, input);
    }

    fn incoming(&mut self, feed: &mut Feed<'_>) -> Input {
        self.leg_last += 2;
        let leg = LegId(self.leg_last);
        self.legs.push(leg);
        let user = feed.one_in(2).then(|| id(1 + feed.below(4) as u64));
        let caller = Caller {
            user,
            number: text(feed),
            name: text(feed),
            is_withheld: false,
            class: tandem_pbx::seam::ClassOfService::Internal,
        };
        Input::Sip(SipEvent::Incoming {
            leg,
            caller,
            dialed: dialed(feed),
            replaces: feed.one_in(8).then(|| self.other(feed)),
        })
    }

    fn other(&self, feed: &mut Feed<'_>) -> LegId {
        let other = self.legs.get(feed.below(self.legs.len().max(1)));
        other.copied().unwrap_or(LegId(feed.below(20) as u64))
    }

    fn play_done(&mut self) -> Input {
        let (leg, play) = self.plays.pop().unwrap_or((LegId(1), PlayId(0)));
        Input::Media(Event::PlayDone { leg, play })
    }

    fn record_done(&mut self, feed: &mut Feed<'_>) -> Input {
        let (leg, sound) = self.records.pop().unwrap_or((LegId(1), id(99)));
        let ends = [
            RecordEnd::Stopped,
            RecordEnd::Silence,
            RecordEnd::Limit,
            RecordEnd::LogRefused,
        ];
        let samples = feed.below(100_000) as u64;
        let (samples_speech, end) = (samples, ends[feed.below(4)]);
        Input::Media(Event::RecordDone {
            leg,
            sound,
            samples,
            samples_speech,
            end,
        })
    }

    fn pin_checked(&mut self, feed: &mut Feed<'_>, other: LegId) -> Input {
        let leg = self.pins.pop().unwrap_or(other);
        match feed.below(4) {
            0 => Input::PinChecked { leg, right: false },
            1 => Input::PinHashed {
                leg,
                hash: Some("hash".into()),
            },
            _ => Input::PinChecked { leg, right: true },
        }
    }

    fn log_answers(&mut self, feed: &mut Feed<'_>) -> Input {
        if self.log.is_empty() {
            return Input::Log(LogEvent::Room {
                can_record: !feed.one_in(4),
            });
        }
        let (token, append) = self.log.remove(0);
        if feed.one_in(12) {
            return Input::Log(LogEvent::Refused {
                token,
                why: Refusal::DiskFull,
            });
        }
        self.seq += 1;
        let record = Committed {
            stamp: stamp(2, self.seq),
            segment: 1,
            what: what(append),
        };
        Input::Log(LogEvent::Committed { token, record })
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let mut ticks = 0;
        while let Some(due) = self.pbx.deadline().filter(|due| *due <= end) {
            ticks += 1;
            assert!(ticks < 1000, "timers spin");
            self.now = Now {
                mono: due.max(self.now.mono),
                ..self.now
            };
            self.pbx.tick(self.now);
            let next = self.pbx.deadline();
            assert!(
                next.is_none_or(|next| next > self.now.mono),
                "what was due is still due"
            );
            self.drain();
        }
        self.now = Now {
            mono: end,
            wall: self.now.wall + time,
        };
    }

    fn drain(&mut self) {
        for outputs in 0.. {
            let Some(output) = self.pbx.poll() else { break };
            assert!(outputs < OUTPUTS_MAX, "one input, too many outputs");
            match output {
                Output::Sip(SipCommand::Call { leg, .. }) => {
                    assert!(
                        leg.0 % 2 == 0 && !self.legs.contains(&leg) && !self.gone.contains(&leg)
                    );
                    self.legs.push(leg);
                }
                Output::Sip(SipCommand::End { leg, .. }) => {
                    assert!(
                        self.legs.contains(&leg),
                        "{leg:?} is ended and is not there"
                    );
                    self.leave(leg);
                }
                Output::Sip(
                    SipCommand::Ring { leg }
                    | SipCommand::Progress { leg, .. }
                    | SipCommand::Answer { leg, .. },
                ) => {
                    assert!(
                        self.legs.contains(&leg),
                        "{leg:?} is spoken of after its end"
                    );
                }
                Output::Media(Command::Play { leg, play, .. }) => self.plays.push((leg, play)),
                Output::Media(Command::Record { leg, sound, .. }) => {
                    self.records.push((leg, sound))
                }
                Output::CheckPin { leg, .. } | Output::HashPin { leg, .. } => self.pins.push(leg),
                Output::Log { token, append } => self.log.push((token, append)),
                _ => {}
            }
        }
    }

    fn leave(&mut self, leg: LegId) {
        self.legs.retain(|l| *l != leg);
        self.gone.insert(leg);
    }

    /// Everybody hangs up, and the log answers: no call may be left.
    fn end(&mut self) {
        while let Some(leg) = self.legs.pop() {
            self.gone.insert(leg);
            self.pbx.handle(
                self.now,
                Input::Sip(SipEvent::Ended {
                    leg,
                    cause: Cause::Normal,
                }),
            );
            self.drain();
        }
        for _ in 0..3 {
            self.wait(Duration::from_secs(4 * 3600));
            while !self.log.is_empty() {
                let input = self.log_answers(&mut Feed::new(&[]));
                self.pbx.handle(self.now, input);
                self.drain();
            }
        }
        assert_eq!(self.pbx.calls_len(), 0, "a call without anybody in it");
        assert_eq!(self.pbx.deadline(), None);
        assert!(self.legs.is_empty());
    }
}

fn office() -> impl Iterator<Item = Payload> {
    (1..=USERS).flat_map(|number| {
        let account = Account {
            extension: (100 + number).to_string().into(),
            name: "Somebody".into(),
            ha1_md5: "".into(),
            ha1_sha256: "".into(),
        };
        let registers = new_user(id(number), &account, "hash").into_iter();
        registers.map(|(key, value)| Payload::Register {
            key,
            value: Some(value),
        })
    })
}

/// What another version, or a merge, may have left in the log.
fn any_records(feed: &mut Feed<'_>) -> Vec<Payload> {
    const KEYS: [&str; 10] = [
        "user/office.1.1",
        "user/office.1.9",
        "user/office.1.1/pin",
        "user/office.1.2/forward",
        "user/office.1.3/dnd",
        "user/office.1.1/greeting/busy",
        "message/office.1.5/heard",
        "message/office.1.5/folder",
        "message/office.1.5/deleted",
        "user/",
    ];
    let mut records = Vec::new();
    for _ in 0..feed.below(6) {
        records.push(match feed.below(3) {
            0 => {
                let mailbox = id(1 + feed.below(4) as u64);
                let about = format!(
                    "{{\"kind\":\"message\",\"mailbox\":\"{mailbox}\",\"from\":{{\"number\":\"{}\",\"name\":\"\"}},\
                     \"called\":\"101\"}}",
                    feed.byte()
                );
                let about = if feed.one_in(3) { text(feed) } else { about.into() };
                Payload::Begin { id: id(5), codec: SoundCodec::Pcmu, at: WallTime(u64::from(feed.u32()) << 12), about }
            }
            1 => Payload::Seal { id: id(5), kind: seal_kind(feed), about: text(feed) },
            _ => {
                let key = KEYS[feed.below(KEYS.len())].into();
                Payload::Register { key, value: (!feed.one_in(5)).then(|| text(feed)) }
            }
        });
    }
    records
}

fn what(append: Append) -> Payload {
    let place = |samples| ChunkPlace {
        segment: 1,
        offset: 4096,
        samples,
    };
    append.into_what(place).0
}

fn ask(feed: &mut Feed<'_>) -> AdminAsk {
    let extension = if feed.one_in(3) {
        text(feed)
    } else {
        "101".into()
    };
    match feed.below(6) {
        0 => AdminAsk::Calls,
        1 => AdminAsk::Users,
        2 => AdminAsk::Counts,
        3 => AdminAsk::Mailbox { extension },
        4 => AdminAsk::Message {
            extension,
            id: id(feed.below(8) as u64),
        },
        _ => {
            let samples = vec![0xff; feed.below(20_000)].into();
            AdminAsk::Import {
                extension,
                codec: SoundCodec::Pcmu,
                samples,
            }
        }
    }
}

fn cause(feed: &mut Feed<'_>) -> Cause {
    const CAUSES: [Cause; 9] = [
        Cause::Normal,
        Cause::Cancelled,
        Cause::AnsweredElsewhere,
        Cause::Busy,
        Cause::Declined,
        Cause::NoAnswer,
        Cause::NotRegistered,
        Cause::MediaTimeout,
        Cause::Failed,
    ];
    CAUSES[feed.below(CAUSES.len())]
}

fn seal_kind(feed: &mut Feed<'_>) -> SealKind {
    [SealKind::Whole, SealKind::CutShort, SealKind::Discarded][feed.below(3)]
}

fn digit(feed: &mut Feed<'_>) -> char {
    char::from(b"0123456789*#ABCDx"[feed.below(17)])
}

fn dialed(feed: &mut Feed<'_>) -> Arc<str> {
    const DIALED: [&str; 16] = [
        "101", "102", "*97", "*98102", "*101", "*43", "*60", "*65", "*78", "*79", "*72102", "*73",
        "*8", "**102", "68", "681",
    ];
    match feed.below(DIALED.len() + 1) {
        n if n < DIALED.len() => DIALED[n].into(),
        _ => text(feed),
    }
}

fn text(feed: &mut Feed<'_>) -> Arc<str> {
    let len = feed.below(80);
    String::from_utf8_lossy(feed.take(len)).into()
}

fn stamp(epoch: u32, seq: u64) -> Stamp {
    Stamp {
        hlc: Hlc(u64::from(epoch) << 40 | seq),
        node: node(),
        epoch,
        seq,
    }
}

fn id(number: u64) -> Id {
    Id {
        node: node(),
        epoch: 1,
        number,
    }
}

fn node() -> NodeName {
    "office".parse().expect("a legal name")
}
