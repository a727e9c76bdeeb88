"""What owners call their nodes and assets: reads of the ledger, and its transactions."""

from __future__ import annotations

from itertools import islice

from hypermesh.ledger import names
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.node.names import layout
from hypermesh.node.names.served import Names
from hypermesh.node.views import transaction_view
from hypermesh.node.wallet import Wallet
from hypermesh.trustchain.dns.records import name
from hypermesh.wire.api.dns import DnsLabel, DnsLabelChange, DnsLabelPage
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import parse_hex
from hypermesh.wire.tx import NameDrop, NameSet

LABEL_CHARACTERS_MAX = 63


class Naming:
    """The labels of the network. By any thread."""

    def __init__(self, membership: Membership, chain: Chain, wallet: Wallet, served: Names) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._served = served

    def page(self, cursor: str | None, limit: int) -> DnsLabelPage:
        """The labels after `cursor`."""
        membership = self._membership
        zone = layout.apex(membership.genesis_id)
        with self._chain.ledger.state() as state:
            after = (each for each in names.names(state) if cursor is None or each[0] > cursor)
            found = list(islice(after, limit + 1))
        items = [
            DnsLabel(
                label=label,
                name=f"{label}.{zone}",
                owner=row.owner.hex(),
                node=None if row.node is None else row.node.hex(),
                asset=None if row.asset is None else row.asset.hex(),
                mine=row.owner == membership.owner,
                answered=self._served.is_answered(name(f"{label}.{zone}")),
            )
            for label, row in found[:limit]
        ]
        return DnsLabelPage(items, items[-1].label if len(found) > limit else None)

    def set(self, label: str, change: DnsLabelChange) -> TransactionView:
        """Call a node or an asset `label`. Raises `InvalidInput`, or the ledger's refusal."""
        _require_label(label)
        if (change.node is None) == (change.asset is None):
            raise InvalidInput("A name stands for a node or for an asset", fix="Give one of them")
        node = None if change.node is None else parse_hex(change.node, 32, "node id")
        asset = None if change.asset is None else parse_hex(change.asset, 16, "asset id")
        return transaction_view(self._wallet.submit(NameSet(label, node, asset)))

    def drop(self, label: str) -> TransactionView:
        """Give `label` up. Raises `InvalidInput`, or the ledger's refusal."""
        _require_label(label)
        return transaction_view(self._wallet.submit(NameDrop(label)))


def _require_label(label: str) -> None:
    """What no transaction can carry; the ledger decides on the rest."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not 1 <= len(label) <= LABEL_CHARACTERS_MAX or not set(label) <= allowed:
        raise InvalidInput(
            f"{label[:80]!r} is no label of the DNS", why="a-z, 0-9 and -, at most 63"
        )
