//! What STOQ learns of a TLS handshake beyond what quinn passes on.
//!
//! A session of quinn is wrapped in one that reads along. Both sides see the first message of each
//! direction in the clear: the ClientHello, whose digest stands for the client's key share before
//! there is a TLS exporter, and the ServerHello, which says whether a ticket was taken (RFC 8446
//! sections 4.1.2, 4.1.3 and 4.2.11). Nothing is added to the handshake and nothing is changed. Keys
//! pass through here as well, and those for receiving take the padding off probes ([`Unpadded`]).

mod accepted;

use std::any::Any;
use std::sync::Arc;

use crate::quic::crypto::rustls::HandshakeData;
use crate::quic::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig,
    Session, UnsupportedVersion,
};
use crate::quic::{ConnectError, ConnectionId, Side, Unpadded};
use hm_crypto::digest::Context;
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::TransportError;
use rustls::NamedGroup;

pub use self::accepted::Accepting;
use self::accepted::Held;
use crate::limits::HELLO_BYTES_MAX;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const PRE_SHARED_KEY: u16 = 41;

/// What a handshake has shown so far.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// The application protocol.
    pub protocol: Option<Vec<u8>>,
    pub group: Option<NamedGroup>,
    /// The server took a ticket, so neither side has sent certificates.
    pub resumed: bool,
    /// Digest of the ClientHello: of its random and its key share, so of this connection alone.
    pub client_hello: Option<[u8; 32]>,
    /// TLS is done: what the peer sends from now on cannot have been played again.
    pub complete: bool,
    /// How often the keys of the connection have changed since, by either side's wish.
    pub key_updates: u64,
    /// Of a connection that this side has accepted for itself.
    tls: Option<Held>,
}

/// Lets go of what only the handshake and admission of an accepted connection needed. It then has
/// no exporter and no chain of the peer's any more.
pub fn release(connection: &crate::quic::Connection) {
    if let Some(tls) = of(connection).tls {
        tls.release();
    }
}

/// What the handshake of `connection` has shown.
pub fn of(connection: &crate::quic::Connection) -> Handshake {
    connection
        .handshake_data()
        .and_then(|data| data.downcast::<Handshake>().ok())
        .map_or_else(Handshake::default, |handshake| *handshake)
}

/// A configuration whose sessions tell a [`Handshake`].
pub struct Observed<C>(pub Arc<C>);

impl<C: ClientConfig + 'static> ClientConfig for Observed<C> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.0.clone().start_session(version, server_name, params)?;
        Ok(Box::new(ObservedSession::new(inner, Side::Client, None)))
    }
}

impl<C: ServerConfig + 'static> ServerConfig for Observed<C> {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let inner = self.0.clone().start_session(version, params);
        Box::new(ObservedSession::new(inner, Side::Server, None))
    }
}

impl ServerConfig for Accepting {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        Accepting::initial_keys(self, version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        Accepting::retry_tag(self, version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let inner = self.start(version, params);
        let tls = inner.held();
        let inner = Box::new(inner);
        Box::new(ObservedSession::new(inner, Side::Server, Some(tls)))
    }
}

struct ObservedSession {
    inner: Box<dyn Session>,
    tls: Option<Held>,
    side: Side,
    client_hello: First<[u8; 32]>,
    server_hello: First<bool>,
    /// Key changes prepared; quinn prepares one ahead.
    prepared: u64,
}

impl ObservedSession {
    fn new(inner: Box<dyn Session>, side: Side, tls: Option<Held>) -> ObservedSession {
        ObservedSession {
            inner,
            tls,
            side,
            client_hello: First::default(),
            server_hello: First::default(),
            prepared: 0,
        }
    }

