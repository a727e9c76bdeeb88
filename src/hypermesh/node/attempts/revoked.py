"""Going on after revocation: with the ledger, and with the peers."""

from __future__ import annotations

import secrets
import threading
import time

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.admitting import Admitting
from hypermesh.node.attempts.attempt import Outcome
from hypermesh.node.attempts.ground import Ground
from hypermesh.node.wallet import Wallet
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, NotAvailable
from hypermesh.wire.rpc import ALPN_NODE
from hypermesh.wire.tx import BankTransfer, Certificate, IdentityEnrol, IdentityRevoke

REASON = "made and revoked to try what a revoked node can do"
DIAL_MS = 5_000


class RevokedNode:
    """A node of this owner, certified, enrolled and revoked for the purpose, that still pays and
    dials. One for the life of the process: the ledger keeps what was revoked."""

    name = "revoked-node"
    title = "Use a revoked node"
    what = "pay and connect with the keys and the valid certificate of a node that was revoked"
    rule = "the ledger's revoked set, at every transaction and handshake: ledger/identity.py"

    def __init__(self, ground: Ground, admitting: Admitting, endpoint: Endpoint) -> None:
        self._ground = ground
        self._admitting = admitting
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._revoked: tuple[QuantumKeys, list[Certificate]] | None = None

    def prepare(self) -> bytes:
        membership = self._ground.membership
        if not membership.is_founder or membership.owner_keys is None:
            raise NotAvailable(
                "Only the founder's node can make a node to revoke",
                why="it needs the certificate authority and the owner's keys",
                fix="Run it on the machine that founded the network",
            )
        return encode(BankTransfer(membership.owner, 1, "from a revoked node"))

    def run(self, content: bytes) -> Outcome:
        body = decode(BankTransfer, content)
        with self._lock:
            if self._revoked is None:
                self._revoked = self._make()
        keys, chain = self._revoked
        paid = self._ground.place(body, f"node {keys.id.hex()[:16]}, revoked, pays", keys)
        if not paid.refused:
            return paid
        dialled = self._dial(keys, chain)
        facts = f"node {keys.id.hex()[:16]}, revoked, pays and then connects to this node"
        if dialled is None:
            return Outcome.through(f"{facts}; it was let in")
        reason = f"{paid.reason}; what it then called answered: {dialled.what}"
        return Outcome(True, paid.code, reason, facts, paid.height)

    def _make(self) -> tuple[QuantumKeys, list[Certificate]]:
        membership, chain = self._ground.membership, self._ground.chain
        owner_keys = membership.owner_keys
        if owner_keys is None:
            raise NotAvailable("The owner's keys are on another machine")
        keys = QuantumKeys.generate()
        certificates = self._admitting.certified(
            keys.public, membership.owner, secrets.token_bytes(32), int(time.time())
        )
        Wallet(keys, membership.genesis_id, chain).submit(IdentityEnrol(certificates[0]))
        owner = Wallet(owner_keys, membership.genesis_id, chain)
        owner.submit(IdentityRevoke(keys.id, REASON))
        return keys, certificates

    def _dial(self, keys: QuantumKeys, chain: list[Certificate]) -> HyperMeshError | None:
        """Why this node does not let the revoked one in; None where it does."""
        membership = self._ground.membership
        policy = membership.policy(frozenset())
        with Endpoint.bind("::", policy=policy, identity=Identity(chain, keys)) as endpoint:
            try:
                connection = endpoint.connect(
                    "::1",
                    self._endpoint.address[1],
                    peer=membership.keys.id,
                    alpn=ALPN_NODE,
                    timeout_ms=DIAL_MS,
                )
                connection.close()
            except HyperMeshError as error:
                return error
        return None
