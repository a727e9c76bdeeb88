"""A disk that fills up: writes are refused, nothing is lost, and with room again all goes on.

The node lives on a small file system of its own, which needs the right to mount one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypermesh.node.tokens import Tokens
from hypermesh.sdk.mesh import Mesh
from hypermesh.wire.api.job import JobState, JobSubmit
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.token import Scope
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.tx import StakeBond

from .network import Network, Node, eventually

DISK_BYTES = 72 << 20
JOB = JobSubmit(engine="python", program=b"print(1)".hex())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "d"
    place.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "none", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(file: Path) -> None:
    """Take all the room that is left."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(descriptor, bytes(size))
            except OSError:
                continue
    finally:
        os.close(descriptor)


def bond(node: Node) -> TransactionView:
    return node.submit(StakeBond(node.id, 1))


def refused_for_room(node: Node) -> HyperMeshError | None:
    try:
        bond(node)
    except HyperMeshError as error:
        return error
    return None


@pytest.mark.parametrize("name", ["alice", pytest.param("bob", marks=pytest.mark.long)])
def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path, tmp_path: Path, name: str) -> None:
    """Of the sequencer it stops the writes; a follower falls behind and catches up."""
    network = Network(tmp_path)
    (tmp_path / name).symlink_to(small_disk)
    filler = small_disk / "filler"
    try:
        network.found("bob")
        node = network[name]
        before = bond(node)
        network.await_agreed()
        fill(filler)
        if name == "alice":
            error = eventually(lambda: refused_for_room(node), "a write is refused", 30)
            assert (error.code, error.exit_code) == ("HM-LEDGER-0014", 8)
            assert error.fix
        else:
            # The log of SQLite has room for a few more blocks; then bob stays behind.
            eventually(lambda: _behind(network), "bob's disk takes no more", 60)
        assert node.running
        height = node.ask(lambda m: m.network.status()).height
        assert height >= before.height

        filler.unlink()
        eventually(lambda: refused_for_room(node) is None, "writes work again", 60)
        agreed = network.await_agreed()

        node.kill()
        node.start()
        after = network.await_agreed()
        assert after[0] >= agreed[0]
        block = node.ask(lambda m: m.ledger.block(before.height))
        assert block.codes[before.index] == "ok"
        assert "Traceback" not in node.log, node.log
    finally:
        network.end()


def test_no_store_of_a_node_takes_what_it_cannot_keep(small_disk: Path, tmp_path: Path) -> None:
    """Jobs and tokens: what is refused for want of room leaves nothing behind, what was
    acknowledged before is there after `kill -9`, and so is what is taken once there is room."""
    network = Network(tmp_path)
    (tmp_path / "alice").symlink_to(small_disk)
    filler = small_disk / "filler"
    try:
        network.found()
        alice = network.alice
        job = alice.ask(lambda m: m.jobs.submit(JOB).id)
        token = alice.ask(lambda m: m.tokens.create("before", [Scope.READ])).token
        fill(filler)
        for write in (
            lambda m: m.jobs.submit(JOB),
            lambda m: m.tokens.create("meanwhile", [Scope.READ]),
        ):
            refusal = eventually(lambda write=write: _refusal(alice, write), "it is refused", 30)
            assert (refusal.status, refusal.exit_code) == (507, 8), refusal
        assert alice.running

        filler.unlink()
        after = eventually(lambda: _submitted(alice), "jobs are taken again", 30)
        alice.kill()
        alice.start()
        for each in (job, after):
            state = eventually(lambda each=each: _end(alice, each), "it comes to its end", 60)
            assert state in (JobState.DONE, JobState.LOST)
        names = [each.name for each in alice.ask(lambda m: list(m.tokens.list()))]
        assert names == ["before"]
        assert Tokens(alice.data / "tokens").find(token) is not None
        assert "Traceback" not in alice.log, alice.log
    finally:
        network.end()


def _refusal(node: Node, write: Callable[[Mesh], object]) -> HyperMeshError | None:
    try:
        node.ask(write)
    except HyperMeshError as error:
        return error
    return None


def _submitted(node: Node) -> str | None:
    try:
        return node.ask(lambda m: m.jobs.submit(JOB).id)
    except HyperMeshError:
        return None


def _end(node: Node, job: str) -> JobState | None:
    found = node.ask(lambda m: m.jobs.get(job)).view
    return found.state if found.ended_ms else None


def _behind(network: Network) -> bool:
    bond(network.alice)
    heights = [
        node.ask(lambda m: m.network.status()).height for node in (network.alice, network.bob)
    ]
    return heights[0] > heights[1] + 5
