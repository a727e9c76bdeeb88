"""Where the nodes of the network are, and saying where this one is.

Every node tells the sequencer its place and asks it for those of others; the sequencer, whom nobody
else can ask, tells all it knows when it has moved.
"""

from __future__ import annotations

import logging

from hypermesh.crypto.keys import key_id
from hypermesh.ledger import identity
from hypermesh.node.addresses import of_this_machine
from hypermesh.node.chain import Chain
from hypermesh.node.configuration import Settings
from hypermesh.node.locators import LIFETIME_MS, Locators, NoLocator
from hypermesh.node.membership import Membership
from hypermesh.node.peers import Peers
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ResolveRequest, SignedLocator

log = logging.getLogger(__name__)


class Whereabouts:
    """This node's knowledge of places. `use` comes before the first question."""

    def __init__(self, membership: Membership, locators: Locators) -> None:
        self.locators = locators
        self.sequencer = key_id(membership.genesis.sequencer)
        self._membership = membership
        self._told: SignedLocator | None = None
        self._seeds = {locator.node: locator for locator in membership.seeds}
        self._answered: dict[NodeId, Locator] = {}
        """Locators whose addresses stand in another order here: the one that answered first."""

    def use(self, peers: Peers, chain: Chain) -> None:
        """Ask through `peers` and believe what `chain` says of keys. Both need places themselves,
        so they come second."""
        self._peers = peers
        self._chain = chain

    def locate(self, node: NodeId) -> Locator:
        """Where `node` is, as last heard, the address that answered last first; raises
        `NoLocator`."""
        if node in self.locators:
            known = self.locators.of(node).locator
            answered = self._answered.get(node)
            same = answered is not None and answered.sequence == known.sequence
            return answered if answered is not None and same else known
        if node in self._seeds:
            return self._seeds[node]
        if node == self.sequencer or self._membership.is_founder:
            raise NoLocator(f"It is not known where node {node.hex()[:16]} is")
        self._ask(node)
        return self.locators.of(node).locator

    def relocate(self, node: NodeId) -> Locator:
        """Where `node` is now, as the sequencer knows it: it did not answer where it was."""
        if node != self.sequencer and not self._membership.is_founder:
            self._ask(node)
        return self.locate(node)

    def reached(self, locator: Locator) -> None:
        """Its first address answered: try that one first from now on."""
        self._answered[locator.node] = locator

    def admit(self, record: SignedLocator) -> None:
        """Keep a record that a node in good standing has signed."""
        with self._chain.ledger.state() as state:
            row = identity.node(state, record.locator.node)
        if row is None or row.revoked:
            raise InvalidInput(f"No such node: {record.locator.node.hex()[:16]}")
        self.locators.admit(record, row.keys)

    @property
    def own(self) -> SignedLocator:
        """This node's place, as it was last published."""
        return self.locators.of(self._membership.keys.id)

    def publish(self, settings: Settings, port: int) -> None:
        """Tell those who must know where this node is; signed anew where that has changed."""
        own = self._membership.keys.id
        before = self.locators.of(own) if own in self.locators else None
        hosts = of_this_machine(settings.stoq_host, settings.stoq_stack)
        if before is not None and self._holds(before.locator, settings.name, hosts, port):
            signed = before
        else:
            signed = self.sign(settings, port)
        if not self._membership.is_founder:
            theirs = self._peers.call(self.sequencer, "locator.publish", signed, SignedLocator)
            self.admit(theirs)
        elif before is not None and signed is not before:
            self._announce(signed)
        self._told = signed

    def sign(self, settings: Settings, port: int) -> SignedLocator:
        """A new record of this node at `port`, kept here and not told to anybody yet."""
        keys, now_ms = self._membership.keys, self._chain.now_ms()
        hosts = of_this_machine(settings.stoq_host, settings.stoq_stack)
        return self.locators.sign_own(keys, settings.name, hosts, port, now_ms)

    def told(self, signed: SignedLocator) -> None:
        """The sequencer has this record of this node."""
        self._told = signed

    def is_stale(self, settings: Settings, port: int) -> bool:
        """Whether what the others were told is no longer so, or has lived half its life."""
        if self._told is None:
            return True
        hosts = of_this_machine(settings.stoq_host, settings.stoq_stack)
        return not self._holds(self._told.locator, settings.name, hosts, port)

    def _holds(self, told: Locator, name: str, hosts: list[str], port: int) -> bool:
        fresh = told.expires_ms - self._chain.now_ms() > LIFETIME_MS // 2
        return fresh and (told.name, told.hosts, told.port) == (name, hosts, port)

    def _announce(self, signed: SignedLocator) -> None:
        for node in self.locators.nodes():
            if node != self._membership.keys.id:
                try:
                    self._peers.call(node, "locator.publish", signed, SignedLocator)
                except HyperMeshError as error:
                    log.warning("%s does not know yet where this node is: %s", node.hex(), error)

    def _ask(self, node: NodeId) -> None:
        request = ResolveRequest(node)
        self.admit(self._peers.call(self.sequencer, "locator.resolve", request, SignedLocator))
