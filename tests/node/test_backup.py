"""The drill: a node is backed up while it runs, lost, and restored on an empty machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.crypto.passphrase import PassphraseWrong
from hypermesh.crypto.sealed import SealedDamaged
from hypermesh.node.backup import LEFT_OUT, RESTORED, Manifest, back_up, restore
from hypermesh.node.catching_up import NodesSilent, StillRunning
from hypermesh.wire.amount import NANO
from hypermesh.wire.errors import HyperMeshError

from .network import Network, Node, eventually, foreground, hm, problem

PASSPHRASE = "correct horse battery staple"
KEPT = b"kept in bob's memory" * 100

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path)
    try:
        network.found("bob")
        yield network
    finally:
        network.end()


def saved(node: Node, file: Path) -> Manifest:
    return back_up(node.data, file, PASSPHRASE, node.name, 1)


def balances(node: Node) -> tuple[int, int, int]:
    account = node.ask(lambda mesh: mesh.accounts.get())
    return account.balance, account.bonded, account.in_escrow


def pay(payer: Node, payee: Node, amount: int) -> None:
    owner = payee.membership.owner.hex()
    payer.ask(lambda mesh: mesh.accounts.transfer(owner, amount))


def lose(node: Node) -> None:
    node.kill()
    shutil.rmtree(node.data)


def test_the_founder_comes_back_with_identity_balances_and_data(
    pair: Network, tmp_path: Path
) -> None:
    alice, bob = pair.alice, pair.bob
    bob_place = bob.asset_address
    alice.ask(lambda mesh: mesh.memory.put(bob_place, KEPT))
    pay(alice, bob, 3 * NANO)
    identity = (alice.id, alice.membership.owner, alice.membership.genesis_id)
    manifest = saved(alice, tmp_path / "alice.hm")
    # What is acknowledged after the backup is on bob's copy of the ledger alone.
    pay(alice, bob, 5 * NANO)
    after = balances(alice)
    height = alice.ask(lambda mesh: mesh.network.status().height)
    eventually(
        lambda: bob.ask(lambda mesh: mesh.network.status().height) >= height, "bob has the blocks"
    )
    lose(alice)

    restored = restore(tmp_path / "alice.hm", alice.data, PASSPHRASE, 2)
    assert restored == manifest
    alice.start()
    assert (alice.id, alice.membership.owner, alice.membership.genesis_id) == identity
    assert balances(alice) == after
    assert not (alice.data / RESTORED).exists()

    def kept() -> bytes:
        with alice.mesh() as mesh, mesh.memory.open(bob_place) as region:
            return region.read(0, len(KEPT))

    assert kept() == KEPT
    pay(alice, bob, NANO)
    carol = pair.add("carol")
    carol.start(pair.invite())
    pair.await_agreed()


def test_a_restored_founder_waits_for_nodes_that_may_have_newer_blocks(
    pair: Network, tmp_path: Path
) -> None:
    alice, bob = pair.alice, pair.bob
    saved(alice, tmp_path / "alice.hm")
    pay(alice, bob, NANO)
    pair.await_agreed()
    bob.stop()
    lose(alice)
    restore(tmp_path / "alice.hm", alice.data, PASSPHRASE, 2)

    refused = foreground(alice, timeout_s=60)
    assert refused.returncode == NodesSilent.exit_code
    assert NodesSilent.code in problem(refused)
    assert "bob" in problem(refused)

    bob.begin()
    eventually(lambda: (bob.data / "hm.sock").exists(), "bob answers again")
    alice.start()
    bob.ready()
    pair.await_agreed()


def test_the_operator_may_go_on_without_nodes_that_are_gone(pair: Network, tmp_path: Path) -> None:
    alice, bob = pair.alice, pair.bob
    saved(alice, tmp_path / "alice.hm")
    bob.stop()
    lose(alice)
    restore(tmp_path / "alice.hm", alice.data, PASSPHRASE, 2)
    done = hm("up", "--without-silent-nodes", data=alice.data)
    try:
        assert done.returncode == 0, done.stderr
    finally:
        hm("down", data=alice.data)


def test_a_follower_comes_back_and_follows(pair: Network, tmp_path: Path) -> None:
    alice, bob = pair.alice, pair.bob
    node = bob.id
    saved(bob, tmp_path / "bob.hm")
    before = balances(bob)[0]
    pay(alice, bob, NANO)
    eventually(lambda: balances(bob)[0] == before + NANO, "bob has the payment")
    after = balances(bob)
    lose(bob)
    restore(tmp_path / "bob.hm", bob.data, PASSPHRASE, 2)
    bob.start()
    assert bob.id == node
    eventually(lambda: balances(bob) == after, "bob has all that he had")
    pay(bob, alice, NANO)


def test_a_node_is_not_restored_beside_itself(pair: Network, tmp_path: Path) -> None:
    saved(pair.bob, tmp_path / "bob.hm")
    twin = Node("bob", tmp_path / "twin")
    restore(tmp_path / "bob.hm", twin.data, PASSPHRASE, 2)
    refused = foreground(twin, "--stoq-port", "0", timeout_s=60)
    assert refused.returncode == StillRunning.exit_code
    assert StillRunning.code in problem(refused)


def test_all_of_a_data_directory_is_in_the_backup_or_left_out_for_a_reason(
    pair: Network, tmp_path: Path
) -> None:
    alice = pair.alice
    manifest = saved(alice, tmp_path / "alice.hm")
    restore(tmp_path / "alice.hm", tmp_path / "copy", PASSPHRASE, 2)
    there = {path.relative_to(alice.data).as_posix() for path in alice.data.rglob("*")}
    there = {path for path in there if not path.endswith(("-wal", "-shm", ".new"))}
    left = {path for path in there if path in LEFT_OUT or path.partition("/")[0] in LEFT_OUT}
    folders = {path for path in there if (alice.data / path).is_dir()}
    assert {each.path for each in manifest.entries} == there - left - folders
    restored = {path for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in restored)


def test_a_backup_that_cannot_be_read_leaves_nothing_behind(pair: Network, tmp_path: Path) -> None:
    file = tmp_path / "bob.hm"
    saved(pair.bob, file)
    whole = file.read_bytes()
    (tmp_path / "cut.hm").write_bytes(whole[:-1])
    (tmp_path / "altered.hm").write_bytes(whole[:5000] + b"\0" + whole[5001:])
    cases: list[tuple[str, str, type[HyperMeshError]]] = [
        ("cut.hm", PASSPHRASE, SealedDamaged),
        ("altered.hm", PASSPHRASE, SealedDamaged),
        ("bob.hm", "a wrong passphrase", PassphraseWrong),
    ]
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, passphrase, error in cases:
        with pytest.raises(error):
            restore(tmp_path / name, tmp_path / "copy", passphrase, 2)
        assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_commands(pair: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, copy = tmp_path / "bob.hm", tmp_path / "copy"
    nobody = hm("backup", str(file), data=pair.bob.data)
    assert nobody.returncode == 2
    monkeypatch.setenv("HYPERMESH_BACKUP_PASSPHRASE", PASSPHRASE)
    made = hm("backup", str(file), data=pair.bob.data)
    assert made.returncode == 0, made.stderr
    assert pair.bob.id.hex()[:16] in made.stdout.decode()
    assert hm("backup", str(file), data=pair.bob.data).returncode == 6
    back = hm("restore", str(file), data=copy)
    assert back.returncode == 0, back.stderr
    assert b"never runs again" in back.stderr
    assert hm("restore", str(file), data=copy).returncode == 6
