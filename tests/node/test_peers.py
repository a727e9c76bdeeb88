"""One kept connection for a node, whoever asks for it first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.stoq.network import DEADLINE_S, Network, eventually

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.peers import Peers
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.wire.asset import Locator


def test_calls_that_dial_at_once_share_a_link_and_end_with_it() -> None:
    network, keys = Network.found(), [QuantumKeys.generate() for _ in range(2)]
    bind = (Endpoint.bind(policy=network.policy, identity=network.identity(each)) for each in keys)
    with next(bind) as silent, next(bind) as own:
        host, port = silent.address
        locator = Locator(keys[0].id, [host], port, 0, 2**50)
        # Both have dialled before either keeps what it dialled.
        dialled = threading.Barrier(2)
        peers = Peers(
            own, lambda _: locator, lambda _: locator, lambda _: dialled.wait(DEADLINE_S) and None
        )
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(peers.call, keys[0].id, "wait", {}, dict) for _ in range(2)]
            eventually(lambda: own.stats().connections == 1 or None, "one connection is left")
            eventually(lambda: peers.link(keys[0].id), "it is kept")
            asked = [eventually(lambda: silent.next_request(20), "a request") for _ in calls]
            peers.close()
            failures = [call.exception(DEADLINE_S) for call in calls]
            assert [type(each) for each in failures] == [EndpointClosed] * 2
            assert len(asked) == 2
