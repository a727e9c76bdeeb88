"""Two endpoints on loopback. Keys take most of the time, so they are made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def process(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> Iterator[subprocess.Popen[str]]:
    """Alice in a process of her own, which says its port first."""
    chain = network.identity(alice_keys).chain
    lines = [alice_keys.secret_bytes(), *chain, network.genesis, bob_keys.id]
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("peer_process.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write("".join(line.hex() + "\n" for line in lines))
        process.stdin.flush()
        yield process
        process.kill()
