//! TLS 1.3 as STOQ uses it.
//!
//! TLS does three things here: it agrees on keys by X25519MLKEM768 (the only group offered, so a
//! peer that cannot do it gets no connection), it encrypts, and it proves that the peer holds the
//! Ed25519 key of the leaf certificate it sent. Whether that certificate is to be believed is
//! decided after the handshake ([`crate::admission`]): a TLS alert could not carry the reason to
//! the other side. A resumed handshake brings the certificates of the one before from
//! [`crate::tickets`], and admission judges them again.
//!
//! **A node sends its leaf alone to whoever holds the rest.** Admission believes an issuing
//! certificate and a root only where they stand in the policy, byte for byte, so in a chain they
//! say nothing. Whoever completes chains from a policy says so by a name in `certificate_authorities`
//! (RFC 8446 section 4.2.4), and its peer leaves out what is known there (section 4.4.2). The name
//! is the same in all networks, for a ClientHello can be read by anybody. Who does not say it, as
//! one that joins with an invitation, gets the whole chain.

use std::sync::{Arc, LazyLock};

use crate::quic::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, StoresServerSessions};
use rustls::sign::{CertifiedKey, SigningKey};
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
static LEAF_KEY: LazyLock<Arc<LeafKey>> = LazyLock::new(|| {
    Arc::new(LeafKey {
        authorities: vec![DistinguishedName::from(POLICY_ISSUERS.to_vec())],
    })
});

/// The same for a client that knows a root by its digest alone.
static PINNED: LazyLock<Arc<LeafKey>> = LazyLock::new(|| {
    Arc::new(LeafKey {
        authorities: Vec::new(),
    })
});

/// `CN=issuers.hm.internal`, DER: the issuers in the policy of whoever names it.
const POLICY_ISSUERS: &[u8] =
    b"\x30\x1e\x31\x1c\x30\x1a\x06\x03\x55\x04\x03\x0c\x13issuers.hm.internal";

pub type ClientCrypto = Observed<QuicClientConfig>;

/// For accepting one connection as `identity`.
pub fn server(
    identity: &Identity,
    tickets: Arc<dyn StoresServerSessions>,
) -> Result<Arc<Accepting>> {
    Accepting::new(Arc::new(server_config(identity, tickets)?))
        .map(Arc::new)
        .ok_or_else(|| misconfigured("no cipher suite for Initial packets"))
}

fn server_config(
    identity: &Identity,
    tickets: Arc<dyn StoresServerSessions>,
) -> Result<ServerConfig> {
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
    Ok(config)
}

/// For one connection as `identity`, or as nobody. `early`: where a ticket is held, the first
/// flight may carry requests.
pub fn client(
    identity: Option<&Identity>,
    alpn: Alpn,
    tickets: Option<Arc<dyn ClientSessionStore>>,
    early: bool,
) -> Result<Arc<ClientCrypto>> {
    let config = client_config(identity, alpn, tickets, early)?;
    let config = QuicClientConfig::try_from(config).map_err(misconfigured)?;
    Ok(Arc::new(Observed(Arc::new(config))))
}

fn client_config(
    identity: Option<&Identity>,
    alpn: Alpn,
    tickets: Option<Arc<dyn ClientSessionStore>>,
    early: bool,
) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(misconfigured)?
        .dangerous()
        .with_custom_certificate_verifier(match alpn {
            Alpn::Node | Alpn::Session | Alpn::Partner => LEAF_KEY.clone(),
            Alpn::Enrol => PINNED.clone(),
        });
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.certified.clone()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.resumption = tickets.map_or_else(Resumption::disabled, Resumption::store);
    config.enable_early_data = early;
    config.enable_sni = false;
    Ok(config)
}

fn misconfigured(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::HandshakeFailed, error.to_string())
}

/// The one certificate of this endpoint.
#[derive(Debug)]
pub struct One {
    /// With its issuers.
    whole: Arc<CertifiedKey>,
    leaf: Arc<CertifiedKey>,
}

impl One {
    pub fn new(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> One {
        let leaf = chain.first().cloned().into_iter().collect();
        One {
            whole: Arc::new(CertifiedKey::new(chain, key.clone())),
            leaf: Arc::new(CertifiedKey::new(leaf, key)),
        }
    }

    fn towards<'a>(&self, mut authorities: impl Iterator<Item = &'a [u8]>) -> Arc<CertifiedKey> {
        match authorities.any(|name| name == POLICY_ISSUERS) {
            true => self.leaf.clone(),
            false => self.whole.clone(),
        }
    }
}

impl ResolvesServerCert for One {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let authorities = hello.certificate_authorities().unwrap_or_default();
        Some(self.towards(authorities.iter().map(AsRef::as_ref)))
    }
}

