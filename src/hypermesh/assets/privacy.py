"""Who may discover and lease an asset: five levels, decided on the hosting node. Pure.

| level | who | share of the bonus pool |
|---|---|---|
| Private | the owner's own nodes | 0 |
| PrivateNetwork | nodes of named networks within the owner's trust | 0.25 |
| P2P | named NodeIds | 0.5 |
| PublicNetwork | nodes of named networks | 0.75 |
| FullPublic | anyone | 1.0 |

The owner's own nodes may always. Units times price is paid in full at every level; the share
applies to the bonus pool alone. Whether a consumer must be certified is a requirement of its own,
independent of the level; so are the proofs that its node must show, and what an older word such as
"Verified" stands for.

The caller's ids and networks are what STOQ has proven, never what the caller says.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hypermesh.wire.amount import format_caes
from hypermesh.wire.asset import Audience, ConsumerIdentity, PrivacyLevel, Requirement, Sharing
from hypermesh.wire.errors import Forbidden, InvalidInput
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId

BONUS_BASIS_POINTS: dict[PrivacyLevel, int] = {
    PrivacyLevel.PRIVATE: 0,
    PrivacyLevel.PRIVATE_NETWORK: 2_500,
    PrivacyLevel.P2P: 5_000,
    PrivacyLevel.PUBLIC_NETWORK: 7_500,
    PrivacyLevel.FULL_PUBLIC: 10_000,
}
"""The share of the bonus pool that an asset's use counts for, in ten-thousandths."""


NOBODY = Audience()
"""An audience that names neither node nor network."""

NOTHING = Requirement()
"""No proof is asked of a consumer's node."""


class AccessRefused(Forbidden):
    """The asset's privacy level keeps the caller out."""

    code = "HM-ASSET-0001"
    title = "The owner of this asset does not share it with you"
    remedy = "Ask its owner to widen the privacy level or to name you in its audience"


