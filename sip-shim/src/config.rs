//! How the shim is set up: addresses, times, and the written maximum of every table.
//!
//! Made once by the program and handed to [`crate::Shim::new`]. The core reads no other setting
//! and no clock; what is random in it (tags, branches, nonces) comes from the seed given beside.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use tandem_engine::seam::Codec;
use tandem_pbx::seam::ClassOfService;

use crate::offer_answer::CODECS;
use crate::wire::{Flow, Transport};

/// Everything the core can be told beforehand.
#[derive(Clone, Debug)]
pub struct ShimConfig {
    /// The address in Contact, Via and SDP: where phones reach this node.
    pub advertise: IpAddr,
    /// The SIP port in Contact and Via.
    pub sip_port: u16,
    /// The codecs that may be spoken, as they are offered, best first.
    pub codecs: Arc<[Codec]>,
    /// The digest realm. Stored HA1s are bound to it.
    pub realm: String,
    /// Gateways and front ends whose calls are taken without registration or digest.
    pub trusted: Vec<Trusted>,
    /// Shortest registration or subscription; shorter ones are answered 423 (RFC 3261 §10.3).
    pub expires_min_s: u32,
    /// Registration time when the phone names none.
    pub expires_default_s: u32,
    /// Longest registration time granted.
    pub expires_max_s: u32,
    /// Session timer we ask for (RFC 4028).
    pub session_expires_s: u32,
    /// Shortest session timer we accept.
    pub min_se_s: u32,
    /// Phones that give up when SHA-256 is offered beside MD5, by the beginning of their User-Agent:
    /// they are offered MD5 alone.
    pub md5_only_agents: Vec<String>,
    /// How long a digest nonce is good for; after it a phone is told `stale=true`.
    pub nonce_life_s: u32,
    /// Phones one user may have registered.
    pub contacts_per_user_max: usize,
    /// Calls, both ways, in whatever phase.
    pub dialogs_max: usize,
    /// Calls one user's phones may make at once.
    pub calls_per_user_max: usize,
    /// Subscriptions to its lamp of one user's phones: the oldest makes room for another.
    pub subscriptions_per_user_max: usize,
    /// Users whose calls one user's phones watch: the oldest makes room for another.
    pub watched_per_user_max: usize,
    /// Subscriptions of all phones together to their lamps.
    pub lamp_subscriptions_max: usize,
    /// Subscriptions of all phones together to calls.
    pub watches_max: usize,
    /// Texts that wait for an answer.
    pub texts_max: usize,
    /// Of them, those that one user has sent.
    pub texts_per_user_max: usize,
    /// Server transactions that still wait for something; beyond it new requests get 503.
    pub transactions_max: usize,
    /// Of them, those of one source address that is not trusted.
    pub transactions_per_source_max: usize,
    /// Server transactions that are remembered at all, to recognise what comes again.
    pub finished_max: usize,
    /// Of them, those of one source address that is not trusted.
    pub finished_per_source_max: usize,
    /// Failed logins a user may make at once at one source address before they are refused there.
    pub failures_burst_max: u32,
    /// How many of them are forgiven per minute.
    pub failures_per_minute: u32,
    /// The same for all users at one source address together.
    pub address_failures_burst_max: u32,
    /// How many of them are forgiven per minute.
    pub address_failures_per_minute: u32,
    /// REGISTERs a source address may send at once before it is slowed.
    pub registers_burst_max: u32,
    /// How many REGISTERs per second a source address may send in the long run.
    pub registers_per_second: u32,
    /// Challenges that may go at once to one source address, by datagrams, before it is sent none.
    pub challenges_burst_max: u32,
    /// How many per second in the long run.
    pub challenges_per_second: u32,
    /// Source addresses watched at once by the limits above.
    pub sources_max: usize,
    /// `Retry-After` of a 503.
    pub retry_after_s: u32,
    /// `Server` and `User-Agent`.
    pub user_agent: String,
}

