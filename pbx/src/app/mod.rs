//! Applications: what a leg goes through alone with the machine.
//!
//! Each is a small state machine of its own with its timers in it. It is handed an event together with
//! the leg and the state all share, and gives back what comes next as data ([`Next`]); none starts
//! another. Who is to be started is said by [`Start`], and `call/moves.rs` does it, once the leg has been
//! answered.
//!
//! Invariants: an application has a deadline unless somebody outside is bound to end it. When the party
//! has gone, an application stays only while a recording waits for its seal.

pub(crate) mod codes;
pub(crate) mod ending;
pub(crate) mod room;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_engine::seam::Command;
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::app::codes::{Change, Clock, Setting};
use crate::app::ending::{Announcement, AwaitingSeal};
use crate::app::room::{Entrance, InRoom, RoomAct};
use crate::call::dial_request::DialRequest;
use crate::call::parking::{Parked, Parking};
use crate::call::transfer::Transferring;
use crate::call::{Leg, LegEvent};
use crate::say::Say;
use crate::seam::Cause;
use crate::state::PbxState;
use crate::voicemail::deposit::{Deposit, Reason};
use crate::voicemail::login::Login;
use crate::voicemail::session::Session;
use crate::words;

/// The shim gives up on an ACK after 32 s (RFC 3261 §13.3.1.4); this is for a shim that does not.
const CONFIRM_WAIT: Duration = Duration::from_secs(40);

/// An application, as far as it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum App {
    /// We have answered, and wait for the party to confirm so that it misses no word.
    Answering { start: Start, until: Time },
    /// The party hears itself.
    Echo,
    /// The party hears the time.
    Clock(Clock),
    /// A setting is being written.
    Setting(Setting),
    /// Something is said.
    Announcement(Announcement),
    /// The party leaves a message.
    Deposit(Deposit),
    /// The party says whose messages it wants to hear.
    Login(Login),
    /// The party hears messages.
    Session(Box<Session>),
    /// The party waits in a slot until somebody fetches it.
    Parked(Parked),
    /// The party is asked for the PIN of a room.
    Entrance(Entrance),
    /// The party is in a room.
    Room(InRoom),
    /// The party has asked for a transfer, and is to hang up when it has heard the outcome.
    Transferring(Transferring),
    /// The party has gone; what it said waits for its seal.
    AwaitingSeal(AwaitingSeal),
}

/// What follows for a leg.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// The application goes on.
    Stay(App),
    /// This begins, once the leg has been answered.
    Start(Start),
    /// Somebody is rung.
    Dial(DialRequest),
    /// It picks up what rings at this user; `None`: at anybody whose calls it may pick up.
    PickUp(Option<Id>),
    /// Its user wants to be called when whom it missed last is free; false: no longer.
    WhenFree(bool),
    /// Its user parks whom it holds.
    ParkHeld,
    /// It is parked, by this user.
    Park(Option<Id>),
    /// It fetches who is parked in this slot.
    FetchParked(u32),
    /// It comes into this room; true: as a host.
    EnterRoom(Id, bool),
    /// It is in a room, and asks for something there.
    Room(InRoom, RoomAct),
    /// It speaks to the phones of this group.
    Page(Id),
    /// The leg is ended.
    End(Cause),
    /// The leg has ended, and nothing of it is left to wait for.
    Over,
}

/// Which application begins, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Start {
    /// Leave a message in this mailbox.
    Deposit(Id, Reason),
    /// Whose messages? `None`: that is asked.
    Login(Option<Id>),
    /// Hear the messages of this mailbox; the PIN was right.
    Session(Id),
    /// Say what the echo is, then echo.
    EchoTest,
    /// Echo from the first packet.
    Echo,
    Clock,
    MyNumber,
    /// Change a setting of this user.
    Change(Id, Change),
    /// Say this, then hang up.
    Say(Say),
    /// Wait in a slot.
    Parked(Parking),
    /// Come into this room, with the PIN if it has one.
    Room(Id),
    /// Speak to the phones of this group.
    Page(Id),
}

impl Next {
    /// This, and "goodbye".
    pub(crate) fn goodbye(said: Say) -> Next {
        Next::Start(Start::Say(said.word(words::GOODBYE)))
    }
}

impl Start {
    /// The party must have confirmed the answer first, or it misses the beginning.
    pub(crate) fn waits_for_confirmation(&self) -> bool {
        !matches!(self, Start::Echo)
    }

