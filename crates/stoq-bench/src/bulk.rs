//! Streams filled by one side and emptied by the other, and how each side reports.

use std::time::Duration;

use crate::arguments::Arguments;
use crate::payload::{Pattern, Received, Sent, Sink, Source, MESSAGE_BYTES_MAX};
use crate::report::Line;
use crate::Result;

/// Bytes of one write, unless asked otherwise.
const MESSAGE_BYTES: usize = 256 * 1024;

/// Bytes a receiver asks for at once.
pub const READ_BYTES: usize = 256 * 1024;

/// How much is sent, in what pieces, over how many connections at once.
#[derive(Clone)]
pub struct Bulk {
    pub connections: usize,
    pattern: Pattern,
    message: usize,
    lasting: Duration,
    /// In place of a time: random bytes, sent once and digested whole.
    hashed: Option<usize>,
}

impl Bulk {
    pub fn of(arguments: &Arguments) -> Result<Bulk> {
        let message = arguments.or("message", MESSAGE_BYTES)?;
        if message == 0 || message > MESSAGE_BYTES_MAX {
            return Err(format!("a message has 1 to {MESSAGE_BYTES_MAX} bytes").into());
        }
        let once = std::fs::read(arguments.directory()?.join("pattern"))?;
        Ok(Bulk {
            connections: arguments.or("connections", 1)?,
            pattern: Pattern::of(&once)?,
            message,
            lasting: arguments.duration()?,
            hashed: match arguments.or("hashed", 0)? {
                0 => None,
                bytes => Some(bytes),
            },
        })
    }

    pub fn source(&self) -> Result<Source> {
        match self.hashed {
            None => Ok(Source::timed(&self.pattern, self.message, self.lasting)),
            Some(bytes) => Source::hashed(bytes, self.message),
        }
    }

    pub fn sink(&self) -> Sink {
        match self.hashed {
            None => Sink::comparing(&self.pattern),
            Some(_) => Sink::keeping(),
        }
    }
}

/// What the receiver says: it alone counts.
pub fn received(received: Received) -> Result<Line> {
    let seconds = received.last - received.first;
    let line = Line::default()
        .number("bytes", received.bytes)
        .number("seconds", seconds.as_secs_f64());
    match &received.digest {
        Some(digest) => line.text("digest", digest),
        None => line,
    }
    .cpu()
}

/// What the sender says, to be compared with that.
pub fn sent(sent: Sent) -> Result<Line> {
    let line = Line::default().number("bytes", sent.bytes);
    let line = match &sent.digest {
        Some(digest) => line.text("digest", digest),
        None => line,
    };
    line.cpu()
}
