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
//! signatures. The server refuses by closing with the number and the text of its reason
//! ([`crate::error`]). A client that refuses sends both in place of its binding, because a close
//! before the handshake is confirmed loses the reason (RFC 9000 section 10.2.3):
//!
//! ```text
//! refusal = version u8 | 255 | number u16 | reason UTF-8
//! ```
//!
//! A client that resumes may put a binding of its first flight before the other one, on the same
//! stream (`early` in place of the exporter: the digest of its ClientHello, which holds its key share).
//! Requests that change nothing are then served before admission is done, under keys that only the
//! maker of that ClientHello has. Everything else waits ([`crate::serving::serve_early`]).
//!
//! A resumed connection is admitted like any other: the chains are those of the connection that
//! left the ticket, judged by the policy of now, and the bindings sign the new exporter.
//!
//! | ALPN | server is | client is |
//! |---|---|---|
//! | `hm/1` | a node of the network | a node of the network |
//! | `hm-enrol/1` | a node under the root in the invitation, else of the network | anyone, or the keys it proves |
//! | `hm-session/1` | a node of the network | the keys it proves |
//! | `hm-partner/1` | a node of a partner network | a node of a partner network |
//!
//! Between two networks each side signs under the genesis id of its own, which its certificate names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::quic::{timeout, Connection, ReadToEndError, RecvStream, SendStream, VarInt};
use hm_crypto::hybrid::{PublicKeys, Signature, Statement};
use hm_crypto::{ed25519, falcon, hybrid};
use hm_x509::{Known, Partner, PeerIdentity, Refusal, TrustPolicy};
use rustls::pki_types::CertificateDer;

use crate::error::{said_by_peer, Error, Kind, Result};
use crate::identity::Identity;
use crate::places::Party;
use crate::session::{self, Handshake};
use crate::tickets::Admitted;
use crate::PeerId;

const EXPORTER_LABEL: &[u8] = b"EXPORTER-hm-channel-v1";
const DOMAIN: &str = "channel";
const VERSION: u8 = 1;
const UNSIGNED: u8 = 0;
/// A binding of the first flight, by the same algorithm as the other.
const EARLY: u8 = 254;
const REFUSED: u8 = 255;
const NOBODY: PeerId = [0; 32];

const FALCON_AT: usize = 2;
const ED25519_AT: usize = FALCON_AT + falcon::SIGNATURE_BYTES;
const BINDING_BYTES: usize = ED25519_AT + ed25519::SIGNATURE_BYTES;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    Node,
    Enrol,
    Session,
    /// Between nodes of two networks that list each other.
    Partner,
}

impl Alpn {
    pub const ALL: [Alpn; 4] = [Alpn::Node, Alpn::Enrol, Alpn::Session, Alpn::Partner];

    pub fn text(self) -> &'static str {
        match self {
            Alpn::Node => "hm/1",
            Alpn::Enrol => "hm-enrol/1",
            Alpn::Session => "hm-session/1",
            Alpn::Partner => "hm-partner/1",
        }
    }

    pub fn name(self) -> &'static [u8] {
        self.text().as_bytes()
    }

    /// Whether its connections leave tickets. Strangers get none, who would fill the store, and nor do
    /// nodes of other networks, for whom nothing is served before they are admitted.
    pub fn resumes(self) -> bool {
        !self.is_outside()
    }

    /// Whether its clients come from outside of the network and have no lease here either.
    pub fn is_outside(self) -> bool {
        matches!(self, Alpn::Enrol | Alpn::Partner)
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
    /// TLS began from a ticket; the chain is the one of the connection that brought it.
    pub resumed: bool,
    chain: Vec<CertificateDer<'static>>,
}

impl Channel {
    pub fn of(connection: &Connection) -> Result<Channel> {
        let mut binding = [0; 32];
        connection
            .export_keying_material(&mut binding, EXPORTER_LABEL, b"")
            .map_err(|_| failed("TLS refused to export keying material"))?;
        Channel::bound(connection, session::of(connection), binding)
    }

    /// The channel of a client's first flight: its binding is the digest of the ClientHello.
    fn first_flight(connection: &Connection) -> Result<Channel> {
        let seen = session::of(connection);
        match seen.client_hello {
            Some(digest) if seen.resumed => Channel::bound(connection, seen, digest),
            _ => Err(Error::new(
                Kind::BindingFailed,
                "a binding of the first flight without a ticket",
            )),
        }
    }

