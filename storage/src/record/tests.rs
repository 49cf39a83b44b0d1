use super::*;
use proptest::prelude::*;

fn id() -> impl Strategy<Value = Id> {
    ("[a-z0-9]{1,16}", any::<u32>(), any::<u64>()).prop_map(|(node, epoch, number)| Id {
        node: node.parse().unwrap(),
        epoch,
        number,
    })
}

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,40}".prop_map(Arc::from)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (id(), 1..=EPOCH_MAX, 1..=SEQ_MAX, any::<u64>()).prop_map(|(id, epoch, seq, hlc)| Stamp {
        hlc: Hlc(hlc),
        node: id.node,
        epoch,
        seq,
    })
}

fn body() -> impl Strategy<Value = Body> {
    (said(), proptest::option::of(stamp())).prop_map(|(body, stamp)| match (body, stamp) {
        (Body::Said(what), Some(stamp)) => Body::Replica(stamp, what),
        (body, _) => body,
    })
}

fn said() -> impl Strategy<Value = Body> {
    let codec = prop_oneof![Just(SoundCodec::Pcmu), Just(SoundCodec::Pcma)];
    let how = prop_oneof![
        Just(SealKind::Whole),
        Just(SealKind::CutShort),
        Just(SealKind::Discarded)
    ];
    let begin = (id(), codec, any::<u64>(), text()).prop_map(|(id, codec, at, about)| {
        Body::Said(Payload::Begin {
            id,
            codec,
            at: WallTime(at),
            about,
        })
    });
    let seal = (id(), how, text())
        .prop_map(|(id, kind, about)| Body::Said(Payload::Seal { id, kind, about }));
    let register = (text(), proptest::option::of(text()))
        .prop_map(|(key, value)| Body::Said(Payload::Register { key, value }));
    let entry =
        (text(), text()).prop_map(|(topic, body)| Body::Said(Payload::Entry { topic, body }));
    let epoch = (any::<u32>(), 0..=SEQ_MAX).prop_map(|(before, last)| Body::Epoch { before, last });
    prop_oneof![begin, seal, register, entry, epoch, Just(Body::Mark)]
}

fn header() -> impl Strategy<Value = Header> {
    (
        any::<u32>(),
        1..=EPOCH_MAX,
        1..=SEQ_MAX,
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(|(segment, epoch, seq, hlc, durable)| Header {
            segment,
            epoch,
            seq,
            hlc: Hlc(hlc),
            durable: durable % seq,
        })
}

fn encode(header: &Header, body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_front(header, body, &mut bytes);
    assert_eq!(bytes.len(), front_bytes(body));
    seal(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn records_read_back_as_written(header in header(), body in body()) {
        let bytes = encode(&header, &body);
        let read = decode(&bytes, 0).unwrap();
        prop_assert_eq!(read, Record { header, body, bytes: bytes.len() });
    }

    #[test]
    fn a_flipped_bit_is_noticed(header in header(), body in body(), bit in any::<usize>()) {
        let mut bytes = encode(&header, &body);
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(&bytes, 0).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, 0);
        // The same behind a right checksum, so that the payload is reached.
        if bytes.len() >= HEADER_BYTES {
            bytes[40] %= 9;
            bytes[41] %= 2;
            bytes[42..48].fill(0);
            seal(&mut bytes);
            let _ = decode(&bytes, 0);
        }
    }
}

#[test]
fn the_layout_is_this_one() {
    let header = Header {
        segment: 2,
        epoch: 3,
        seq: 4,
        hlc: Hlc(5),
        durable: 1,
    };
    let (key, value) = (Arc::from("k"), Some(Arc::from("v")));
    let bytes = encode(&header, &Body::Said(Payload::Register { key, value }));
    let mut golden = vec![0xc6, 0x3d, 0xbb, 0xa6, 59, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
    golden.extend([4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([1, 0, 0, 0, b'k', 1, 1, 0, 0, 0, b'v']);
    assert_eq!(bytes, golden);
}
