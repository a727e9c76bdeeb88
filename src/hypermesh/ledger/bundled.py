"""What the ledger says in a bundle (`trustchain.bundle`), checked offline from the genesis alone.

Whoever knows a network's genesis id trusts nobody else: genesis names root, issuing CA and
sequencer, the sequencer signs the header, and the header's state has the log's keys, how far the
log is anchored, and whether the certificate's node was revoked. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.ledger import identity, transparency
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.verify import verify_header, verify_row
from hypermesh.trustchain.bundle import (
    Bundle,
    BundledRow,
    BundleMalformed,
    BundleRefused,
    LedgerEvidence,
)
from hypermesh.trustchain.cosigner import cosigner_verifiers
from hypermesh.trustchain.ct.checkpoint import cosigned_at
from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.ct.errors import ProofInvalid as EvidenceInvalid
from hypermesh.trustchain.ct.note import read_note
from hypermesh.trustchain.ct.tree import included, leaf_hash
from hypermesh.trustchain.logged import public_log
from hypermesh.trustchain.verify import Anchors, CertificateRefused, check_chain, fingerprint
from hypermesh.wire.block import BucketProof, Genesis, SignedHeader
from hypermesh.wire.codec import Undecodable, decode
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CosignedBy:
    """A node that cosigned the bundle's checkpoint, by both of its keys, and when by its clock.
    `is_founders`: it is of the owner who runs the authority."""

    node: NodeId
    owner: OwnerId
    at_s: int
    is_founders: bool


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What the ledger says of a bundle's certificate after the block at `height`, of `time_ms`.

    `is_genesis_trusted` is False where the reader named no genesis. `anchored_size` entries of the
    log are anchored since block `anchored_height`, the certificate's among them. `is_current`: it
    is the newest of its node that the ledger knows. `revoked_height` and `reason` are None where
    the node is not revoked. `witnesses` are nodes of the network that cosigned, none of which was
    revoked or keeps the log itself.
    """

    genesis: GenesisId
    is_genesis_trusted: bool
    network: str
    height: int
    time_ms: int
    anchored_size: int
    anchored_height: int
    node: NodeId
    owner: OwnerId
    is_current: bool
    revoked_height: int | None
    reason: str | None
    witnesses: tuple[CosignedBy, ...] = ()


def check_ledger(bundle: Bundle, genesis_id: GenesisId | None = None) -> LedgerVerdict | None:
    """What the ledger says in `bundle`; None where the bundle has nothing of a ledger.

    `genesis_id` is the network that the reader trusts. What `check_bundle` checks is not repeated.
    Raises `BundleMalformed`, `BundleRefused`.
    """
    evidence = bundle.ledger
    if evidence is None:
        if bundle.height is not None:
            raise BundleRefused("The bundle names a height of the ledger, and shows nothing of it")
        return None
    try:
        genesis = decode(Genesis, evidence.genesis)
        signed = decode(SignedHeader, evidence.header)
        found_id = digest_of("genesis", genesis)
        if genesis_id not in (None, found_id):
            raise BundleRefused("The bundle is of another network than the one that is trusted")
        verify_header(genesis, signed)
        header = signed.header
        if bundle.height != header.height:
            raise BundleRefused("The bundle names another height than its header")
        reading = _Reading(genesis, signed)
        certified = _certified(bundle, genesis, found_id)
        log = reading.row(
            evidence.log, transparency.log_key(bundle.log.origin), transparency.read_log
        )
        known = reading.row(evidence.node, identity.node_key(certified), identity.read_node)
        revocation = reading.row(
            evidence.revocation, identity.revocation_key(certified), identity.read_revocation
        )
        witnesses = _witnesses(bundle, evidence, reading, genesis, found_id)
    except (ProofInvalid, EvidenceInvalid) as error:
        raise BundleRefused(error.what, why=error.why) from error
    except (Undecodable, EntryInvalid) as error:
        raise BundleMalformed(why=error.why or error.what) from error
    if log is None or log.log != public_log(bundle.log.identity):
        raise BundleRefused("The ledger knows no log with this origin and these keys")
    newest = log.newest
    leaf = leaf_hash(bundle.leaf)
    if not included(newest.root, bundle.index, newest.size, leaf, evidence.path):
        raise BundleRefused("The inclusion proof does not lead to the root that is anchored")
    if known is None:
        raise BundleRefused("The ledger does not know the certificate's node")
    if known.revoked != (revocation is not None):
        raise BundleRefused("The ledger contradicts itself about a revocation")
    return LedgerVerdict(
        found_id,
        genesis_id is not None,
        genesis.name,
        header.height,
        header.time_ms,
        newest.size,
        newest.height,
        certified,
        known.owner,
        known.certificate_sha256 == fingerprint(bundle.certificate),
        None if revocation is None else revocation.height,
        None if revocation is None else revocation.reason,
        witnesses,
    )


class _Reading:
    """Rows under one header."""

    def __init__(self, genesis: Genesis, header: SignedHeader) -> None:
        self._genesis = genesis
        self._header = header

    def row(self, row: BundledRow, key: bytes, read: Callable[[bytes], T]) -> T | None:
        proof = decode(BucketProof, row.proof)
        if proof.key != key:
            raise ProofInvalid("The proof is of another row", why=proof.key.hex()[:80])
        verify_row(self._genesis, self._header, proof, row.value)
        return None if row.value is None else read(row.value)


def _witnesses(
    bundle: Bundle,
    evidence: LedgerEvidence,
    reading: _Reading,
    genesis: Genesis,
    genesis_id: GenesisId,
) -> tuple[CosignedBy, ...]:
    """The nodes that cosigned, by keys that the ledger knows. Raises `BundleRefused`,
    `ProofInvalid`, `EvidenceInvalid`."""
    if not evidence.witnesses:
        return ()
    note = read_note(bundle.checkpoint.encode())
    founder, sequencer = key_id(genesis.founder), key_id(genesis.sequencer)
    found: dict[NodeId, CosignedBy] = {}
    for each in evidence.witnesses:
        row = reading.row(each.row, identity.node_key(each.node), identity.read_node)
        if row is None or row.revoked or each.node == sequencer or each.node in found:
            raise BundleRefused("The bundle names a witness that is none")
        lines = [
            note.signed_by(verifier)
            for verifier in cosigner_verifiers(each.node, row.keys, genesis_id)
        ]
        at_s = {cosigned_at(line) for line in lines if line is not None}
        if None in lines or len(at_s) != 1:
            raise BundleRefused("The bundle names a witness that did not cosign by both keys")
        found[each.node] = CosignedBy(each.node, row.owner, at_s.pop(), row.owner == founder)
    return tuple(found.values())


def _certified(bundle: Bundle, genesis: Genesis, genesis_id: Hash) -> NodeId:
    """The node of the certificate, below the root of genesis: its issuing CA may have been
    replaced. Its dates are for `check_bundle` to tell."""
    if len(bundle.chain) != 2 or bundle.chain[1] != genesis.root_certificate:
        raise BundleRefused("The chain does not end in the root of genesis")
    certificate = x509.load_der_x509_certificate(bundle.certificate)
    begin = int(certificate.not_valid_before_utc.timestamp())
    try:
        anchors = Anchors(genesis_id, genesis.root_certificate, bundle.chain[0])
        return check_chain([bundle.certificate, *bundle.chain], anchors, now_s=begin).id
    except CertificateRefused as error:
        raise BundleRefused("The certificate is none of this network's", why=str(error)) from error
