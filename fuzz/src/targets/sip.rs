//! SIP as text: whatever passes the gate can be taken apart, piece by piece, without a panic, and
//! each piece lies within the message; a stream is cut into messages that end.

use tandem_sip_shim::message::{HEADERS_MAX, Message, Name};
use tandem_sip_shim::uri::{self, NameAddr, Uri, Via};
use tandem_sip_shim::validate::{self, Frame};

const STREAM_BYTES_MAX: usize = 64 * 1024;

pub(super) fn run(bytes: &[u8]) {
    let passed = validate::read_datagram(bytes).is_ok();
    if let Ok((message, _)) = Message::parse(bytes) {
        take_apart(&message);
        let via = message.header(Name::Via).and_then(Via::parse);
        assert!(!passed || via.is_some(), "nobody could answer it");
    }
    stream(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        address(text);
    }
}

const NAMES: [Name; 16] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Contact,
    Name::Route,
    Name::RecordRoute,
    Name::Authorization,
    Name::Expires,
    Name::MaxForwards,
    Name::Require,
    Name::SessionExpires,
    Name::Event,
    Name::ContentLength,
    Name::PAssertedIdentity,
];

fn take_apart(message: &Message) {
    assert!(message.is_request() || (100..700).contains(&message.status()));
    address(message.uri());
    let mut values = 0;
    for name in NAMES {
        for value in message.headers(name) {
            values += 1;
            assert!(
                !value.contains('\n'),
                "a header holds a line end: {value:?}"
            );
            address(value);
        }
        message.number(name);
        assert!(message.tokens(name).all(|token| !token.is_empty()));
    }
    assert!(values <= HEADERS_MAX);
    assert!(message.cseq().is_none_or(|(number, ..)| number < 1 << 31));
}

/// The same text as everything an address can be.
fn address(text: &str) {
    if let Some(uri) = Uri::parse(text) {
        assert!(
            uri.same_as(&uri) || uri.host.is_empty(),
            "{text:?} is not itself"
        );
        let port = uri.socket_addr().map(|address| address.port());
        assert!(port.is_none() || uri.port.is_none() || port == uri.port);
        assert!(uri.number().is_none_or(|number| number.len() <= text.len()));
        assert!(uri.param("x").is_none_or(|value| text.contains(value)));
        let _ = uri.transport();
    }
    if let Some(name) = NameAddr::parse(text) {
        assert!(text.contains(name.uri) && name.display.len() <= text.len());
        assert!(name.tag().is_none_or(|tag| text.contains(tag)));
    }
    if let Some(via) = Via::parse(text) {
        assert!(text.contains(via.sent_by) && text.contains(via.branch()));
    }
    let parts: usize = uri::split_list(text).map(str::len).sum();
    assert!(parts <= text.len());
}

fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = match validate::frame(rest, STREAM_BYTES_MAX) {
            Frame::Partial | Frame::Broken => return,
            Frame::Ping(n) | Frame::Blank(n) | Frame::Message(n) => n,
        };
        assert!(
            taken > 0 && taken <= rest.len(),
            "a message that does not end"
        );
        rest = &rest[taken..];
    }
}
