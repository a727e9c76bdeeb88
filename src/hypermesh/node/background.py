"""Starting a node as a process of its own, and stopping it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from hypermesh.node.claim import AlreadyRunning, holder
from hypermesh.node.configuration import Configuration, prepare
from hypermesh.wire.amount import BASIS_POINTS
from hypermesh.wire.errors import HyperMeshError

POLL_S = 0.05
READY_ANSWER_S = 2.0
STATUS_LINE_BYTES_MAX = 256
STOP_TIMEOUT_S = 20.0
LOG_LINES_SHOWN = 12
EXIT_CODE_MAX = 9
"""The last of the exit codes of `hm`; beyond are those of signals."""


class DidNotStart(HyperMeshError):
    """The node process ended, or was not ready in time."""

    code = "HM-NODE-0003"
    status = 500
    title = "The node did not start"


def command(
    configuration: Configuration, token: str | None, *, clock_is_right: bool = False
) -> list[str]:
    """The command line of a node process in the foreground."""
    # -P: a `copy.py` in the directory where the user types is no part of the node.
    words = [sys.executable, "-P", "-m", "hypermesh.cli.main"]
    # The token is a bearer secret, and other users of the machine may see a command line.
    words += ["up"] if token is None else ["join", "-"]
    settings = configuration.settings
    words += ["--foreground", "--data", str(configuration.data), "--name", settings.name]
    words += ["--share", f"{settings.share * 100 / BASIS_POINTS:g}%"]
    words += ["--level", settings.level.value]
    words += ["--clock-is-right"] if clock_is_right and token is None else []
    words += ["--stoq-host", settings.stoq_host, "--stoq-port", str(settings.stoq_port)]
    words += ["--stoq-stack", settings.stoq_stack.value]
    words += ["--stoq-threads", str(settings.stoq_threads)]
    words += ["--tls-port", str(settings.tls_port)]
    words += ["--carry", settings.carry.value]
    words += ["--dns-listen", settings.dns_listen, "--dns-upstream", settings.dns_upstream]
    words += ["--dns-tls", settings.dns_tls, "--dns-quic", settings.dns_quic]
    return words


def launch(
    configuration: Configuration, token: str | None, *, clock_is_right: bool = False
) -> subprocess.Popen[bytes]:
    """Start the node process, detached, with a log of its own; the one before is kept beside it."""
    prepare(configuration.data)
    if (pid := holder(configuration.lock)) is not None:
        raise AlreadyRunning(why=f"process {pid} runs the node in {configuration.data}")
    if configuration.log.exists():
        configuration.log.replace(configuration.log.with_suffix(".log.1"))
    with configuration.log.open("ab") as log:
        process = subprocess.Popen(
            command(configuration, token, clock_is_right=clock_is_right),
            stdin=subprocess.DEVNULL if token is None else subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if process.stdin is not None and token is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(token.encode())
    return process


def start(
    configuration: Configuration,
    token: str | None,
    *,
    timeout_s: float,
    clock_is_right: bool = False,
) -> int:
    """Launch the node and wait until it is ready; returns its process id."""
    process = launch(configuration, token, clock_is_right=clock_is_right)
    await_ready(configuration, process, timeout_s=timeout_s)
    return process.pid


def await_ready(
    configuration: Configuration, process: subprocess.Popen[bytes], *, timeout_s: float
) -> None:
    """Wait for `/readyz` of a launched node; `DidNotStart` carries the end of its log."""
    deadline = time.monotonic() + timeout_s
    while not _ready(configuration.socket):
        if process.poll() is not None:
            failure = _failure(configuration.log, process.returncode)
            if 1 <= process.returncode <= EXIT_CODE_MAX:
                failure.exit_code = process.returncode
            raise failure
        if time.monotonic() > deadline:
            raise DidNotStart(
                f"The node was not ready after {timeout_s:g} s",
                why=_last_lines(configuration.log),
                fix=f"It may still come up; the whole log is in {configuration.log}",
            )
        time.sleep(POLL_S)


def stop(data: Path) -> bool:
    """End the node of `data` in order; False where none runs."""
    lock = data / "node.lock"
    pid = holder(lock)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while holder(lock) == pid:
        if time.monotonic() > deadline:
            raise HyperMeshError(
                f"Process {pid} did not end within {STOP_TIMEOUT_S:g} s",
                fix=f"kill -9 {pid} is safe: nothing acknowledged is lost",
            )
        time.sleep(POLL_S)
    return True


def _ready(path: Path) -> bool:
    """Whether the node answers `/readyz` with 200: one status line (RFC 9112 section 4)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(READY_ANSWER_S)
        try:
            probe.connect(str(path))
            probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with probe.makefile("rb") as answer:
                return answer.readline(STATUS_LINE_BYTES_MAX).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


def _failure(log: Path, status: int) -> DidNotStart:
    """What the process said last, in its three parts; else the end of its log."""
    whole = f"The whole log is in {log}"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = [place for place, line in enumerate(lines) if line.startswith("Error: ")]
    if not said or status not in range(1, EXIT_CODE_MAX + 1):
        return DidNotStart(
            f"The node process ended with status {status}", why=_last_lines(log), fix=whole
        )
    parts = {"why": "", "fix": whole}
    for line in lines[said[-1] + 1 :]:
        name, colon, text = line.strip().partition(": ")
        if not colon or name not in parts or not line.startswith("  "):
            break
        parts[name] = text
    what = lines[said[-1]].removeprefix("Error: ")
    return DidNotStart(f"The node did not start: {what}", why=parts["why"], fix=parts["fix"])


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines[-200:] if line.startswith(("Error:", "  why:", "  fix:"))]
    return "\n    ".join((errors or lines)[-LOG_LINES_SHOWN:])
