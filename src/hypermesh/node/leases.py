"""Leases as the API shows them, for good: the state forgets a lease a day after it is over."""

from __future__ import annotations

from hypermesh.assets import address
from hypermesh.assets import lease as rules
from hypermesh.node.chain import Chain
from hypermesh.node.explorer import Explorer
from hypermesh.node.index.database import LEASE, lease_states
from hypermesh.node.index.index import Index
from hypermesh.node.index.naming import whole_id
from hypermesh.node.index.words import Names, event, lease_kind
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.api.lease import LeaseDetail, LeaseEvent, LeasePage, LeaseView
from hypermesh.wire.asset import UNIT, AssetKind, Lease, LeaseState
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import GenesisId, LeaseId, OwnerId, parse_hex

EVENTS_MAX = 100
"""Events of one lease; it has five at most."""


class Leases:
    """Reads, by any thread."""

    def __init__(
        self,
        genesis_id: GenesisId,
        owner: OwnerId,
        chain: Chain,
        index: Index,
        explorer: Explorer,
    ) -> None:
        self._genesis_id = genesis_id
        self._owner = owner
        self._chain = chain
        self._index = index
        self._explorer = explorer

    def whole_id(self, text: str) -> LeaseId:
        """The id of a lease, given whole or by its beginning."""
        return whole_id(text, "lease id", self._index.current().leases_from)

    def row(self, lease_id: LeaseId) -> Lease:
        """A lease as it is, or as it was when it was over. Raises `UnknownLease`."""
        with self._chain.ledger.state() as state:
            row = rules.LEASES.get(state, lease_id)
        if row is None:
            row = self._index.current().lease(lease_id)
        if row is None:
            raise rules.UnknownLease(f"There is no lease {lease_id.hex()} on this network")
        return row

    def view(self, lease_id: LeaseId) -> LeaseView:
        """One lease. Raises `UnknownLease`."""
        return self._view(lease_id, self.row(lease_id), self._explorer.names())

    def page(self, state: str | None, cursor: str | None, limit: int) -> LeasePage:
        """Leases in which this node's owner lends or borrows, newest first, in `state`; `running`
        and `over` stand for the states before and after the end."""
        found = self._index.current().leases(self._owner, _states(state), _place(cursor), limit + 1)
        called = self._explorer.names()
        shown = [self._view(lease_id, row, called) for lease_id, row in found[:limit]]
        following = None
        if len(found) > limit:
            lease_id, row = found[limit - 1]
            following = f"{row.opened_ms:x}.{lease_id.hex()}"
        return LeasePage(shown, following)

    def detail(self, text: str) -> LeaseDetail:
        """One lease, by its id or the beginning of it, and its life so far."""
        lease_id = self.whole_id(text)
        row = self.row(lease_id)
        events = []
        for each in self._index.current().timeline(LEASE, lease_id, (0, 0), EVENTS_MAX):
            if each.entry is None:
                said, operation = event(each.event, row), None
            else:
                operation = self._explorer.operation(each.height, each.entry)
                said = operation.words
            events.append(LeaseEvent(each.event, each.height, each.time_ms, said, operation))
        return LeaseDetail(self._view(lease_id, row, self._explorer.names()), events)

    def _view(self, lease_id: LeaseId, row: Lease, called: Names) -> LeaseView:
        kind = lease_kind(row, called)
        if kind is None:
            raise NotFound(f"The asset of lease {lease_id.hex()} is not known")
        return shown(self._genesis_id, lease_id, row, kind, called)


def shown(
    genesis_id: GenesisId, lease_id: LeaseId, row: Lease, kind: AssetKind, called: Names
) -> LeaseView:
    """A row as the API shows it."""
    over = row.state in rules.FINAL
    price = row.price
    return LeaseView(
        lease=lease_id.hex(),
        asset=row.asset.hex(),
        address=str(address.address(genesis_id, row.host, row.asset, kind)),
        kind=kind,
        provider=row.host.hex(),
        consumer=row.consumer.hex(),
        state=LeaseState(row.state),
        amount=row.amount,
        escrow=row.escrow,
        start_ms=row.starts_ms,
        end_ms=row.ends_ms,
        epoch=row.epoch,
        session=row.session.hex(),
        paid=row.paid if over else None,
        fee=row.fee if over else None,
        refund=row.refund if over else None,
        provider_name=called.node(row.host),
        consumer_name=called.owner(row.consumer),
        payee=row.payee.hex(),
        level=row.level,
        unit=UNIT.get(kind, ""),
        price=PriceView(price.amount, price.per_units, price.per_ms),
        duration_ms=row.duration_ms,
        opened_ms=row.opened_ms,
        deadline_ms=None if over else row.deadline_ms,
    )


def _states(text: str | None) -> list[str]:
    match text:
        case None:
            return lease_states()
        case "running":
            return lease_states(over=False)
        case "over":
            return lease_states(over=True)
        case _ if text in lease_states():
            return [text]
        case _:
            raise InvalidInput(
                f"{text[:40]!r} is no state of a lease",
                why=f"expected one of {', '.join(lease_states())}, running, over",
            )


def _place(cursor: str | None) -> tuple[int, LeaseId] | None:
    if not cursor:
        return None
    opened, _, lease = cursor.partition(".")
    try:
        return int(opened, 16), parse_hex(lease, 32, "cursor")
    except ValueError as error:
        raise InvalidInput(f"{cursor[:80]!r} is no cursor of this list") from error
