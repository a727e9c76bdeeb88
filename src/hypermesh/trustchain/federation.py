"""Networks that trust each other: what one shows the other, and what a cross-certificate permits.

    root of ours ── cross-certificate ──┐ the same two keys
    root of theirs ──> issuing CA of theirs ──> node of theirs

A cross-certificate is a certificate of ours over the keys of the partner's issuing CA, for DNS
names below the partner's zone (RFC 5280 section 4.2.1.10) and under policies (section 4.2.1.4) that
say what its nodes may ask here. What is written in the ledger may be less than that and never more.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.x509 import ObjectIdentifier
from msgspec import Meta

from hypermesh import _native
from hypermesh.crypto.digest import digest_of
from hypermesh.trustchain import der
from hypermesh.trustchain.verify import (
    CertificateRefused,
    CertifiedNode,
    certified,
    refusal_of,
)
from hypermesh.wire.asset import Locator
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.tx import GENESIS_BYTES_MAX, NAMES_MAX, Certificate, PartnerService

ZONE = "hm.internal"

_ARC = "2.25.147689941769111079261745123696508247313"
"""An arc made of a random UUID, which needs no registration (ITU-T X.667 clause 6.3)."""
POLICY_REACH = ObjectIdentifier(f"{_ARC}.1")
"""Nodes of the partner may connect, and measure the path."""
POLICY_ASSETS = ObjectIdentifier(f"{_ARC}.2")
"""They may discover assets, as far as the terms of each let them."""

POLICIES: dict[PartnerService, ObjectIdentifier] = {PartnerService.ASSETS: POLICY_ASSETS}
"""The policy that each service needs, beside `POLICY_REACH`."""

VERSION = 1
_HEADER = "-----BEGIN HYPERMESH NETWORK-----"
_FOOTER = "-----END HYPERMESH NETWORK-----"
TEXT_CHARACTERS_MAX = 128 * 1024


class IntroductionMalformed(InvalidInput):
    """The text is not what `hm trust introduce` prints."""

    code = "HM-TRUST-0301"
    title = "This is no introduction of a network"
    remedy = "Ask the other network for what `hm trust introduce` prints"


class Introduction(msgspec.Struct, frozen=True, array_like=True):
    """What a network says of itself to another: its genesis document (encoded), its present issuing
    certificate (DER), and where it is.

    Nothing in it is secret, and nothing more is signed: the genesis id, which is the digest of the
    document, is what people compare; the document names the root that has signed `issuing`; places
    are only tried.
    """

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    document: Annotated[bytes, Meta(max_length=GENESIS_BYTES_MAX)]
    issuing: Certificate
    locators: Annotated[list[Locator], Meta(max_length=4)]

    @property
    def genesis(self) -> Genesis:
        """The genesis document. Raises `IntroductionMalformed`."""
        return genesis_of(self.document)

    @property
    def network(self) -> GenesisId:
        return digest_of("genesis", self.genesis)

    def __str__(self) -> str:
        """The text that people carry."""
        coded = base64.b64encode(encode(self)).decode()
        lines = [coded[at : at + 64] for at in range(0, len(coded), 64)]
        return "\n".join([_HEADER, *lines, _FOOTER]) + "\n"


def introduction(text: str) -> Introduction:
    """What `str` of an `Introduction` gave. Raises `IntroductionMalformed`."""
    stripped = text.strip()
    if len(text) > TEXT_CHARACTERS_MAX or not (
        stripped.startswith(_HEADER) and stripped.endswith(_FOOTER)
    ):
        raise IntroductionMalformed
    body = "".join(stripped.removeprefix(_HEADER).removesuffix(_FOOTER).split())
    try:
        found = decode(Introduction, base64.b64decode(body, validate=True))
    except (binascii.Error, Undecodable) as error:
        raise IntroductionMalformed(why=str(error)) from error
    genesis_of(found.document)
    return found


def genesis_of(document: bytes) -> Genesis:
    """The genesis document encoded so. Raises `IntroductionMalformed`."""
    try:
        return decode(Genesis, document)
    except Undecodable as error:
        raise IntroductionMalformed(why=str(error)) from error


def zone(network: GenesisId) -> str:
    """The DNS name below which all nodes of a network have theirs."""
    return f"{network[:5].hex()}.{ZONE}"


def node_name(node: NodeId, network: GenesisId) -> str:
    """The DNS name of a node, by which name constraints tell it from others."""
    return f"{node[:8].hex()}.{zone(network)}"


def is_within(name: str, tree: str) -> bool:
    """Whether the DNS name `name` is `tree` or stands below it (RFC 5280 section 4.2.1.10)."""
    return name == tree or name.endswith(f".{tree}")


@dataclass(frozen=True, slots=True)
class Partnership:
    """Another network as this one lets it in: certificates (DER), the end in seconds since 1970,
    and which of its nodes it has revoked, as far as is known."""

    network: GenesisId
    root: bytes
    issuing: bytes
    cross: bytes
    not_after_s: int
    revoked: frozenset[NodeId] = frozenset()

    @property
    def agreed(self) -> tuple[bytes, bytes, bytes, bytes, int, list[NodeId]]:
        """As native code takes it."""
        certificates = self.root, self.issuing, self.cross
        return self.network, *certificates, self.not_after_s, sorted(self.revoked)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a cross-certificate permits: DNS names, each with all below it; policies, as object
    identifiers in DER; from when until when, in seconds since 1970."""

    permitted: tuple[str, ...]
    excluded: tuple[str, ...]
    policies: frozenset[bytes]
    not_before_s: int
    not_after_s: int

    def permits(self, name: str) -> bool:
        """Whether a node of this DNS name is let in."""
        within = any(is_within(name, tree) for tree in self.permitted)
        return within and not any(is_within(name, tree) for tree in self.excluded)

    @property
    def services(self) -> frozenset[PartnerService]:
        """What its policies let the partner's nodes ask for."""
        return frozenset(
            service
            for service, policy in POLICIES.items()
            if {_content(POLICY_REACH), _content(policy)} <= self.policies
        )


