"""`hypermesh-server` as a service manager sees it: READY, STATUS, WATCHDOG, STOPPING."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hypermesh.node import server
from hypermesh.node.supervision import Manager
from hypermesh.wire.asset import PrivacyLevel
from hypermesh.wire.errors import InvalidInput

DEADLINE_S = 60.0


class Notified:
    """A service manager's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.lines: list[str] = []

    def until(self, wanted: str, within_s: float = DEADLINE_S) -> None:
        """Read until a line begins with `wanted`."""
        deadline = time.monotonic() + within_s
        while not any(line.startswith(wanted) for line in self.lines):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {within_s} s: {wanted}; {self.lines}"
            self._socket.settimeout(left)
            self.lines += self._socket.recv(65536).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[Notified]:
    made = Notified(tmp_path / "notify")
    yield made
    made.close()


def run(*words: str, **environment: str) -> subprocess.Popen[str]:
    variables = {name: each for name, each in os.environ.items() if "HYPERMESH" not in name}
    return subprocess.Popen(
        [sys.executable, "-m", "hypermesh.node.server", *words],
        env=variables | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """Its stderr, once it has ended."""
    try:
        return process.communicate(timeout=DEADLINE_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def test_its_life_as_a_service(tmp_path: Path, notified: Notified) -> None:
    words = ["--name", "served", "--share", "10%", "--stoq-host", "::1", "--tls-port", "0"]
    manager = {"NOTIFY_SOCKET": str(notified.path), "WATCHDOG_USEC": "400000"}
    process = run(*words, STATE_DIRECTORY=str(tmp_path / "state"), **manager)
    try:
        notified.until("READY=1")
        assert "STATUS=settled: not yet: busy" in notified.lines
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in notified.lines)
        assert any(line.startswith("STATUS=ready, http://localhost:") for line in notified.lines)
        assert (tmp_path / "state" / "genesis").exists()
        notified.lines.clear()
        notified.until("WATCHDOG=1", within_s=10)
        process.send_signal(signal.SIGTERM)
        notified.until("STOPPING=1")
    finally:
        process.terminate()
        said = ended(process)
    assert process.returncode == 0, said
    assert "going down" in said


def test_without_a_manager_it_is_silent_and_without_data_it_says_so(tmp_path: Path) -> None:
    process = run(HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    said = ended(process)
    assert process.returncode == 2
    assert "StateDirectory" in said


class Known:
    """What `attend` asks of a node."""

    def __init__(self, **checks: str) -> None:
        self.checks = {"ledger": "ok", "settled": "ok", **checks}

    @property
    def listening(self) -> Any:
        return type("Listening", (), {"api": "http://localhost:1"})

    def readiness(self) -> dict[str, str]:
        return self.checks


def attended(notified: Notified, node: Known, until: str, **environment: str) -> list[str]:
    """What the manager is told of `node` until a line that begins with `until` came."""

    async def attend() -> None:
        given = {"NOTIFY_SOCKET": str(notified.path), **environment}
        manager = Manager(given, os.getpid())
        task = asyncio.create_task(manager.attend(cast("Any", node)))
        await asyncio.to_thread(notified.until, until, 10)
        task.cancel()

    asyncio.run(attend())
    return notified.lines


def test_a_ledger_that_stopped_lets_the_watchdog_bark(notified: Notified) -> None:
    lines = attended(notified, Known(ledger="stopped: disk\nbroke"), "STATUS=")
    assert "STATUS=ledger: stopped: disk broke" in lines
    assert not any(line.startswith(("WATCHDOG", "READY")) for line in lines)


def test_ready_is_said_once(notified: Notified) -> None:
    lines = attended(notified, Known(), "READY=1", WATCHDOG_USEC="20000")
    count = len(lines)
    notified.lines = []
    assert lines.count("READY=1") == 1
    assert count <= 4


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    mine = Manager({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 7)
    other = Manager({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, 7)
    assert mine._beat_s == 1.0
    assert other._beat_s == 5.0


def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 1).stopping()
    Manager({"NOTIFY_SOCKET": "relative"}, 1).stopping()
    Manager({}, 1).stopping()


def test_an_abstract_address(tmp_path: Path) -> None:
    name = f"hypermesh-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(10)
        Manager({"NOTIFY_SOCKET": "@" + name}, 1).stopping()
        assert listener.recv(1000).startswith(b"STOPPING=1")


def test_settings_come_from_flags_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HYPERMESH_SHARE", "30%")
    monkeypatch.setenv("HYPERMESH_LEVEL", "p2p")
    given = server._parser().parse_args(["--share", "40%", "--tls-port", "0"])
    configuration, token = server.configured(given, {"STATE_DIRECTORY": str(tmp_path / "s")})
    assert configuration.data == tmp_path / "s"
    assert (configuration.settings.share, configuration.settings.tls_port) == (4000, 0)
    assert configuration.settings.level is PrivacyLevel.P2P
    assert token is None


def test_an_invitation_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "invitation").write_text("hm1-abc\n")
    words = ["--data", str(tmp_path / "d"), "--join", str(tmp_path / "invitation")]
    given = server._parser().parse_args(words)
    assert server.configured(given, {})[1] == "hm1-abc"
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "genesis").write_bytes(b"")
    assert server.configured(given, {})[1] is None
    missing = server._parser().parse_args([*words[:2], "--join", str(tmp_path / "none")])
    (tmp_path / "d" / "genesis").unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        server.configured(missing, {})
