"""Endpoints of real nodes that move to another port while others talk to them."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from hypermesh.sdk.mesh import Mesh
from hypermesh.stoq.errors import BindRefused
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.tx import BankTransfer

from .network import Network, Node, eventually, hm, output


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice, who orders the ledger, bob and carol."""
    network = Network(tmp_path_factory.mktemp("m"))
    try:
        network.found("bob", "carol")
        yield network
    finally:
        network.end()


def port(node: Node) -> int:
    return node.ask(lambda m: m.stoq.status()).port


def looks(node: Node, other: Node) -> bool:
    """Whether `node` gets an answer of `other` now: it is asked about an asset of its own."""
    asset = other.asset(AssetKind.MEMORY).asset
    return node.ask(lambda m: m.assets.get(asset)).host == other.id.hex()


def dialled(node: Node, other: Node) -> set[str]:
    """Where the connections lead that `node` has opened to `other`."""
    return {
        each.remote
        for each in node.ask(lambda m: list(m.stoq.connections()))
        if each.opened and each.node == other.id.hex()
    }
