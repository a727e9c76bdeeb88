"""Recording the handshakes of this node, and replaying them without somebody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hypermesh.ledger import federation, identity
from hypermesh.node.chain import Chain
from hypermesh.node.handshakes import Handshakes
from hypermesh.node.membership import Membership
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import TrustPolicy
from hypermesh.trustchain.verify import fingerprint
from hypermesh.trustchain.whatif import Believed, Handshake, Kind, Target, failures
from hypermesh.wire.api.trust import HandshakeFailure, WhatIfView
from hypermesh.wire.errors import NotFound
from hypermesh.wire.ids import Hash, NodeId, parse_hex

WAITING_MAX = 1024
"""Admissions that the transport holds until they are recorded, about once a second."""
FAILURES_SHOWN_MAX = 1000

ROOT, ISSUING = "root", "issuing"
"""The words for the network's own authorities."""


class RevocationUnknown(NotFound):
    """What is to be revoked is neither a node, nor an authority, nor a partner."""

    code = "HM-TRUST-0305"
    exit_code = 5
    title = "There is nothing of this id that could be revoked"
    remedy = "Give a node, `root`, `issuing`, the SHA-256 of a CA's certificate, or a partner"


class Replaying:
    """For any thread."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        endpoint: Endpoint,
        handshakes: Handshakes,
        policy: Callable[[], TrustPolicy],
        names: Callable[[NodeId], str],
    ) -> None:
        """`policy` is what the endpoint obeys now."""
        self._membership = membership
        self._chain = chain
        self._endpoint = endpoint
        self._handshakes = handshakes
        self._policy = policy
        self._names = names
        self._lock = threading.Lock()
        endpoint.keep_admissions(WAITING_MAX)

    def record(self) -> None:
        """Write down who was admitted since the last time. Called before the policy changes, so
        that each is recorded under the one it came in by, or the one before that."""
        with self._lock:
            admissions, missed = self._endpoint.admissions()
            if admissions or missed:
                self._handshakes.keep(
                    admissions,
                    missed,
                    self._membership.chain[0],
                    _believed(self._policy()),
                    time.time_ns() // 1_000_000,
                )

    def whatif(self, revoke: str) -> WhatIfView:
        """Every recorded connection that would have failed, had `revoke` been revoked."""
        self.record()
        recorded = self._handshakes.all()
        target = self._target(revoke, recorded)
        failed = list(failures(recorded, target))
        return WhatIfView(
            target=target.id.hex(),
            kind=target.kind.value,
            records=len(recorded),
            missed=self._handshakes.missed,
            since_ms=recorded[0].at_ms if recorded else None,
            failed=len(failed),
            failures=[
                HandshakeFailure(
                    at_ms=each.handshake.at_ms,
                    peer=each.handshake.peer.hex(),
                    name=self._names(each.handshake.peer),
                    network=None
                    if each.handshake.network is None
                    else each.handshake.network.hex(),
                    service=each.handshake.service,
                    opened=each.handshake.opened,
                    remote=each.handshake.remote,
                    reason=each.reason,
                )
                for each in failed[-FAILURES_SHOWN_MAX:]
            ],
        )

    def close(self) -> None:
        self._handshakes.close()

    def _target(self, revoke: str, recorded: list[Handshake]) -> Target:
        with self._chain.ledger.state() as state:
            issuing = identity.issuer(state)
        words = {ROOT: self._membership.genesis.root_certificate, ISSUING: issuing}
        if revoke in words:
            return Target(Kind.AUTHORITY, fingerprint(words[revoke]))
        wanted = parse_hex(revoke, 32, "id")
        with self._chain.ledger.state() as state:
            if identity.node(state, wanted) is not None:
                return Target(Kind.NODE, wanted)
            if federation.partner(state, wanted) is not None:
                return Target(Kind.PARTNER, wanted)
        if any(each.peer == wanted for each in recorded):
            return Target(Kind.NODE, wanted)
        policies = {id(each.believed): each.believed for each in recorded}
        policies[0] = _believed(self._policy())
        if any(wanted in _authorities(each) for each in policies.values()):
            return Target(Kind.AUTHORITY, wanted)
        if any(wanted == partner[0] for each in policies.values() for partner in each.partners):
            return Target(Kind.PARTNER, wanted)
        raise RevocationUnknown(f"Nothing here has the id {revoke[:16]}")


def _authorities(believed: Believed) -> set[Hash]:
    own = [believed.root, *believed.issuers]
    of_partners = [der for each in believed.partners for der in each[1:4]]
    return {fingerprint(der) for der in [*own, *of_partners]}


def _believed(policy: TrustPolicy) -> Believed:
    (root,) = policy.roots
    return Believed(
        policy.network,
        root,
        policy.issuers,
        tuple(sorted(policy.revoked)),
        tuple((*rest, tuple(revoked)) for *rest, revoked in policy.partners),  # type: ignore[misc]
    )
