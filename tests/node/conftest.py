"""Networks of real node processes on IPv6 loopback.

`network` is shared by all tests that leave it as they found it. `shaken` belongs to one module,
for tests that stop and kill; each begins with all of its nodes up.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .network import Network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice, bob and carol: three owners, everything FullPublic."""
    network = Network(tmp_path_factory.mktemp("n"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice and bob, of one module alone."""
    network = Network(tmp_path_factory.mktemp("p"))
    try:
        network.found("bob")
        yield network
    finally:
        network.end()


@pytest.fixture(scope="module")
def shaken_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("s"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


@pytest.fixture
def shaken(shaken_nodes: Network) -> Network:
    """A network of its own for this module, with all nodes up."""
    shaken_nodes.revive()
    return shaken_nodes