    fn bound(connection: &Connection, seen: Handshake, binding: [u8; 32]) -> Result<Channel> {
        let alpn = seen
            .protocol
            .as_deref()
            .and_then(Alpn::from_name)
            .ok_or_else(|| Error::new(Kind::ProtocolMismatch, "no protocol was negotiated"))?;
        let chain = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .map_or_else(Vec::new, |chain| *chain);
        let group = seen
            .group
            .ok_or_else(|| failed("no key exchange was negotiated"))?;
        Ok(Channel {
            alpn,
            binding,
            group: group
                .as_str()
                .map_or_else(|| format!("{group:?}"), str::to_owned),
            resumed: seen.resumed,
            chain,
        })
    }

    /// A channel that no TLS has made.
    #[cfg(any(test, feature = "fuzz"))]
    pub fn between(alpn: Alpn, binding: [u8; 32]) -> Channel {
        Channel {
            alpn,
            binding,
            group: String::new(),
            resumed: false,
            chain: Vec::new(),
        }
    }

    /// The id of the peer, as its leaf certificate claims.
    pub fn claimed_id(&self) -> Option<PeerId> {
        let leaf = self.chain.first()?;
        hm_x509::read_keys(leaf).ok().map(|peer| peer.id)
    }

    pub fn chain(&self) -> Vec<&[u8]> {
        self.chain.iter().map(CertificateDer::as_ref).collect()
    }
}

fn failed(why: &str) -> Error {
    Error::new(Kind::HandshakeFailed, why)
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
    terms: &Terms,
    expected: Expected,
    now_unix: i64,
) -> Result<PeerIdentity> {
    let chain = channel.chain();
    let peer = match (channel.alpn, &expected.root_sha256) {
        (Alpn::Enrol, Some(root)) => hm_x509::check_pinned_root(&chain, root, now_unix),
        (Alpn::Partner, _) => terms.check_partner(&chain, now_unix),
        _ => terms.check_node(&chain, now_unix),
    }
    .map_err(refused)?;
    match expected.peer {
        Some(wanted) if wanted != peer.id => Err(Error::new(
            Kind::WrongPeer,
            format!(
                "{} was asked for, {} answers",
                short(&wanted),
                short(&peer.id)
            ),
        )),
        _ => Ok(peer),
    }
}

/// The client behind `channel` (`None`: one that has no keys yet), or why it is not let in.
pub fn check_client(
    channel: &Channel,
    terms: &Terms,
    now_unix: i64,
) -> Result<Option<PeerIdentity>> {
    let chain = channel.chain();
    match (channel.alpn, chain.as_slice()) {
        (Alpn::Enrol, []) => Ok(None),
        (_, []) => Err(Error::new(
            Kind::CertificateMissing,
            format!("{} needs a certificate", channel.alpn.text()),
        )),
        (Alpn::Node, chain) => terms.check_node(chain, now_unix).map(Some).map_err(refused),
        (Alpn::Partner, chain) => terms
            .check_partner(chain, now_unix)
            .map(Some)
            .map_err(refused),
        (Alpn::Enrol | Alpn::Session, [leaf, ..]) => {
            let peer = hm_x509::read_keys(leaf).map_err(refused)?;
            let bearers = terms.policy.bearers.as_ref();
            match bearers.filter(|_| channel.alpn == Alpn::Session) {
                Some(bearers) if !bearers.contains(&peer.id) => Err(Error::new(
                    Kind::NotAuthorized,
                    format!("{} is not among those let in", short(&peer.id)),
                )),
                _ => Ok(Some(peer)),
            }
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
        Refusal::NameForbidden(_) => Kind::NameForbidden,
    };
    Error::new(kind, refusal.to_string())
}

#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Role {
    Client = 1,
    Server = 2,
    /// The client, over its ClientHello in place of the exporter.
    Early = 3,
}

impl Role {
    fn algorithm(self) -> u8 {
        match self {
            Role::Early => EARLY,
            Role::Client | Role::Server => hybrid::ALGORITHM,
        }
    }
}

/// What both sides of one connection sign, but for the role.
pub struct Binding<'a> {
    /// The exporter; for `Role::Early` the digest of the ClientHello.
    pub channel: &'a [u8; 32],
    pub client: PeerId,
    pub server: PeerId,
    pub genesis: &'a [u8; 32],
}

