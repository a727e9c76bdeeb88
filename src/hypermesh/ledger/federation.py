"""The federation module: which other networks this one lets in, for which names, until when.

    federation/partner/<GenesisId>    certificates, services, end, where it is; by whom, since when
    federation/dropped/<GenesisId>    why, when, by whom    until it is added again

Only the key that governs the network, its founder's, adds and drops. What a row permits is read
from its cross-certificate, which the own root has signed: a row never permits more. An end is read,
not acted on, so a row stays when it is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import KeyInvalid, key_id
from hypermesh.ledger import identity
from hypermesh.ledger.module import Call, Context, Event, Refusal, State
from hypermesh.ledger.table import Table
from hypermesh.trustchain.federation import (
    IntroductionMalformed,
    Partnership,
    Reach,
    check_partnership,
    genesis_of,
    require_names,
    zone,
)
from hypermesh.trustchain.verify import CertificateRefused
from hypermesh.wire.asset import Locator, TimeMs
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId
from hypermesh.wire.tx import (
    BlockOpening,
    Certificate,
    FederationAdd,
    FederationDrop,
    PartnerService,
)

PARTNERS_MAX = 64
"""Networks that one network lets in."""


class FederationForbidden(Refusal):
    """Only the founder's key governs the network."""

    code = "HM-TX-FED-0001"
    status = 403
    exit_code = 4
    title = "Only the network's founder may add and drop partner networks"
    remedy = "Sign with the founder's key, on the node that founded the network"


class PartnerMalformed(Refusal):
    """The other network's genesis document cannot be read."""

    code = "HM-TX-FED-0002"
    status = 400
    title = "The partner's genesis document is malformed"


class PartnerIsOwn(Refusal):
    """The other network is this one, or its nodes could have the same names as those of another."""

    code = "HM-TX-FED-0003"
    title = "The names of that network's nodes are taken"


class CrossRefused(Refusal):
    """The cross-certificate is not one of this network's root for that network's CA."""

    code = "HM-TX-FED-0004"
    status = 403
    exit_code = 4
    title = "The cross-certificate is not believed"


class NamesWidened(Refusal):
    """The cross-certificate permits names that are not the other network's to give."""

    code = "HM-TX-FED-0005"
    title = "The cross-certificate permits names of others"


class ServicesWidened(Refusal):
    """The partner would be allowed more than its cross-certificate's policies say."""

    code = "HM-TX-FED-0006"
    title = "The cross-certificate's policies do not allow these services"


class PeriodWidened(Refusal):
    """The partner would be let in for longer than its cross-certificate holds, or not at all."""

    code = "HM-TX-FED-0007"
    title = "The period is not within that of the cross-certificate"


class PartnersTooMany(Refusal):
    """The list is full."""

    code = "HM-TX-FED-0008"
    title = f"A network has at most {PARTNERS_MAX} partners"
    remedy = "Drop one first: `hm trust drop NETWORK`"


class PartnerUnknown(Refusal):
    """The ledger lists no such network."""

    code = "HM-TX-FED-0009"
    status = 404
    exit_code = 5
    title = "The network is not among the partners"
    remedy = "See `hm trust ls`"