impl Default for ShimConfig {
    fn default() -> Self {
        ShimConfig {
            advertise: IpAddr::from([127, 0, 0, 1]),
            sip_port: 5060,
            codecs: CODECS.into(),
            realm: "tandem".to_owned(),
            trusted: Vec::new(),
            expires_min_s: 60,
            expires_default_s: 300,
            expires_max_s: 3600,
            session_expires_s: 1800,
            min_se_s: 90,
            // Their SIP library (libre before 3.0) refuses every challenge if one of them is unknown.
            md5_only_agents: ["baresip v0.", "baresip v1.", "baresip v2."]
                .map(str::to_owned)
                .into(),
            nonce_life_s: 300,
            contacts_per_user_max: 10,
            dialogs_max: 20_000,
            calls_per_user_max: 100,
            subscriptions_per_user_max: 20,
            watched_per_user_max: 400,
            lamp_subscriptions_max: 30_000,
            watches_max: 50_000,
            texts_max: 1_000,
            texts_per_user_max: 20,
            transactions_max: 20_000,
            transactions_per_source_max: 2_000,
            // 4,000 calls a second leave 4,000 x 32 s of BYEs and 4,000 x 5 s of INVITEs.
            finished_max: 300_000,
            finished_per_source_max: 100_000,
            failures_burst_max: 10,
            failures_per_minute: 6,
            address_failures_burst_max: 60,
            address_failures_per_minute: 30,
            // An office of 200 phones behind one NAT after a power cut: two REGISTERs each, one
            // challenge, and some room.
            registers_burst_max: 500,
            registers_per_second: 50,
            challenges_burst_max: 500,
            challenges_per_second: 50,
            sources_max: 4096,
            retry_after_s: 5,
            user_agent: concat!("Tandem/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A gateway or front end that is known by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Its address, or that of its network.
    pub net: Net,
    /// The one transport by which it comes; `None`: any.
    pub transport: Option<Transport>,
    /// It stands in front of others and answers for them: calls that it passes on are its own.
    pub is_proxy: bool,
    /// What it says about who calls is believed (RFC 3325).
    pub asserts_identity: bool,
    /// What its calls may reach.
    pub class: ClassOfService,
}

impl Trusted {
    /// A gateway at this address or network, believed, on any transport, for itself alone.
    pub fn gateway(net: Net) -> Trusted {
        Trusted {
            net,
            transport: None,
            is_proxy: false,
            asserts_identity: true,
            class: ClassOfService::Internal,
        }
    }

    /// Does a flow come from it, by its transport?
    pub(crate) fn is_at(&self, flow: &Flow) -> bool {
        let transport = self.transport.is_none_or(|it| it == flow.transport);
        transport && self.net.contains(flow.peer.ip())
    }
}

/// A block of addresses, as in `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    prefix_bits: u8,
}

/// Text that is not a block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address block has the form 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetError;

impl Net {
    /// The block of all addresses that share the first `prefix_bits` bits of `address`.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Result<Net, NetError> {
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        if prefix_bits > bits_max {
            return Err(NetError);
        }
        Ok(Net {
            address,
            prefix_bits,
        })
    }

    /// How many bits its addresses share.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Are there more addresses in it than one network of an office has (a /24, or a /64)?
    pub fn is_wide(&self) -> bool {
        let least = if self.address.is_ipv4() { 24 } else { 64 };
        self.prefix_bits < least
    }

    /// Is `address` in it?
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(it)) => {
                let host_bits = 32 - u32::from(self.prefix_bits);
                (u64::from(u32::from(net)) >> host_bits) == (u64::from(u32::from(it)) >> host_bits)
            }
            (IpAddr::V6(net), IpAddr::V6(it)) => {
                let host_bits = 128 - u32::from(self.prefix_bits);
                let above = |ip: std::net::Ipv6Addr| u128::from(ip).checked_shr(host_bits);
                above(net) == above(it)
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NetError;
    fn from_str(s: &str) -> Result<Self, NetError> {
        let (address, bits) = match s.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (s, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetError)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(whole), str::parse).map_err(|_| NetError)?;
        Net::new(address, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        let check = |net: &str, ip: &str| -> bool {
            net.parse::<Net>().unwrap().contains(ip.parse().unwrap())
        };
        assert!(check("127.0.0.0/8", "127.9.9.9"));
        assert!(!check("127.0.0.0/8", "128.0.0.1"));
        assert!(check("10.1.2.3", "10.1.2.3"));
        assert!(!check("10.1.2.3", "10.1.2.4"));
        assert!(check("0.0.0.0/0", "8.8.8.8"));
        assert!(check("2001:db8::/32", "2001:db8:1::1"));
        assert!(!check("2001:db8::/32", "2001:db9::1"));
        assert!(check("::/0", "::1"));
        assert!(check("127.0.0.0/8", "::ffff:127.0.0.1"));
        for bad in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "10.0.0.0/x"] {
            assert!(bad.parse::<Net>().is_err(), "{bad:?}");
        }
    }
}