impl Binding<'_> {
    fn message(&self, role: Role) -> Vec<u8> {
        [
            &self.channel[..],
            &[role as u8],
            &self.client,
            &self.server,
            self.genesis,
        ]
        .concat()
    }

    pub fn sign(&self, role: Role, identity: Option<&Identity>) -> Result<Vec<u8>> {
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
            &[VERSION, role.algorithm()][..],
            &signed.falcon,
            &signed.ed25519,
        ]
        .concat())
    }

    pub fn verify(&self, role: Role, peer: Option<&PeerIdentity>, frame: &[u8]) -> Result<()> {
        let failed = |why: String| Error::new(Kind::BindingFailed, why);
        match (peer, frame) {
            (_, []) => Err(failed("the peer sent no binding".into())),
            (_, [version, ..]) if *version != VERSION => Err(Error::new(
                Kind::ProtocolMismatch,
                format!("binding version {version}, this side speaks {VERSION}"),
            )),
            (None, [_, UNSIGNED]) => Ok(()),
            (Some(peer), [_, algorithm, ..])
                if frame.len() == BINDING_BYTES && *algorithm == role.algorithm() =>
            {
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

/// For the other side of a refusal to close the connection.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// Who we are and whom we trust while one connection is admitted.
#[derive(Clone)]
pub struct Terms {
    pub identity: Option<Arc<Identity>>,
    pub policy: Arc<TrustPolicy>,
    /// Signatures in chains that came before.
    pub known: Arc<Known>,
}

impl Terms {
    /// The node of the network behind `chain`, which may be its leaf alone ([`crate::tls`]).
    fn check_node(
        &self,
        chain: &[&[u8]],
        now_unix: i64,
    ) -> std::result::Result<PeerIdentity, Refusal> {
        match chain {
            [leaf] => self.known.check_node(&self.policy, leaf, now_unix),
            chain => self.known.check_chain(&self.policy, chain, now_unix),
        }
    }

    fn check_partner(
        &self,
        chain: &[&[u8]],
        now_unix: i64,
    ) -> std::result::Result<PeerIdentity, Refusal> {
        self.known.check_partner(&self.policy, chain, now_unix)
    }

    /// Whose agreement lets `peer` in on `channel`; `None` within one network.
    pub fn partner_of(
        &self,
        channel: &Channel,
        peer: Option<&PeerIdentity>,
    ) -> Option<Arc<Partner>> {
        let network = peer.filter(|_| channel.alpn == Alpn::Partner)?.network?;
        let mut partners = self.policy.partners.iter();
        partners.find(|one| one.network == network).cloned()
    }

    /// The network under whose genesis id `peer` signs on `channel`.
    fn network_of<'a>(&'a self, channel: &Channel, peer: Option<&'a PeerIdentity>) -> &'a [u8; 32] {
        peer.filter(|_| channel.alpn == Alpn::Partner)
            .and_then(|peer| peer.network.as_ref())
            .unwrap_or(&self.policy.network)
    }

    fn id(&self) -> PeerId {
        self.identity
            .as_ref()
            .map_or(NOBODY, |identity| identity.id)
    }

    /// As whom a client counts: as itself where somebody vouches for it, by certificate or by a list
    /// of keys, else as the network that it comes from.
    pub fn party(&self, alpn: Alpn, peer: Option<PeerId>, remote: SocketAddr) -> Party {
        let known = match alpn {
            Alpn::Node | Alpn::Partner => true,
            Alpn::Session => self.policy.bearers.is_some(),
            Alpn::Enrol => false,
        };
        match peer.filter(|_| known) {
            Some(peer) => Party::Peer(peer),
            None => Party::at(remote.ip()),
        }
    }

    /// What the tickets of an admitted connection are bound to; `None` where it leaves none.
    pub fn admitted(&self, channel: &Channel, peer: Option<&PeerIdentity>) -> Option<Admitted> {
        let (ours, peer) = (self.identity.as_ref()?, peer?);
        channel.alpn.resumes().then(|| Admitted {
            peer: peer.id,
            alpn: channel.alpn,
            not_after: peer.not_after.min(ours.not_after),
        })
    }
}

/// The first stream of a connection.
pub type First = (SendStream, RecvStream);

/// The client's first flight: a binding over its ClientHello, for `server`, whose ticket it uses.
pub async fn bind_early(connection: &Connection, terms: &Terms, server: PeerId) -> Result<Vec<u8>> {
    let digest = session::of(connection)
        .client_hello
        .ok_or_else(|| failed("the ClientHello is not known"))?;
    let terms = terms.clone();
    let signed = apart(move || {
        let binding = Binding {
            channel: &digest,
            client: terms.id(),
            server,
            genesis: &terms.policy.network,
        };
        binding.sign(Role::Early, terms.identity.as_deref())
    });
    signed.await
}

/// The client's part, on the stream of its first flight where there was one. Closes the connection
/// where it refuses.
pub async fn admit_server(
    connection: &Connection,
    channel: &Channel,
    terms: &Terms,
    expected: Expected,
    first: Option<First>,
) -> Result<PeerIdentity> {
    let (channel, terms) = (channel.clone(), terms.clone());
    let judged = {
        let (channel, terms) = (channel.clone(), terms.clone());
        apart(move || {
            let peer = check_server(&channel, &terms, expected, now_unix())?;
            let binding = Binding {
                channel: &channel.binding,
                client: terms.id(),
                server: peer.id,
                genesis: &terms.policy.network,
            };
            let frame = binding.sign(Role::Client, terms.identity.as_deref())?;
            Ok((peer, frame))
        })
        .await
    };
    let (mut send, mut receive) = match first {
        Some(first) => first,
        None => connection.open_bi().await?,
    };
    let (peer, frame) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            let frame = refusal(&error);
            if send.write_all(&frame).await.is_ok() && send.finish().is_ok() {
                let _ = timeout(REFUSAL_WAIT, connection.closed()).await;
            }
            close(connection, &error);
            return Err(error);
        }
    };
    put(&mut send, &frame).await?;
    let frame = take(&mut receive, BINDING_BYTES).await?;
    let verified = apart(move || {
        let binding = Binding {
            channel: &channel.binding,
            client: terms.id(),
            server: peer.id,
            genesis: terms.network_of(&channel, Some(&peer)),
        };
        binding.verify(Role::Server, Some(&peer), &frame)?;
        Ok(peer)
    })
    .await;
    verified.inspect_err(|error| close(connection, error))
}

/// A ticket was given for one protocol, to a peer admitted by the rules of that protocol.
fn check_ticket(channel: &Channel, taken: Option<(PeerId, Alpn)>) -> Result<()> {
    match taken {
        Some((_, alpn)) if channel.resumed && alpn != channel.alpn => Err(Error::new(
            Kind::BindingFailed,
            format!(
                "a ticket of {} was used for {}",
                alpn.text(),
                channel.alpn.text()
            ),
        )),
        _ => Ok(()),
    }
}

/// What a client has begun to say.
pub struct Opening {
    first: First,
    /// What has been read of its next frame.
    read: Vec<u8>,
}

/// Waits for the first bytes of a client.
pub async fn opening(connection: &Connection) -> Result<Opening> {
    let mut first = connection.accept_bi().await?;
    let mut read = vec![0; 2];
    let mut filled = 0;
    while filled < read.len() {
        match first.1.read(&mut read[filled..]).await? {
            Some(count) => filled += count,
            None => break,
        }
    }
    read.truncate(filled);
    Ok(Opening { first, read })
}

impl Opening {
    /// The client, where it has bound its first flight, or why that does not hold.
    pub async fn early(
        &mut self,
        connection: &Connection,
        terms: &Terms,
        taken: Option<(PeerId, Alpn)>,
    ) -> Result<Option<(Alpn, PeerIdentity)>> {
        if self.read[..] != [VERSION, EARLY] {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.read);
        frame.resize(BINDING_BYTES, 0);
        self.first.1.read_exact(&mut frame[FALCON_AT..]).await?;
        let judged = match Channel::first_flight(connection) {
            Ok(channel) => {
                let terms = terms.clone();
                apart(move || judge_early(&channel, &terms, taken, &frame)).await
            }
            Err(error) => Err(error),
        };
        judged.map(Some)
    }

    /// The server's part; `taken`: whose ticket TLS took. Closes the connection where it refuses.
    pub async fn admit(
        self,
        connection: &Connection,
        channel: &Channel,
        terms: &Terms,
        taken: Option<(PeerId, Alpn)>,
    ) -> Result<Option<PeerIdentity>> {
        let Opening {
            first: (send, mut receive),
            read: mut frame,
        } = self;
        let rest = take(&mut receive, BINDING_BYTES - frame.len()).await;
        frame.extend(rest.inspect_err(|error| close(connection, error))?);
        judge_client(connection, channel, terms, taken, send, frame).await
    }
}

fn judge_early(
    channel: &Channel,
    terms: &Terms,
    taken: Option<(PeerId, Alpn)>,
    frame: &[u8],
) -> Result<(Alpn, PeerIdentity)> {
    check_ticket(channel, taken)?;
    let peer = check_client(channel, terms, now_unix())?;
    let binding = Binding {
        channel: &channel.binding,
        client: peer.as_ref().map_or(NOBODY, |peer| peer.id),
        server: terms.id(),
        genesis: &terms.policy.network,
    };
    binding.verify(Role::Early, peer.as_ref(), frame)?;
    let peer =
        peer.ok_or_else(|| Error::new(Kind::BindingFailed, "nobody bound a first flight"))?;
    Ok((channel.alpn, peer))
}

async fn judge_client(
    connection: &Connection,
    channel: &Channel,
    terms: &Terms,
    taken: Option<(PeerId, Alpn)>,
    mut send: SendStream,
    frame: Vec<u8>,
) -> Result<Option<PeerIdentity>> {
    let (channel, terms) = (channel.clone(), terms.clone());
    let judged = apart(move || {
        // What the client has to say comes first: its refusal is the reason both sides get.
        if let Some(error) = said_refusal(&frame) {
            return Err(error);
        }
        check_ticket(&channel, taken)?;
        let peer = check_client(&channel, &terms, now_unix())?;
        let binding = Binding {
            channel: &channel.binding,
            client: peer.as_ref().map_or(NOBODY, |peer| peer.id),
            server: terms.id(),
            genesis: terms.network_of(&channel, peer.as_ref()),
        };
        binding.verify(Role::Client, peer.as_ref(), &frame)?;
        let binding = Binding {
            genesis: &terms.policy.network,
            ..binding
        };
        let frame = binding.sign(Role::Server, terms.identity.as_deref())?;
        Ok((peer, frame))
    })
    .await;
    let (peer, frame) = judged.inspect_err(|error| close(connection, error))?;
    put(&mut send, &frame).await?;
    Ok(peer)
}

/// Signatures take about a millisecond, too long for the thread that serves everyone.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(Kind::EndpointClosed, error.to_string())))
}

