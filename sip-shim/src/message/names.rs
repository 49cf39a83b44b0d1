//! What requests and headers are called.

/// A request's method. Methods are case-sensitive (RFC 3261 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3261.
    Invite,
    /// RFC 3261.
    Ack,
    /// RFC 3261.
    Bye,
    /// RFC 3261.
    Cancel,
    /// RFC 3261.
    Register,
    /// RFC 3261.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3515.
    Refer,
    /// RFC 3428.
    Message,
    /// RFC 3903.
    Publish,
    /// RFC 3262.
    Prack,
    /// Something else; [`super::Message::method_name`] has it.
    Unknown,
}

/// A header we look at. The others are kept but cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Each is the header of that name.
pub enum Name {
    Accept,
    Allow,
    Authorization,
    CSeq,
    CallId,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentLength,
    ContentType,
    Date,
    Diversion,
    Event,
    Expires,
    From,
    HistoryInfo,
    MaxForwards,
    MinExpires,
    MinSe,
    PAssertedIdentity,
    PPreferredIdentity,
    Path,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    RAck,
    RSeq,
    Reason,
    RecordRoute,
    ReferSub,
    ReferTo,
    ReferredBy,
    Replaces,
    Require,
    RetryAfter,
    Route,
    SessionExpires,
    SubscriptionState,
    Supported,
    Timestamp,
    To,
    UserAgent,
    Via,
    WwwAuthenticate,
    Other,
}

impl Method {
    /// From its name, exactly.
    pub fn parse(name: &str) -> Method {
        METHODS
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(Method::Unknown, |(_, m)| *m)
    }

    /// Its name; empty for an unknown one.
    pub fn as_str(self) -> &'static str {
        METHODS
            .iter()
            .find(|(_, m)| *m == self)
            .map_or("", |(n, _)| *n)
    }
}

impl Name {
    pub(super) fn parse(name: &str) -> Name {
        if let [letter] = name.as_bytes() {
            return Name::compact(letter.to_ascii_lowercase());
        }
        NAMES
            .iter()
            .find(|(n, _)| n.len() == name.len() && n.eq_ignore_ascii_case(name))
            .map_or(Name::Other, |(_, n)| *n)
    }

    /// RFC 3261 §7.3.3, RFC 6665 §8.4, RFC 4028 §4, RFC 3515 §2.1, RFC 3892 §2.1.
    fn compact(letter: u8) -> Name {
        match letter {
            b'v' => Name::Via,
            b'f' => Name::From,
            b't' => Name::To,
            b'i' => Name::CallId,
            b'm' => Name::Contact,
            b'l' => Name::ContentLength,
            b'c' => Name::ContentType,
            b'e' => Name::ContentEncoding,
            b'k' => Name::Supported,
            b'o' => Name::Event,
            b'x' => Name::SessionExpires,
            b'r' => Name::ReferTo,
            b'b' => Name::ReferredBy,
            _ => Name::Other,
        }
    }
}

const METHODS: [(&str, Method); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("REGISTER", Method::Register),
    ("OPTIONS", Method::Options),
    ("INFO", Method::Info),
    ("UPDATE", Method::Update),
    ("SUBSCRIBE", Method::Subscribe),
    ("NOTIFY", Method::Notify),
    ("REFER", Method::Refer),
    ("MESSAGE", Method::Message),
    ("PUBLISH", Method::Publish),
    ("PRACK", Method::Prack),
];

const NAMES: [(&str, Name); 46] = [
    ("Via", Name::Via),
    ("From", Name::From),
    ("To", Name::To),
    ("Call-ID", Name::CallId),
    ("CSeq", Name::CSeq),
    ("Max-Forwards", Name::MaxForwards),
    ("Contact", Name::Contact),
    ("Content-Length", Name::ContentLength),
    ("Content-Type", Name::ContentType),
    ("User-Agent", Name::UserAgent),
    ("Allow", Name::Allow),
    ("Supported", Name::Supported),
    ("Authorization", Name::Authorization),
    ("Expires", Name::Expires),
    ("Record-Route", Name::RecordRoute),
    ("Route", Name::Route),
    ("Accept", Name::Accept),
    ("Content-Encoding", Name::ContentEncoding),
    ("Event", Name::Event),
    ("Min-Expires", Name::MinExpires),
    ("Min-SE", Name::MinSe),
    ("P-Asserted-Identity", Name::PAssertedIdentity),
    ("Path", Name::Path),
    ("Privacy", Name::Privacy),
    ("P-Preferred-Identity", Name::PPreferredIdentity),
    ("Reason", Name::Reason),
    ("Proxy-Authorization", Name::ProxyAuthorization),
    ("Proxy-Require", Name::ProxyRequire),
    ("Refer-Sub", Name::ReferSub),
    ("Refer-To", Name::ReferTo),
    ("Referred-By", Name::ReferredBy),
    ("Replaces", Name::Replaces),
    ("Require", Name::Require),
    ("Retry-After", Name::RetryAfter),
    ("Session-Expires", Name::SessionExpires),
    ("Subscription-State", Name::SubscriptionState),
    ("Timestamp", Name::Timestamp),
    ("Content-Disposition", Name::ContentDisposition),
    ("Content-Language", Name::ContentLanguage),
    ("Date", Name::Date),
    ("Diversion", Name::Diversion),
    ("History-Info", Name::HistoryInfo),
    ("RAck", Name::RAck),
    ("RSeq", Name::RSeq),
    ("Proxy-Authenticate", Name::ProxyAuthenticate),
    ("WWW-Authenticate", Name::WwwAuthenticate),
];
