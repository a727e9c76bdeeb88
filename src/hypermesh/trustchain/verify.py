"""Checking of certificates: pure, offline, the same answer everywhere.

The bytes are checked in Rust (`crates/hm-x509`), where STOQ asks the same question of each peer;
here stand the questions a verifier asks, and the answers as values and typed errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from hypermesh import _native
from hypermesh.wire.block import Genesis
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.keys import HYBRID_V1, PublicKeys


class CertificateRefused(HyperMeshError):
    """Base of the reasons why a certificate or its chain is not believed."""

    status = 403
    exit_code = 4


class CertificateMalformed(CertificateRefused):
    """The bytes are not a hybrid certificate of the form that this network issues."""

    code = "HM-TRUST-0001"
    status = 400
    title = "The certificate is malformed"


class NetworkMismatch(CertificateRefused):
    """The certificate is for a node of another network."""

    code = "HM-TRUST-0002"
    title = "The certificate is for another network"
    remedy = "Join this network with a token from `hm invite`"


class IssuerUnknown(CertificateRefused):
    """The certificate, or its issuer, does not come from the root that this network names."""

    code = "HM-TRUST-0003"
    title = "The certificate is from an unknown issuer"
    remedy = "Join this network with a token from `hm invite`"


class CertificateForged(CertificateRefused):
    """The P-256 signature, the FALCON-1024 signature, or both, do not hold."""

    code = "HM-TRUST-0004"
    exit_code = 9
    title = "A signature in the certificate chain is wrong"


class CertificateExpired(CertificateRefused):
    """The time is after the end of a certificate in the chain."""

    code = "HM-TRUST-0005"
    title = "The certificate has expired"
    remedy = "Start the node while its network is reachable; it renews its certificate by itself"


class CertificateNotYetValid(CertificateRefused):
    """The time is before the beginning of a certificate in the chain."""

    code = "HM-TRUST-0006"
    title = "The certificate is not valid yet"
    remedy = "Check the clocks of both machines"


class NodeRevoked(CertificateRefused):
    """The node's rights were ended for good."""

    code = "HM-TRUST-0007"
    title = "The node is revoked"
    remedy = "Remove its keys and join as a new node"


class NameNotPermitted(CertificateRefused):
    """The node's name is not among those that an issuer above it may certify."""

    code = "HM-TRUST-0300"
    title = "The node's name is not permitted"
    remedy = "Ask the other network which of your nodes it lets in: `hm trust ls` there"


_REASONS: dict[str, type[CertificateRefused]] = {
    "malformed": CertificateMalformed,
    "wrong_network": NetworkMismatch,
    "unknown_issuer": IssuerUnknown,
    "bad_signature": CertificateForged,
    "expired": CertificateExpired,
    "not_yet_valid": CertificateNotYetValid,
    "revoked": NodeRevoked,
    "name_forbidden": NameNotPermitted,
}


@dataclass(frozen=True, slots=True)
class Anchors:
    """Whom a network believes: what its genesis says about certificates."""

    network: GenesisId
    root: bytes
    issuing: bytes

    @classmethod
    def of(cls, genesis: Genesis, genesis_id: GenesisId) -> Anchors:
        """The anchors in `genesis`, whose digest is `genesis_id`."""
        return cls(genesis_id, genesis.root_certificate, genesis.issuing_certificate)


@dataclass(frozen=True, slots=True)
class CertifiedNode:
    """What a believed certificate says. `not_after_s` is in seconds since 1970."""

    id: NodeId
    owner: OwnerId
    keys: PublicKeys
    not_after_s: int


def check_chain(
    chain: Sequence[bytes],
    anchors: Anchors,
    *,
    now_s: int,
    revoked: frozenset[NodeId] = frozenset(),
) -> CertifiedNode:
    """The node behind `chain` (leaf, issuing, optionally root; DER) at `now_s` seconds since 1970.

    Raises the first that holds of `CertificateMalformed`, `NetworkMismatch`, `IssuerUnknown`,
    `CertificateForged`, `NodeRevoked`, `NameNotPermitted`, `CertificateNotYetValid`,
    `CertificateExpired`.
    """
    return certified(
        lambda: _native.x509_check_chain(
            network=anchors.network,
            roots=[anchors.root],
            issuers=[anchors.issuing],
            revoked=sorted(revoked),
            chain=list(chain),
            now_unix=now_s,
        )
    )


def check_node(
    certificate: bytes,
    anchors: Anchors,
    *,
    now_s: int,
    revoked: frozenset[NodeId] = frozenset(),
) -> CertifiedNode:
    """`check_chain` of a leaf alone, below the issuing certificate in `anchors`."""
    return check_chain([certificate, anchors.issuing], anchors, now_s=now_s, revoked=revoked)


def check_pinned(chain: Sequence[bytes], root_sha256: Hash, *, now_s: int) -> CertifiedNode:
    """The node behind `chain` (leaf, issuing, root) below a root that is known by its SHA-256
    alone, as an invitation names it. The network is not checked. Raises as `check_chain` does."""
    if len(root_sha256) != 32:
        raise InvalidInput(f"A SHA-256 has 32 bytes, not {len(root_sha256)}")
    return certified(
        lambda: _native.x509_check_pinned_root(
            chain=list(chain), root_sha256=root_sha256, now_unix=now_s
        )
    )


def check_issuing(certificate: bytes, root: bytes, *, now_s: int) -> None:
    """Raise unless `root` (both DER) made `certificate` an authority for nodes, good at `now_s`
    seconds since 1970: `CertificateMalformed`, `IssuerUnknown`, `CertificateForged`,
    `CertificateNotYetValid`, `CertificateExpired`."""
    try:
        _native.x509_check_issuing(issuing=certificate, root=root, now_unix=now_s)
    except _native.CertificateRefused as refusal:
        _raise(refusal)


def read_keys(certificate: bytes) -> PublicKeys:
    """The keys in a leaf, whoever signed it; raises `CertificateMalformed`.

    No signature and no date is checked: good only where the holder proves the keys itself.
    """
    try:
        _, _, ed25519, falcon, _ = _native.x509_read_keys(certificate)
    except _native.CertificateRefused as refusal:
        _raise(refusal)
    return PublicKeys(HYBRID_V1, falcon, ed25519)


def fingerprint(certificate: bytes) -> Hash:
    """The SHA-256 of the DER, by which X.509 tools name a certificate."""
    return hashlib.sha256(certificate).digest()


def certified(check: Callable[[], tuple[bytes, bytes | None, bytes, bytes, int]]) -> CertifiedNode:
    """What native `check` believes of a node; raises a `CertificateRefused`."""
    try:
        identifier, owner, ed25519, falcon, not_after_s = check()
    except _native.CertificateRefused as refusal:
        _raise(refusal)
    if owner is None:
        raise CertificateMalformed("The certificate names no owner")
    keys = PublicKeys(HYBRID_V1, falcon, ed25519)
    return CertifiedNode(identifier, owner, keys, not_after_s)


def refusal_of(refusal: _native.CertificateRefused) -> CertificateRefused:
    """The reason that native code gives, as an error of its own."""
    kind, text = refusal.args
    reason = _REASONS[kind]
    return reason(why=text if text.lower() != reason.title.lower() else "")


def _raise(refusal: _native.CertificateRefused) -> NoReturn:
    raise refusal_of(refusal) from None
