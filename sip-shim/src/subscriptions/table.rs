//! The table of subscriptions: by our tag, by whom they are about, and by whose phones have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_pbx::seam::{Label, MessageSummary, Watchable, WatchedCall};
use tandem_storage::name::Id;
use tandem_storage::time::Time;

use crate::config::ShimConfig;
use crate::context::{LazyTimer, NumberMap};
use crate::dialog::Dialog;
use crate::wire::Flow;
use crate::{dialog_info, mwi};

/// What a subscription is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Package {
    /// A user's lamp.
    MessageSummary,
    /// A line's calls.
    Dialog,
}

/// All subscriptions, by our tag.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(super) by_tag: NumberMap<u64, Subscription>,
    /// The subscriptions about each line.
    about: BTreeMap<(Package, Watchable), BTreeSet<u64>>,
    /// The subscriptions of each user's phones.
    by_subscriber: BTreeMap<(Package, Id), BTreeSet<u64>>,
    /// How many are about calls; the others are about lamps.
    watches: usize,
    /// The calls of lines that are watched, as call control told them last.
    pub(super) calls: BTreeMap<Watchable, Calls>,
    /// Lines that are no user's, as call control told them last.
    labels: BTreeMap<Watchable, Label>,
    by_number: BTreeMap<Arc<str>, Watchable>,
}

/// A watched line's calls.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) calls: Arc<[WatchedCall]>,
    /// Rises with every change.
    pub(super) change: u64,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) package: Package,
    /// Whose phone it is.
    pub(super) subscriber: Id,
    /// Whom it is about.
    pub(super) about: Watchable,
    pub(super) dialog: Dialog,
    /// The Event header's id, if it has one.
    pub(super) id: Box<str>,
    pub(super) expires: LazyTimer,
    pub(super) busy: bool,
    pub(super) told: Option<Told>,
    /// The calls that it was told of last.
    pub(super) shown: Arc<[WatchedCall]>,
    /// When it was notified last.
    pub(super) notified_at: Option<Time>,
    /// A timer is set for a notification that was put off.
    pub(super) is_put_off: bool,
    /// Notifications so far.
    pub(super) version: u32,
    /// It must be notified even if nothing has changed (after every SUBSCRIBE).
    pub(super) wanted: bool,
    /// It is over, for this reason; one last notification says so.
    pub(super) over: Option<&'static str>,
}

/// What a subscriber was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Lamp(MessageSummary),
    /// The calls as of this change.
    Calls(u64),
}

impl Subscription {
    /// It must be notified even if nothing has changed.
    pub(super) fn is_owed(&self) -> bool {
        self.wanted || self.over.is_some()
    }
}

impl Package {
    pub(super) fn parse(event: &str) -> Option<Package> {
        let name = event.split(';').next().unwrap_or_default().trim();
        [Package::MessageSummary, Package::Dialog]
            .into_iter()
            .find(|package| package.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Package::MessageSummary => "message-summary",
            Package::Dialog => "dialog",
        }
    }

    pub(super) fn body_kind(self) -> &'static str {
        match self {
            Package::MessageSummary => mwi::BODY_KIND,
            Package::Dialog => dialog_info::BODY_KIND,
        }
    }

    /// How many subscriptions all phones may have.
    pub(super) fn most_of_all(self, config: &ShimConfig) -> usize {
        match self {
            Package::MessageSummary => config.lamp_subscriptions_max,
            Package::Dialog => config.watches_max,
        }
    }

    /// How many subscriptions one user's phones may have.
    pub(super) fn most(self, config: &ShimConfig) -> usize {
        match self {
            Package::MessageSummary => config.subscriptions_per_user_max,
            Package::Dialog => config.watched_per_user_max,
        }
    }
}