def check_partnership(root: bytes, partnership: Partnership, *, now_s: int) -> Reach:
    """What the cross-certificate permits, where the own `root` (DER) vouches for it with both keys,
    it is for the partner's issuing CA, and all above a node holds at `now_s`. Raises a
    `CertificateRefused`."""
    try:
        permitted, excluded, policies, begins, ends = _native.x509_check_partnership(
            roots=[root], partner=partnership.agreed, now_unix=now_s
        )
    except _native.CertificateRefused as refusal:
        raise refusal_of(refusal) from None
    return Reach(tuple(permitted), tuple(excluded), frozenset(policies), begins, ends)


def check_partner(
    chain: Sequence[bytes],
    network: GenesisId,
    roots: Sequence[bytes],
    partnerships: Sequence[Partnership],
    *,
    now_s: int,
    revoked: frozenset[NodeId] = frozenset(),
) -> CertifiedNode:
    """The node of a partner behind `chain` (leaf, or with those above it; DER) at `now_s`, as STOQ
    judges it. Raises a `CertificateRefused`."""
    return certified(
        lambda: _native.x509_check_partner(
            network=network,
            roots=list(roots),
            revoked=sorted(revoked),
            partners=[each.agreed for each in partnerships],
            chain=list(chain),
            now_unix=now_s,
        )
    )


def require_names(names: Sequence[str], network: GenesisId) -> None:
    """Raise `InvalidInput` where `names` are not all names of that network's zone, in the one form
    that certificates have."""
    if not 0 <= len(names) <= NAMES_MAX:
        raise InvalidInput(f"At most {NAMES_MAX} names are constrained")
    for name in names:
        if name != name.lower() or not is_within(name, zone(network)):
            raise InvalidInput(
                f"{name[:80]!r} is no name of that network",
                why=f"its nodes have names below {zone(network)}",
            )


def policies_of(services: Sequence[PartnerService]) -> list[ObjectIdentifier]:
    """The policies that a cross-certificate for `services` has."""
    return [POLICY_REACH, *(POLICIES[each] for each in sorted(set(services)))]


def _content(identifier: ObjectIdentifier) -> bytes:
    return der.read(der.oid(identifier)).content


__all__ = [
    "CertificateRefused",
    "Introduction",
    "IntroductionMalformed",
    "Partnership",
    "Reach",
    "check_partner",
    "check_partnership",
    "genesis_of",
    "introduction",
    "is_within",
    "node_name",
    "policies_of",
    "require_names",
    "zone",
]
