"""The drill: a node is backed up while it runs, lost, and restored on an empty machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hypermesh.crypto.passphrase import PassphraseWrong
from hypermesh.crypto.sealed import SealedDamaged
from hypermesh.ledger.bundled import check_ledger
from hypermesh.node import backup, catching_up, jobs
from hypermesh.node.backup import LEFT_OUT, LOCKS, RESTORED, Manifest, back_up, restore
from hypermesh.node.catching_up import NodesSilent, StillRunning, _fetch
from hypermesh.node.jobs_kept import KeptJobs
from hypermesh.node.locators import Locators
from hypermesh.node.readings import READINGS_MAX
from hypermesh.sdk.mesh import Mesh
from hypermesh.stoq.errors import CertificateExpired
from hypermesh.trustchain.bundle import read_bundle
from hypermesh.wire.amount import NANO
from hypermesh.wire.api.ct import LogView
from hypermesh.wire.api.job import JobSubmit
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import BlocksResponse

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


def test_a_restored_founder_begins_another_log(pair: Network, tmp_path: Path) -> None:
    """The old one is read, and no more: what it signed after the backup is not in the copy."""
    alice, bob = pair.alice, pair.bob
    first = alice.membership.logged
    assert first is not None
    saved(alice, tmp_path / "alice.hm")
    pair.invite()
    pair.await_acquainted()
    grown = {each.origin: each.anchored.size for each in logs_of(alice)}
    eventually(
        lambda: {each.origin: each.anchored.size for each in logs_of(bob)} == grown,
        "bob knows the leaf that the backup has not",
    )
    lose(alice)
    restore(tmp_path / "alice.hm", alice.data, PASSPHRASE, 2)
    alice.start()
    carol = pair.add("carol")
    carol.start(pair.invite())
    joined = carol.membership.logged
    assert joined is not None
    assert joined.log.log.origin == first.log.log.origin.replace("/1/", "/2/")

    def succeeded() -> bool:
        logs = logs_of(bob)
        return len(logs) == 4 and all(each.anchored.size for each in logs[:2])

    eventually(succeeded, "bob knows the logs that follow")
    assert [each.ended_height is None for each in logs_of(bob)] == [True, True, False, False]
    # What was anchored of the first stays, beyond what the copy has of it.
    assert {each.origin: each.anchored.size for each in logs_of(bob)[2:]} == grown
    # Nobody's evidence is lost with it, nor that of the restored node.
    with bob.mesh() as mesh:
        for node in (alice, bob, carol):
            made = read_bundle(mesh.certificates.bundle(node.id.hex()))
            assert check_ledger(made, alice.membership.genesis_id) is not None


def logs_of(node: Node) -> list[LogView]:
    return node.ask(lambda mesh: mesh.ct.get()).logs


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
    left |= {path for path in there if Path(path).name in LOCKS}
    assert "ct/1/logs.lock" in left
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


def test_a_node_that_came_after_the_backup_is_asked_as_well(pair: Network, tmp_path: Path) -> None:
    """The instant: bob's copy ends before a payment that carol, whom the backup does not know, has.
    To go on from bob's height would be to sign other blocks of heights that carol has."""
    alice, bob = pair.alice, pair.bob
    saved(alice, tmp_path / "alice.hm")
    carol = pair.add("carol")
    carol.start(pair.invite())
    pair.await_agreed()
    # Bob remembers where carol is once her attestation has come by.
    eventually(lambda: carol.id in _places(bob), "bob knows carol's place")
    bob.stop()
    pay(alice, carol, 7 * NANO)
    after = balances(alice)
    eventually(lambda: carol.ask(_height) >= alice.ask(_height), "carol has the payment")
    lose(alice)

    restore(tmp_path / "alice.hm", alice.data, PASSPHRASE, 2)
    bob.begin()
    eventually(lambda: (bob.data / "hm.sock").exists(), "bob answers again")
    alice.start()
    assert balances(alice) == after
    bob.ready()
    pair.await_agreed()


def _height(mesh: Mesh) -> int:
    return mesh.network.status().height


def _places(node: Node) -> list[bytes]:
    return Locators(node.data / "locators", node.membership.genesis_id).nodes()


@pytest.mark.timeout(20)
def test_a_node_that_says_the_same_again_and_again_holds_nobody_up() -> None:
    """It signed nothing itself, so all it can send is what is there already."""

    class Follower:
        height = 5
        applied = 0

        def apply(self, _: bytes) -> None:
            self.applied += 1

    answer = encode(BlocksResponse([b"block 5"], 9))
    connection: Any = SimpleNamespace(request=lambda *_, **__: answer)
    follower: Any = Follower()
    _fetch(connection, follower)
    assert follower.applied == 1


def test_a_twin_that_refuses_an_old_certificate_is_a_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CertificateExpired

    monkeypatch.setattr(catching_up, "dial", refuse)

    class Known:
        def __contains__(self, node: bytes) -> bool:
            return node == b"own"

        def of(self, _: bytes) -> Any:
            return SimpleNamespace(locator=None)

    nothing: Any = None
    with pytest.raises(StillRunning):
        catching_up._require_alone(nothing, Known(), b"own")  # type: ignore[arg-type]


def test_a_node_of_many_leases_can_be_backed_up(tmp_path: Path) -> None:
    """Each reading is a file."""
    readings = tmp_path / "readings"
    readings.mkdir()
    for number in range(READINGS_MAX):
        (readings / f"{number:064x}").touch()
    found = backup._files(tmp_path)
    assert len(found) == READINGS_MAX
    entries = [backup.Entry(path, 2**50) for path in found]
    assert len(encode(entries)) < backup.MANIFEST_BYTES_MAX - 4096


def test_a_file_that_the_node_takes_away_meanwhile_is_left_out(tmp_path: Path) -> None:
    """The instant between the list and the copy: readings come and go, oldest first."""
    data, staging = tmp_path / "n", tmp_path / "s"
    data.mkdir()
    (data / "stays").write_bytes(b"x")
    assert backup._copied(data, staging, "readings/gone") is None
    assert backup._copied(data, staging, "stays") == backup.Entry("stays", 1)


def test_what_waited_at_the_time_of_the_backup_is_not_run_a_second_time(
    pair: Network, tmp_path: Path
) -> None:
    """The instant: a job waits when the node is backed up, runs, and then the machine is lost."""
    bob = pair.bob
    kept = KeptJobs(tmp_path / "jobs.sqlite")
    submit = JobSubmit(engine="python", program=b"print(1)".hex())
    record = jobs.accepted(bytes(16), submit, 1)
    kept.add(record, submit)
    kept.close()
    bob.stop()
    shutil.copyfile(tmp_path / "jobs.sqlite", bob.data / "jobs.sqlite")
    for suffix in ("-wal", "-shm"):
        (bob.data / f"jobs.sqlite{suffix}").unlink(missing_ok=True)
    saved(bob, tmp_path / "bob.hm")
    shutil.rmtree(bob.data)
    restore(tmp_path / "bob.hm", bob.data, PASSPHRASE, 2)
    bob.start()
    found = bob.ask(lambda mesh: mesh.jobs.get(record.job.hex())).view
    assert (found.state, found.reason) == ("lost", "node_down")
