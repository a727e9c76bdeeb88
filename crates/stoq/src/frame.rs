//! Frames on a bidirectional stream.
//!
//! ```text
//! request   version u8 | service u16 | length u32 | body        then the end of the stream
//! answer    status u8  | length u32 | body                      then the end of the stream
//! ```
//! On a stream one way, and to open a byte stream, only the header of a request comes, with `OPEN`.
//! A datagram is `service u16 | body`.
//!
//! Integers are big-endian. Status 0 is an answer, 1 an encoded problem. A length of `OPEN` says
//! that raw bytes follow until the end of the stream: in a request it opens a byte stream, in an
//! answer it accepts one, or returns bulk data. Pure: bytes in, values out.

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::limits::BODY_BYTES_MAX;

pub const VERSION: u8 = 1;
pub const REQUEST_HEADER_BYTES: usize = 7;
pub const ANSWER_HEADER_BYTES: usize = 5;
const OPEN: u32 = u32::MAX;

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So many bytes, at most `BODY_BYTES_MAX`.
    Bytes(usize),
    /// Raw bytes to the end of the stream.
    Open,
}

impl Extent {
    fn read(length: u32) -> Result<Extent> {
        match length {
            OPEN => Ok(Extent::Open),
            length if length as usize <= BODY_BYTES_MAX => Ok(Extent::Bytes(length as usize)),
            length => Err(Error::new(
                Kind::TooLarge,
                format!("{length} bytes announced, at most {BODY_BYTES_MAX} are accepted"),
            )),
        }
    }

    fn length(self) -> u32 {
        match self {
            Extent::Bytes(length) => length as u32,
            Extent::Open => OPEN,
        }
    }
}

/// The start of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub service: u16,
    pub extent: Extent,
}

impl RequestHeader {
    pub fn read(bytes: [u8; REQUEST_HEADER_BYTES]) -> Result<RequestHeader> {
        let [version, s0, s1, l0, l1, l2, l3] = bytes;
        if version != VERSION {
            return Err(Error::new(
                Kind::ProtocolMismatch,
                format!("frame version {version}, this side speaks {VERSION}"),
            ));
        }
        Ok(RequestHeader {
            service: u16::from_be_bytes([s0, s1]),
            extent: Extent::read(u32::from_be_bytes([l0, l1, l2, l3]))?,
        })
    }

    pub fn write(self) -> [u8; REQUEST_HEADER_BYTES] {
        let [s0, s1] = self.service.to_be_bytes();
        let [l0, l1, l2, l3] = self.extent.length().to_be_bytes();
        [VERSION, s0, s1, l0, l1, l2, l3]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Ok = 0,
    Problem = 1,
}

/// The start of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHeader {
    pub status: Status,
    pub extent: Extent,
}

impl AnswerHeader {
    pub fn read(bytes: [u8; ANSWER_HEADER_BYTES]) -> Result<AnswerHeader> {
        let [status, l0, l1, l2, l3] = bytes;
        let status = match status {
            0 => Status::Ok,
            1 => Status::Problem,
            status => {
                return Err(Error::new(
                    Kind::MalformedFrame,
                    format!("an answer has status 0 or 1, not {status}"),
                ))
            }
        };
        Ok(AnswerHeader {
            status,
            extent: Extent::read(u32::from_be_bytes([l0, l1, l2, l3]))?,
        })
    }

    pub fn write(self) -> [u8; ANSWER_HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.extent.length().to_be_bytes();
        [self.status as u8, l0, l1, l2, l3]
    }
}

/// Bytes before the body of a datagram.
pub const DATAGRAM_HEADER_BYTES: usize = 2;

pub fn datagram(service: u16, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(DATAGRAM_HEADER_BYTES + body.len());
    out.extend(service.to_be_bytes());
    out.extend_from_slice(body);
    out.into()
}

/// Service and body; `None` for bytes that are no datagram of ours.
pub fn read_datagram(framed: &[u8]) -> Option<(u16, &[u8])> {
    let (service, body) = framed.split_first_chunk()?;
    Some((u16::from_be_bytes(*service), body))
}

/// `body`, where a frame may carry it.
pub fn checked_body(body: &[u8]) -> Result<&[u8]> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!("{} bytes, at most {BODY_BYTES_MAX} fit a frame", body.len()),
        ));
    }
    Ok(body)
}

/// A whole answer.
pub fn answer(status: Status, body: &[u8]) -> Bytes {
    let header = AnswerHeader {
        status,
        extent: Extent::Bytes(body.len()),
    };
    let mut out = Vec::with_capacity(ANSWER_HEADER_BYTES + body.len());
    out.extend(header.write());
    out.extend_from_slice(body);
    out.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire() {
        for extent in [
            Extent::Bytes(0),
            Extent::Bytes(1),
            Extent::Bytes(BODY_BYTES_MAX),
            Extent::Open,
        ] {
            for service in [0, 1, 0x0102, u16::MAX] {
                let header = RequestHeader { service, extent };
                assert_eq!(RequestHeader::read(header.write()).unwrap(), header);
            }
            for status in [Status::Ok, Status::Problem] {
                let header = AnswerHeader { status, extent };
                assert_eq!(AnswerHeader::read(header.write()).unwrap(), header);
            }
        }
    }

    #[test]
    fn the_layout_is_frozen() {
        let header = RequestHeader {
            service: 0x0102,
            extent: Extent::Bytes(0x03_0405),
        };
        assert_eq!(header.write(), [1, 1, 2, 0, 3, 4, 5]);
        assert_eq!(
            &answer(Status::Problem, b"xy")[..],
            b"\x01\x00\x00\x00\x02xy"
        );
    }

    #[test]
    fn a_datagram_is_its_service_and_its_body() {
        assert_eq!(&datagram(0x0102, b"xy")[..], b"\x01\x02xy");
        assert_eq!(read_datagram(b"\x01\x02xy"), Some((0x0102, &b"xy"[..])));
        assert_eq!(read_datagram(b"\x01\x02"), Some((0x0102, &b""[..])));
        assert_eq!(read_datagram(b"\x01"), None);
        assert_eq!(read_datagram(b""), None);
    }

    #[test]
    fn bad_headers_are_refused_by_name() {
        let kind = |bytes| RequestHeader::read(bytes).unwrap_err().kind().unwrap();
        assert_eq!(kind([0, 0, 1, 0, 0, 0, 0]), Kind::ProtocolMismatch);
        assert_eq!(kind([2, 0, 1, 0, 0, 0, 0]), Kind::ProtocolMismatch);
        assert_eq!(kind([1, 0, 1, 0, 0x40, 0, 1]), Kind::TooLarge);
        assert_eq!(kind([1, 0, 1, 0xff, 0xff, 0xff, 0xfe]), Kind::TooLarge);
        let kind = |bytes| AnswerHeader::read(bytes).unwrap_err().kind().unwrap();
        assert_eq!(kind([2, 0, 0, 0, 0]), Kind::MalformedFrame);
        assert_eq!(kind([0, 0x40, 0, 0, 1]), Kind::TooLarge);
        assert_eq!(
            checked_body(&vec![0; BODY_BYTES_MAX + 1])
                .unwrap_err()
                .kind(),
            Some(Kind::TooLarge)
        );
    }
}
