"""Parcels between real nodes that are never up together, and processes that are killed at named
instants of a handover."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.node.background import await_ready, command, prepare
from hypermesh.wire.api.parcel import Box, ParcelView
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.parcel import ParcelKind

from .network import START_S, Network, Node, eventually, hm, output

USUAL = ("relay, after it has taken it", "receiver, after it has it")
"""Tried in every run; the others with the long suites."""
INSTANTS = {
    # Who is killed, in which method of which object, before or after it.
    "sender, before it has the message": ("bob", "KeptParcels.send", "before"),
    "sender, after it has the message": ("bob", "KeptParcels.send", "after"),
    "sender, before it hands over": ("bob", "Passing._offered", "before"),
    "sender, after it handed over": ("bob", "KeptParcels.passed", "before"),
    "relay, before it has taken it": ("alice", "KeptParcels.take", "before"),
    "relay, after it has taken it": ("alice", "KeptParcels.take", "after"),
    "relay, before it passes it on": ("alice", "Passing._offered", "before"),
    "relay, after it passed it on": ("alice", "KeptParcels.passed", "before"),
    "relay, after it forgot it": ("alice", "KeptParcels.passed", "after"),
    "receiver, before it has it": ("carol", "KeptParcels.receive", "before"),
    "receiver, after it has it": ("carol", "KeptParcels.receive", "after"),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice sequences and carries for all; bob and carol are never up together once they have
    joined."""
    made = Network(tmp_path_factory.mktemp("parcels"))
    made.add("alice", carry="network").start()
    for name in ("bob", "carol"):
        made.add(name).start(made.invite())
    told = lambda: len(made.bob.ask(lambda m: list(m.network.nodes()))) == 3  # noqa: E731
    eventually(told, "bob knows of carol")
    eventually(lambda: knows_key(made), "the relay knows how to seal for carol")
    try:
        yield made
    finally:
        made.end()


def knows_key(network: Network) -> bool:
    try:
        sent = network.bob.ask(lambda m: m.parcels.send(network.carol.id.hex(), b"first"))
    except HyperMeshError:
        return False
    eventually(lambda: state(network.bob, sent.parcel) == "delivered", "the first is delivered")
    return True


def state(node: Node, parcel: str) -> str:
    return node.ask(lambda m: m.parcels.get(parcel)).parcel.state.value


def only(network: Network, *names: str) -> None:
    """These nodes are up and no others; alice is always."""
    for name, node in network.nodes.items():
        if name not in ("alice", *names):
            node.end()
    for name in ("alice", *names):
        if not network[name].running:
            network[name].start()


def received(node: Node) -> list[bytes | None]:
    def bodies(mesh: object) -> list[bytes | None]:
        parcels = mesh.parcels  # type: ignore[attr-defined]
        return [parcels.get(each.parcel).body for each in parcels.list(Box.RECEIVED)]

    return node.ask(bodies)


def await_report(network: Network) -> None:
    """Until the relay has carol's report, so that she may go."""

    def is_there() -> bool:
        carried = network.alice.ask(lambda m: list(m.parcels.list(Box.CARRIED)))
        return any(each.kind is ParcelKind.REPORT for each in carried)

    eventually(is_there, "the relay has the report")


def sent_by(node: Node, body: bytes, to: Node) -> ParcelView:
    return node.ask(lambda m: m.parcels.send(to.id.hex(), body, 9))


def test_a_message_between_nodes_that_are_never_up_together(network: Network) -> None:
    only(network, "bob")
    done = hm("parcel", "send", "carol", "at", data=network.bob.data)
    assert done.returncode == 0, done.stderr
    parcel = done.stdout.decode().strip()
    eventually(lambda: state(network.bob, parcel) == "forwarded", "the relay has it")
    only(network)
    shown = output(hm("parcel", "ls", "--carried", "--output", "json", data=network.alice.data))
    assert [each["parcel"] for each in shown["items"]] == [parcel]
    only(network, "carol")
    eventually(lambda: b"at" in received(network.carol), "it is delivered")
    await_report(network)
    body = hm("parcel", "show", parcel[:12], "--body", data=network.carol.data)
    assert body.stdout == b"at", body.stderr
    only(network)
    only(network, "bob")
    eventually(lambda: state(network.bob, parcel) == "delivered", "its sender hears of it")
    assert network.alice.ask(lambda m: list(m.parcels.list(Box.CARRIED))) == []


