//! Calls: every leg in whatever phase, and the ways to find one.
//!
//! A leg is found by its number (call control), by our tag (requests within a dialog), and, while
//! it is young, by what makes a request unique (to recognise one that came by two ways).
//!
//! ```text
//!   in:   Offered ─► Answered ─► Up          out:  Dialing ─► Calling ─► Up
//!                        └► Closing (hung up before the ACK came)
//! ```

use std::collections::BTreeMap;

use tandem_engine::seam::LegId;
use tandem_pbx::seam::{CallHistory, Caller, Target};
use tandem_storage::name::Id;

use crate::client_digest::Proofs;
use crate::context::{LazyTimer, NumberMap};
use crate::dialog::Dialog;
use crate::message::Message;
use crate::offer_answer::MediaNegotiation;
use crate::reliable::{Early, Reliable};
use crate::sdp::Session;
use crate::server_transactions::ServerId;
use crate::session::SessionTimer;
use crate::wire::Flow;

/// All calls of a node.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_leg: NumberMap<u64, Call>,
    by_tag: NumberMap<u64, LegId>,
    by_origin: NumberMap<u64, LegId>,
    /// How many each user makes.
    per_user: BTreeMap<Id, usize>,
    legs_in: u64,
}

/// One leg.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) leg: LegId,
    pub(crate) phase: Phase,
    /// Our tag, by which requests find it.
    pub(crate) tag: u64,
    origin: Option<u64>,
    pub(crate) talk: Option<MediaNegotiation>,
    /// Its port in the media engine is open.
    pub(crate) has_media: bool,
    /// What is done when it is.
    pub(crate) wants: Option<Wants>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) timer: Option<SessionTimer>,
    /// When the call itself has something to do.
    pub(crate) wake: LazyTimer,
    /// A 2xx of ours whose ACK has not come.
    pub(crate) unconfirmed: Option<Unconfirmed>,
    /// Whose call it is, if a user of ours makes it.
    pub(crate) user: Option<Id>,
    /// A refresh of ours that has not been answered.
    pub(crate) refreshing: bool,
    /// The other side takes UPDATE.
    pub(crate) takes_update: bool,
    /// Its caller takes provisional responses that are certain to arrive.
    pub(crate) reliable: Option<Reliable>,
    /// A transfer that its party asked for.
    pub(crate) refer: Option<Refer>,
}

/// Where it stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Came in; call control knows of it.
    Offered(Box<Invite>),
    /// Accepted; the ACK has not come.
    Answered,
    /// Goes out; a media port is being opened.
    Dialing(Box<Out>),
    /// Phones are being called.
    Calling(Box<Out>),
    /// Talking.
    Up,
    /// Call control is done with it, but a 2xx must be confirmed before it can be hung up
    /// (RFC 3261 §15).
    Closing,
}

/// What a leg that came in needs a media port for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// Early media, for the sake of another leg.
    Progress(Option<LegId>),
    /// The answer.
    Answer(Option<LegId>),
}

/// An INVITE that awaits our answer.
#[derive(Debug)]
pub(crate) struct Invite {
    pub(crate) server: ServerId,
    pub(crate) request: Message,
    pub(crate) offer: Option<Session>,
    pub(crate) caller: Caller,
    pub(crate) dialed: std::sync::Arc<str>,
}

/// A call that goes out.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) target: Target,
    pub(crate) caller: Caller,
    pub(crate) like: Option<LegId>,
    /// The phones are asked to answer by themselves.
    pub(crate) auto_answer: bool,
    /// Where the call has been.
    pub(crate) history: CallHistory,
    pub(crate) forks: Vec<Fork>,
    pub(crate) ringing: bool,
}

/// One phone of it, or the host.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) branch: u64,
    pub(crate) flow: Flow,
    pub(crate) behind_nat: bool,
    pub(crate) contact: Box<str>,
    /// The proxies on the way to it.
    pub(crate) path: Vec<String>,
    pub(crate) tag: u64,
    pub(crate) call_id: Box<str>,
    pub(crate) cseq: u32,
    /// What a proxy on the way wants a session to last at least; it may say so once.
    pub(crate) min_se_s: Option<u32>,
    /// Answers to its challenges.
    pub(crate) proofs: Proofs,
    /// Its early dialogs whose responses we have confirmed.
    pub(crate) early: Vec<Early>,
    /// How it ended, once it has.
    pub(crate) failed: Option<tandem_pbx::seam::Cause>,
}

