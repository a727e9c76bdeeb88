//! Why something failed, as a kind with a stable number and a reason in words.
//!
//! The number serves three times: it is the application close code or the stream reset code on the
//! wire (RFC 9000 section 20.2), and the last digits of the error's code in the catalogue
//! (`HM-STOQ-0005`). So both ends of a connection name one failure alike. Titles and remedies are
//! with the catalogue, in `hypermesh.stoq.errors`.

use crate::quic::{ConnectError, ConnectionError, ReadError, ReadExactError, VarInt, WriteError};
use bytes::Bytes;

use crate::limits::REASON_BYTES_MAX;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What failed. Numbers are for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];
        }
    };
}

kinds! {
    /// The peer belongs to another network.
    WrongNetwork = 1,
    UnknownIssuer = 2,
    CertificateExpired = 3,
    CertificateNotYetValid = 4,
    PeerRevoked = 5,
    CertificateSignature = 6,
    CertificateMalformed = 7,
    CertificateMissing = 8,
    /// The peer is a valid one, but not the one that was asked for.
    WrongPeer = 9,
    /// The signatures over the TLS channel do not verify.
    BindingFailed = 10,
    HandshakeTimeout = 11,
    /// The peer speaks another version of STOQ, or refuses the protocol asked for.
    ProtocolMismatch = 12,
    HandshakeFailed = 13,
    /// A name constraint keeps the peer's name out.
    NameForbidden = 14,
    /// The peer has proven its keys, and they are not among those let in here.
    NotAuthorized = 16,
    ConnectionLost = 20,
    ConnectionClosed = 21,
    EndpointClosed = 22,
    TimedOut = 23,
    TooLarge = 24,
    MalformedFrame = 25,
    /// The service dropped the request without an answer.
    Unanswered = 26,
    StreamReset = 27,
    BindRefused = 28,
    InvalidIdentity = 29,
    InvalidAddress = 30,
    NoGrant = 40,
    ReadOnly = 41,
    GrantExpired = 42,
    Fenced = 43,
    OutOfRange = 44,
    Unaligned = 45,
    RegionUnknown = 46,
    RegionExists = 47,
    RegionTooLarge = 48,
    /// What is sent is no longer what it was when its sending began.
    FileChanged = 50,
    /// Bytes that came are not those that were announced.
    ChunkMismatch = 51,
    NoSpace = 52,
    /// A file cannot be read or written.
    FileFailed = 53,
    /// The local service behind a tunnel does not take the connection.
    TargetRefused = 70,
    /// Nodes of partner networks may not ask for this service.
    NotForPartners = 62,
    /// A bounded queue is full (`HM-0008` in the catalogue).
    Overloaded = 60,
    /// The endpoint is going down and takes nothing new.
    Draining = 61,
}

impl Kind {
    /// The code in the catalogue of errors.
    pub fn code(self) -> String {
        match self {
            Kind::Overloaded => "HM-0008".to_owned(),
            kind => format!("HM-STOQ-{:04}", kind as u16),
        }
    }

    /// The kind behind a close or reset code, where it is one of ours.
    pub fn from_wire(code: VarInt) -> Option<Kind> {
        let code = code.into_inner();
        Kind::ALL.iter().copied().find(|kind| *kind as u64 == code)
    }

    pub fn to_wire(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// Whether this is a reason not to admit a peer.
    pub fn is_refusal(self) -> bool {
        (self as u16) < Kind::ConnectionLost as u16
    }
}

/// A failure of the transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `why` is for people.
    #[error("{kind:?}: {why}")]
    Failed { kind: Kind, why: String },
    /// The service on the other side answered with an encoded problem (`wire.errors.Problem`).
    #[error("the other side answered with a problem")]
    Problem(Bytes),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, why: impl Into<String>) -> Error {
        Error::Failed {
            kind,
            why: why.into(),
        }
    }

    pub fn kind(&self) -> Option<Kind> {
        match self {
            Error::Failed { kind, .. } => Some(*kind),
            Error::Problem(_) => None,
        }
    }

    /// The reason in words, cut to what a close frame carries.
    pub fn reason(&self) -> &str {
        match self {
            Error::Failed { why, .. } => Error::cut(why),
            Error::Problem(_) => "",
        }
    }

    /// The front of `text` that fits a close frame.
    pub fn cut(text: &str) -> &str {
        let mut end = text.len().min(REASON_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        &text[..end]
    }
}