class Operation(enum.StrEnum):
    """What a caller asks for."""

    DISCOVER = "discover"
    LEASE = "lease"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the owner of an asset has set.

    `trusted` holds the networks whose root the owner trusts; PrivateNetwork admits nobody from a
    named network outside it. `buyer` is the one owner to whom the asset is offered for sale: a
    buyer may see what is sold.
    """

    owner: OwnerId
    level: PrivacyLevel
    audience: Audience = NOBODY
    identity: ConsumerIdentity = ConsumerIdentity.ANONYMOUS
    trusted: frozenset[GenesisId] = frozenset()
    requirement: Requirement = NOTHING
    buyer: OwnerId | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is proven: `node` is None without a TrustChain certificate, `owner` is
    None without an account, `networks` are those whose certificates it has shown. By the ledger,
    its node's four proofs are in force where `attested`, and `bonded` nCAES are bonded for it."""

    node: NodeId | None = None
    owner: OwnerId | None = None
    networks: frozenset[GenesisId] = frozenset()
    attested: bool = False
    bonded: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, with the reason in words for people."""

    allowed: bool
    reason: str

    def require(self) -> None:
        """Raise `AccessRefused` where the answer is no."""
        if not self.allowed:
            raise AccessRefused(why=self.reason)


@dataclass(frozen=True, slots=True)
class Preset:
    """What an older word stands for: a level, a requirement on the consumer, or both."""

    level: PrivacyLevel | None
    identity: ConsumerIdentity | None


PRESETS: dict[str, Preset] = {
    "private": Preset(PrivacyLevel.PRIVATE, None),
    "public": Preset(PrivacyLevel.FULL_PUBLIC, None),
    "anonymous": Preset(None, ConsumerIdentity.ANONYMOUS),
    "verified": Preset(None, ConsumerIdentity.VERIFIED),
}


def parse_level(text: str) -> PrivacyLevel:
    """The level that `text` names: `PrivateNetwork`, `private_network` and `private-network` alike.

    Raises `InvalidInput` for any other word.
    """
    plain = text.replace("_", "").replace("-", "").lower()
    for level in PrivacyLevel:
        if level.value.replace("_", "") == plain:
            return level
    raise InvalidInput(
        f"{text[:40]!r} is not a privacy level", why="one of " + ", ".join(PrivacyLevel)
    )


def check(sharing: Sharing) -> None:
    """Raise `InvalidInput` where what an owner sets contradicts itself."""
    if sharing.duration_ms_min > sharing.duration_ms_max:
        raise InvalidInput(
            "The shortest lease is longer than the longest",
            why=f"at least {sharing.duration_ms_min} ms and at most {sharing.duration_ms_max} ms",
        )


def may_discover(terms: Terms, caller: Caller) -> Decision:
    """May `caller` learn what the asset is and where its service listens?"""
    if caller.owner is not None and caller.owner == terms.buyer:
        return Decision(True, "the buyer to whom it is offered")
    return _admits(terms, caller)


def may_change(terms: Terms, caller: Caller) -> Decision:
    """May `caller` read all the terms of the asset and set them? Its owner may, from any node."""
    if _is_own(terms, caller):
        return Decision(True, "the owner's own")
    return Decision(False, "only the asset's owner sets its terms")


def _is_own(terms: Terms, caller: Caller) -> bool:
    return caller.owner is not None and caller.owner == terms.owner


def _admits(terms: Terms, caller: Caller) -> Decision:
    if _is_own(terms, caller):
        return Decision(True, "the owner's own")
    match terms.level:
        case PrivacyLevel.PRIVATE:
            return Decision(False, "Private: only nodes of the asset's owner may use it")
        case PrivacyLevel.PRIVATE_NETWORK:
            named = caller.networks & frozenset(terms.audience.networks)
            if named & terms.trusted:
                return Decision(True, "a node of a named network within the owner's trust")
            if named:
                return Decision(
                    False, "PrivateNetwork: the owner does not trust the root of that network"
                )
            return Decision(False, "PrivateNetwork: the caller is of none of the named networks")
        case PrivacyLevel.P2P:
            if caller.node is not None and caller.node in terms.audience.nodes:
                return Decision(True, "a named node")
            return Decision(False, "P2P: the caller's NodeId is not among the named ones")
        case PrivacyLevel.PUBLIC_NETWORK:
            if caller.networks & frozenset(terms.audience.networks):
                return Decision(True, "a node of a named network")
            return Decision(False, "PublicNetwork: the caller is of none of the named networks")
        case PrivacyLevel.FULL_PUBLIC:
            return Decision(True, "open to anyone")


def may_lease(terms: Terms, caller: Caller) -> Decision:
    """May `caller` lease the asset? Whom the level keeps out may not; beyond that a lease needs an
    account that pays, a certificate unless the owner allows anonymous consumers, and from others
    than the owner the proofs that the owner asks for."""
    admitted = _admits(terms, caller)
    if not admitted.allowed:
        return admitted
    if caller.owner is None:
        return Decision(False, "a lease needs an account that pays")
    if terms.identity is ConsumerIdentity.VERIFIED and caller.node is None:
        return Decision(False, "the owner wants consumers with a TrustChain certificate")
    if _is_own(terms, caller):
        return admitted
    if terms.requirement.attested and not caller.attested:
        return Decision(False, "the owner wants consumers whose four proofs are in force")
    if caller.bonded < terms.requirement.bond_min:
        return Decision(
            False,
            f"the owner wants consumers with a bond of {format_caes(terms.requirement.bond_min)} "
            f"CAES, and {format_caes(caller.bonded)} is bonded",
        )
    return admitted


def decide(operation: Operation, terms: Terms, caller: Caller) -> Decision:
    """`may_discover`, `may_lease` or `may_change`, by name."""
    match operation:
        case Operation.DISCOVER:
            return may_discover(terms, caller)
        case Operation.LEASE:
            return may_lease(terms, caller)
        case Operation.CHANGE:
            return may_change(terms, caller)
