//! Calls to the world, and from it: whom a call that goes out is for, and the hosts it goes to.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_storage::name::Id;

use crate::office::outside::RouteKind;

/// Whom a call that goes out is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All phones of a user.
    User(Id),
    /// A number behind a host: a provider, a gateway.
    Address(Arc<AddressTarget>),
}

/// A number behind a host. Of a host that says nothing to a call, or cannot be reached, the leg ends as
/// [`Cause::Failed`](super::Cause): another may be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressTarget {
    /// The host.
    pub peer: SocketAddr,
    /// How it is spoken to.
    pub transport: AddressTransport,
    /// What it is to call.
    pub number: Arc<str>,
    /// Shown, and asserted, in place of the caller's own number and name: what the host knows us by.
    pub identity: Option<Arc<str>>,
    /// With what its challenges are answered.
    pub login: Option<Login>,
}

/// How a host is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressTransport {
    #[default]
    Udp,
    Tcp,
}

impl AddressTransport {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            AddressTransport::Udp => "udp",
            AddressTransport::Tcp => "tcp",
        }
    }

    /// Reads what was written.
    pub fn parse(text: &str) -> Option<AddressTransport> {
        [AddressTransport::Udp, AddressTransport::Tcp]
            .into_iter()
            .find(|transport| transport.name() == text)
    }
}

/// A name and a password that a host knows us by.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Arc<str>,
    pub password: Arc<str>,
}

impl std::fmt::Debug for Login {
    /// The password is shown to nobody.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// The host of a trunk: calls from there come by the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkHost {
    pub peer: SocketAddr,
    pub transport: AddressTransport,
    /// No port was given: it calls from any.
    pub is_any_port: bool,
}

/// What is to be different about a trunk; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct TrunkChange {
    /// What it is called.
    pub name: Option<Arc<str>>,
    /// An IP address, with a port or without.
    pub host: Option<Arc<str>>,
    pub transport: Option<AddressTransport>,
    /// What its challenges are answered with; `Some(None)`: they are not.
    pub username: Option<Option<Arc<str>>>,
    /// In plain: a challenge cannot be answered with a digest made beforehand.
    pub password: Option<Option<Arc<str>>>,
    /// What it knows us by.
    pub number: Option<Option<Arc<str>>>,
    /// The most calls at once.
    pub calls_max: Option<u16>,
    /// Numbers under which it calls us, and the extension each is for.
    pub numbers: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// The extension for every other number.
    pub otherwise: Option<Option<Arc<str>>>,
}

/// What is to be different about a route; `None`: as it was.
#[derive(Clone, Debug, Default)]
pub struct RouteChange {
    /// The numbers it is for.
    pub pattern: Option<Arc<str>>,
    /// So many characters are taken off in front.
    pub strip: Option<u8>,
    /// Put in front then.
    pub prefix: Option<Arc<str>>,
    /// Tried one after the other, by name.
    pub trunks: Option<Vec<Arc<str>>>,
    /// Who may use it.
    pub kind: Option<RouteKind>,
}

/// What an administrator can ask about lines to the world. Changes are answered when they are durable.
#[derive(Clone, Debug)]
pub enum OutwardAsk {
    /// Trunks, and how many calls each has, as JSON.
    Trunks,
    AddTrunk {
        name: Arc<str>,
        /// All that is not as for any new trunk.
        change: TrunkChange,
    },
    SetTrunk {
        name: Arc<str>,
        change: TrunkChange,
    },
    /// Remove a trunk that no route goes over.
    RemoveTrunk {
        name: Arc<str>,
    },
    /// Routes, as JSON, in the order in which they are looked at.
    Routes,
    AddRoute {
        pattern: Arc<str>,
        /// All that is not as for any new route.
        change: RouteChange,
    },
    SetRoute {
        pattern: Arc<str>,
        change: RouteChange,
    },
    RemoveRoute {
        pattern: Arc<str>,
    },
}
