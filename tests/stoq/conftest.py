"""Two endpoints on loopback. Keys take most of the time, so they are made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint

from .network import Network


@pytest.fixture(scope="session")
def network() -> Network:
    return Network.found()


@pytest.fixture(scope="session")
def alice_keys() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="session")
def bob_keys() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture
def alice(network: Network, alice_keys: QuantumKeys) -> Iterator[Endpoint]:
    """The one who is dialled."""
    with Endpoint.bind(policy=network.policy, identity=network.identity(alice_keys)) as endpoint:
        yield endpoint


@pytest.fixture
def bob(network: Network, bob_keys: QuantumKeys) -> Iterator[Endpoint]:
    """The one who dials."""
    with Endpoint.bind(policy=network.policy, identity=network.identity(bob_keys)) as endpoint:
        yield endpoint


@pytest.fixture
def connection(alice: Endpoint, bob: Endpoint, alice_keys: QuantumKeys) -> Iterator[Connection]:
    """From bob to alice."""
    with bob.connect(*alice.address, peer=alice_keys.id) as connection:
        yield connection
