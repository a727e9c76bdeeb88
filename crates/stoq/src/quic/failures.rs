//! Why an operation on a stream or a datagram failed.

use quinn_proto::{ClosedStream, ConnectionError, VarInt};
use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    #[error("the peer reset the stream with code {0}")]
    Reset(VarInt),
    #[error("the connection is lost")]
    ConnectionLost(#[from] ConnectionError),
    #[error("the stream is closed")]
    ClosedStream,
    #[error("ordered read after an unordered one")]
    IllegalOrderedRead,
    #[error("the peer rejected 0-RTT")]
    ZeroRttRejected,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadExactError {
    /// With the number of bytes read before the end.
    #[error("the stream ended after {0} bytes")]
    FinishedEarly(usize),
    #[error(transparent)]
    ReadError(#[from] ReadError),
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadToEndError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the stream is longer than wanted")]
    TooLong,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    #[error("the peer stopped the stream with code {0}")]
    Stopped(VarInt),
    #[error("the connection is lost")]
    ConnectionLost(#[from] ConnectionError),
    #[error("the stream is closed")]
    ClosedStream,
    #[error("the peer rejected 0-RTT")]
    ZeroRttRejected,
}

impl From<ClosedStream> for WriteError {
    fn from(_: ClosedStream) -> WriteError {
        WriteError::ClosedStream
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoppedError {
    #[error("the connection is lost")]
    ConnectionLost(#[from] ConnectionError),
    #[error("the peer rejected 0-RTT")]
    ZeroRttRejected,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendDatagramError {
    #[error("the peer takes no datagrams")]
    UnsupportedByPeer,
    #[error("datagrams are off on this side")]
    Disabled,
    #[error("the datagram is too large")]
    TooLarge,
    #[error("the connection is lost")]
    ConnectionLost(#[from] ConnectionError),
}
