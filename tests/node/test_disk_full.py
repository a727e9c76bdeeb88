"""A disk that fills up: writes are refused, nothing is lost, and with room again all goes on.

The node lives on a small file system of its own, which needs the right to mount one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.tx import StakeBond

from .network import Network, Node, eventually

DISK_BYTES = 72 << 20


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


def _behind(network: Network) -> bool:
    bond(network.alice)
    heights = [
        node.ask(lambda m: m.network.status()).height for node in (network.alice, network.bob)
    ]
    return heights[0] > heights[1] + 5
