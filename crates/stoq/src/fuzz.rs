//! Fuzz targets of this crate: all that it reads before, and while, it knows its peer.

mod hello;
mod padding;
mod steering;
mod tickets;

use std::sync::OnceLock;

use hm_crypto::hybrid::SecretKeys;
use hm_fuzz::Target;
use hm_x509::PeerIdentity;

use crate::admission::{self, Alpn, Binding, Channel, Role};
use crate::error::{said_by_peer, Error, Kind, Result};
use crate::frame::{
    self, AnswerHeader, Extent, RequestHeader, Status, ANSWER_HEADER_BYTES, REQUEST_HEADER_BYTES,
};
use crate::limits::{BODY_BYTES_MAX, RANGES_MAX, REASON_BYTES_MAX};
use crate::memory::{self, Action, Operation, Range};
use crate::problem;
use crate::quic::VarInt;
use crate::serving::{may_be_early, SERVICE_ECHO};

pub const TARGETS: &[Target] = &[
    Target {
        name: "frames",
        seeds: frames,
        read: read_frames,
    },
    Target {
        name: "memory-operation",
        seeds: operations,
        read: read_operation,
    },
    Target {
        name: "admission",
        seeds: || vec![Admitted::once().frame.clone(), vec![1, 0], refusal()],
        read: read_admission,
    },
    Target {
        name: "first-flight",
        seeds: first_flights,
        read: read_first_flight,
    },
    Target {
        name: "hello",
        seeds: hello::seeds,
        read: hello::read,
    },
    Target {
        name: "tickets",
        seeds: tickets::seeds,
        read: tickets::read,
    },
    Target {
        name: "steering",
        seeds: steering::seeds,
        read: steering::read,
    },
    Target {
        name: "padding",
        seeds: padding::seeds,
        read: padding::read,
    },
    Target {
        name: "datagram",
        seeds: || vec![frame::datagram(7, b"ping").to_vec(), vec![0, 9], vec![1]],
        read: read_datagram,
    },
    Target {
        name: "close",
        seeds: || vec![b"\0\x05revoked in June".to_vec(), b"\0\x3c".to_vec()],
        read: read_close,
    },
];

fn frames() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for extent in [
        Extent::Bytes(0),
        Extent::Bytes(5),
        Extent::Bytes(BODY_BYTES_MAX),
        Extent::Open,
    ] {
        seeds.push(RequestHeader { service: 7, extent }.write().to_vec());
        for status in [Status::Ok, Status::Problem] {
            seeds.push(AnswerHeader { status, extent }.write().to_vec());
        }
    }
    seeds
}

/// A header that reads is the one that was written, and announces no more than is accepted.
fn read_frames(input: &[u8]) {
    let bounded = |extent| match extent {
        Extent::Bytes(length) => assert!(length <= BODY_BYTES_MAX),
        Extent::Open => {}
    };
    if let Some(bytes) = input.first_chunk::<REQUEST_HEADER_BYTES>() {
        if let Ok(header) = RequestHeader::read(*bytes) {
            bounded(header.extent);
            assert_eq!(header.write(), *bytes);
        }
    }
    if let Some(bytes) = input.first_chunk::<ANSWER_HEADER_BYTES>() {
        if let Ok(header) = AnswerHeader::read(*bytes) {
            bounded(header.extent);
            assert_eq!(header.write(), *bytes);
        }
    }
}

fn operations() -> Vec<Vec<u8>> {
    let actions = [
        Action::Read { length: 1 },
        Action::Write { length: u64::MAX },
        Action::CompareAndSwap {
            expected: 1,
            desired: 2,
        },
        Action::FetchAdd { delta: 3 },
        Action::Fence { epoch: 4 },
    ];
    let operation = |action| Operation {
        region: [7; 16],
        epoch: 5,
        offset: 6,
        action,
    };
    let range = |number: u64| Range {
        offset: number << 12,
        length: 4096,
    };
    let mut seeds = actions.map(|action| operation(action).encode()).to_vec();
    for count in [0, 1, 3] {
        let ranges: Vec<Range> = (0..count).map(range).collect();
        for action in [
            Action::Gather { ranges: count },
            Action::Scatter { ranges: count },
        ] {
            seeds.push(operation(action).encode_with(&ranges));
        }
    }
    seeds
}

/// An operation has one encoding, and no more ranges than are accepted.
fn read_operation(input: &[u8]) {
    if let Ok(operation) = Operation::decode(input) {
        let ranges = Range::read_all(input);
        assert!(ranges.len() <= RANGES_MAX);
        assert_eq!(operation.encode_with(&ranges), input);
    }
}

/// A peer, its channel and the binding that admits it.
struct Admitted {
    peer: Option<PeerIdentity>,
    channel: Channel,
    frame: Vec<u8>,
    /// The binding of its first flight.
    early: Vec<u8>,
}

