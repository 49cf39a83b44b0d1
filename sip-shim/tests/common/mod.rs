//! A world around the core in which tests read like transcripts: messages in as text, everything
//! that comes out as one line each. No socket, no clock.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file is a program of its own and uses a part of this one"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_engine::seam::{Command, LegId};
use tandem_pbx::seam::{
    CallHistory, Caller, ClassOfService, MessageSummary, SipCommand, SipEvent, SipUser, Target,
    Watchable,
};
use tandem_sip_shim::validate::read_datagram;
use tandem_sip_shim::{
    Flow, Shim, ShimConfig, ShimInput, ShimOutput, Transport, Trusted, WireIn, WireOut,
};
use tandem_storage::name::Id;
use tandem_storage::time::{Now, Time};

pub const DESK: &str = "10.0.0.1:5060";
pub const HOME: &str = "10.0.0.2:5060";

pub struct World {
    /// What was told of phones, to be written down, by user and slot.
    pub phones: BTreeMap<(u64, u32), Option<Arc<str>>>,
    pub shim: Shim,
    pub now: Now,
    /// Every message sent, with where to.
    pub sent: Vec<(Flow, String)>,
    pub lines: Vec<String>,
    /// What call control was told.
    pub events: Vec<SipEvent>,
    /// Streams that are to be kept.
    pub kept: Vec<Flow>,
    pub ports_left: usize,
    port: u16,
    cseq: u32,
}

pub fn id(number: u64) -> Id {
    Id {
        node: "n1".parse().unwrap(),
        epoch: 1,
        number,
    }
}

/// User 101 has id 101, password demo-101, and so on.
pub fn user(number: u64) -> SipUser {
    let extension = number.to_string();
    let password = format!("demo-{number}");
    let (md5, sha256) = tandem_sip_shim::digest::ha1(&extension, "tandem", &password);
    SipUser {
        id: id(number),
        extension: extension.into(),
        name: format!("User {number}").into(),
        ha1_md5: md5.into(),
        ha1_sha256: sha256.into(),
    }
}

pub fn config() -> ShimConfig {
    ShimConfig {
        advertise: "10.0.0.9".parse().unwrap(),
        trusted: vec![Trusted::gateway("10.7.0.0/16".parse().unwrap())],
        ..ShimConfig::default()
    }
}

impl World {
    pub fn new() -> World {
        World::with(config())
    }

    pub fn with(config: ShimConfig) -> World {
        let mut world = World {
            shim: Shim::new(config, [7; 32]),
            now: Now {
                mono: Time(1_000_000_000),
                ..Now::default()
            },
            sent: Vec::new(),
            lines: Vec::new(),
            events: Vec::new(),
            kept: Vec::new(),
            ports_left: usize::MAX,
            port: 10_000,
            phones: BTreeMap::new(),
            cseq: 1000,
        };
        for number in 101..=104 {
            let user = Some(user(number));
            world.input(ShimInput::User {
                id: id(number),
                user,
            });
        }
        world
    }

    /// A message arrives as a datagram. Line ends are mended; a Content-Length is put in place of
    /// `Content-Length: ?`.
    pub fn receive(&mut self, from: &str, text: &str) {
        self.receive_on(Flow::udp(from.parse().unwrap()), text);
    }

    pub fn receive_on(&mut self, flow: Flow, text: &str) {
        let text = mended(text);
        let message = read_datagram(text.as_bytes()).unwrap();
        self.input(ShimInput::Wire(WireIn::Message { flow, message }));
    }

    pub fn pbx(&mut self, command: SipCommand) {
        self.input(ShimInput::Pbx(command));
    }

    pub fn input(&mut self, input: ShimInput) {
        self.shim.handle(self.now, input);
        self.drain();
    }