    /// Begins it on a leg that has been answered.
    pub(crate) fn begin(self, leg: &mut Leg, x: &mut PbxState) -> Next {
        match self {
            Start::Deposit(mailbox, reason) => Deposit::start(leg, x, mailbox, reason),
            Start::Login(mailbox) => Login::start(leg, x, mailbox),
            Start::Session(mailbox) => Session::start(leg, x, mailbox),
            Start::EchoTest => Announcement::then_echo(leg, x, Say::one(words::ECHO_TEST)),
            Start::Echo => {
                x.media(Command::Echo { leg: leg.id });
                Next::Stay(App::Echo)
            }
            Start::Clock => Clock::start(leg, x),
            Start::MyNumber => codes::my_number(leg, x),
            Start::Change(user, change) => Setting::start(leg, x, user, change),
            Start::Say(said) => Announcement::start(leg, x, said),
            Start::Parked(parking) => Parked::start(leg, x, parking),
            Start::Room(room) => Entrance::start(leg, x, room),
            Start::Page(group) => Next::Page(group),
        }
    }
}

impl App {
    /// Waits for the confirmation of an answer.
    pub(crate) fn answering(start: Start, x: &PbxState) -> App {
        App::Answering {
            start,
            until: x.after(CONFIRM_WAIT),
        }
    }

    /// Takes in an event.
    pub(crate) fn on(self, leg: &mut Leg, x: &mut PbxState, event: &LegEvent) -> Next {
        match self {
            App::Answering { start, .. } if matches!(event, LegEvent::Confirmed(_)) => {
                Next::Start(start)
            }
            App::Answering { .. } if matches!(event, LegEvent::Timer) => {
                Next::End(Cause::MediaTimeout)
            }
            App::Clock(app) => app.on(leg, x, event),
            App::Setting(app) => app.on(event),
            App::Announcement(app) => app.on(leg, x, event),
            App::Deposit(app) => app.on(leg, x, event),
            App::Login(app) => app.on(leg, x, event),
            App::Session(app) => app.on(leg, x, event),
            App::AwaitingSeal(app) => app.on(leg, x, event),
            App::Parked(app) => app.on(leg, x, event),
            App::Entrance(app) => app.on(leg, x, event),
            App::Room(app) => app.on(leg, x, event),
            App::Transferring(app) => app.on(leg, x, event),
            App::Answering { .. } | App::Echo => Next::Stay(self),
        }
    }

    /// The party has gone.
    pub(crate) fn party_gone(self, leg: &mut Leg, x: &mut PbxState) -> Next {
        match self {
            App::Deposit(app) => app.party_gone(leg, x),
            App::Session(app) => app.party_gone(x),
            App::AwaitingSeal(_) => Next::Stay(self),
            // A setting is on its way to the disk and stands, heard or not.
            App::Setting(_)
            | App::Answering { .. }
            | App::Echo
            | App::Clock(_)
            | App::Announcement(_)
            | App::Login(_)
            | App::Parked(_)
            | App::Entrance(_)
            | App::Room(_)
            | App::Transferring(_) => Next::Over,
        }
    }

    /// When it wants to hear of [`LegEvent::Timer`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            App::Answering { until, .. } => Some(*until),
            App::Transferring(app) => Some(app.until),
            App::Parked(app) => Some(app.until),
            App::Entrance(app) => app.deadline(),
            App::Room(app) => app.deadline(),
            App::Clock(app) => app.until,
            App::Setting(app) => app.deadline(),
            App::Announcement(app) => Some(app.until),
            App::Deposit(app) => app.deadline(),
            App::Login(app) => app.deadline(),
            App::Session(app) => app.deadline(),
            App::AwaitingSeal(app) => app.deadline(),
            App::Echo => None,
        }
    }

    /// Digits mean something now, or nothing ever; otherwise they are kept for later.
    pub(crate) fn wants_digits(&self) -> bool {
        match self {
            App::Answering { .. } | App::Setting(_) => false,
            App::Deposit(app) => app.wants_digits(),
            App::Login(app) => app.wants_digits(),
            App::Session(app) => app.wants_digits(),
            App::Entrance(app) => app.wants_digits(),
            _ => true,
        }
    }

    /// What it goes through, for its record: not the waiting between two places.
    pub(crate) fn is_a_place(&self) -> bool {
        !matches!(self, App::Answering { .. } | App::AwaitingSeal(_))
    }

    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            App::Answering { .. } => "answering",
            App::Echo => "echo",
            App::Clock(_) => "clock",
            App::Setting(_) => "setting",
            App::Announcement(_) => "announcement",
            App::Deposit(_) => "leaving a message",
            App::Login(_) => "logging in",
            App::Session(_) => "hearing messages",
            App::Parked(_) => "parked",
            App::Entrance(_) => "at a room's door",
            App::Room(app) if app.is_paged => "paged",
            App::Room(_) => "in a room",
            App::Transferring(_) => "transferring",
            App::AwaitingSeal(_) => "sealing",
        }
    }
}