def test_the_commands_say_what_is_wrong(network: Network) -> None:
    only(network, "bob")
    data = network.bob.data
    for words, code in (
        (("send", "nobody", "x"), 5),
        (("send", "carol"), 2),
        (("send", "bob", "x"), 2),
        (("show", "00" * 32), 5),
        (("rm", "ffff"), 5),
    ):
        assert hm("parcel", *words, data=data).returncode == code, words
    file = Path(data) / "big"
    file.write_bytes(bytes(5 << 20))
    done = hm("parcel", "send", "carol", "--file", str(file), data=data)
    assert done.returncode == 2
    assert b"does not fit" in done.stderr


def begin_doomed(node: Node, place: str, when: str) -> None:
    """Start `node` as a process that kills itself at an instant, once."""
    prepare(node.data)
    words = command(node.configuration, None)
    script = [sys.executable, "-P", str(Path(__file__).with_name("doomed.py")), place, when]
    with node.configuration.log.open("ab") as log:
        node.process = subprocess.Popen(
            [*script, *words[words.index("up") :]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.mark.parametrize(
    "instant",
    [pytest.param(each, marks=() if each in USUAL else pytest.mark.long) for each in INSTANTS],
)
@pytest.mark.timeout(300)
def test_a_kill_loses_nothing_and_delivers_once(network: Network, instant: str) -> None:
    victim, place, when = INSTANTS[instant]
    body = instant.encode()
    only(network, "bob")
    if victim != "carol":
        network[victim].end()
        begin_doomed(network[victim], place, when)
        await_ready(network[victim].configuration, network[victim].process, timeout_s=START_S)  # type: ignore[arg-type]
    before = ids(network.bob)
    parcel = None
    try:
        parcel = sent_by(network.bob, body, network.carol).parcel
    except HyperMeshError:
        assert victim == "bob", "the sender answers"
    # A relay begins to pass on what it takes, so only one that dies later waits for carol.
    needs_carol = (victim, place) == ("alice", "KeptParcels.passed")
    if victim == "bob" or (victim == "alice" and not needs_carol):
        await_death(network, victim)
        only(network, "bob")
    if (place, when) == ("KeptParcels.send", "before"):
        assert ids(network.bob) == before, "what was never accepted is not half there"
        parcel = sent_by(network.bob, body, network.carol).parcel
    # The answer may be lost with the process; the message is there all the same, and once.
    (kept,) = ids(network.bob) - before
    assert parcel in (None, kept)
    parcel = kept
    wanted = ("forwarded", "delivered")
    eventually(lambda: state(network.bob, parcel) in wanted, "the relay has it", START_S)
    network.bob.end()
    if victim == "carol":
        begin_doomed(network.carol, place, when)
        await_death(network, "carol")
    elif needs_carol:
        network.carol.begin()
        await_death(network, "alice")
        network.carol.end()
    only(network, "carol")
    eventually(lambda: body in received(network.carol), "it is delivered", START_S)
    await_report(network)
    only(network)
    only(network, "bob")
    eventually(lambda: state(network.bob, parcel) == "delivered", "its sender hears", START_S)
    only(network, "carol")
    assert received(network.carol).count(body) == 1


def ids(node: Node) -> set[str]:
    return {each.parcel for each in node.ask(lambda m: list(m.parcels.list(Box.SENT)))}


def await_death(network: Network, name: str) -> None:
    process = network[name].process
    assert process is not None
    eventually(lambda: process.poll() is not None, f"{name} dies", START_S)
    assert process.returncode == -9, network[name].log[-2000:]
