//! Who may stay after the TLS handshake. Nothing of an application moves before this is done.
//!
//! ```text
//! client                                                        server
//!    checks the server's chain, and its id where one was asked for
//!    ── binding (first bidirectional stream) ──────────────────────>
//!                          checks the client's chain and the binding
//!    <─────────────────────────────────────────────────── binding ──
//!    checks the binding
//!
//! binding = version u8 | algorithm u8 | FALCON signature 1280 B | Ed25519 signature 64 B
//! ```
//! A binding signs, in the domain `channel` on the network, the TLS exporter, the role of the
//! signer and both ids, so it holds for one connection, one direction and one pair of peers. A
//! client without a certificate (`hm-enrol/1`) has the id zero, sends algorithm 0 and no
//! signatures. Either side refuses by closing with the number and the text of its reason
//! ([`crate::error`]), so both know it.
//!
//! | ALPN | server is | client is |
//! |---|---|---|
//! | `hm/1` | a node of the network | a node of the network |
//! | `hm-enrol/1` | a node under the root in the invitation, else of the network | anyone, or the keys it proves |
//! | `hm-session/1` | a node of the network | the keys it proves |

use std::time::{SystemTime, UNIX_EPOCH};

use hm_crypto::hybrid::{PublicKeys, Signature, Statement};
use hm_crypto::{ed25519, falcon, hybrid};
use hm_x509::{PeerIdentity, Refusal, TrustPolicy};
use quinn::crypto::rustls::HandshakeData;
use quinn::Connection;
use rustls::pki_types::CertificateDer;

use crate::error::{Error, Kind, Result};
use crate::identity::Identity;
use crate::PeerId;

const EXPORTER_LABEL: &[u8] = b"EXPORTER-hm-channel-v1";
const DOMAIN: &str = "channel";
const VERSION: u8 = 1;
const UNSIGNED: u8 = 0;
const NOBODY: PeerId = [0; 32];

const FALCON_AT: usize = 2;
const ED25519_AT: usize = FALCON_AT + falcon::SIGNATURE_BYTES;
const BINDING_BYTES: usize = ED25519_AT + ed25519::SIGNATURE_BYTES;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    Node,
    Enrol,
    Session,
}

impl Alpn {
    pub const ALL: [Alpn; 3] = [Alpn::Node, Alpn::Enrol, Alpn::Session];

    pub fn text(self) -> &'static str {
        match self {
            Alpn::Node => "hm/1",
            Alpn::Enrol => "hm-enrol/1",
            Alpn::Session => "hm-session/1",
        }
    }

    pub fn name(self) -> &'static [u8] {
        self.text().as_bytes()
    }

    pub fn from_name(name: &[u8]) -> Option<Alpn> {
        Alpn::ALL.into_iter().find(|alpn| alpn.name() == name)
    }
}

/// What the two sides know of their connection once TLS is done.
#[derive(Clone, Debug)]
pub struct Channel {
    pub alpn: Alpn,
    /// The TLS exporter (RFC 8446 section 7.5): the same on both sides, and on no other connection.
    pub binding: [u8; 32],
    /// The key exchange group negotiated, by its IANA name.
    pub group: String,
    chain: Vec<CertificateDer<'static>>,
}

impl Channel {
    pub fn of(connection: &Connection) -> Result<Channel> {
        let failed = |why: &str| Error::new(Kind::HandshakeFailed, why);
        let data = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .ok_or_else(|| failed("the handshake left no data"))?;
        let alpn = data
            .protocol
            .as_deref()
            .and_then(Alpn::from_name)
            .ok_or_else(|| Error::new(Kind::ProtocolMismatch, "no protocol was negotiated"))?;
        let mut binding = [0; 32];
        connection
            .export_keying_material(&mut binding, EXPORTER_LABEL, b"")
            .map_err(|_| failed("TLS refused to export keying material"))?;
        let chain = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .map_or_else(Vec::new, |chain| *chain);
        let group = data.negotiated_key_exchange_group;
        Ok(Channel {
            alpn,
            binding,
            group: group.as_str().map_or_else(|| format!("{group:?}"), str::to_owned),
            chain,
        })
    }

    fn chain(&self) -> Vec<&[u8]> {
        self.chain.iter().map(CertificateDer::as_ref).collect()
    }
}

/// Whom a client wants to reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    pub peer: Option<PeerId>,
    /// SHA-256 of the root certificate that an invitation names; for `hm-enrol/1` only.
    pub root_sha256: Option<[u8; 32]>,
}

