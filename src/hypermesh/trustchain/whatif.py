"""What a revocation would have cut off: recorded handshakes, judged again. Pure.

A handshake is judged by the verifier that STOQ uses, on the certificates that were shown, at the
time at which they were, under what was believed then; once as it was, and once with the revocation.
Those that held and then do not are the connections that would have failed.

Of handshakes that differ in their time alone only the first and the last are judged, and where the
two agree, those between are as they are: signatures have no time, and what limits it, the dates of
certificates and of agreements, are spans.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from hypermesh.trustchain.federation import Partnership, check_partner
from hypermesh.trustchain.verify import (
    Anchors,
    CertificateRefused,
    IssuerUnknown,
    NodeRevoked,
    check_chain,
    check_node,
    fingerprint,
)
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.rpc import ALPN_NODE, ALPN_PARTNER


class Believed(msgspec.Struct, frozen=True, array_like=True):
    """What an endpoint believed: own network, root and issuing certificates (DER), revoked nodes,
    partner networks as `Partnership.agreed` has them."""

    network: GenesisId
    root: bytes
    issuers: tuple[bytes, ...]
    revoked: tuple[NodeId, ...]
    partners: tuple[tuple[GenesisId, bytes, bytes, bytes, int, tuple[NodeId, ...]], ...]

    @property
    def partnerships(self) -> list[Partnership]:
        return [
            Partnership(network, root, issuing, cross, ends, frozenset(revoked))
            for network, root, issuing, cross, ends, revoked in self.partners
        ]


class Handshake(msgspec.Struct, frozen=True, array_like=True):
    """A connection that came about. `chain` is what the peer has shown, `own` the leaf that this
    side has (DER); `service` is the protocol; `opened`, whether this side has dialled."""

    at_ms: int
    peer: NodeId
    network: GenesisId | None
    service: str
    opened: bool
    remote: str
    chain: tuple[bytes, ...]
    own: bytes
    believed: Believed


class Kind(enum.StrEnum):
    """What is revoked."""

    NODE = "node"
    AUTHORITY = "authority"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Target:
    """What is revoked: a node by its id, an authority by the SHA-256 of its certificate, a partner
    by its genesis id."""

    kind: Kind
    id: Hash


@dataclass(frozen=True, slots=True)
class Failure:
    """A handshake that held and would not have, and why not."""

    handshake: Handshake
    reason: str


def without(believed: Believed, target: Target) -> Believed:
    """What is believed once `target` is revoked."""
    replace = msgspec.structs.replace
    match target.kind:
        case Kind.NODE:
            partners = tuple(
                (*rest, tuple(sorted({*revoked, target.id})))
                for *rest, revoked in believed.partners
            )
            revoked = tuple(sorted({*believed.revoked, target.id}))
            return replace(believed, revoked=revoked, partners=partners)
        case Kind.PARTNER:
            kept = tuple(each for each in believed.partners if each[0] != target.id)
            return replace(believed, partners=kept)
        case Kind.AUTHORITY:
            gone = [target.id]
            kept = tuple(
                each
                for each in believed.partners
                if not any(fingerprint(der) in gone for der in each[1:4])
            )
            issuers = tuple(each for each in believed.issuers if fingerprint(each) not in gone)
            if fingerprint(believed.root) in gone:
                # All that the root vouches for goes with it, the word for partners too.
                return replace(believed, root=b"", issuers=(), partners=())
            return replace(believed, issuers=issuers, partners=kept)


def judge(handshake: Handshake, believed: Believed) -> CertificateRefused | None:
    """Why `handshake` does not hold under `believed`; None where it does."""
    try:
        _check(handshake, believed)
    except CertificateRefused as refusal:
        return refusal
    return None


def failures(handshakes: Iterable[Handshake], target: Target) -> Iterator[Failure]:
    """Those of `handshakes` that held and would not have, had `target` been revoked, in order."""
    groups: dict[tuple[object, ...], list[Handshake]] = {}
    for each in handshakes:
        like = (each.peer, each.network, each.service, each.opened, each.chain, each.own)
        groups.setdefault((*like, id(each.believed)), []).append(each)
    found = [failure for group in groups.values() for failure in _of_group(group, target)]
    yield from sorted(found, key=lambda failure: failure.handshake.at_ms)


def _of_group(group: Sequence[Handshake], target: Target) -> Iterator[Failure]:
    """`group` differs in time and remote address alone."""
    then = group[0].believed
    now = without(then, target)
    if now == then:
        return
    ends = [min(group, key=_time), max(group, key=_time)]
    before = [judge(each, then) for each in ends]
    after = [judge(each, now) for each in ends]
    held = all(reason is None for reason in before)
    if held and all(reason is None for reason in after):
        return
    if held and all(reason is not None and type(reason) is type(after[0]) for reason in after):
        yield from (Failure(each, str(after[0])) for each in group)
        return
    for each in group:
        reason = judge(each, now)
        if reason is not None and judge(each, then) is None:
            yield Failure(each, str(reason))


def _time(handshake: Handshake) -> int:
    return handshake.at_ms


def _check(handshake: Handshake, believed: Believed) -> None:
    """Raise the refusal of the side that would refuse."""
    now_s = handshake.at_ms // 1000
    if handshake.service == ALPN_PARTNER:
        # What the other side thinks of this one is for its network to say.
        check_partner(
            handshake.chain,
            believed.network,
            [believed.root] if believed.root else [],
            believed.partnerships,
            now_s=now_s,
            revoked=frozenset(believed.revoked),
        )
        return
    if handshake.peer in believed.revoked:
        raise NodeRevoked
    if handshake.service == ALPN_NODE or handshake.opened:
        _check_own_network(handshake.chain, believed, now_s)
    if handshake.service == ALPN_NODE or not handshake.opened:
        # The peer follows the same ledger, and asks the same of this side's certificate.
        _check_own_network((handshake.own,), believed, now_s)


def _check_own_network(chain: Sequence[bytes], believed: Believed, now_s: int) -> None:
    revoked = frozenset(believed.revoked)
    refusal: CertificateRefused = IssuerUnknown()
    for issuer in believed.issuers:
        anchors = Anchors(believed.network, believed.root, issuer)
        try:
            if len(chain) == 1:
                check_node(chain[0], anchors, now_s=now_s, revoked=revoked)
            else:
                check_chain(chain, anchors, now_s=now_s, revoked=revoked)
        except CertificateRefused as error:
            refusal = error
        else:
            return
    raise refusal