/// A REFER whose outcome is not known yet (RFC 3515).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refer {
    /// Its CSeq, which names the subscription.
    pub(crate) cseq: u32,
    /// Its sender wants to be notified (RFC 4488).
    pub(crate) notifies: bool,
}

/// A 2xx of ours that awaits its ACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unconfirmed {
    pub(crate) server: ServerId,
    pub(crate) cseq: u32,
    /// It carried our offer: the ACK must carry the answer.
    pub(crate) offered: bool,
    /// It was to the first INVITE of the call.
    pub(crate) first: bool,
}

impl Call {
    fn new(leg: LegId, phase: Phase, tag: u64, origin: Option<u64>) -> Call {
        Call {
            leg,
            phase,
            tag,
            origin,
            talk: None,
            has_media: false,
            wants: None,
            dialog: None,
            timer: None,
            wake: LazyTimer::never(),
            unconfirmed: None,
            user: None,
            refreshing: false,
            takes_update: false,
            reliable: None,
            refer: None,
        }
    }
}

impl Calls {
    /// A call comes in.
    pub(crate) fn begin_in(&mut self, invite: Invite, tag: u64, origin: u64) -> LegId {
        self.legs_in += 1;
        let leg = LegId(self.legs_in * 2 - 1);
        self.by_tag.insert(tag, leg);
        self.by_origin.insert(origin, leg);
        let user = invite.caller.user;
        let mut call = Call::new(leg, Phase::Offered(Box::new(invite)), tag, Some(origin));
        call.user = user;
        if let Some(user) = user {
            *self.per_user.entry(user).or_default() += 1;
        }
        self.by_leg.insert(leg.0, call);
        leg
    }

    /// A call goes out.
    pub(crate) fn begin_out(&mut self, leg: LegId, out: Out) {
        self.by_leg.insert(
            leg.0,
            Call::new(leg, Phase::Dialing(Box::new(out)), 0, None),
        );
    }

    /// A call that goes out has its media port.
    pub(crate) fn opened(&mut self, leg: LegId, talk: MediaNegotiation) {
        let Some(call) = self.by_leg.get_mut(&leg.0) else {
            return;
        };
        call.talk = Some(talk);
        call.phase = match std::mem::replace(&mut call.phase, Phase::Closing) {
            Phase::Dialing(out) => Phase::Calling(out),
            other => other,
        };
    }

    /// Which of several tags an outgoing call goes by is known once a phone has answered.
    pub(crate) fn name(&mut self, leg: LegId, tag: u64) {
        if let Some(call) = self.by_leg.get_mut(&leg.0) {
            call.tag = tag;
            self.by_tag.insert(tag, leg);
        }
    }

    pub(crate) fn get(&self, leg: LegId) -> Option<&Call> {
        self.by_leg.get(&leg.0)
    }

    pub(crate) fn get_mut(&mut self, leg: LegId) -> Option<&mut Call> {
        self.by_leg.get_mut(&leg.0)
    }

    pub(crate) fn by_tag(&self, tag: u64) -> Option<LegId> {
        self.by_tag.get(&tag).copied()
    }

    /// Did the same request come by another way? (RFC 3261 §8.2.2.2)
    pub(crate) fn is_merged(&self, origin: u64) -> bool {
        self.by_origin.contains_key(&origin)
    }

    pub(crate) fn remove(&mut self, leg: LegId) -> Option<Call> {
        let call = self.by_leg.remove(&leg.0)?;
        self.by_tag.remove(&call.tag);
        if let Some(origin) = call.origin {
            self.by_origin.remove(&origin);
        }
        if let Some(count) = call.user.and_then(|user| self.per_user.get_mut(&user)) {
            *count -= 1;
            if *count == 0 {
                call.user.and_then(|user| self.per_user.remove(&user));
            }
        }
        Some(call)
    }

    /// Calls that a user makes at present.
    pub(crate) fn made_by(&self, user: Id) -> usize {
        self.per_user.get(&user).copied().unwrap_or(0)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_leg.len()
    }
}
