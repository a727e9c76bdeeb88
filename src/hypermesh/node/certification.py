"""Keeping this node certified: its keys and certificate on the ledger, and the next one in time."""

from __future__ import annotations

import time

from hypermesh.ledger import identity
from hypermesh.node.admitting import Admitting
from hypermesh.node.chain import Chain
from hypermesh.node.joining import renew
from hypermesh.node.membership import Membership
from hypermesh.node.wallet import Wallet
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity
from hypermesh.wire.tx import IdentityEnrol, IdentityOwn

RENEW_BEFORE_S = 8 * 60 * 60
"""A certificate lives 24 h; two thirds into it the node asks for the next."""


class Certification:
    """The certificate of this node."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        endpoint: Endpoint,
        admitting: Admitting,
        whereabouts: Whereabouts,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._endpoint = endpoint
        self._admitting = admitting
        self._whereabouts = whereabouts

    @property
    def ends_in_s(self) -> int:
        """Seconds until the certificate ends; negative when it has."""
        return self._membership.not_after_s - int(time.time())

    def renew_if_due(self) -> bool:
        """Ask for the next certificate when it is time; True where there is a new one."""
        now_s = int(time.time())
        if self._membership.not_after_s - now_s > RENEW_BEFORE_S:
            return False
        chain = self._admitting.renewed_own(now_s)
        if chain is not None:
            self._membership.renewed(chain, now_s)
        else:
            whereabouts = self._whereabouts
            renew(self._membership, [whereabouts.locate(whereabouts.sequencer)], now_s)
        self._endpoint.set_identity(Identity(self._membership.chain, self._membership.keys))
        return True

    def introduce(self) -> None:
        """The owner's keys and the node's certificate on the ledger, where they are not."""
        membership = self._membership
        with self._chain.ledger.state() as state:
            owner_known = identity.owner(state, membership.owner) is not None
            row = identity.node(state, membership.keys.id)
        owner_keys = None if owner_known else membership.owner_keys
        if owner_keys is not None:
            owner = Wallet(owner_keys, membership.genesis_id, self._chain)
            owner.submit(IdentityOwn(owner_keys.public))
        if row is None or row.certificate_sha256 != membership.certificate_sha256:
            self._wallet.submit(IdentityEnrol(membership.chain[0]))

    def is_known(self) -> bool:
        """Whether this node is on its copy of the ledger."""
        with self._chain.ledger.state() as state:
            return identity.node(state, self._membership.keys.id) is not None