    /// Time passes, with every timer on the way.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono + Duration::from_millis(ms);
        while let Some(at) = self.shim.deadline().filter(|at| *at <= end) {
            self.now.mono = self.now.mono.max(at);
            self.shim.tick(self.now);
            self.drain();
        }
        self.now.mono = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.shim.poll() {
            match output {
                ShimOutput::Wire(WireOut::Send { flow, bytes }) => self.note_sent(flow, &bytes),
                ShimOutput::Wire(WireOut::Keep { flow }) => self.kept.push(flow),
                ShimOutput::Pbx(SipEvent::PhoneSeen { user, slot, seen }) => {
                    self.phones.insert((user.number, slot), seen);
                }
                ShimOutput::Pbx(event) => {
                    self.lines.push(event_line(&event));
                    self.events.push(event);
                }
                ShimOutput::Media(command) => self.lines.push(media_line(&command)),
                ShimOutput::OpenMedia { leg } => {
                    let port = if self.ports_left > 0 {
                        Ok(self.port)
                    } else {
                        Err(())
                    };
                    self.ports_left = self.ports_left.saturating_sub(1);
                    self.port += 2;
                    self.shim
                        .handle(self.now, ShimInput::MediaOpened { leg, port });
                }
            }
        }
    }

    fn note_sent(&mut self, flow: Flow, bytes: &Arc<[u8]>) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let first = text.lines().next().unwrap();
        let cseq = header(&text, "CSeq");
        let what = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => format!("{} ({cseq})", &status[..3]),
            None => first.trim_end_matches(" SIP/2.0").to_owned(),
        };
        let way = if flow.transport == Transport::Tcp {
            " by tcp"
        } else {
            ""
        };
        self.lines.push(format!("{}{way}: {what}", flow.peer));
        self.sent.push((flow, text));
    }

    /// What has come out since the last time.
    pub fn out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Compares what has come out since the last time.
    #[track_caller]
    pub fn expect(&mut self, lines: &[&str]) {
        let got = self.out();
        assert_eq!(got, lines, "\nlast message:\n{}", self.last());
    }

    /// The last message sent.
    pub fn last(&self) -> &str {
        self.sent.last().map_or("", |(_, t)| t)
    }

    /// The last message sent whose first line begins so.
    #[track_caller]
    pub fn last_like(&self, start: &str) -> String {
        let found = self.sent.iter().rev().find(|(_, t)| t.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start}")).1.clone()
    }

    /// Registers a user's phone at an address, with the first challenge.
    #[track_caller]
    pub fn register(&mut self, number: u64, at: &str) {
        self.cseq += 2;
        let cseq = self.cseq;
        self.receive(at, &register_text(number, at, cseq, ""));
        let proof = self.proof("REGISTER", "sip:10.0.0.9", number);
        self.receive(at, &register_text(number, at, cseq + 1, &proof));
        assert!(
            self.last_like("SIP/2.0").starts_with("SIP/2.0 200"),
            "{}",
            self.last()
        );
        self.out();
    }

    /// The Authorization header that answers the last 401.
    #[track_caller]
    pub fn proof(&self, method: &str, uri: &str, number: u64) -> String {
        let challenge = header(&self.last_like("SIP/2.0 401"), "WWW-Authenticate");
        self.answer(
            &challenge,
            method,
            uri,
            number,
            &format!("demo-{number}"),
            1,
        )
    }

    pub fn answer(
        &self,
        challenge: &str,
        method: &str,
        uri: &str,
        number: u64,
        password: &str,
        count: u32,
    ) -> String {
        let name = number.to_string();
        tandem_sip_shim::digest::answer(challenge, method, uri, &name, password, count).unwrap()
    }

    /// A call from a trusted gateway to 102 that call control has been told of, as leg 1.
    pub fn incoming(&mut self) -> &'static str {
        self.receive(GATE, &invite(1, ""));
        self.expect(&[
            "10.7.0.1:5060: 100 (1 INVITE)",
            "pbx: Incoming 1: 555 \"Gate\" -> 102",
        ]);
        GATE
    }

    /// The same, answered and confirmed.
    pub fn talking(&mut self) {
        self.incoming();
        self.pbx(SipCommand::Answer {
            leg: LegId(1),
            like: None,
        });
        self.expect(&[
            "10.7.0.1:5060: 200 (1 INVITE)",
            "media: Set 1 Pcmu 10.7.0.1:4000 both",
        ]);
        self.receive(GATE, &self.within("ACK", 1, "", ""));
        self.expect(&["pbx: Confirmed 1"]);
    }

    /// A request of the gateway's within its call.
    pub fn within(&self, method: &str, cseq: u32, headers: &str, body: &str) -> String {
        let ok = self.last_like("SIP/2.0 200");
        let to = header(&ok, "To");
        let call_id = header(&ok, "Call-ID");
        let from = header(&ok, "From");
        within(&to, &from, &call_id, method, cseq, headers, body)
    }

    /// 102 is called at its phone at HOME, as leg 2.
    pub fn outgoing(&mut self) {
        self.register(102, HOME);
        self.call(2);
        self.expect(&["10.0.0.2:5060: INVITE sip:102@10.0.0.2:5060"]);
    }

    pub fn call(&mut self, leg: u64) {
        self.call_with(leg, CallHistory::default());
    }

    pub fn call_with(&mut self, leg: u64, history: CallHistory) {
        let caller = Caller {
            user: None,
            number: "555".into(),
            name: "Gate".into(),
            is_withheld: false,
            class: ClassOfService::Internal,
        };
        self.pbx(SipCommand::Call {
            leg: LegId(leg),
            target: Target::User(id(102)),
            caller,
            like: None,
            auto_answer: false,
            history,
        });
    }

    /// A phone's answer to the last request that begins so.
    pub fn respond(&mut self, from: &str, start: &str, status: &str, headers: &str, body: &str) {
        let request = self.last_like(start);
        self.respond_to(from, &request, status, headers, body);
    }

    pub fn respond_to(
        &mut self,
        from: &str,
        request: &str,
        status: &str,
        headers: &str,
        body: &str,
    ) {
        let port = from.rsplit(':').next().unwrap();
        let to = header(request, "To");
        let tag = if to.contains("tag=") || status.starts_with("100") {
            String::new()
        } else {
            format!(";tag=phone{port}")
        };
        let text = format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}{tag}\nCall-ID: {}\nCSeq: {}\n\
             {headers}{}",
            header(request, "Via"),
            header(request, "From"),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            body_text(body),
        );
        self.receive(from, &text);
    }
}