/// The failure that a peer's code and reason describe.
pub fn said_by_peer(code: VarInt, reason: &[u8], unknown: Kind) -> Error {
    let reason = String::from_utf8_lossy(&reason[..reason.len().min(REASON_BYTES_MAX)]);
    match Kind::from_wire(code) {
        Some(kind) if reason.is_empty() => Error::new(kind, "the other side says so"),
        Some(kind) => Error::new(kind, format!("the other side says: {reason}")),
        None => Error::new(unknown, format!("code {code}: {reason}")),
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Error {
        // TLS alerts arrive as transport error 0x100 + alert (RFC 9001 section 4.8).
        const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
        let crypto = |code: u64| (0x100..0x200).contains(&code);
        match error {
            ConnectionError::ApplicationClosed(close) => {
                said_by_peer(close.error_code, &close.reason, Kind::ConnectionClosed)
            }
            ConnectionError::TransportError(error) => match u64::from(error.code) {
                NO_APPLICATION_PROTOCOL => Error::new(Kind::ProtocolMismatch, error.to_string()),
                code if crypto(code) => Error::new(Kind::HandshakeFailed, error.to_string()),
                _ => Error::new(Kind::ConnectionLost, error.to_string()),
            },
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                NO_APPLICATION_PROTOCOL => Error::new(Kind::ProtocolMismatch, close.to_string()),
                code if crypto(code) => Error::new(Kind::HandshakeFailed, close.to_string()),
                _ => Error::new(Kind::ConnectionLost, close.to_string()),
            },
            ConnectionError::VersionMismatch => {
                Error::new(Kind::ProtocolMismatch, "no common version of QUIC")
            }
            ConnectionError::LocallyClosed => {
                Error::new(Kind::ConnectionClosed, "this side closed it")
            }
            error @ (ConnectionError::TimedOut
            | ConnectionError::Reset
            | ConnectionError::CidsExhausted) => {
                Error::new(Kind::ConnectionLost, error.to_string())
            }
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Error {
        match error {
            ConnectError::EndpointStopping => Error::new(Kind::EndpointClosed, error.to_string()),
            error => Error::new(Kind::InvalidAddress, error.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Reset(code) => said_by_peer(code, b"", Kind::StreamReset),
            ReadError::ConnectionLost(error) => error.into(),
            error @ (ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected) => Error::new(Kind::StreamReset, error.to_string()),
        }
    }
}

impl From<ReadExactError> for Error {
    fn from(error: ReadExactError) -> Error {
        match error {
            ReadExactError::FinishedEarly(read) => Error::new(
                Kind::MalformedFrame,
                format!("the stream ended {read} bytes into a frame"),
            ),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Error {
        match error {
            WriteError::Stopped(code) => said_by_peer(code, b"", Kind::StreamReset),
            WriteError::ConnectionLost(error) => error.into(),
            error @ (WriteError::ClosedStream | WriteError::ZeroRttRejected) => {
                Error::new(Kind::StreamReset, error.to_string())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_wire_and_a_foreign_code_is_no_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_wire(kind.to_wire()), Some(*kind));
        }
        assert_eq!(Kind::from_wire(VarInt::from_u32(0)), None);
        assert_eq!(Kind::from_wire(VarInt::MAX), None);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let error = Error::new(Kind::WrongPeer, "é".repeat(REASON_BYTES_MAX));
        assert_eq!(error.reason().len(), REASON_BYTES_MAX);
        let error = Error::new(
            Kind::WrongPeer,
            format!("a{}", "é".repeat(REASON_BYTES_MAX)),
        );
        assert_eq!(error.reason().len(), REASON_BYTES_MAX - 1);
    }
}
