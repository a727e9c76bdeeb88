"""What terms mean, in words: who could see and lease an asset, what a change would change. Pure.

The same rules decide here as when somebody asks (`privacy`), so a preview cannot promise what the
host then refuses. It is about the nodes that the ledger knows now; who joins later is in the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hypermesh.assets.privacy import Caller, Decision, Terms, may_discover, may_lease
from hypermesh.wire.amount import format_caes
from hypermesh.wire.asset import (
    UNIT,
    AssetKind,
    ConsumerIdentity,
    Price,
    PrivacyLevel,
    Sharing,
)
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId

HOUR_MS = 60 * 60 * 1000

Names = Callable[[NodeId], str]
"""What nodes call themselves."""

REVOKED = Decision(False, "the node is revoked: no node of the network speaks with it")


@dataclass(frozen=True, slots=True)
class Known:
    """A node as the ledger knows it."""

    node: NodeId
    owner: OwnerId
    revoked: bool
    attested: bool
    bonded: int


@dataclass(frozen=True, slots=True)
class Access:
    """What terms let one node do."""

    discover: Decision
    lease: Decision


def access(terms: Terms, known: Known, networks: frozenset[GenesisId]) -> Access:
    """What `terms` let a node of `networks` do."""
    if known.revoked:
        return Access(REVOKED, REVOKED)
    caller = Caller(known.node, known.owner, networks, known.attested, known.bonded)
    return Access(may_discover(terms, caller), may_lease(terms, caller))


def changes(
    kind: AssetKind, before: Sharing, after: Sharing, names: Names
) -> list[tuple[str, str, str]]:
    """(term, before, after) of every term that differs, in words."""
    old, new = words(kind, before, names), words(kind, after, names)
    return [(term, old[term], new[term]) for term in old if old[term] != new[term]]


def words(kind: AssetKind, sharing: Sharing, names: Names) -> dict[str, str]:
    """Every term in words."""
    audience, requirement = sharing.audience, sharing.requirement
    return {
        "level": sharing.level.value,
        "named nodes": _listed(names(node) for node in audience.nodes),
        "named networks": _listed(network.hex()[:16] for network in audience.networks),
        "share": percent(sharing.share),
        "uses at once": str(sharing.concurrent_max),
        "shortest lease": duration(sharing.duration_ms_min),
        "longest lease": duration(sharing.duration_ms_max),
        "price": price(kind, sharing.price),
        "region": sharing.region or "not said",
        "consumer": sharing.identity.value,
        "consumer's proofs": "four in force" if requirement.attested else "none asked",
        "consumer's bond": f"{format_caes(requirement.bond_min)} CAES",
    }


def summary(kind: AssetKind, sharing: Sharing, names: Names, found: Sequence[Access]) -> list[str]:
    """Who could see and lease, and how, as sentences."""
    lines = [_seen_by(sharing, names)]
    if sharing.level is PrivacyLevel.FULL_PUBLIC:
        lines.append(
            "What it is, its price and its region stand on the ledger for everybody to read, and "
            "stay in its blocks for good."
        )
    else:
        lines.append("The ledger shows that it is there, whose it is and its kind; not what it is.")
    if sharing.level is not PrivacyLevel.PRIVATE:
        lines.append(_asked(sharing))
    lines.append(
        f"A lease takes {duration(sharing.duration_ms_min)} to "
        f"{duration(sharing.duration_ms_max)}; at most {sharing.concurrent_max} at once, together "
        f"at most {percent(sharing.share)} of it, at {price(kind, sharing.price)}."
    )
    see = sum(each.discover.allowed for each in found)
    lease = sum(each.lease.allowed for each in found)
    lines.append(f"Of {len(found)} nodes known here, {see} could see it and {lease} lease it.")
    return lines


def price(kind: AssetKind, asked: Price) -> str:
    """A price for the unit and the hour that people think in, rounded up to whole nCAES."""
    match kind:
        case AssetKind.CPU:
            units, name = 1000, "core-hour"
        case AssetKind.MEMORY | AssetKind.STORAGE:
            units, name = 1 << 30, "GiB-hour"
        case _:
            units, name = 1, f"{UNIT.get(kind, 'unit')}-hour"
    return f"{format_caes(asked.cost(units, HOUR_MS))} CAES/{name}"


def percent(basis_points: int) -> str:
    """Ten-thousandths as percent."""
    return f"{basis_points / 100:g} %"


def duration(milliseconds: int) -> str:
    """A duration in the largest unit that says it exactly."""
    for size, unit in ((24 * HOUR_MS, "d"), (HOUR_MS, "h"), (60_000, "min"), (1000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def _seen_by(sharing: Sharing, names: Names) -> str:
    nodes = _listed(names(node) for node in sharing.audience.nodes)
    networks = len(sharing.audience.networks)
    match sharing.level:
        case PrivacyLevel.PRIVATE:
            return "Only the owner's own nodes can see and lease it."
        case PrivacyLevel.P2P if not sharing.audience.nodes:
            return "Only the owner's own nodes can see it: P2P, and no node is named."
        case PrivacyLevel.P2P:
            return f"The owner's own nodes and these can see it: {nodes}."
        case PrivacyLevel.FULL_PUBLIC:
            return "Anyone can see it."
        case _ if networks == 0:
            return f"Only the owner's own nodes can see it: {sharing.level}, no network is named."
        case PrivacyLevel.PRIVATE_NETWORK:
            return (
                f"The owner's own nodes can see it, and every node of {_networks(networks)} that "
                "the owner trusts."
            )
        case _:
            return f"The owner's own nodes can see it, and every node of {_networks(networks)}."


def _asked(sharing: Sharing) -> str:
    asked = [
        "a certificate"
        if sharing.identity is ConsumerIdentity.VERIFIED
        else "an account, with a certificate or without"
    ]
    if sharing.requirement.attested:
        asked.append("four proofs in force")
    if sharing.requirement.bond_min:
        asked.append(f"a bond of {format_caes(sharing.requirement.bond_min)} CAES")
    return "Whoever leases it from outside must show " + " and ".join(asked) + "."


def _networks(count: int) -> str:
    return "1 named network" if count == 1 else f"{count} named networks"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