/// The server behind `channel`, or why it is not the one the client wants.
pub fn check_server(
    channel: &Channel,
    policy: &TrustPolicy,
    expected: Expected,
    now_unix: i64,
) -> Result<PeerIdentity> {
    let chain = channel.chain();
    let peer = match (channel.alpn, &expected.root_sha256) {
        (Alpn::Enrol, Some(root)) => hm_x509::check_pinned_root(&chain, root, now_unix),
        _ => hm_x509::check_chain(policy, &chain, now_unix),
    }
    .map_err(refused)?;
    match expected.peer {
        Some(wanted) if wanted != peer.id => Err(Error::new(
            Kind::WrongPeer,
            format!("{} was asked for, {} answers", short(&wanted), short(&peer.id)),
        )),
        _ => Ok(peer),
    }
}

/// The client behind `channel` (`None`: one that has no keys yet), or why it is not let in.
pub fn check_client(
    channel: &Channel,
    policy: &TrustPolicy,
    now_unix: i64,
) -> Result<Option<PeerIdentity>> {
    let chain = channel.chain();
    match (channel.alpn, chain.as_slice()) {
        (Alpn::Enrol, []) => Ok(None),
        (_, []) => Err(Error::new(
            Kind::CertificateMissing,
            format!("{} needs a certificate", channel.alpn.text()),
        )),
        (Alpn::Node, chain) => hm_x509::check_chain(policy, chain, now_unix)
            .map(Some)
            .map_err(refused),
        (Alpn::Enrol | Alpn::Session, [leaf, ..]) => {
            hm_x509::read_keys(leaf).map(Some).map_err(refused)
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    let kind = match refusal {
        Refusal::Malformed(_) => Kind::CertificateMalformed,
        Refusal::WrongNetwork => Kind::WrongNetwork,
        Refusal::UnknownIssuer => Kind::UnknownIssuer,
        Refusal::BadSignature(_) => Kind::CertificateSignature,
        Refusal::Expired => Kind::CertificateExpired,
        Refusal::NotYetValid => Kind::CertificateNotYetValid,
        Refusal::Revoked => Kind::PeerRevoked,
    };
    Error::new(kind, refusal.to_string())
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Role {
    Client = 1,
    Server = 2,
}

/// What both sides of one connection sign, but for the role.
struct Binding<'a> {
    channel: &'a Channel,
    client: PeerId,
    server: PeerId,
    genesis: &'a [u8; 32],
}

impl Binding<'_> {
    fn message(&self, role: Role) -> Vec<u8> {
        [
            &self.channel.binding[..],
            &[role as u8],
            &self.client,
            &self.server,
            self.genesis,
        ]
        .concat()
    }

    fn sign(&self, role: Role, identity: Option<&Identity>) -> Result<Vec<u8>> {
        let Some(identity) = identity else {
            return Ok(vec![VERSION, UNSIGNED]);
        };
        let signed = identity
            .keys
            .sign(&Statement {
                domain: DOMAIN,
                genesis: self.genesis,
                message: &self.message(role),
            })
            .map_err(|error| Error::new(Kind::BindingFailed, error.to_string()))?;
        Ok([
            &[VERSION, hybrid::ALGORITHM][..],
            &signed.falcon,
            &signed.ed25519,
        ]
        .concat())
    }

    fn verify(&self, role: Role, peer: Option<&PeerIdentity>, frame: &[u8]) -> Result<()> {
        let failed = |why: String| Error::new(Kind::BindingFailed, why);
        match (peer, frame) {
            ([..] | _, []) => Err(failed("the peer sent no binding".into())),
            (_, [version, ..]) if *version != VERSION => Err(Error::new(
                Kind::ProtocolMismatch,
                format!("binding version {version}, this side speaks {VERSION}"),
            )),
            (None, [_, UNSIGNED]) => Ok(()),
            (Some(peer), [_, hybrid::ALGORITHM, ..]) if frame.len() == BINDING_BYTES => {
                let keys = PublicKeys {
                    falcon: &peer.falcon,
                    ed25519: &peer.ed25519,
                };
                let statement = Statement {
                    domain: DOMAIN,
                    genesis: self.genesis,
                    message: &self.message(role),
                };
                let signature = Signature {
                    falcon: &frame[FALCON_AT..ED25519_AT],
                    ed25519: &frame[ED25519_AT..],
                };
                keys.verify(&statement, &signature)
                    .map_err(|error| failed(error.to_string()))
            }
            _ => Err(failed(format!(
                "a binding of {} bytes is malformed",
                frame.len()
            ))),
        }
    }
}

fn short(id: &PeerId) -> String {
    id.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970, for the dates in certificates.
pub fn now_unix() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}
