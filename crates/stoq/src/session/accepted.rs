//! TLS of a connection that this side accepts, which can be let go of.
//!
//! rustls keeps for the life of a connection what only its handshake needs: the client's chain, the
//! buffer in which its messages were gathered, the keys of a record layer that QUIC has not. With
//! FALCON in each certificate these are 24 KB, more than all else of an idle connection. A server
//! needs nothing of it after admission but the secrets from which the next keys come: a client has
//! no more to say in TLS, because QUIC has neither KeyUpdate messages nor certificates asked for
//! later (RFC 9001 sections 4.4 and 6).

use std::any::Any;
use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use parking_lot::Mutex;
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{TransportError, TransportErrorCode};
use rustls::pki_types::CertificateDer;
use rustls::quic::{Connection, KeyChange, Secrets, ServerConnection, Suite, Version};
use rustls::{AlertDescription, ServerConfig};

use crate::quic::crypto::rustls::{HandshakeData, QuicServerConfig};
use crate::quic::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
    UnsupportedVersion,
};
use crate::quic::{ConnectionId, Side};

/// Draft versions that quinn speaks, with labels and salts of their own.
const DRAFTS: std::ops::RangeInclusive<u32> = 0xff00_001d..=0xff00_0020;

/// A configuration whose sessions can let go of TLS.
pub struct Accepting {
    /// What comes before a session is quinn's.
    before: QuicServerConfig,
    tls: Arc<ServerConfig>,
    initial: Suite,
}

impl Accepting {
    /// `None` without the cipher suite of Initial packets.
    pub fn new(tls: Arc<ServerConfig>) -> Option<Accepting> {
        let suites = &tls.crypto_provider().cipher_suites;
        let initial = suites
            .iter()
            .find(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256)?
            .tls13()?
            .quic_suite()?;
        Some(Accepting {
            before: QuicServerConfig::try_from(tls.clone()).ok()?,
            tls,
            initial,
        })
    }

    pub fn start(&self, version: u32, params: &TransportParameters) -> Accepted {
        let version = match DRAFTS.contains(&version) {
            true => Version::V1Draft,
            false => Version::V1,
        };
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        let tls = ServerConnection::new(self.tls.clone(), version, encoded);
        Accepted {
            initial: self.initial,
            version,
            // It fails only for a configuration without QUIC, and then no handshake gets anywhere.
            held: Held(Arc::new(Mutex::new(
                tls.ok().map(|tls| Box::new(tls.into())),
            ))),
            agreed: None,
            next: None,
        }
    }

    pub fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        crypto::ServerConfig::initial_keys(&self.before, version, dst_cid)
    }

    pub fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        crypto::ServerConfig::retry_tag(&self.before, version, orig_dst_cid, packet)
    }
}

/// TLS of one connection, for as long as it is held.
#[derive(Clone)]
pub struct Held(Arc<Mutex<Option<Box<Connection>>>>);

impl Held {
    /// Lets go of it.
    pub fn release(&self) {
        let released = self.0.lock().take();
        // What it holds may ask for locks of its own.
        drop(released);
    }

    fn look<T>(&self, look: impl FnOnce(&mut Connection) -> Option<T>) -> Option<T> {
        look(self.0.lock().as_mut()?)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Held")
    }
}

/// A session of quinn over [`Held`].
pub struct Accepted {
    initial: Suite,
    version: Version,
    held: Held,
    /// Application protocol and key exchange group.
    agreed: Option<(Option<Vec<u8>>, rustls::NamedGroup)>,
    /// Where the keys after the next change come from.
    next: Option<Secrets>,
}

impl Accepted {
    pub fn held(&self) -> Held {
        self.held.clone()
    }
}

impl Session for Accepted {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        boxed(self.initial.keys(dst_cid, side.into(), self.version))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let (protocol, group) = self.agreed.as_ref()?;
        Some(Box::new(HandshakeData {
            protocol: protocol.clone(),
            server_name: None,
            negotiated_key_exchange_group: *group,
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let chain: Vec<CertificateDer<'static>> = self.held.look(|tls| {
            let chain = tls.peer_certificates()?;
            Some(chain.iter().map(|der| der.clone().into_owned()).collect())
        })?;
        Some(Box::new(chain))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.held.look(|tls| tls.zero_rtt_keys())?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.held
            .look(|tls| Some(tls.is_handshaking()))
            .unwrap_or(false)
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let mut held = self.held.0.lock();
        let Some(tls) = held.as_mut() else {
            return Err(alert(
                AlertDescription::UnexpectedMessage,
                "TLS is over".into(),
            ));
        };
        if let Err(error) = tls.read_hs(buf) {
            let code = tls.alert().unwrap_or(AlertDescription::InternalError);
            return Err(alert(code, error.to_string()));
        }
        if self.agreed.is_some() {
            return Ok(false);
        }
        let protocol = tls.alpn_protocol().map(<[u8]>::to_vec);
        let group = tls.negotiated_key_exchange_group();
        if let Some(group) = group.filter(|_| protocol.is_some() || !tls.is_handshaking()) {
            self.agreed = Some((protocol, group.name()));
        }
        Ok(self.agreed.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let read = self.held.look(|tls| {
            let encoded = tls.quic_transport_parameters()?;
            Some(TransportParameters::read(
                Side::Server,
                &mut Cursor::new(encoded),
            ))
        });
        Ok(read.transpose()?)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.held.look(|tls| tls.write_hs(buf))? {
            KeyChange::Handshake { keys } => Some(boxed(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(boxed(keys))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair {
            local: Box::new(keys.local),
            remote: Box::new(keys.remote),
        })
    }

    /// Only a client gets one.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let export = |tls: &mut Connection| {
            let exported = tls.export_keying_material(output, label, Some(context));
            exported.ok().map(|_| ())
        };
        self.held.look(export).ok_or(ExportKeyingMaterialError)
    }
}

fn alert(code: AlertDescription, reason: String) -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(code.into()),
        frame: None,
        reason,
    }
}

fn boxed(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair {
            local: Box::new(keys.local.header),
            remote: Box::new(keys.remote.header),
        },
        packet: KeyPair {
            local: Box::new(keys.local.packet),
            remote: Box::new(keys.remote.packet),
        },
    }
}
