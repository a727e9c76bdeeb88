"""`--watch`: shown again when it has changed, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest

from hypermesh.cli import watch
from hypermesh.cli.output import emit
from hypermesh.wire.errors import Conflict, HyperMeshError, Unreachable

from .shell import HM, Machine

DEADLINE_S = 20.0


class Now:
    """In place of the node's word that something has changed."""

    def __init__(self, data: object) -> None:
        del data

    def __enter__(self) -> Now:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        pass


def followed(
    steps: list[object], output: str, monkeypatch: pytest.MonkeyPatch
) -> BaseException | None:
    """Follow what emits `steps` one by one and then is interrupted; how it ended."""
    monkeypatch.setattr(watch, "Changes", Now)
    left: Iterator[object] = iter([*steps, KeyboardInterrupt()])

    def show() -> None:
        step = next(left)
        if isinstance(step, BaseException):
            raise step
        emit({"n": step}, output, f"n is {step}")

    try:
        watch.follow(show, output, None)
    except (KeyboardInterrupt, HyperMeshError) as end:
        return end
    return None


@pytest.mark.parametrize("output", ["table", "json", "jsonl"])
def test_each_change_is_a_line(
    output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    end = followed([1, 1, 2, 2, 1], output, monkeypatch)
    assert isinstance(end, KeyboardInterrupt)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"schema_version": 1, "n": n} for n in (1, 2, 1)
    ]


def test_a_node_that_comes_back_is_shown_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Unreachable("The node went away")
    end = followed([1, away, away, 1], "jsonl", monkeypatch)
    assert isinstance(end, KeyboardInterrupt)
    said = capsys.readouterr()
    assert [json.loads(line)["n"] for line in said.out.splitlines()] == [1, 1]
    assert len(said.err.splitlines()) == 1


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOST_S_MAX", -1.0)
    away = Unreachable("The node went away")
    assert followed([1, away, 2], "jsonl", monkeypatch) is away


@pytest.mark.parametrize("steps", [[Unreachable("None here")], [1, Conflict("No")]])
def test_other_failures_end_it(steps: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert followed(steps, "jsonl", monkeypatch) is steps[-1]


class Watching:
    """A command that watches, and what it has said so far."""

    def __init__(self, machine: Machine, *command: str, terminal: bool) -> None:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=machine.environment | {"COLUMNS": "60", "LINES": "20"},
            cwd=machine.directory,
        )
        os.close(theirs)
        self._ours = ours
        self.said = b""

    def until(self, wanted: bytes) -> None:
        assert self.has(wanted, DEADLINE_S), (wanted, self.said)

    def has(self, wanted: bytes, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while wanted not in self.said:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if select.select([self._ours], [], [], left)[0]:
                self.said += os.read(self._ours, 65536)
        return True

    def interrupted(self) -> tuple[int, bytes]:
        self.process.send_signal(signal.SIGINT)
        stderr: IO[bytes] | None = self.process.stderr
        assert stderr is not None
        said = stderr.read()
        stderr.close()
        return self.process.wait(DEADLINE_S), said

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        os.close(self._ours)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_lease_is_seen_to_come_and_go(home: Machine, memory: str, terminal: bool) -> None:
    for lease in home.json("lease", "ls")["items"]:
        home.succeeds("lease", "release", lease["lease"])
    watching = Watching(home, str(HM), "lease", "ls", "--watch", terminal=terminal)
    try:
        watching.until(b"No lease runs" if terminal else b'"items":[]')
        lease = home.json("memory", "put", memory, stdin=b"watched")["lease"]
        watching.until(lease[:16].encode())
        before = len(watching.said)
        home.succeeds("lease", "release", lease)
        watching.said = watching.said[before:]
        watching.until(b"No lease runs" if terminal else b'"items":[]')
        code, said = watching.interrupted()
        assert (code, said.strip()) == (130, b"")
        if terminal:
            lines = watching.said.replace(b"\x1b[K", b"").splitlines()
            assert max(map(len, lines)) <= 60 + len(b"\x1b[H\x1b[J")
    finally:
        watching.close()


def test_the_node_says_when_to_look(home: Machine, memory: str) -> None:
    program = (
        "import hypermesh.cli.watch as watch; watch.POLL_S = 3600.0\n"
        "from hypermesh.cli.main import main\n"
        "main(['lease', 'ls', '--all', '--watch'])"
    )
    watching = Watching(home, sys.executable, "-c", program, terminal=False)
    try:
        watching.until(b"schema_version")
        # Its stream may not have begun yet, and tells of what happens from then on.
        deadline, seen = time.monotonic() + DEADLINE_S, False
        while not seen:
            lease = home.json("memory", "put", memory, stdin=b"looked at")["lease"]
            home.succeeds("lease", "release", lease)
            seen = watching.has(lease.encode(), 2.0)
            assert time.monotonic() < deadline
    finally:
        watching.close()


def test_without_a_node_it_ends_at_once(nowhere: Machine) -> None:
    assert "hm up" in nowhere.fails("status", "--watch", exit_code=7)


def test_a_limit_on_the_whole_command(home: Machine) -> None:
    done = home.hm("--timeout", "2s", "wallet", "show", "--watch")
    assert done.returncode == 7
    assert json.loads(done.stdout.splitlines()[0])["balance"] >= 0
    assert b"not done within 2 s" in done.stderr