pub const GATE: &str = "10.7.0.1:5060";

pub const OFFER: &str = "v=0\no=- 1 1 IN IP4 10.7.0.1\ns=-\nc=IN IP4 10.7.0.1\nt=0 0\n\
    m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\n";

pub fn answer_sdp(ip: &str, formats: &str) -> String {
    format!("v=0\no=- 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio 4200 RTP/AVP {formats}\n")
}

pub fn invite(cseq: u32, headers: &str) -> String {
    invite_with(cseq, headers, OFFER)
}

pub fn invite_with(cseq: u32, headers: &str, body: &str) -> String {
    format!(
        "INVITE sip:102@10.0.0.9 SIP/2.0\nVia: SIP/2.0/UDP 10.7.0.1:5060;branch=z9hG4bKi{cseq};rport\n\
         Max-Forwards: 70\nFrom: \"Gate\" <sip:555@10.7.0.1>;tag=g1\nTo: <sip:102@10.0.0.9>\n\
         Call-ID: gate-1\nCSeq: {cseq} INVITE\nContact: <sip:555@10.7.0.1:5060>\n{headers}{}",
        body_text(body)
    )
}

pub fn within(
    to: &str,
    from: &str,
    call_id: &str,
    method: &str,
    cseq: u32,
    headers: &str,
    body: &str,
) -> String {
    format!(
        "{method} sip:10.0.0.9:5060 SIP/2.0\n\
         Via: SIP/2.0/UDP 10.7.0.1:5060;branch=z9hG4bKw{method}{cseq};rport\n\
         Max-Forwards: 70\nFrom: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\n\
         {headers}{}",
        body_text(body)
    )
}

pub fn register_text(number: u64, at: &str, cseq: u32, headers: &str) -> String {
    let contact = if headers.contains("Contact:") {
        String::new()
    } else {
        format!("Contact: <sip:{number}@{at}>\n")
    };
    format!(
        "REGISTER sip:10.0.0.9 SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bKr{number}-{at}-{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:{number}@10.0.0.9>;tag=r{number}\nTo: <sip:{number}@10.0.0.9>\n\
         Call-ID: reg-{number}-{at}\nCSeq: {cseq} REGISTER\n{contact}{headers}Content-Length: 0\n\n"
    )
}

