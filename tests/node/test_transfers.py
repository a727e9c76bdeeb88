"""Files between nodes: of one owner, of several, over restarts of either."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.stoq.delivery_document import document, read, verify_document
from hypermesh.stoq.transfer.errors import FileTooLarge, TransferRefused
from hypermesh.wire.api.transfer import FINAL, TransferCancelled, TransferState, TransferView
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotAvailable, NotFound

from .network import Network, Node, eventually, hm

SIZE = 40 << 20


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice and desktop are of one owner, bob of another."""
    network = Network(tmp_path_factory.mktemp("t"))
    try:
        network.found("bob")
        network.add("desktop").start(network.invite(mine=True))
        network.await_acquainted()
        yield network
    finally:
        network.end()


@pytest.fixture
def alice(machines: Network) -> Node:
    machines.revive()
    return machines.alice


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / f"{tmp_path.name}.bin"
    path.write_bytes(hashlib.shake_128(tmp_path.name.encode()).digest(SIZE))
    return path


def inbox(node: Node) -> Path:
    return node.data / "inbox"


def test_a_file_goes_to_an_own_machine_and_both_have_the_proof(
    machines: Network, alice: Node, file: Path
) -> None:
    seen: list[TransferView] = []
    desktop = machines["desktop"]
    with alice.mesh() as mesh:
        view = mesh.transfer.send(file, "desktop", seen.append)
        sent = mesh.transfer.get(view.transfer).proof()
    assert (inbox(desktop) / file.name).read_bytes() == file.read_bytes()
    assert (view.state, view.done, view.size) == (TransferState.DONE, SIZE, SIZE)
    assert seen[-1] == view
    with desktop.mesh() as mesh:
        [received] = [each for each in mesh.inbox.list() if each.transfer == view.transfer]
        kept = mesh.inbox.proof(view.transfer)
    assert received.path == str(inbox(desktop) / file.name)
    assert (received.root, received.size, received.is_countersigned) == (view.root, SIZE, True)
    assert kept == sent
    verdict = verify_document(sent, alice.membership.genesis_id, bytes.fromhex(view.root or ""))
    assert verdict.ok, verdict


def test_an_address_of_what_a_node_hosts_means_the_node(
    machines: Network, alice: Node, file: Path
) -> None:
    with alice.mesh() as mesh:
        view = mesh.transfer.send(file, machines["desktop"].asset_address)
        assert view.to == machines["desktop"].id.hex()
        with pytest.raises(InvalidInput, match="this node"):
            mesh.transfer.submit(file, "alice")
        with pytest.raises(NotFound):
            mesh.transfer.submit(file, "nobody")
        with pytest.raises(NotAvailable):
            mesh.transfer.submit(file, "hm://fd00000000000000." + "0" * 16 + "." + "0" * 32 + ":1")


def test_another_owner_needs_permission_and_has_a_limit(
    machines: Network, alice: Node, file: Path
) -> None:
    bob = machines.bob
    owner = alice.membership.owner.hex()
    with alice.mesh() as mesh, bob.mesh() as there:
        with pytest.raises(TransferRefused):
            mesh.transfer.send(file, "bob")
        there.inbox.allow(owner, SIZE - 1)
        with pytest.raises(FileTooLarge, match=str(SIZE - 1)):
            mesh.transfer.send(file, "bob")
        there.inbox.allow(owner, SIZE)
        assert [(each.owner, each.bytes_max) for each in there.inbox.senders()] == [(owner, SIZE)]
        mesh.transfer.send(file, "bob")
        # What is there counts.
        with pytest.raises(FileTooLarge):
            mesh.transfer.send(file, "bob")
        (inbox(bob) / file.name).unlink()
        mesh.transfer.send(file, "bob")
        there.inbox.deny(owner)
        with pytest.raises(TransferRefused):
            mesh.transfer.send(file, "bob")
    bob.kill()
    machines.revive()
    assert bob.ask(lambda m: list(m.inbox.senders())) == []


def test_a_token_cannot_send_a_file_of_this_machine(alice: Node, file: Path) -> None:
    created = hm("token", "create", "t", "--scope", "manage", "--output", "json", data=alice.data)
    if created.returncode:
        pytest.fail(created.stderr.decode())
    token = json.loads(created.stdout)["token"]
    import httpx

    page = hm("status", "--output", "json", data=alice.data)
    api = json.loads(page.stdout)["api"]
    answer = httpx.post(
        f"{api}/v1/transfers",
        json={"path": str(file), "to": "desktop"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == Forbidden.status


@pytest.mark.parametrize("who", ["receiver", "sender"])
def test_it_goes_on_when_either_node_was_killed(
    machines: Network, alice: Node, file: Path, who: str
) -> None:
    desktop = machines["desktop"]
    with alice.mesh() as mesh:
        desktop.signal(signal.SIGSTOP)
        sent = mesh.transfer.submit(file, "desktop")
        eventually(lambda: sent.refresh().attempts, "the first attempt")
    (desktop if who == "receiver" else alice).kill()
    machines.revive()
    with alice.mesh() as mesh:
        view = mesh.transfer.get(sent.id).result()
    assert view.state is TransferState.DONE
    assert (inbox(desktop) / file.name).read_bytes() == file.read_bytes()
    came = [
        each for each in desktop.ask(lambda m: list(m.inbox.list())) if each.transfer == sent.id
    ]
    assert len(came) == 1


def test_a_transfer_that_nobody_answers_waits_and_can_be_cancelled(
    machines: Network, alice: Node, file: Path
) -> None:
    machines["desktop"].kill()
    with alice.mesh() as mesh:
        sent = mesh.transfer.submit(file, "desktop")
        eventually(lambda: sent.refresh().state is TransferState.WAITING, "it waits")
        view = sent.view
        assert view.problem is not None
        assert sent.cancel().state is TransferState.CANCELLED
        assert sent.cancel().state is TransferState.CANCELLED
        with pytest.raises(TransferCancelled):
            sent.result()


def test_a_file_that_is_not_there_fails_by_name(alice: Node, file: Path) -> None:
    file.unlink()
    with alice.mesh() as mesh, pytest.raises(HyperMeshError, match=re.escape(str(file))):
        mesh.transfer.send(file, "desktop")


def test_the_document_says_no_more_than_was_signed(alice: Node, file: Path) -> None:
    with alice.mesh() as mesh:
        view = mesh.transfer.send(file, "desktop")
        found = mesh.transfer.get(view.transfer).proof()
    proof = decode(DeliveryProof, bytes.fromhex(found.proof))
    assert document(proof) == found
    assert encode(proof).hex() == found.proof
    assert view.state in FINAL
    text = json.dumps({**json.loads(_text(found)), "name": "other.bin"})
    verdict = verify_document(read(text.encode()), None, None)
    assert [check.what for check in verdict.checks if not check.ok] == ["document"]


def _text(found: object) -> str:
    import msgspec

    return msgspec.json.encode(found).decode()
