"""Whom an endpoint trusts and who it is: immutable values, checked in Rust, swapped as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, final

from hypermesh import _native
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.wire.ids import GenesisId, Hash, NodeId

Agreed: TypeAlias = tuple[GenesisId, bytes, bytes, bytes, int, Sequence[NodeId]]
"""A partner network, as `trustchain.federation.Partnership.agreed` gives it."""


@final
class TrustPolicy:
    """Roots, issuers and revoked nodes of one network.

    `roots` and `issuers` are certificates in DER (issuers carry their FALCON key in 2.5.29.72);
    `bearers` are those who may connect by their keys alone, on `hm-session/1`; None lets in whoever
    proves some. `partners` are other networks whose nodes are let in on `hm-partner/1`: genesis id,
    root, issuing and cross-certificate (DER), the end in seconds since 1970, and which of its nodes
    it has revoked. `version` grows with each change, and is for people and logs.
    """

    __slots__ = (
        "bearers",
        "issuers",
        "native",
        "network",
        "partners",
        "revoked",
        "roots",
        "version",
    )

    def __init__(
        self,
        *,
        network: GenesisId,
        roots: Iterable[bytes] = (),
        issuers: Iterable[bytes] = (),
        revoked: Iterable[NodeId] = (),
        bearers: Iterable[Hash] | None = None,
        partners: Iterable[Agreed] = (),
        version: int = 0,
    ) -> None:
        self.network = network
        self.roots = tuple(roots)
        self.issuers = tuple(issuers)
        self.revoked = frozenset(revoked)
        self.bearers = None if bearers is None else frozenset(bearers)
        self.partners = tuple(partners)
        self.version = version
        self.native = _native.StoqPolicy(
            network=network,
            roots=self.roots,
            issuers=self.issuers,
            revoked=sorted(self.revoked),
            bearers=None if self.bearers is None else sorted(self.bearers),
            partners=self.partners,
            version=version,
        )

    def with_revoked(self, revoked: Iterable[NodeId]) -> TrustPolicy:
        """The next version, with exactly these nodes revoked."""
        return TrustPolicy(
            network=self.network,
            roots=self.roots,
            issuers=self.issuers,
            revoked=revoked,
            bearers=self.bearers,
            partners=self.partners,
            version=self.version + 1,
        )


@final
class Identity:
    """A certificate chain and the keys of its leaf.

    A node's `chain` is leaf, issuing certificate and root, in DER; a session's is one self-signed
    leaf. Raises `errors.InvalidIdentity` where the leaf does not carry both public keys.
    """

    __slots__ = ("chain", "id", "native")

    def __init__(self, chain: Sequence[bytes], keys: QuantumKeys) -> None:
        self.chain = tuple(chain)
        self.id: Hash = keys.id
        self.native = _native.StoqIdentity(chain=self.chain, keys=keys.native)

    @classmethod
    def of_keys(cls, keys: QuantumKeys) -> Identity:
        """Known by its keys alone, under a certificate that it signs itself: the bearer of a lease
        on `hm-session/1`, or a node that proves its keys on `hm-enrol/1`."""
        return cls((_native.x509_self_signed(keys.native),), keys)