async fn put(send: &mut SendStream, frame: &[u8]) -> Result<()> {
    send.write_all(frame).await?;
    send.finish()
        .map_err(|error| Error::new(Kind::ConnectionLost, error.to_string()))
}

async fn take(receive: &mut RecvStream, bytes_max: usize) -> Result<Vec<u8>> {
    receive
        .read_to_end(bytes_max)
        .await
        .map_err(|error| match error {
            ReadToEndError::Read(error) => error.into(),
            ReadToEndError::TooLong => Error::new(Kind::BindingFailed, "the binding is too long"),
        })
}

pub fn refusal(error: &Error) -> Vec<u8> {
    let number = error.kind().unwrap_or(Kind::BindingFailed) as u16;
    let mut frame = vec![VERSION, REFUSED];
    frame.extend(number.to_be_bytes());
    frame.extend_from_slice(error.reason().as_bytes());
    frame
}

/// The reason in a refusal.
pub fn said_refusal(frame: &[u8]) -> Option<Error> {
    match frame {
        [VERSION, REFUSED, n0, n1, reason @ ..] => {
            let number = VarInt::from_u32(u16::from_be_bytes([*n0, *n1]).into());
            Some(said_by_peer(number, reason, Kind::BindingFailed))
        }
        _ => None,
    }
}

/// Ends a connection with the number and the text of `error`. Does nothing to a closed one.
pub fn close(connection: &Connection, error: &Error) {
    let kind = error.kind().unwrap_or(Kind::ConnectionClosed);
    connection.close(kind.to_wire(), error.reason().as_bytes());
}

fn short(id: &PeerId) -> String {
    id.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Seconds since 1970, for the dates in certificates.
pub fn now_unix() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}