impl Admitted {
    fn once() -> &'static Admitted {
        static ADMITTED: OnceLock<Admitted> = OnceLock::new();
        ADMITTED.get_or_init(|| {
            let channel = Channel::between(Alpn::Node, [9; 32]);
            let made = Admitted::signed(&channel);
            let (peer, [frame, early]) = made.map_or_else(
                |_| Default::default(),
                |(peer, frames)| (Some(peer), frames),
            );
            Admitted {
                peer,
                channel,
                frame,
                early,
            }
        })
    }

    /// Fresh keys and their bindings: a frozen signature would freeze its message here as well.
    fn signed(channel: &Channel) -> Result<(PeerIdentity, [Vec<u8>; 2])> {
        let failed = |why: String| Error::new(Kind::InvalidIdentity, why);
        let keys = SecretKeys::generate().map_err(|error| failed(error.to_string()))?;
        let leaf = hm_x509::self_signed(&keys).map_err(|error| failed(error.to_string()))?;
        let peer = hm_x509::read_keys(&leaf).map_err(|error| failed(error.to_string()))?;
        let identity = crate::Identity::new(vec![leaf], keys.into())?;
        let binding = Admitted::binding(channel, peer.id);
        let frame = binding.sign(Role::Client, Some(&identity))?;
        let early = binding.sign(Role::Early, Some(&identity))?;
        Ok((peer, [frame, early]))
    }

    fn binding(channel: &Channel, client: crate::PeerId) -> Binding<'_> {
        Binding {
            channel: &channel.binding,
            client,
            server: [2; 32],
            genesis: &[3; 32],
        }
    }

    fn verify(&self, role: Role, frame: &[u8]) -> Result<()> {
        let client = self.peer.as_ref().map_or([0; 32], |peer| peer.id);
        Admitted::binding(&self.channel, client).verify(role, self.peer.as_ref(), frame)
    }
}

fn refusal() -> Vec<u8> {
    admission::refusal(&Error::new(Kind::PeerRevoked, "the node is revoked"))
}

/// No bytes admit a peer but those it signed, in its role; and a refusal is one, with its reason.
fn read_admission(input: &[u8]) {
    let admitted = Admitted::once();
    let is_let_in = admitted.verify(Role::Client, input).is_ok();
    assert_eq!(is_let_in, input == admitted.frame);
    assert!(admitted.verify(Role::Server, input).is_err());
    if let Some(error) = admission::said_refusal(input) {
        assert!(!is_let_in);
        assert!(error.reason().len() <= REASON_BYTES_MAX);
        check_problem(&error);
    }
    let _ = Alpn::from_name(input);
}

fn first_flights() -> Vec<Vec<u8>> {
    let flight = |service, body: &[u8]| {
        let extent = Extent::Bytes(body.len());
        let header = RequestHeader { service, extent }.write();
        [&Admitted::once().early[..], &header, body].concat()
    };
    let mut seeds: Vec<_> = operations()
        .iter()
        .map(|body| flight(memory::SERVICE, body))
        .collect();
    seeds.push(flight(SERVICE_ECHO, b"hello"));
    seeds.push(flight(9, b"hello"));
    seeds
}

/// `early binding | request header | body`. Only the binding that was signed for a first flight
/// binds one, and admits nobody; and of the requests behind it none that changes something passes.
fn read_first_flight(input: &[u8]) {
    let admitted = Admitted::once();
    let Some((bound, request)) = input.split_at_checked(admitted.early.len()) else {
        return;
    };
    let holds = admitted.verify(Role::Early, bound).is_ok();
    assert_eq!(holds, bound == admitted.early);
    assert!(admitted.verify(Role::Client, bound).is_err() || bound == admitted.frame);
    assert!(admitted.verify(Role::Early, &admitted.frame).is_err());
    let Some((header, body)) = request.split_first_chunk::<REQUEST_HEADER_BYTES>() else {
        return;
    };
    let Ok(header) = RequestHeader::read(*header) else {
        return;
    };
    if may_be_early(header.service, body) && header.service != SERVICE_ECHO {
        assert_eq!(header.service, memory::SERVICE);
        // Number of the operation, region, epoch, offset and length.
        assert_eq!((body.first(), body.len()), (Some(&1), 1 + 16 + 3 * 8));
    }
}

fn read_datagram(input: &[u8]) {
    match frame::read_datagram(input) {
        Some((service, body)) => assert_eq!(frame::datagram(service, body), input),
        None => assert!(input.len() < frame::DATAGRAM_HEADER_BYTES),
    }
}

/// What a peer says when it closes, as `code u16 | reason`, can be told on.
fn read_close(input: &[u8]) {
    let Some((code, reason)) = input.split_first_chunk() else {
        return;
    };
    let code = VarInt::from_u32(u16::from_be_bytes(*code).into());
    let error = said_by_peer(code, reason, Kind::ConnectionClosed);
    assert!(error.kind().is_some());
    check_problem(&error);
}

/// The encoded problem is four texts of the lengths that stand before them.
fn check_problem(error: &Error) {
    let encoded = problem::encode(error);
    let mut rest: &[u8] = &encoded;
    assert_eq!(rest.first(), Some(&0x94));
    rest = &rest[1..];
    for _ in 0..4 {
        let (head, length) = match *rest {
            [short @ 0xa0..=0xbf, ..] => (1, usize::from(short & 0x1f)),
            [0xd9, length, ..] => (2, usize::from(length)),
            [0xda, high, low, ..] => (3, usize::from(u16::from_be_bytes([high, low]))),
            _ => (rest.len() + 1, 0),
        };
        let text = rest.get(head..head + length);
        assert!(text.is_some_and(|text| std::str::from_utf8(text).is_ok()));
        rest = &rest[head + length..];
    }
    assert!(rest.is_empty());
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn no_altered_input_breaks_a_decoder() {
        for target in TARGETS {
            if let Err(failure) = hm_fuzz::exercise(target, 2026, 3_000) {
                panic!("{failure}");
            }
        }
    }

    #[test]
    fn the_binding_that_was_signed_is_let_in() {
        let admitted = Admitted::once();
        assert!(admitted.peer.is_some());
        assert!(admitted.verify(Role::Client, &admitted.frame).is_ok());
        assert!(admitted.verify(Role::Early, &admitted.early).is_ok());
        assert!(admission::said_refusal(&refusal()).is_some());
    }
}
