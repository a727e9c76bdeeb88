"""Keeping this node certified: its keys and certificate on the ledger, and the next one in time."""

from __future__ import annotations

import threading
import time

from hypermesh.ledger import identity
from hypermesh.node.admission import Admission
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
        admission: Admission,
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._endpoint = endpoint
        self._admitting = admitting
        self._whereabouts = whereabouts
        self._admission = admission
        self._is_asked = False
        self._lock = threading.Lock()

    @property
    def ends_in_s(self) -> int:
        """Seconds until the certificate ends; negative when it has."""
        return self._membership.not_after_s - int(time.time())

    def ask(self) -> None:
        """A node that should believe ours, or we its, does not: there may be another issuing CA
        that this copy of the ledger knows nothing of. `renew_if_due` asks for its certificate."""
        self._is_asked = True

    def renew_if_due(self) -> bool:
        """Ask for the next certificate when it is time, or when the issuing CA of the present one
        was replaced; True where there is a new one."""
        with self._lock:
            return self._renew_if_due()

    def _renew_if_due(self) -> bool:
        now_s = int(time.time())
        is_asked, self._is_asked = self._is_asked, False
        is_old = self._membership.not_after_s - now_s <= RENEW_BEFORE_S
        if not (is_old or is_asked or self._is_issuer_replaced()):
            return False
        before = self._membership.chain[0]
        if not self._admitting.renew_own(now_s):
            whereabouts = self._whereabouts
            renew(self._membership, [whereabouts.locate(whereabouts.sequencer)], now_s)
        if self._membership.chain[0] == before:
            return False
        self._endpoint.set_identity(Identity(self._membership.chain, self._membership.keys))
        self._admission.obey()
        return True

    def _is_issuer_replaced(self) -> bool:
        own = self._membership.chain[1]
        with self._chain.ledger.state() as state:
            return identity.is_issuer(state, own) and identity.issuer(state) != own

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
