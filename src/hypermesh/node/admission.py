"""Whom this node's endpoint admits: those whom the ledger lets in, as far as this copy of it knows,
of this network and of its partners.

The ledger revokes nodes and replaces issuing CAs. A CA that was replaced is believed until its
grace is over. Then whoever still has a certificate of it is cut off, once, and not as revoked nodes
are: with another certificate it comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import TrustPolicy
from hypermesh.trustchain.federation import Partnership
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE

CONNECTIONS_AT_ONCE = 100


class Admission:
    """Keeps the policy of one endpoint. `now_ms` is the time, milliseconds since 1970."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        endpoint: Endpoint,
        now_ms: Callable[[], int],
        partnerships: Callable[[State], list[Partnership]],
        changing: Callable[[], None],
    ) -> None:
        """`partnerships` are with the networks that are let in by a state of the ledger; `changing`
        is called before the endpoint gets another policy."""
        self._membership = membership
        self._chain = chain
        self._endpoint = endpoint
        self._now_ms = now_ms
        self._partnerships = partnerships
        self._changing = changing
        self.obeyed = membership.policy(frozenset())
        """What the endpoint obeys now."""
        self._until_ms: int | None = None
        self._lock = threading.Lock()

    def obey(self) -> None:
        """Admit whom the ledger admits from now on."""
        with self._lock:
            self._set(self._now_ms())

    def obey_in_time(self) -> None:
        """As `obey`, where a grace has ended since; those who did not use it are cut off."""
        with self._lock:
            now_ms = self._now_ms()
            if self._until_ms is None or now_ms <= self._until_ms:
                return
            self._set(now_ms)
            with self._chain.ledger.state() as state:
                late = frozenset(self._late(state, now_ms))
                revoked = identity.revoked(state)
                issuers = identity.issuers(state, now_ms)
                partners = self._partnerships(state)
            if late:
                # Connections end with the rights of their peers, and these get theirs back.
                certificates = issuers.certificates
                self._give(self._membership.policy(revoked | late, certificates, partners))
                self._set(now_ms)

    def _set(self, now_ms: int) -> None:
        with self._chain.ledger.state() as state:
            revoked = identity.revoked(state)
            issuers = identity.issuers(state, now_ms)
            is_known = identity.is_issuer(state, self._membership.chain[1])
            partners = self._partnerships(state)
        certificates = issuers.certificates
        if not is_known:
            # This copy of the ledger is older than our certificate, which the network gave us.
            certificates = (*certificates, self._membership.chain[1])
        self._give(self._membership.policy(revoked, certificates, partners))
        self._until_ms = issuers.until_ms

    def _give(self, policy: TrustPolicy) -> None:
        self._changing()
        self._endpoint.set_policy(policy)
        self.obeyed = policy

    def _late(self, state: State, now_ms: int) -> Iterator[NodeId]:
        """Peers of live connections whose certificate on the ledger is believed no more, or who
        are not on it."""
        after = 0
        while connections := self._endpoint.connections(after=after, limit=CONNECTIONS_AT_ONCE):
            for each in connections:
                after = each.key
                peer = each.peer if each.alpn == ALPN_NODE else None
                if peer is not None and not identity.is_issuer_believed(state, peer, now_ms):
                    yield peer
