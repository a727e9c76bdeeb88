"""What travels beside a certificate of a mesh, and what it shows.

A hybrid certificate embeds no SCT: SCT and alternative signature would each sign the other. So the
final certificate is logged, and its SCT, its inclusion proof and a checkpoint come with it. Whose
the log is, the node says that genesis names as its sequencer. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import SignatureInvalid, sign, verify
from hypermesh.trustchain.bundle import BundleMalformed, LogKeys
from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity
from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid
from hypermesh.trustchain.ct.origin import read_origin
from hypermesh.trustchain.ct.proof import Inclusion, verify_inclusion
from hypermesh.trustchain.ct.sct import read_sct, verify_sct
from hypermesh.trustchain.evidence import FinalCertificate
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.transparency import Logged, PublicLog, SignedLog

DOMAIN = "transparency-log"


class NotLogged(HyperMeshError):
    """What came beside a certificate does not show that it is in a log of its network."""

    code = "HM-TRUST-0270"
    status = 422
    exit_code = 9
    title = "Nothing shows that the certificate is in its network's transparency log"
    remedy = "Do not use it; tell the person who runs the network's certificate authority"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a certificate is in a log: number `index` of the `checkpoint.size` entries under
    `checkpoint`, since `timestamp_ms`. `leaf` is the MerkleTreeLeaf."""

    log: PublicLog
    index: int
    timestamp_ms: int
    checkpoint: Checkpoint
    leaf: bytes


def public_log(identity: LogIdentity) -> PublicLog:
    """`identity` as it travels."""
    return PublicLog(*msgspec.structs.astuple(LogKeys.of(identity)))


def log_identity(log: PublicLog) -> LogIdentity:
    """The log that `log` names; raises `NotLogged` where its keys cannot be read."""
    try:
        return LogKeys(log.origin, log.ed25519, log.falcon, log.p256).identity
    except (BundleMalformed, EntryInvalid) as error:
        raise NotLogged(why=f"the log's keys cannot be read: {error.why or error.what}") from error


def sign_log(identity: LogIdentity, keys: QuantumKeys, genesis: GenesisId) -> SignedLog:
    """`identity` under the keys of the node that holds the authority."""
    log = public_log(identity)
    return SignedLog(log, sign(keys, DOMAIN, genesis, encode(log)))


def check_log(signed: SignedLog, sequencer: PublicKeys, genesis: GenesisId) -> LogIdentity:
    """The log of certificates of the network that `signed` names, by the word of `sequencer`, the
    node of genesis. Raises `NotLogged`."""
    place = read_origin(genesis, signed.log.origin)
    if place is None or place[1] != "certificates":
        raise NotLogged(why="the log is none of this network's logs of certificates")
    try:
        verify(sequencer, DOMAIN, genesis, encode(signed.log), signed.signature)
    except SignatureInvalid as error:
        raise NotLogged(why=f"the network does not vouch for the log: {error.why}") from error
    return log_identity(signed.log)


def check_logged(
    logged: Logged, chain: Sequence[bytes], sequencer: PublicKeys, genesis: GenesisId
) -> Entry:
    """Where the certificate `chain[0]`, whose issuers follow (DER), is in a log of the network.

    Checked are who vouches for the log, the SCT, the inclusion proof and the checkpoint under all
    keys of the log; the chain is not. Raises `NotLogged`.
    """
    identity = check_log(logged.log, sequencer, genesis)
    if identity.p256 is None:
        raise NotLogged(why="a log of certificates has a P-256 key")
    try:
        sct = read_sct(logged.sct)
        leaf = verify_sct(sct, FinalCertificate(chain[0], tuple(chain[1:])), identity.p256)
        inclusion = Inclusion(sct.index, logged.path, logged.checkpoint)
        checkpoint = verify_inclusion(inclusion, leaf, identity)
    except (EntryInvalid, ProofInvalid) as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        raise NotLogged(why=why) from error
    return Entry(logged.log.log, sct.index, sct.timestamp_ms, checkpoint, leaf)
