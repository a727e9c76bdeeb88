"""A connection of this host with itself at the address in the first argument; says its tier."""

from __future__ import annotations

import sys

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import Network


def main(host: str) -> None:
    network = Network.found()
    keys = QuantumKeys.generate()
    with (
        Endpoint.bind(host, policy=network.policy, identity=network.identity(keys)) as server,
        Endpoint.bind(policy=network.policy, identity=network.identity(keys)) as client,
        client.connect(*server.address) as connection,
    ):
        assert connection.request(SERVICE_ECHO, b"x" * 100_000) == b"x" * 100_000
        print(connection.why().tier, *(live.path.tier for live in server.connections()))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
