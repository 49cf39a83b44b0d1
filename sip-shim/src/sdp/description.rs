//! A description as it was written: every line, known or not, where it stood.
//!
//! [`Description::write`] gives the bytes back that [`Description::parse`] took, with CRLF behind
//! every line and without empty ones. What the lines mean is read in [`crate::sdp`].
//!
//! Sources: RFC 8866 §5 (lines, levels), §9 (line ends).

use std::borrow::Cow;

use super::{MEDIA_MAX, SDP_BYTES_MAX, SdpError};

/// The most lines of a description we read.
pub const LINES_MAX: usize = 1024;

const LINE_END: &[u8] = b"\r\n";

/// The lines of a description by level: those of the session, then those of each media line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    session: Vec<Line>,
    media: Vec<Vec<Line>>,
}

/// One line without its end, such as `a=sendrecv`: bytes, for phones write names in any encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Box<[u8]>);

impl Description {
    /// Takes a body apart. It is refused if what [`Description::write`] makes of it would be.
    pub fn parse(body: &[u8]) -> Result<Description, SdpError> {
        if body.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLarge);
        }
        let mut description = Description {
            session: Vec::new(),
            media: Vec::new(),
        };
        let (mut lines, mut bytes) = (0, 0);
        for text in body.split(|byte| *byte == b'\n') {
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.trim_ascii().is_empty() {
                continue;
            }
            let line = Line::parse(text).ok_or(SdpError::BadLine)?;
            if lines == 0 && (line.kind() != b"v" || line.value() != "0") {
                return Err(SdpError::NotSdp);
            }
            lines += 1;
            bytes += text.len() + LINE_END.len();
            if lines > LINES_MAX || bytes > SDP_BYTES_MAX {
                return Err(SdpError::TooLarge);
            }
            description.push(line)?;
        }
        if lines == 0 {
            return Err(SdpError::NotSdp);
        }
        Ok(description)
    }

    fn push(&mut self, line: Line) -> Result<(), SdpError> {
        if line.kind() != b"m" {
            self.media
                .last_mut()
                .unwrap_or(&mut self.session)
                .push(line);
        } else if self.media.len() < MEDIA_MAX {
            self.media.push(vec![line]);
        } else {
            return Err(SdpError::TooLarge);
        }
        Ok(())
    }

    /// The body again.
    pub fn write(&self) -> Vec<u8> {
        let lines = self.lines().flat_map(|line| [&line.0, LINE_END]);
        lines.flatten().copied().collect()
    }

    /// The lines above the first media line, v= first.
    pub fn session(&self) -> &[Line] {
        &self.session
    }

    /// For each media line, itself and what belongs to it.
    pub fn media(&self) -> &[Vec<Line>] {
        &self.media
    }

    /// All lines, as they stood.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.session.iter().chain(self.media.iter().flatten())
    }
}

impl Line {
    fn parse(text: &[u8]) -> Option<Line> {
        text.contains(&b'=').then(|| Line(text.into()))
    }

    /// What stands before the first `=`: a letter, if it is a line of RFC 8866.
    pub fn kind(&self) -> &[u8] {
        self.parts().0
    }

    /// What stands behind it, without spaces at the end; bytes that are not UTF-8 are replaced.
    pub fn value(&self) -> Cow<'_, str> {
        match String::from_utf8_lossy(self.parts().1) {
            Cow::Borrowed(value) => Cow::Borrowed(value.trim_end()),
            Cow::Owned(value) => Cow::Owned(value.trim_end().to_owned()),
        }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let mut parts = self.0.splitn(2, |byte| *byte == b'=');
        let mut next = || parts.next().unwrap_or_default();
        (next(), next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that no part of this program reads, in no good order, at both levels.
    const UNKNOWN: &[u8] = b"v=0\r\n\
        o=J\xfcrgen  1 1.5 IN IP4 127.0.0.1\r\ns=a\r\ns=b \r\nX-vendor=1=2\r\nz=0 -1h 1 1h\r\n\
        r=3600 60\r\nt=0\r\nk=prompt\r\nk=prompt\r\nb=AS:64.5\r\na=group:BUNDLE 0 1\r\n\
        a=\r\n=\r\ny=?\r\nc=IN IP4 127.0.0.1\r\n\
        m=audio 4000/ RTP/AVP 0 \r\na=mid:0\r\ni=\xff\xfe\r\na=candidate:1 1 UDP 1 10.0.0.1 1\r\n\
        c=IN IP4 10.0.0.1\r\na=sendrecv \t\r\nb=X-YZ:128\r\nq=\0\r\nt=1 1\r\n\
        m=video 0 RTP/AVP 31\r\na=fmtp:31 a=b;c=d\r\n";

    #[test]
    fn unknown_lines_are_kept_where_they_stood() {
        let read = Description::parse(UNKNOWN).unwrap();
        assert_eq!(read.write(), UNKNOWN);
        assert_eq!((read.session().len(), read.media().len()), (16, 2));
        assert_eq!(read.media()[0].len(), 9);
        assert_eq!(read.lines().count(), 27);
        let vendor = &read.session()[4];
        assert_eq!((vendor.kind(), &*vendor.value()), (&b"X-vendor"[..], "1=2"));
        assert_eq!(
            read.session()[1].value(),
            "J\u{fffd}rgen  1 1.5 IN IP4 127.0.0.1"
        );
        assert_eq!(read.media()[0][5].value(), "sendrecv");
        let audio = &crate::sdp::parse(UNKNOWN).unwrap().media[0];
        assert!(audio.is_usable());
        assert_eq!(audio.rtp(), Some("10.0.0.1:4000".parse().unwrap()));
    }

    #[test]
    fn line_ends_are_mended() {
        let read = Description::parse(b"\n v=0\n").map(|d| d.write());
        assert_eq!(read, Err(SdpError::NotSdp));
        let read = Description::parse(b"\r\n \nv=0 \ns=-\r\n\r\nt=0 0\r").map(|d| d.write());
        assert_eq!(read, Ok(b"v=0 \r\ns=-\r\nt=0 0\r\n".to_vec()));
    }

    #[test]
    fn lines_and_bytes_are_bounded() {
        let lines = |n: usize| format!("v=0\r\n{}", "a=x\r\n".repeat(n - 1));
        assert!(Description::parse(lines(LINES_MAX).as_bytes()).is_ok());
        let long = Description::parse(lines(LINES_MAX + 1).as_bytes());
        assert_eq!(long, Err(SdpError::TooLarge));
        // It would be longer than we read, once its line ends are mended.
        let bare = format!("v=0\na={}\n", "x".repeat(SDP_BYTES_MAX - 7));
        assert_eq!(bare.len(), SDP_BYTES_MAX);
        assert_eq!(Description::parse(bare.as_bytes()), Err(SdpError::TooLarge));
    }
}
