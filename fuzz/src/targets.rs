//! The list of fuzz targets.
//!
//! A target is a name and a function of bytes. It panics when a property does not hold; what its
//! properties are is said in the first lines of its file.

mod calls;
mod codec;
mod dtmf;
mod jitter;
mod latch;
mod link;
mod playout;
mod record;
mod recorder;
mod recovery;
mod restore;
mod rtcp;
mod rtp;
mod sdp;
mod shim;
mod sip;
mod snapshot;
mod sound;
mod worker;

/// One thing to be broken.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus folder.
    pub name: &'static str,
    /// Panics if `bytes` break a property.
    pub run: fn(bytes: &[u8]),
    /// It reads SIP: the torture messages of RFC 4475 are part of its corpus.
    pub wants_torture: bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    bytes("rtp", rtp::run),
    bytes("rtcp", rtcp::run),
    bytes("jitter", jitter::run),
    bytes("playout", playout::run),
    bytes("dtmf", dtmf::run),
    bytes("latch", latch::run),
    bytes("codec", codec::run),
    bytes("recorder", recorder::run),
    bytes("worker", worker::run),
    bytes("sdp", sdp::run),
    sip("sip", sip::run),
    sip("sip_shim", shim::run),
    bytes("calls", calls::run),
    bytes("sound", sound::run),
    bytes("record", record::run),
    bytes("recovery_any", recovery::any_bytes),
    bytes("recovery_damaged", recovery::damaged),
    bytes("restore", restore::run),
    bytes("snapshot", snapshot::run),
    bytes("link", link::run),
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}

const fn bytes(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        wants_torture: false,
    }
}

const fn sip(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        wants_torture: true,
    }
}
