"""Bob sends; alice takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stoq.network import Network

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.transfer.store import Store

from .ends import Giving, Taking


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "inbox")
    yield store
    store.close()


@pytest.fixture
def taking(
    alice: Endpoint, network: Network, alice_keys: QuantumKeys, store: Store
) -> Iterator[Taking]:
    with Taking(alice, network.genesis, alice_keys, store).running() as taking:
        yield taking


@pytest.fixture
def giving(
    taking: Taking, bob: Endpoint, network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> Iterator[Giving]:
    with bob.connect(*taking.endpoint.address, peer=alice_keys.id) as connection:
        yield Giving(connection, network.genesis, bob_keys)
