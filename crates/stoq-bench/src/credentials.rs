//! Certificates and keys that `benches/measures/transport/credentials.py` has made: a hybrid chain
//! for each end of STOQ, and one classical certificate for whoever speaks TLS as others do.

use std::fs::read;
use std::path::Path;
use std::sync::Arc;

use hm_crypto::hybrid::SecretKeys;
use hm_x509::TrustPolicy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
};
use stoq::Identity;

use crate::Result;

/// The name in the classical certificate.
pub const SERVER_NAME: &str = "bench.hm.internal";

/// The ALPN of the peers' bulk streams.
const ALPN: &[u8] = b"hm-bench";

/// Leaf, issuing, root.
pub fn chain(directory: &Path, who: &str) -> Result<Vec<Vec<u8>>> {
    Ok(vec![
        read(directory.join(format!("{who}.der")))?,
        read(directory.join("issuing.der"))?,
        read(directory.join("root.der"))?,
    ])
}

pub fn keys(directory: &Path, who: &str) -> Result<SecretKeys> {
    let bytes = read(directory.join(format!("{who}.keys")))?;
    Ok(SecretKeys::from_bytes(&bytes)?)
}

/// `server` or `client`, as a node of the network.
pub fn identity(directory: &Path, who: &str) -> Result<Arc<Identity>> {
    let keys = Arc::new(keys(directory, who)?);
    Ok(Arc::new(Identity::new(chain(directory, who)?, keys)?))
}

pub fn policy(directory: &Path) -> Result<Arc<TrustPolicy>> {
    let network = read(directory.join("genesis"))?;
    Ok(Arc::new(TrustPolicy {
        network: network
            .try_into()
            .map_err(|_| "a genesis id has 32 bytes")?,
        roots: vec![read(directory.join("root.der"))?],
        issuers: vec![read(directory.join("issuing.der"))?],
        ..TrustPolicy::default()
    }))
}

/// The cipher and the key exchange of STOQ. The second suite is for QUIC's Initial packets.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..default_provider()
    })
}

/// TLS 1.3 as a server with the classical certificate.
pub fn tls_server(directory: &Path) -> Result<ServerConfig> {
    let certificate = CertificateDer::from(read(directory.join("tls.der"))?);
    let key = PrivateKeyDer::try_from(read(directory.join("tls.pkcs8"))?)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// TLS 1.3 as a client that knows that certificate.
pub fn tls_client(directory: &Path) -> Result<ClientConfig> {
    let provider = provider();
    let known = Known {
        certificate: CertificateDer::from(read(directory.join("tls.der"))?),
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(known))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Accepts one certificate, and checks that the server has its key.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if *leaf == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
