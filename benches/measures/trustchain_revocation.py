"""How long a revoked node may still act: from the request of its revocation until it is cut off.

Three nodes on one machine, so with one clock. A peer with a node's keys holds a connection to the
sequencer and one to a follower, which first has to fetch and execute the block; the founder revokes
that node over its API. Each sample is a node of its own, for a revocation is for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from result import Metric, metric, percentile

from hypermesh.node.membership import Membership
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import PeerRevoked
from hypermesh.stoq.trust import Identity
from hypermesh.wire.rpc import ALPN_NODE
from measures.network import Network, Running, network

NODES = 12
WITHIN_S = 10.0
POLL_S = 0.0005
GOAL_MS = 1000.0


def measure(nodes: int = NODES) -> list[Metric]:
    cut: dict[str, list[float]] = {"sequencer": [], "follower": []}
    with network() as mesh:
        alice = mesh.found("alice")
        bob = mesh.join("bob", alice)
        for number in range(nodes):
            for role, lag_ms in _one(mesh, f"node{number}", alice, bob).items():
                cut[role].append(lag_ms)
    return [
        metric(
            f"trustchain.revocation.{role}",
            lags,
            "ms",
            value=percentile(lags, 0.99),
            goal=GOAL_MS,
        )
        for role, lags in cut.items()
    ] + [metric(f"trustchain.revocation.{role}.p50", lags, "ms") for role, lags in cut.items()]


def _one(mesh: Network, name: str, alice: Running, bob: Running) -> dict[str, float]:
    """Milliseconds until the connections of one node ended, by the role of who ended them."""
    joined = mesh.join(name, alice)
    membership = Membership.open(joined.data)
    if membership is None:
        raise SystemExit(f"{name} has no membership")
    identifier = membership.keys.id.hex()
    _await(lambda: _known(bob, identifier), f"bob hears of {name}")
    mesh.stop(joined)
    policy = membership.policy(frozenset())
    identity = Identity(membership.chain, membership.keys)
    with Endpoint.bind("::1", policy=policy, identity=identity) as endpoint:
        held = {
            role: endpoint.connect("::1", _port(node), peer=_id(node), alpn=ALPN_NODE)
            for role, node in (("sequencer", alice), ("follower", bob))
        }
        started = time.perf_counter()
        alice.mesh.certificates.revoke(identifier, "measured")
        return _ends(held, started)


def _ends(held: dict[str, Connection], started: float) -> dict[str, float]:
    lags: dict[str, float] = {}
    while len(lags) < len(held):
        if time.perf_counter() - started > WITHIN_S:
            raise SystemExit(f"cut off by {sorted(lags)} alone within {WITHIN_S:g} s")
        for role, connection in held.items():
            if role not in lags and (ended := connection.ended) is not None:
                if not isinstance(ended, PeerRevoked):
                    raise SystemExit(f"{role} ended the connection with {ended!r}")
                lags[role] = (time.perf_counter() - started) * 1000
        time.sleep(POLL_S)
    return lags


def _known(node: Running, identifier: str) -> bool:
    return any(each.node == identifier for each in node.mesh.network.nodes())


def _id(node: Running) -> bytes:
    return bytes.fromhex(node.mesh.network.status().node)


def _port(node: Running) -> int:
    return int(node.mesh.stoq.status().port)


def _await(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(POLL_S)