pub fn body_text(body: &str) -> String {
    if body.is_empty() {
        return "Content-Length: 0\n\n".to_owned();
    }
    let length = mended(body).len();
    let kind = if body.starts_with("v=0") {
        "application/sdp"
    } else if body.starts_with("Signal") {
        "application/dtmf-relay"
    } else {
        "text/plain"
    };
    format!("Content-Type: {kind}\nContent-Length: {length}\n\n{body}")
}

pub fn mended(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

pub fn header(text: &str, name: &str) -> String {
    let head = text.split("\r\n\r\n").next().unwrap();
    let find = |l: &str| {
        l.strip_prefix(name)
            .and_then(|l| l.strip_prefix(": "))
            .map(str::to_owned)
    };
    head.lines().find_map(find).unwrap_or_default()
}

pub fn lamp(new: u32, old: u32) -> MessageSummary {
    MessageSummary {
        new,
        old,
        ..MessageSummary::default()
    }
}

fn event_line(event: &SipEvent) -> String {
    match event {
        SipEvent::PhoneSeen { .. } => unreachable!("kept apart"),
        SipEvent::Progress { leg } => format!("pbx: Progress {}", leg.0),
        SipEvent::Redirected { leg, to } => format!("pbx: Redirected {} to {to}", leg.0),
        SipEvent::Incoming {
            leg,
            caller,
            dialed,
            replaces,
            trunk,
            ..
        } => {
            let by = trunk.map_or(String::new(), |id| format!(" by {}", id.number));
            let over = replaces.map_or(String::new(), |leg| format!(" over {}", leg.0));
            let who = caller
                .user
                .map(|u| format!(" [{}]", u.number))
                .unwrap_or_default();
            let Caller { number, name, .. } = caller;
            format!(
                "pbx: Incoming {}: {number} \"{name}\"{who} -> {dialed}{over}{by}",
                leg.0
            )
        }
        SipEvent::Ringing { leg } => format!("pbx: Ringing {}", leg.0),
        SipEvent::Answered { leg, .. } => format!("pbx: Answered {}", leg.0),
        SipEvent::Confirmed { leg, .. } => format!("pbx: Confirmed {}", leg.0),
        SipEvent::Ended { leg, cause } => format!("pbx: Ended {} {cause:?}", leg.0),
        SipEvent::Held { leg, held } => format!("pbx: Held {} {held}", leg.0),
        SipEvent::Digit { leg, digit } => format!("pbx: Digit {} {digit}", leg.0),
        SipEvent::Refer {
            leg, to, replaces, ..
        } => {
            let with = replaces.map_or(String::new(), |leg| format!(" with {}", leg.0));
            format!("pbx: Refer {} to {to}{with}", leg.0)
        }
        SipEvent::Text { number, caller, to } => {
            let Caller {
                number: from, name, ..
            } = caller;
            format!("pbx: Text {number}: {from} \"{name}\" -> {to}")
        }
        SipEvent::Watched { what, is_watched } => {
            let what = match what {
                Watchable::User(user) => user.number.to_string(),
                Watchable::Group(group) => format!("group {}", group.number),
                Watchable::Slot(slot) => format!("slot {slot}"),
            };
            format!("pbx: Watched {what} {is_watched}")
        }
        SipEvent::PhoneCame { user } => format!("pbx: PhoneCame {}", user.number),
    }
}

fn media_line(command: &Command) -> String {
    match command {
        Command::Set { leg, params } => {
            let way = match (params.send, params.receive) {
                (true, true) => "both",
                (true, false) => "send",
                (false, true) => "receive",
                (false, false) => "neither",
            };
            let to = params
                .remote_rtp
                .map_or("nowhere".to_owned(), |a: SocketAddr| a.to_string());
            format!("media: Set {} {:?} {to} {way}", leg.0, params.codec)
        }
        Command::Close { leg } => format!("media: Close {}", leg.0),
        other => format!("media: {other:?}"),
    }
}
