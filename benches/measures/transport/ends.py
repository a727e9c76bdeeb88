"""The two ends of a measurement as processes, and the paths between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from namespaces import Cable, unavailable
from result import ROOT

from measures.network import scratch
from measures.transport import credentials

RUST = ROOT / "target" / "release" / "stoq-bench"
PYTHON = ROOT / "benches" / "peers"
BEYOND_S = 45.0
"""What an end may take beyond the time it moves data."""


@dataclass(frozen=True)
class Link:
    """A way between two ends: the receiver's address, and a command line at each."""

    name: str
    mtu: int
    host: str
    receiver: Callable[[Sequence[str]], list[str]] = list
    sender: Callable[[Sequence[str]], list[str]] = list


LOOPBACK = Link("loopback", 65_536, "::1")


@contextmanager
def cable(mtu: int) -> Iterator[Link]:
    """Two network namespaces with a cable between them."""
    if why := unavailable():
        raise SystemExit(f"there is no path with an MTU of {mtu}: {why}")
    with Cable(mtu) as wire:
        yield Link(
            f"mtu{mtu}",
            mtu,
            wire.address("far"),
            lambda words: wire.command("far", *words),
            lambda words: wire.command("near", *words),
        )


@dataclass(frozen=True)
class Transport:
    """One way to move bytes: a program with the commands `receive` and `send`, and the words that
    set it to a link."""

    name: str
    program: tuple[str, ...]
    settings: Callable[[Link], Sequence[str]] = field(default=lambda _: ())

    def command(self, what: str) -> list[str]:
        if self.program[0] == "rust":
            return [str(RUST), what, self.program[1]]
        return [sys.executable, str(PYTHON / f"{self.program[1]}.py"), what]


@dataclass(frozen=True)
class Transfer:
    """What the receiver counted, and what both ends used."""

    bytes: int
    seconds: float
    sender_cpu_s: float
    receiver_cpu_s: float

    @property
    def gbps(self) -> float:
        return self.bytes * 8 / self.seconds / 1e9

    @property
    def cpu_s_per_gb(self) -> float:
        """Seconds of one core, both ends together, for 10^9 bytes."""
        return (self.sender_cpu_s + self.receiver_cpu_s) / (self.bytes / 1e9)


@contextmanager
def prepared() -> Iterator[Path]:
    """The credentials directory, for as long as the context lasts."""
    with scratch() as directory:
        credentials.make(directory)
        yield directory


class End:
    """A process that says lines of JSON. It is killed where it takes longer than `limit_s`."""

    def __init__(self, command: Sequence[str], limit_s: float) -> None:
        environment = dict(os.environ)
        environment.setdefault("PYTHONPATH", str(ROOT / "src"))
        self._name = " ".join(command[:4])
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._late = threading.Timer(limit_s, self._process.kill)
        self._late.start()

    def __enter__(self) -> End:
        return self

    def __exit__(self, *_: object) -> None:
        self._late.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def line(self) -> dict[str, Any]:
        """The next line that it says."""
        if self._process.stdout is None:
            raise SystemExit("an end has no output")
        text = self._process.stdout.readline()
        if not text:
            self._failed()
        found: dict[str, Any] = json.loads(text)
        return found

    def ask(self, words: str = "") -> dict[str, Any]:
        """Its answer to a line."""
        if self._process.stdin is None:
            raise SystemExit("an end has no input")
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return self.line()

    def last(self) -> dict[str, Any]:
        """Its last line, once it has ended by itself. Its input ends here."""
        output, _ = self._process.communicate()
        if self._process.returncode or not output.strip():
            self._failed()
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def _failed(self) -> None:
        _, errors = self._process.communicate()
        code = self._process.returncode
        raise SystemExit(f"{self._name} ended with {code}: {errors.strip() or 'it took too long'}")


def listening(command: Sequence[str], link: Link, limit_s: float) -> tuple[End, int]:
    """An end at the receiver's side, and the port it listens at."""
    end = End(link.receiver(command), limit_s)
    try:
        return end, int(end.line()["port"])
    except BaseException:
        end.__exit__()
        raise


@contextmanager
def echoing(link: Link, directory: Path, limit_s: float) -> Iterator[tuple[End, int]]:
    """An endpoint of STOQ that echoes, and its port. A line to it is answered by its state."""
    command = [str(RUST), "serve", "--listen", link.host, "--credentials", str(directory)]
    server, port = listening(command, link, limit_s)
    with server:
        yield server, port


def dialling(
    command: Sequence[str], link: Link, port: int, limit_s: float, host: str | None = None
) -> End:
    """An end at the sender's side, on its way to `port`."""
    host = host or link.host
    rust = command[0] == str(RUST)
    where = ["--to", f"[{host}]:{port}"] if rust else ["--to", host, "--port", str(port)]
    return End(link.sender([*command, *where]), limit_s)


def transfer(
    transport: Transport,
    link: Link,
    directory: Path,
    *,
    seconds: float = 1.0,
    message: int | None = None,
    connections: int = 1,
    hashed: int = 0,
    through: Callable[[int], tuple[str, int]] | None = None,
) -> Transfer:
    """Move data once. With `hashed`, so many random bytes, whose digests must agree; else for
    `seconds`, every byte compared. `through` says where to dial for a receiver's port."""
    words = ["--credentials", str(directory), *transport.settings(link)]
    if message is not None:
        words += ["--message", str(message)]
    if connections > 1:
        words += ["--connections", str(connections)]
    if hashed:
        words += ["--hashed", str(hashed)]
    limit_s = seconds + BEYOND_S
    with ExitStack() as stack:
        command = [*transport.command("receive"), "--listen", link.host, *words]
        receiver, port = listening(command, link, limit_s)
        stack.enter_context(receiver)
        host, port = (link.host, port) if through is None else through(port)
        command = [*transport.command("send"), "--seconds", str(seconds), *words]
        sender = stack.enter_context(dialling(command, link, port, limit_s, host))
        sent, received = sender.last(), receiver.last()
    agree(transport.name, sent, received)
    return Transfer(received["bytes"], received["seconds"], sent["cpu_s"], received["cpu_s"])


def agree(name: str, sent: dict[str, Any], received: dict[str, Any]) -> None:
    """What was received is what was sent, or nothing of it counts."""
    for member in ("bytes", "digest"):
        if sent.get(member) != received.get(member):
            raise SystemExit(
                f"{name}: {member} {received.get(member)} received, {sent.get(member)} sent"
            )
