//! What single steps cost, with criterion: the parsers every packet and every message meet.
//!
//! `cargo bench -p tandem-benches --bench parts`. A relayed packet costs about 3 us of kernel time
//! (the bench `relay` measures it); what is here should be a small fraction of that.

#[path = "parts/media.rs"]
mod media;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tandem_engine::codec::transcode;
use tandem_engine::rtp;
use tandem_engine::seam::Codec;
use tandem_sip_shim::{sdp, validate};
use tandem_storage::block::{CHUNK_SAMPLES_MAX, ChunkBlock};
use tandem_storage::cipher::{ENCRYPTED, Keyring, MasterKey};
use tandem_storage::name::Ids;
use tandem_storage::record::{self, Body, Header};
use tandem_storage::seam::{Hlc, Payload};

fn packets(c: &mut Criterion) {
    let mut packet = [0u8; 172];
    packet[0] = 0x80;
    c.bench_function("RTP header parsed, 172 bytes", |b| {
        b.iter(|| rtp::parse(black_box(&packet)));
    });
    let mut samples = [0x55u8; 160];
    c.bench_function("mu-law to A-law, 20 ms", |b| {
        b.iter(|| transcode(Codec::Pcmu, Codec::Pcma, black_box(&mut samples)));
    });
}

fn signalling(c: &mut Criterion) {
    c.bench_function("INVITE read and checked", |b| {
        b.iter(|| validate::read_datagram(black_box(INVITE.as_bytes())));
    });
    let body = INVITE.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    c.bench_function("SDP offer parsed", |b| {
        b.iter(|| sdp::parse(black_box(body.as_bytes())));
    });
}

fn records(c: &mut Criterion) {
    let mut ids = Ids::new("bench".parse().expect("a legal name"), 1);
    let key = format!("message/{}/heard", ids.next_id());
    let body = Body::Said(Payload::Register {
        key: key.into(),
        value: Some("true".into()),
    });
    let header = Header {
        segment: 1,
        epoch: 1,
        seq: 7,
        hlc: Hlc(9),
        durable: 6,
    };
    let mut bytes = Vec::new();
    c.bench_function("register encoded and sealed", |b| {
        b.iter(|| {
            bytes.clear();
            record::encode_front(black_box(&header), &body, &mut bytes);
            record::seal(&mut bytes);
        });
    });
    c.bench_function("register checked and decoded", |b| {
        b.iter(|| record::decode(black_box(&bytes), 0));
    });
}

/// Sound of another node, on its way into the own log.
fn followed(c: &mut Criterion) {
    let samples = [0x55; CHUNK_SAMPLES_MAX];
    c.bench_function("chunk of another node, into a new block", |b| {
        b.iter(|| ChunkBlock::of_record(black_box(&samples)));
    });
    let mut spare = Some(ChunkBlock::new());
    c.bench_function("chunk of another node, into a spare block", |b| {
        b.iter(|| {
            let chunk = spare.take().unwrap_or_default();
            spare = Some(chunk.of_record_instead(black_box(&samples)));
        });
    });
}

fn encryption(c: &mut Criterion) {
    let keys = Keyring::new(Some(MasterKey::new([7; 32])), Vec::new(), [9; 16]);
    let id = Ids::new("bench".parse().expect("a legal name"), 1).next_id();
    let mut block = ChunkBlock::new();
    c.bench_function("chunk copied, half a second", |b| {
        b.iter(|| {
            block.clear();
            block.push(black_box(&[0x55; CHUNK_SAMPLES_MAX]))
        });
    });
    c.bench_function("chunk copied and encrypted, half a second", |b| {
        b.iter(|| {
            block.clear();
            block.push(black_box(&[0x55; CHUNK_SAMPLES_MAX]));
            keys.encrypt(id, 3, &mut block)
        });
    });
    let written = block.samples().to_vec();
    let mut bytes = written.clone();
    c.bench_function("chunk copied and decrypted, half a second", |b| {
        b.iter(|| {
            bytes.copy_from_slice(black_box(&written));
            keys.decrypt(id, 3 | ENCRYPTED, &mut bytes)
        });
    });
}

const INVITE: &str = "INVITE sip:102@192.0.2.1 SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\n\
From: \"Reception\" <sip:101@192.0.2.1>;tag=1928301774\r\n\
To: <sip:102@192.0.2.1>\r\n\
Call-ID: a84b4c76e66710@192.0.2.7\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:101@192.0.2.7:5060>\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO\r\n\
Supported: timer\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 214\r\n\
\r\n\
v=0\r\n\
o=- 1 1 IN IP4 192.0.2.7\r\n\
s=-\r\n\
c=IN IP4 192.0.2.7\r\n\
t=0 0\r\n\
m=audio 40000 RTP/AVP 0 8 101\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=ptime:20\r\n\
a=sendrecv\r\n";

criterion_group!(
    parts,
    packets,
    media::made,
    media::rooms,
    signalling,
    records,
    followed,
    encryption
);
criterion_main!(parts);