impl Subscriptions {
    pub(crate) fn is_subscribed(&self, user: Id, flow: &Flow) -> bool {
        let key = (Package::MessageSummary, Watchable::User(user));
        let tags = self.about.get(&key);
        let own = tags
            .into_iter()
            .flatten()
            .filter_map(|t| self.by_tag.get(t));
        own.into_iter()
            .any(|s| s.dialog.flow.peer == flow.peer && s.over.is_none())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// Those of one package.
    pub(super) fn len_of(&self, package: Package) -> usize {
        match package {
            Package::Dialog => self.watches,
            Package::MessageSummary => self.by_tag.len() - self.watches,
        }
    }

    /// Puts one in. True: it is the first that watches this line's calls.
    pub(super) fn insert(&mut self, tag: u64, subscription: Subscription) -> bool {
        let of = (subscription.package, subscription.subscriber);
        self.by_subscriber.entry(of).or_default().insert(tag);
        let key = (subscription.package, subscription.about);
        let tags = self.about.entry(key).or_default();
        tags.insert(tag);
        let is_first = tags.len() == 1 && key.0 == Package::Dialog;
        self.watches += usize::from(key.0 == Package::Dialog);
        self.by_tag.insert(tag, subscription);
        is_first
    }

    /// Takes one away. `Some`: nobody watches this line's calls any more.
    pub(super) fn remove(&mut self, tag: u64) -> Option<Watchable> {
        let gone = self.by_tag.remove(&tag)?;
        let (package, about) = (gone.package, gone.about);
        self.watches -= usize::from(package == Package::Dialog);
        let of = (package, gone.subscriber);
        if let Some(tags) = self.by_subscriber.get_mut(&of) {
            tags.remove(&tag);
            if tags.is_empty() {
                self.by_subscriber.remove(&of);
            }
        }
        let tags = self.about.get_mut(&(package, about))?;
        tags.remove(&tag);
        if !tags.is_empty() {
            return None;
        }
        self.about.remove(&(package, about));
        if package == Package::MessageSummary {
            return None;
        }
        self.calls.remove(&about);
        Some(about)
    }

    /// What a new subscription of this user's phone at `flow` replaces: that phone's earlier one, or the
    /// oldest.
    pub(super) fn replaced(&self, new: &Subscription, flow: &Flow, most: usize) -> Vec<u64> {
        let mut own: Vec<(Time, u64)> = Vec::new();
        let tags = self.by_subscriber.get(&(new.package, new.subscriber));
        let there = tags.into_iter().flatten();
        for (tag, s) in there.filter_map(|tag| Some((tag, self.by_tag.get(tag)?))) {
            let is_same = s.dialog.source == flow.peer && s.id == new.id && s.about == new.about;
            own.push((if is_same { Time(0) } else { s.expires.due() }, *tag));
        }
        own.sort_unstable();
        let same = own.iter().filter(|(at, _)| *at == Time(0)).count();
        let too_many = (own.len() + 1).saturating_sub(most);
        own.truncate(same.max(too_many));
        own.into_iter().map(|(_, tag)| tag).collect()
    }

    /// Those that a user's phones have.
    pub(super) fn tags_by(&self, package: Package, subscriber: Id) -> Vec<u64> {
        let tags = self.by_subscriber.get(&(package, subscriber));
        tags.into_iter().flatten().copied().collect()
    }

    /// Those about a line.
    pub(crate) fn tags_of(&self, package: Package, about: Watchable) -> Vec<u64> {
        let tags = self.about.get(&(package, about));
        tags.into_iter().flatten().copied().collect()
    }

    /// The calls of a line are these. False: nobody watches them.
    pub(crate) fn set_calls(&mut self, what: Watchable, calls: Arc<[WatchedCall]>) -> bool {
        if !self.about.contains_key(&(Package::Dialog, what)) {
            return false;
        }
        let change = self.calls.get(&what).map_or(0, |known| known.change) + 1;
        self.calls.insert(what, Calls { calls, change });
        true
    }

    /// A line that is no user's is called this, or is there no more.
    pub(super) fn set_label(&mut self, what: Watchable, label: Option<Label>) {
        let old = self.labels.remove(&what).map(|label| label.extension);
        if let Some(old) = old.filter(|old| self.by_number.get(old) == Some(&what)) {
            self.by_number.remove(&old);
        }
        if let Some(label) = label {
            self.by_number.insert(label.extension.clone(), what);
            self.labels.insert(what, label);
        }
    }

    /// What a line that is no user's is called.
    pub(super) fn label(&self, what: Watchable) -> Option<&Label> {
        self.labels.get(&what)
    }

    /// The line that is no user's with this number.
    pub(super) fn by_number(&self, number: &str) -> Option<Watchable> {
        self.by_number.get(number).copied()
    }
}