impl ResolvesClientCert for One {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.towards(authorities.iter().copied()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Proves possession of the leaf's Ed25519 key, and nothing else.
#[derive(Debug)]
struct LeafKey {
    /// Whose certificates the peer need not send.
    authorities: Vec<DistinguishedName>,
}

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

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        (!self.authorities.is_empty()).then_some(&self.authorities)
    }
}

impl ClientCertVerifier for LeafKey {
    /// An enrolling client has no certificate yet; admission refuses its absence elsewhere.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hm_crypto::hybrid::SecretKeys;
    use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};

    use super::*;
    use crate::tickets::Tickets;

    /// Certificates that an identity sends behind its leaf; their content is for admission to read.
    const ISSUERS: [&[u8]; 2] = [b"issuing", b"root"];

    /// One that knows nothing of leaves alone: it names no issuers, and sends all it has.
    #[derive(Debug)]
    struct Elder(Arc<CertifiedKey>);

    impl ResolvesServerCert for Elder {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    impl ResolvesClientCert for Elder {
        fn resolve(
            &self,
            _authorities: &[&[u8]],
            _schemes: &[SignatureScheme],
        ) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    fn identity() -> Identity {
        let keys = Arc::new(SecretKeys::generate().unwrap());
        let leaf = hm_x509::self_signed(&keys).unwrap();
        let mut chain = vec![leaf];
        chain.extend(ISSUERS.map(<[u8]>::to_vec));
        Identity::new(chain, keys).unwrap()
    }

    fn accepting(identity: &Identity) -> ServerConfig {
        server_config(identity, Arc::<Tickets>::default().server()).unwrap()
    }

    fn elder_accepting(identity: &Identity) -> ServerConfig {
        let elder = Arc::new(Elder(identity.certified.whole.clone()));
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(PINNED.clone())
            .with_cert_resolver(elder);
        config.alpn_protocols = vec![Alpn::Node.name().to_vec()];
        config
    }

    fn dialling(identity: &Identity, alpn: Alpn) -> ClientConfig {
        client_config(Some(identity), alpn, None, false).unwrap()
    }

    fn elder_dialling(identity: &Identity) -> ClientConfig {
        let mut config = dialling(identity, Alpn::Node);
        config.dangerous().set_certificate_verifier(PINNED.clone());
        config.client_auth_cert_resolver = Arc::new(Elder(identity.certified.whole.clone()));
        config
    }

    /// Certificates that the client and the server have seen of each other.
    fn seen(client: ClientConfig, server: ServerConfig) -> (usize, usize) {
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let mut client: Connection =
            ClientConnection::new(Arc::new(client), Version::V1, name, vec![])
                .unwrap()
                .into();
        let mut server: Connection = ServerConnection::new(Arc::new(server), Version::V1, vec![])
            .unwrap()
            .into();
        // Each of three flights may come in as many parts as there are kinds of keys.
        for _ in 0..9 {
            let mut bytes = Vec::new();
            client.write_hs(&mut bytes);
            server.read_hs(&bytes).unwrap();
            bytes.clear();
            server.write_hs(&mut bytes);
            client.read_hs(&bytes).unwrap();
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let count = |side: &Connection| side.peer_certificates().map_or(0, <[_]>::len);
        (count(&client), count(&server))
    }

    #[test]
    fn a_leaf_alone_is_for_whoever_names_the_issuers() {
        let (one, other) = (identity(), identity());
        for alpn in [Alpn::Node, Alpn::Session] {
            assert_eq!(seen(dialling(&one, alpn), accepting(&other)), (1, 1));
        }
        // It joins with an invitation, and has nothing yet to complete a chain from.
        let joining = dialling(&one, Alpn::Enrol);
        assert_eq!(seen(joining, accepting(&other)), (3, 1));
    }

    #[test]
    fn who_names_none_is_sent_the_whole_chain() {
        let (one, other) = (identity(), identity());
        let elder = elder_dialling(&one);
        assert_eq!(seen(elder, accepting(&other)), (3, 3));
        let elder = elder_accepting(&other);
        assert_eq!(seen(dialling(&one, Alpn::Node), elder), (3, 3));
    }

    #[test]
    fn other_names_are_not_the_one() {
        let one = identity().certified;
        let length = |names: &[&[u8]]| one.towards(names.iter().copied()).cert.len();
        assert_eq!(length(&[]), 3);
        assert_eq!(
            length(&[b"", &POLICY_ISSUERS[1..], b"issuers.hm.internal"]),
            3
        );
        assert_eq!(length(&[b"another", POLICY_ISSUERS]), 1);
    }
}
