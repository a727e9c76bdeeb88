//! What a server may send to an address before it is shown to be the client's: three times what
//! came from there (RFC 9000 section 8.1).
//!
//! quinn-proto keeps to that but for one datagram: it lets the last one begin within the bound and
//! end beyond. Such a datagram is withheld here until more has come.

use std::time::Instant;

use quinn_proto::{Connection, Transmit};

use crate::limits::AMPLIFICATION_MAX;

pub struct Allowance {
    /// Bytes of the client's first datagram, which the statistics of the connection leave out.
    first: u64,
    /// Bytes that the state machine has given out.
    sent: u64,
    proven: bool,
    withheld: Option<(Transmit, Vec<u8>)>,
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Send,
    Withhold,
    /// Only a proven address is sent anything at this point.
    Proven,
}

/// `bytes` to an address that had sent `received` and was sent `sent`.
fn judge(received: u64, sent: u64, bytes: u64) -> Verdict {
    let bound = received.saturating_mul(AMPLIFICATION_MAX);
    if sent >= bound {
        Verdict::Proven
    } else if sent + bytes <= bound {
        Verdict::Send
    } else {
        Verdict::Withhold
    }
}

impl Allowance {
    /// `first`: bytes of the client's first datagram.
    pub fn new(first: u64) -> Allowance {
        Allowance {
            first,
            sent: 0,
            proven: false,
            withheld: None,
        }
    }

    /// The address is the client's, and nothing is withheld any more.
    pub fn is_over(&self) -> bool {
        self.proven && self.withheld.is_none()
    }

    /// What `inner` has to send and may, put into the empty `buffer`.
    pub fn poll_transmit(
        &mut self,
        inner: &mut Connection,
        now: Instant,
        segments: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        // quinn-proto counts no more than this, so where it sends beyond three times this, it knows
        // the address by a packet under the handshake's keys.
        let received = self.first + inner.stats().udp_rx.bytes;
        self.proven |= !inner.is_handshaking() && !inner.is_closed();
        let bound = received.saturating_mul(AMPLIFICATION_MAX);
        if self.proven || self.sent <= bound {
            if let Some((transmit, bytes)) = self.withheld.take() {
                buffer.extend_from_slice(&bytes);
                return Some(transmit);
            }
        }
        if self.proven {
            return inner.poll_transmit(now, segments, buffer);
        }
        let left = bound.saturating_sub(self.sent) / u64::from(inner.current_mtu().max(1));
        let segments = usize::try_from(left).map_or(segments, |left| left.clamp(1, segments));
        let transmit = inner.poll_transmit(now, segments, buffer)?;
        let verdict = judge(received, self.sent, transmit.size as u64);
        self.sent += transmit.size as u64;
        match verdict {
            Verdict::Send => Some(transmit),
            Verdict::Proven => {
                self.proven = true;
                Some(transmit)
            }
            Verdict::Withhold => {
                self.withheld = Some((transmit, buffer.clone()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_what_came_and_not_a_byte_more() {
        assert_eq!(judge(1200, 0, 3600), Verdict::Send);
        assert_eq!(judge(1200, 0, 3601), Verdict::Withhold);
        assert_eq!(judge(1252, 3600, 156), Verdict::Send);
        assert_eq!(judge(1252, 3600, 157), Verdict::Withhold);
        assert_eq!(judge(1200, 3600, 1), Verdict::Proven);
        assert_eq!(judge(0, 0, 1), Verdict::Proven);
    }
}
