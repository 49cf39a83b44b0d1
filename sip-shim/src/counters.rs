//! What the shim has counted since it started: for status, metrics and tests.

/// Monotonic counts. A refusal, a drop, a full table each has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ShimCounters {
    /// Requests taken, retransmissions included.
    pub requests_in: u64,
    /// Responses taken, retransmissions included.
    pub responses_in: u64,
    /// Messages handed to the network, retransmissions included.
    pub messages_out: u64,
    /// Of them, sent again because nothing came back.
    pub retransmissions_out: u64,
    /// Requests answered 4xx because they could not be understood.
    pub malformed: u64,
    /// Responses and ACKs that belong to nothing we know.
    pub strays: u64,
    /// Requests with a method we do not know, or do not allow.
    pub methods_refused: u64,
    /// Registrations accepted (refreshes included).
    pub registers: u64,
    /// Bindings that ended by expiry.
    pub bindings_expired: u64,
    /// Packets sent to phones behind a NAT so that it keeps the way open.
    pub keep_alives: u64,
    /// Wrong passwords and unknown users, together.
    pub login_failures: u64,
    /// Nonces answered `stale=true`.
    pub nonces_stale: u64,
    /// Credentials seen before (nonce count not rising).
    pub nonces_replayed: u64,
    /// Requests dropped or refused because their source tries too often.
    pub slowed: u64,
    /// Challenges not sent because their address has been sent too many.
    pub challenges_suppressed: u64,
    /// Calls that came in.
    pub calls_in: u64,
    /// Calls that went out, one for each phone.
    pub calls_out: u64,
    /// Challenges to calls of ours that were answered with a password.
    pub challenges_answered: u64,
    /// Calls of ours that ended because the other side did not take our password, or we have none.
    pub logins_refused: u64,
    /// Calls refused because a table or the ports are full.
    pub calls_refused_full: u64,
    /// Requests refused 503 because too many transactions are waiting.
    pub overload: u64,
    /// Requests refused 503 because too many transactions of their source are waiting.
    pub overload_source: u64,
    /// Transfers that parties asked for.
    pub refers: u64,
    /// Re-INVITEs that met one of ours (491).
    pub glares: u64,
    /// Calls ended because the session timer ran out or an answer was never confirmed.
    pub sessions_vanished: u64,
    /// Subscriptions accepted (refreshes included).
    pub subscribes: u64,
    /// Notifications sent.
    pub notifies: u64,
    /// Subscriptions to lamps refused because the table is full.
    pub subscriptions_full: u64,
    /// Subscriptions to calls refused because the table is full.
    pub watches_full: u64,
    /// Texts between users taken.
    pub texts: u64,
    /// Of them, those that a phone took.
    pub texts_delivered: u64,
    /// Texts refused because too many wait for an answer.
    pub texts_full: u64,
}
