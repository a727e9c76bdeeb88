"""Endpoints of real nodes that move to another port while others talk to them. The tests follow
one another."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from hypermesh.stoq.errors import BindRefused
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.tx import BankTransfer

from .network import Network, Node, eventually, hm, output

WITHIN_S = 90.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice, who orders the ledger, bob and carol. What their assets hold is asked of the host each
    time, for the chain does not have it."""
    network = Network(tmp_path_factory.mktemp("m"))
    try:
        network.found("bob", "carol", level="public_network")
        yield network
    finally:
        network.end()


def port(node: Node) -> int:
    return node.ask(lambda m: m.stoq.status()).port


def asks(node: Node, other: Node) -> None:
    """`node` gets an answer of `other` itself."""
    asset = other.asset(AssetKind.MEMORY).asset
    assert node.ask(lambda m: m.assets.get(asset)).capacity


def dialled(node: Node, other: Node) -> set[str]:
    """Where the connections lead that `node` has opened to `other`."""
    return {
        each.remote
        for each in node.ask(lambda m: list(m.stoq.connections()))
        if each.opened and each.node == other.id.hex()
    }


def leads_to(node: Node, other: Node, at: int) -> None:
    """What `node` has opened to `other` leads to its port `at`, once what ended is put away."""
    wanted = {f"[::1]:{at}"}
    eventually(lambda: dialled(node, other) == wanted, f"{node.name} is at port {at}", WITHIN_S)


class Asking:
    """One node that asks another without a pause; what failed of it."""

    def __init__(self, node: Node, other: Node) -> None:
        self.answers = 0
        self.failures: list[HyperMeshError] = []
        self._node, self._asset = node, other.asset(AssetKind.MEMORY).asset
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with self._node.mesh() as mesh:
            while not self._stop.is_set():
                try:
                    mesh.assets.get(self._asset)
                except HyperMeshError as error:
                    self.failures.append(error)
                    return
                self.answers += 1

    def has_more(self) -> None:
        """Wait for answers to questions that were asked after this call."""
        wanted = self.answers + 3
        eventually(lambda: self.answers >= wanted or self.failures, "answers go on")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_node_moves_and_nobody_loses_it(mesh: Network) -> None:
    bob, carol = mesh.bob, mesh.carol
    asks(carol, bob)
    before = port(bob)
    leads_to(carol, bob, before)
    asking = Asking(carol, bob)
    try:
        asking.has_more()
        done = bob.ask(lambda m: m.stoq.move())
        asking.has_more()
    finally:
        asking.stop()
    assert asking.failures == []
    assert (done.before, done.port) == (before, port(bob))
    assert done.port != before
    assert done.told == 2
    leads_to(carol, bob, done.port)
    assert bob.ask(lambda m: m.network.status()).stoq == f"[::1]:{done.port}"
    assert bob.configuration.settings.stoq_port == done.port


def test_what_is_published_follows(mesh: Network) -> None:
    to = output(hm("net", "move", "--output", "json", data=mesh.bob.data))["port"]
    zone = mesh.alice.ask(lambda m: m.dns.status()).zone
    owner = f"_stoq._udp.{mesh.bob.id[:8].hex()}.{zone}"
    for node in mesh.nodes.values():

        def said(node: Node = node) -> bool:
            found = node.ask(lambda m: m.dns.resolve(owner, "SRV"))
            return [each.split()[2] for each in found.data] == [str(to)]

        eventually(said, f"{node.name} knows the port")


def test_those_who_are_told_need_ask_nobody(mesh: Network) -> None:
    """The node that knows all places is frozen meanwhile."""
    alice, bob, carol = mesh.alice, mesh.bob, mesh.carol
    asks(carol, bob)
    alice.signal(signal.SIGSTOP)
    try:
        done = bob.ask(lambda m: m.stoq.move())
        assert done.told == 1
        asks(carol, bob)
        leads_to(carol, bob, done.port)
    finally:
        alice.signal(signal.SIGCONT)
    # And she hears of it when she can.
    eventually(lambda: _reached(alice, bob, done.port), "alice finds bob", WITHIN_S)


def _reached(node: Node, other: Node, at: int) -> bool:
    try:
        asks(node, other)
    except HyperMeshError:
        return False
    return f"[::1]:{at}" in dialled(node, other)


def test_the_node_that_orders_the_ledger_moves(mesh: Network) -> None:
    alice, bob = mesh.alice, mesh.bob
    done = alice.ask(lambda m: m.stoq.move())
    assert done.told == 2
    assert bob.submit(BankTransfer(alice.membership.owner, 1, "")).code == "ok"
    mesh.await_agreed()
    for name in ("bob", "carol"):
        leads_to(mesh[name], alice, done.port)


def test_where_a_port_is_taken_the_node_stays(mesh: Network) -> None:
    bob, carol = mesh.bob, mesh.carol
    before = port(bob)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as held:
        held.bind(("::1", 0))
        with bob.mesh() as here, pytest.raises(BindRefused):
            here.stoq.move(held.getsockname()[1])
    with bob.mesh() as here, pytest.raises(InvalidInput):
        here.stoq.move(before)
    assert port(bob) == before == bob.configuration.settings.stoq_port
    asks(carol, bob)


def test_the_port_is_kept(mesh: Network) -> None:
    bob = mesh.bob
    before = port(bob)
    bob.kill()
    bob.start()
    assert port(bob) == before
    eventually(lambda: _reached(mesh.carol, bob, before), "carol finds bob", WITHIN_S)
