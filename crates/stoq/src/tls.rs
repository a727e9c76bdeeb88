//! TLS 1.3 as STOQ uses it.
//!
//! TLS does three things here: it agrees on keys by X25519MLKEM768 (the only group offered, so a
//! peer that cannot do it gets no connection), it encrypts, and it proves that the peer holds the
//! Ed25519 key of the leaf certificate it sent. Whether that certificate is to be believed is
//! decided after the handshake ([`crate::admission`]): a TLS alert could not carry the reason to
//! the other side. A resumed handshake brings the certificates of the one before from
//! [`crate::tickets`], and admission judges them again.

use std::sync::{Arc, LazyLock};

use crate::quic::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

use crate::admission::Alpn;
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::session::{Accepting, Observed};

/// The name a client asks for. It is not sent, and certificates are checked by keys, not by names.
pub const SERVER_NAME: &str = "stoq.hm.internal";

/// Tickets for one connection: using one up, each connection brings its successor.
const TICKETS_A_CONNECTION: usize = 1;

/// AES-256-GCM first: three to five times as fast as ChaCha20 with AES instructions.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            // Only for QUIC's Initial packets, which are encrypted by it under public keys
            // (RFC 9001 section 5.2).
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..default_provider()
    })
});

/// One value for all connections: TLS resumes only under the same one.
static LEAF_KEY: LazyLock<Arc<LeafKey>> = LazyLock::new(|| Arc::new(LeafKey));

pub type ClientCrypto = Observed<QuicClientConfig>;

/// For accepting one connection as `identity`.
pub fn server(
    identity: &Identity,
    tickets: Arc<dyn StoresServerSessions>,
) -> Result<Arc<Accepting>> {
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .with_client_cert_verifier(LEAF_KEY.clone())
        .with_cert_resolver(identity.certified.clone());
    config.alpn_protocols = Alpn::ALL.iter().map(|alpn| alpn.name().to_vec()).collect();
    config.session_storage = tickets;
    config.send_tls13_tickets = TICKETS_A_CONNECTION;
    // All or nothing (RFC 9001 section 4.6.1). What may be served of it, admission says.
    config.max_early_data_size = u32::MAX;
    Accepting::new(Arc::new(config))
        .map(Arc::new)
        .ok_or_else(|| misconfigured("no cipher suite for Initial packets"))
}

/// For one connection as `identity`, or as nobody. `early`: where a ticket is held, the first
/// flight may carry requests.
pub fn client(
    identity: Option<&Identity>,
    alpn: Alpn,
    tickets: Option<Arc<dyn ClientSessionStore>>,
    early: bool,
) -> Result<Arc<ClientCrypto>> {
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .dangerous()
        .with_custom_certificate_verifier(LEAF_KEY.clone());
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.certified.clone()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.resumption = tickets.map_or_else(Resumption::disabled, Resumption::store);
    config.enable_early_data = early;
    config.enable_sni = false;
    let config = QuicClientConfig::try_from(config).map_err(misconfigured)?;
    Ok(Arc::new(Observed(Arc::new(config))))
}

fn misconfigured(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::HandshakeFailed, error.to_string())
}

/// The one certificate of this endpoint, whatever the peer hints at.
#[derive(Debug)]
pub struct One(pub Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for One {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Proves possession of the leaf's Ed25519 key, and nothing else.
#[derive(Debug)]
struct LeafKey;

const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];

impl LeafKey {
    fn verify(
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        let keys = hm_x509::read_keys(leaf).map_err(|_| CertificateError::BadEncoding)?;
        if !hm_crypto::ed25519::verify(&keys.ed25519, message, signed.signature()) {
            return Err(CertificateError::BadSignature.into());
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn no_tls12() -> rustls::Error {
        PeerIncompatible::Tls13RequiredForQuic.into()
    }
}

impl ServerCertVerifier for LeafKey {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(LeafKey::no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        LeafKey::verify(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for LeafKey {
    /// An enrolling client has no certificate yet; admission refuses its absence elsewhere.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(LeafKey::no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        LeafKey::verify(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}
