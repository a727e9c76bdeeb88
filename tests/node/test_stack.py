"""A node that was asked to speak IPv4 beside IPv6."""

from __future__ import annotations

from pathlib import Path

from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.trust import Identity
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import Network


def test_it_serves_ipv4_and_shows_it_so(tmp_path: Path) -> None:
    network = Network(tmp_path)
    node = network.add("alice", stoq_host="::", stack="dual")
    try:
        node.start()
        membership = node.membership
        port = node.configuration.settings.stoq_port
        with (
            Endpoint.bind(
                "::",
                policy=membership.policy(frozenset()),
                identity=Identity(membership.chain, membership.keys),
                stack=Stack.DUAL,
            ) as endpoint,
            endpoint.connect("127.0.0.1", port, peer=node.id) as connection,
        ):
            assert connection.request(SERVICE_ECHO, b"x") == b"x"
            shown = node.ask(lambda m: list(m.stoq.connections()))
            there = f"[::ffff:127.0.0.1]:{endpoint.address[1]}"
            assert [each.remote for each in shown if not each.opened] == [there]
    finally:
        network.end()
