"""What may be wrong when a node starts: each has its own error with a way out, and no traceback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypermesh.node.api import application
from hypermesh.node.background import DidNotStart
from hypermesh.node.claim import AlreadyRunning
from hypermesh.node.founding import found
from hypermesh.wire.errors import HyperMeshError

from .network import Node, eventually, foreground, problem, ready

DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node that was up once, to copy."""
    node = Node("alice", tmp_path_factory.mktemp("u") / "a")
    node.start()
    node.stop()
    return node.data


@pytest.fixture
def node(pattern: Path, tmp_path: Path) -> Iterator[Node]:
    """A node that is down, in a directory that a test may spoil."""
    data = tmp_path / "a"
    shutil.copytree(pattern, data)
    node = Node("alice", data)
    yield node
    node.end()


def test_a_port_that_is_taken_is_named(node: Node) -> None:
    port = node.configuration.settings.stoq_port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", port))
        done = foreground(node)
        assert done.returncode == 3
        assert "HM-STOQ-0028" in problem(done)
        assert str(port) in problem(done)
        with pytest.raises(DidNotStart) as refused:
            node.start()
        assert "HM-STOQ-0028" in str(refused.value)
    node.start()
    assert ready(node)


def test_no_port_for_the_api_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        monkeypatch.setattr(application, "API_PORT", taken.getsockname()[1])
        monkeypatch.setattr(application, "API_PORTS_TRIED", 1)
        with pytest.raises(application.PortTaken) as refused:
            application.loopback_sockets()
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda tmp: tmp / ("x" * 120), id="too-long"),
        pytest.param(lambda tmp: _file(tmp) / "below", id="below-a-file"),
        pytest.param(lambda _: Path("/proc/self/hm"), id="read-only"),
    ],
)
def test_a_data_directory_that_cannot_be_used(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    done = foreground(Node("alice", place(tmp_path)))
    assert done.returncode == 3, problem(done)
    assert "HM-NODE-0001" in problem(done)
    assert "--data" in problem(done)


def _file(directory: Path) -> Path:
    file = directory / "file"
    file.write_bytes(b"")
    return file


def test_a_node_that_runs_is_not_started_twice(node: Node) -> None:
    node.start()
    done = foreground(node)
    assert done.returncode == 6, problem(done)
    assert "HM-NODE-0002" in problem(done)
    assert str(node.pid) in problem(done)
    with pytest.raises(AlreadyRunning):
        node.begin()
    assert ready(node)


DAMAGED = (
    "settings.json",
    "genesis",
    "certificate",
    "seeds",
    "hosted",
    "locators",
    "sessions",
    "ca.sqlite",
    "invitations.sqlite",
    "answers.sqlite",
    "keys/node.key",
    "keys/owner.key",
    "ledger/ledger.sqlite",
)


SPARED = {"answers.sqlite", "invitations.sqlite", "keys/owner.key", "locators", "sessions"}
"""What a node can do without: it says so, or comes up and has lost nothing that it needs."""


@pytest.mark.parametrize("file", DAMAGED)
@pytest.mark.parametrize(
    "damage",
    ["garbage", *(pytest.param(each, marks=pytest.mark.long) for each in ("half", "empty"))],
)
def test_a_damaged_file_is_named(node: Node, file: str, damage: str) -> None:
    """It ends with a typed error that names the file and a way out, or comes up without loss."""
    damaged = node.data / file
    whole = damaged.read_bytes() if damaged.exists() else b""
    spoiled = {"garbage": b"\xc1garbage" * 512, "half": whole[: len(whole) // 2], "empty": b""}
    damaged.write_bytes(spoiled[damage])
    for journal in (f"{file}-wal", f"{file}-shm"):
        (node.data / journal).unlink(missing_ok=True)
    is_up = _comes_up(node)
    said = node.log
    assert "Traceback" not in said, said
    if is_up:
        assert file in SPARED, "it came up without what it had"
        return
    assert "HM-0000" not in said, said
    assert "[HM-" in said, said
    assert "fix:" in said, said
    assert str(damaged if damage == "garbage" else node.data) in said, said


def _comes_up(node: Node) -> bool:
    """Whether the node gets ready, started with nothing but its directory."""
    words = [sys.executable, "-m", "hypermesh.cli.main", "up", "--foreground"]
    with (node.data / "node.log").open("wb") as log:
        node.process = subprocess.Popen(
            [*words, "--data", str(node.data)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    eventually(lambda: not node.running or _answers(node), "it is up or has ended")
    return node.running


def _answers(node: Node) -> bool:
    try:
        return ready(node)
    except HyperMeshError:
        return False


def founded_at(tmp_path: Path, offset_ms: int) -> Node:
    """A node whose network was founded that long ago, or will be, and never had a block since."""
    node = Node("alice", tmp_path / "a")
    node.data.mkdir(mode=0o700)
    found(node.data, "old-net", int(time.time() * 1000) + offset_ms)
    return node


@pytest.mark.parametrize("offset_ms", [-3 * DAY_MS, 3 * DAY_MS], ids=["ahead", "behind"])
def test_a_clock_that_jumped_waits_for_the_operator(tmp_path: Path, offset_ms: int) -> None:
    node = founded_at(tmp_path, offset_ms)
    done = foreground(node)
    assert done.returncode == 3, problem(done)
    assert "HM-LEDGER-0010" in problem(done)
    assert "--clock-is-right" in problem(done)