    fn observe(&mut self, sender: Side, bytes: &[u8]) {
        match sender {
            Side::Client => self.client_hello.push(bytes, digest),
            Side::Server => self.server_hello.push(bytes, takes_ticket),
        }
    }
}

impl Session for ObservedSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let known = self
            .inner
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok());
        Some(Box::new(Handshake {
            group: known
                .as_ref()
                .map(|known| known.negotiated_key_exchange_group),
            protocol: known.and_then(|known| known.protocol),
            resumed: self.server_hello.known() == Some(true),
            client_hello: self.client_hello.known(),
            complete: !self.inner.is_handshaking(),
            key_updates: self.prepared.saturating_sub(1),
            tls: self.tls.clone(),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.observe(!self.side, buf);
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let before = buf.len();
        let keys = self.inner.write_handshake(buf);
        if let Some(written) = buf.get(before..) {
            self.observe(self.side, written);
        }
        let mut keys = keys?;
        keys.packet.remote = Box::new(Unpadded(keys.packet.remote));
        Some(keys)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.prepared += 1;
        let keys = self.inner.next_1rtt_keys()?;
        Some(KeyPair {
            local: keys.local,
            remote: Box::new(Unpadded(keys.remote)),
        })
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// The first handshake message of one direction, gathered until it is whole, then what it says.
pub(crate) enum First<T> {
    Gathered(Vec<u8>),
    Known(Option<T>),
}

impl<T> Default for First<T> {
    fn default() -> First<T> {
        First::Gathered(Vec::new())
    }
}

impl<T: Copy> First<T> {
    pub(crate) fn push(&mut self, bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>) {
        let First::Gathered(gathered) = self else {
            return;
        };
        gathered.extend_from_slice(bytes);
        let [_, l0, l1, l2, ..] = gathered[..] else {
            return;
        };
        let length = 4 + u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if length > HELLO_BYTES_MAX {
            *self = First::Known(None);
        } else if let Some(message) = gathered.get(..length) {
            *self = First::Known(read(message));
        }
    }

    pub(crate) fn known(&self) -> Option<T> {
        match self {
            First::Known(known) => *known,
            First::Gathered(_) => None,
        }
    }
}

pub(crate) fn digest(client_hello: &[u8]) -> Option<[u8; 32]> {
    if client_hello.first() != Some(&CLIENT_HELLO) {
        return None;
    }
    Some(
        Context::new("stoq-client-hello")
            .ok()?
            .digest(&[client_hello]),
    )
}

/// Whether a ServerHello selects a pre-shared key.
pub(crate) fn takes_ticket(server_hello: &[u8]) -> Option<bool> {
    if server_hello.first() != Some(&SERVER_HELLO) {
        return None;
    }
    // type and length 4, version 2, random 32, session id 1 + n, suite 2, compression 1
    let session = usize::from(*server_hello.get(38)?);
    let mut rest = server_hello.get(39 + session + 3..)?.get(2..)?;
    while let [t0, t1, l0, l1, after @ ..] = rest {
        if u16::from_be_bytes([*t0, *t1]) == PRE_SHARED_KEY {
            return Some(true);
        }
        rest = after.get(usize::from(u16::from_be_bytes([*l0, *l1]))..)?;
    }
    Some(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn server_hello(extensions: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &[0x13, 2, 0],
            &(extensions.len() as u16).to_be_bytes(),
            extensions,
        ]
        .concat();
        let length = (body.len() as u32).to_be_bytes();
        [&[SERVER_HELLO][..], &length[1..], &body].concat()
    }

    const VERSIONS: [u8; 6] = [0, 43, 0, 2, 3, 4];

    #[test]
    fn a_ticket_taken_is_seen() {
        assert_eq!(takes_ticket(&server_hello(&VERSIONS)), Some(false));
        let taken = [&VERSIONS[..], &[0, 41, 0, 2, 0, 0]].concat();
        assert_eq!(takes_ticket(&server_hello(&taken)), Some(true));
        // The number of the extension inside another one's body is not the extension.
        assert_eq!(
            takes_ticket(&server_hello(&[0, 51, 0, 4, 0, 41, 0, 0])),
            Some(false)
        );
    }

    #[test]
    fn no_input_breaks_the_reader() {
        let whole = server_hello(&[&VERSIONS[..], &[0, 41, 0, 2, 0, 0]].concat());
        for end in 0..whole.len() {
            assert_ne!(takes_ticket(&whole[..end.min(46)]), Some(true));
            let _ = takes_ticket(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] = 0xff;
            let _ = takes_ticket(&altered);
        }
        assert_eq!(takes_ticket(&[]), None);
    }

    #[test]
    fn a_message_is_read_once_whole_however_it_arrives() {
        let whole = server_hello(&VERSIONS);
        for cut in 0..whole.len() {
            let mut first = First::default();
            first.push(&whole[..cut], takes_ticket);
            assert_eq!(first.known(), None);
            first.push(&whole[cut..], takes_ticket);
            assert_eq!(first.known(), Some(false));
        }
        // What follows in the same bytes is another message.
        let mut first = First::default();
        first.push(&[&whole[..], &[8, 0, 0, 0]].concat(), takes_ticket);
        assert_eq!(first.known(), Some(false));
    }

    #[test]
    fn a_message_longer_than_the_bound_is_not_kept() {
        let mut first = First::<bool>::default();
        first.push(&[SERVER_HELLO, 0xff, 0xff, 0xff], takes_ticket);
        assert!(matches!(first, First::Known(None)));
    }

    #[test]
    fn two_hellos_have_two_digests() {
        let one = digest(&[CLIENT_HELLO, 0, 0, 1, 1]).unwrap();
        assert_ne!(one, digest(&[CLIENT_HELLO, 0, 0, 1, 2]).unwrap());
        assert_eq!(digest(&[SERVER_HELLO, 0, 0, 1, 1]), None);
    }
}
