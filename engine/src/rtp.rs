//! The RTP header: read from bytes that anyone may have sent, and written into ours.
//!
//! The worker hands in what a socket gave; leg, relay and recorder use the result. Everything in
//! front of the payload beyond the fixed header (contributing sources, an extension) and the
//! padding behind it belong to the hop they came over and are cut off, by moving the fixed header
//! up to the payload: no sample is copied.
//!
//! Sources: RFC 3550 §5.1 (header), §5.3.1 (extension).

use std::ops::Range;

/// The fixed header, in bytes.
pub const HEADER_BYTES: usize = 12;

/// What the fixed header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet of a talkspurt, or of a key press.
    pub marker: bool,
    /// How the payload is to be read.
    pub payload_type: u8,
    /// Counts packets.
    pub seq: u16,
    /// Counts samples.
    pub timestamp: u32,
    /// Names the source.
    pub ssrc: u32,
}

/// A packet that is RTP: its header and where its payload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The fixed header.
    pub header: Header,
    /// The payload, without padding.
    pub payload: Range<usize>,
}

/// It is not RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads a datagram.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Malformed)?;
    if fixed[0] >> 6 != 2 {
        return Err(Malformed);
    }
    let mut start = HEADER_BYTES + 4 * usize::from(fixed[0] & 0x0f);
    //= RFC 3550 §5.1
    //# 1 bit If the extension bit is set, the fixed header MUST be followed by exactly one header
    //# extension, with a format defined in Section 5.3.1.
    //= RFC 3550 §5.3.1
    //# If the X bit in the RTP header is one, a variable-length header extension MUST be appended
    //# to the RTP header, following the CSRC list if present.
    if fixed[0] & 0x10 != 0 {
        let extension = bytes.get(start..start + 4).ok_or(Malformed)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    let end = bytes.len() - padding_bytes(bytes)?;
    if start > end {
        return Err(Malformed);
    }
    Ok(Parsed {
        header: read_fixed(fixed),
        payload: start..end,
    })
}

/// Writes the fixed header, version 2, nothing optional.
pub fn write(header: &Header, into: &mut [u8; HEADER_BYTES]) {
    into[0] = 0x80;
    into[1] = u8::from(header.marker) << 7 | header.payload_type & 0x7f;
    into[2..4].copy_from_slice(&header.seq.to_be_bytes());
    into[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    into[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
}

/// Writes the fixed header right in front of a payload that is somewhere in `bytes`. Returns what
/// to send.
pub fn rewrite(bytes: &mut [u8], header: &Header, payload: Range<usize>) -> Range<usize> {
    let start = payload.start - HEADER_BYTES;
    let fixed = bytes[start..]
        .first_chunk_mut()
        .expect("a payload follows a fixed header");
    write(header, fixed);
    start..payload.end
}

fn read_fixed(b: &[u8; HEADER_BYTES]) -> Header {
    Header {
        marker: b[1] & 0x80 != 0,
        payload_type: b[1] & 0x7f,
        seq: u16::from_be_bytes([b[2], b[3]]),
        timestamp: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        ssrc: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
    }
}

fn padding_bytes(bytes: &[u8]) -> Result<usize, Malformed> {
    if bytes[0] & 0x20 == 0 {
        return Ok(0);
    }
    let count = usize::from(bytes[bytes.len() - 1]);
    if count == 0 || count > bytes.len() - HEADER_BYTES {
        Err(Malformed)
    } else {
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 14] = [
        0x80, 0x80, 0x12, 0x34, 0, 0, 1, 0x40, 0xde, 0xad, 0xbe, 0xef, 0xff, 0x7f,
    ];

    #[test]
    fn a_plain_packet_reads_and_writes_back() {
        let parsed = parse(&PLAIN).unwrap();
        let expected = Header {
            marker: true,
            payload_type: 0,
            seq: 0x1234,
            timestamp: 320,
            ssrc: 0xdead_beef,
        };
        assert_eq!(
            parsed,
            Parsed {
                header: expected,
                payload: 12..14
            }
        );
        let mut again = PLAIN;
        again[..12].fill(0);
        assert_eq!(rewrite(&mut again, &expected, 12..14), 0..14);
        assert_eq!(again, PLAIN);
    }

    //= RFC 3550 §5.1 type=test
    //# 1 bit If the extension bit is set, the fixed header MUST be followed by exactly one header
    //# extension, with a format defined in Section 5.3.1.
    //= RFC 3550 §5.3.1 type=test
    //# If the X bit in the RTP header is one, a variable-length header extension MUST be appended
    //# to the RTP header, following the CSRC list if present.
    #[test]
    fn sources_extension_and_padding_are_cut_off() {
        #[rustfmt::skip]
        let mut bytes = [
            0xb1, 0x08, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, // V=2 P X CC=1
            9, 9, 9, 9,                               // one contributing source
            0xbe, 0xde, 0, 1, 7, 7, 7, 7,             // an extension of one word
            0xd5, 0xd5, 0, 2,                         // two samples, two of padding
        ];
        let parsed = parse(&bytes).unwrap();
        assert_eq!(parsed.payload, 24..26);
        let sent = rewrite(&mut bytes, &parsed.header, parsed.payload);
        assert_eq!(
            bytes[sent],
            [0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xd5, 0xd5]
        );
    }

    #[test]
    fn what_is_not_rtp_is_refused() {
        let cut = |first: u8, len: usize, last: u8| {
            let mut bytes = vec![0; len];
            bytes[0] = first;
            bytes[len - 1] = last;
            parse(&bytes)
        };
        assert_eq!(parse(&[]), Err(Malformed));
        assert_eq!(cut(0x80, 11, 0), Err(Malformed), "short");
        assert_eq!(cut(0x40, 20, 0), Err(Malformed), "version 1");
        assert_eq!(cut(0x8f, 20, 0), Err(Malformed), "sources beyond the end");
        assert_eq!(cut(0x90, 15, 0), Err(Malformed), "half an extension");
        assert_eq!(cut(0x90, 16, 9), Err(Malformed), "extension beyond the end");
        assert_eq!(cut(0xa0, 20, 0), Err(Malformed), "padding of nothing");
        assert_eq!(cut(0xa0, 20, 9), Err(Malformed), "padding into the header");
    }
}
