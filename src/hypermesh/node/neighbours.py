"""The nodes of the network, as the own copy of the ledger has them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hypermesh.ledger import identity
from hypermesh.node.chain import Chain
from hypermesh.stoq.custody import Neighbour
from hypermesh.wire.address import GlobalAddress, network_prefix
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import GenesisId, NodeId
from hypermesh.wire.keys import PublicKeys

LISTED_FOR_S = 10.0
LISTED_MAX = 10_000


class NodeUnknown(NotFound):
    """The ledger, as this node has it, has no such node in good standing."""

    code = "HM-NODE-0040"
    title = "There is no such node in this network"
    remedy = "`hm node ls` shows the nodes of the network"


@dataclass(frozen=True, slots=True)
class Known:
    """A node in good standing."""

    neighbour: Neighbour
    keys: PublicKeys


class Neighbours:
    """Reads of the ledger, by any thread."""

    def __init__(self, chain: Chain, genesis: GenesisId) -> None:
        self._chain = chain
        self._genesis = genesis
        self._listed: tuple[float, list[Neighbour]] = (-LISTED_FOR_S, [])
        self._lock = threading.Lock()

    def get(self, node: NodeId) -> Known | None:
        """The node of this id; None where it is unknown or revoked."""
        with self._chain.ledger.state() as state:
            row = identity.node(state, node)
        if row is None or row.revoked:
            return None
        return Known(Neighbour(node, row.owner), row.keys)

    def all(self) -> list[Neighbour]:
        """All nodes in good standing, as of a few seconds ago; at most `LISTED_MAX`."""
        with self._lock:
            since, found = self._listed
            if time.monotonic() - since < LISTED_FOR_S:
                return found
            found = []
            with self._chain.ledger.state() as state:
                for node, row in identity.nodes(state):
                    if not row.revoked:
                        found.append(Neighbour(node, row.owner))
                    if len(found) == LISTED_MAX:
                        break
            self._listed = (time.monotonic(), found)
            return found

    def meant(self, text: str) -> tuple[Known, int | None]:
        """The node that an id in hex or a `GlobalAddress` means, with the address's service port.
        Raises `InvalidInput` or `NodeUnknown`."""
        if text.startswith("hm://"):
            address = GlobalAddress.parse(text)
            if address.network_prefix != network_prefix(self._genesis):
                raise InvalidInput(f"{text} is an address of another network")
            with self._chain.ledger.state() as state:
                node = identity.resolve_prefix(state, address.node_id)
            service: int | None = address.service_port
        else:
            node, service = bytes.fromhex(text), None
        known = None if node is None else self.get(node)
        if known is None:
            raise NodeUnknown(f"This network has no node {text}")
        return known, service