class Partner(msgspec.Struct, frozen=True, array_like=True):
    """Another network that is let in. `root` and `issuing` are its own certificates; `sequencer`
    orders its ledger, and so knows first who is revoked there."""

    name: str
    root: Certificate
    issuing: Certificate
    sequencer: NodeId
    cross: Certificate
    permitted: list[str]
    excluded: list[str]
    services: list[PartnerService]
    not_after_ms: TimeMs
    locators: list[Locator]
    height: Annotated[int, Meta(ge=1, le=2**53)]
    by: OwnerId

    def partnership(self, network: GenesisId) -> Partnership:
        """As certificates are checked under it."""
        return Partnership(network, self.root, self.issuing, self.cross, self.not_after_ms // 1000)


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """Why, when and by whom a network was dropped."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    height: Annotated[int, Meta(ge=1, le=2**53)]
    by: OwnerId


_partners = Table("federation/partner/", Partner)
_dropped = Table("federation/dropped/", Dropped)


def partner(state: State, network: GenesisId) -> Partner | None:
    """The network of this id, if it is listed; also when its time is over."""
    return _partners.get(state, network)


def partners(state: State) -> Iterator[tuple[GenesisId, Partner]]:
    """Every network that is listed, by ascending id."""
    return _partners.rows(state)


def dropped(state: State, network: GenesisId) -> Dropped | None:
    """Why the network of this id is listed no more; None where it never was, or is."""
    return _dropped.get(state, network)


def all_dropped(state: State) -> Iterator[tuple[GenesisId, Dropped]]:
    """Every network that is listed no more, by ascending id."""
    return _dropped.rows(state)


class Federation:
    """The module `federation`."""

    name = "federation"
    bodies: tuple[type, ...] = (FederationAdd, FederationDrop)

    def begin(self, context: Context) -> None:
        """A network begins without partners."""

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        """Nothing here begins with a block."""

    def execute(self, context: Context, call: Call) -> None:
        """One transaction of a type in `bodies`."""
        body = call.body
        if call.signer_is_node or call.owner != identity.founder(context.state):
            raise FederationForbidden
        if isinstance(body, FederationAdd):
            self._add(context, call, body)
        elif isinstance(body, FederationDrop):
            self._drop(context, call, body)
        else:
            raise TypeError(f"federation does not execute {type(body).__name__}")

    def close_block(self, context: Context) -> None:
        """Nothing here falls due: an end is read, not acted on."""

    def next_deadline(self, state: State) -> int | None:  # noqa: ARG002 - the protocol's
        """Never."""
        return None

    def check(self, context: Context) -> None:
        """Nothing to sum up."""

    def _add(self, context: Context, call: Call, body: FederationAdd) -> None:
        try:
            theirs = genesis_of(body.document)
            sequencer = key_id(theirs.sequencer)
        except (IntroductionMalformed, KeyInvalid) as error:
            raise PartnerMalformed(why=error.why) from error
        network = digest_of("genesis", theirs)
        _require_own_zone(context, network)
        made = Partner(
            theirs.name,
            theirs.root_certificate,
            body.issuing,
            sequencer,
            body.cross,
            [],
            [],
            sorted(set(body.services)),
            body.not_after_ms,
            body.locators,
            context.height,
            call.owner,
        )
        reach = _reach(context, made.partnership(network))
        try:
            require_names([*reach.permitted, *reach.excluded], network)
        except InvalidInput as error:
            raise NamesWidened(why=f"{error.what}: {error.why}") from error
        beyond = set(body.services) - reach.services
        if beyond:
            raise ServicesWidened(why=", ".join(sorted(beyond)))
        if not context.time_ms < body.not_after_ms <= reach.not_after_s * 1000:
            raise PeriodWidened
        known = _partners.get(context.state, network)
        if known is None and sum(1 for _ in _partners.rows(context.state)) >= PARTNERS_MAX:
            raise PartnersTooMany
        made = msgspec.structs.replace(
            made, permitted=list(reach.permitted), excluded=list(reach.excluded)
        )
        _partners.put(context.state, network, made)
        if _dropped.get(context.state, network) is not None:
            _dropped.delete(context.state, network)
        context.events.append(Event("federation.added", network, theirs.name.encode()))

    def _drop(self, context: Context, call: Call, body: FederationDrop) -> None:
        if _partners.get(context.state, body.network) is None:
            raise PartnerUnknown(f"The ledger lists no network {body.network.hex()}")
        _partners.delete(context.state, body.network)
        _dropped.put(context.state, body.network, Dropped(body.reason, context.height, call.owner))
        context.events.append(Event("federation.dropped", body.network, body.reason.encode()))


def _require_own_zone(context: Context, network: GenesisId) -> None:
    """Names of nodes carry 40 bits of the genesis id: no two networks here may share them."""
    others = [context.genesis_id]
    others += [each for each, _ in _partners.rows(context.state) if each != network]
    if any(zone(each) == zone(network) for each in others):
        raise PartnerIsOwn(why=f"they are all below {zone(network)}")


def _reach(context: Context, partnership: Partnership) -> Reach:
    root = context.genesis.root_certificate
    try:
        return check_partnership(root, partnership, now_s=context.time_ms // 1000)
    except CertificateRefused as refusal:
        raise CrossRefused(why=f"{refusal.code}: {refusal}") from refusal
