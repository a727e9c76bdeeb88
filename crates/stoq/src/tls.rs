//! TLS 1.3 as STOQ uses it.
//!
//! TLS does three things here: it agrees on keys by X25519MLKEM768 (the only group offered, so a
//! peer that cannot do it gets no connection), it encrypts, and it proves that the peer holds the
//! Ed25519 key of the leaf certificate it sent. Whether that certificate is to be believed is
//! decided after the handshake ([`crate::admission`]): a TLS alert could not carry the reason to
//! the other side. Resumption and 0-RTT are off.

use std::sync::Arc;

use crate::quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

use crate::admission::Alpn;
use crate::error::{Error, Kind, Result};
use crate::identity::Identity;

/// The name a client asks for. It is not sent, and certificates are checked by keys, not by names.
pub const SERVER_NAME: &str = "stoq.hm.internal";

/// AES-256-GCM first: three to five times as fast as ChaCha20 with AES instructions.
fn provider() -> Arc<CryptoProvider> {
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
}

/// For accepting connections as `identity`.
pub fn server(identity: &Identity) -> Result<Arc<QuicServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .with_client_cert_verifier(Arc::new(LeafKey))
        .with_cert_resolver(Arc::new(One(identity.certified.clone())));
    config.alpn_protocols = Alpn::ALL.iter().map(|alpn| alpn.name().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    let config = QuicServerConfig::try_from(config).map_err(misconfigured)?;
    Ok(Arc::new(config))
}

/// For connecting as `identity`, or as nobody.
pub fn client(identity: Option<&Identity>, alpn: Alpn) -> Result<Arc<QuicClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LeafKey));
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(One(identity.certified.clone())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    let config = QuicClientConfig::try_from(config).map_err(misconfigured)?;
    Ok(Arc::new(config))
}

fn misconfigured(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::HandshakeFailed, error.to_string())
}

/// The one certificate of this endpoint, whatever the peer hints at.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

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
