"""Three nodes that are killed and come back, and what is seen of their processes meanwhile."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hypermesh.node.background import DidNotStart, await_ready, launch
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh
from measures.network import settings

READY_S = 120.0
STOP_S = 30.0
SEEN_EACH_S = 2.0
MIB = 1 << 20


@dataclass
class Life:
    """One process of a node: its resident memory and open descriptors over time."""

    pid: int
    at_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    def look(self) -> None:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            descriptors = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            return
        resident = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        if resident:
            self.at_s.append(time.monotonic())
            self.rss_mib.append(int(resident[0]) * 1024 / MIB)
            self.descriptors.append(descriptors)


class Member:
    """One node of the pool, through all its lives."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.name = data.name
        self.mesh = Mesh(socket_path(data))
        self.lives: list[Life] = []
        self.restarts_s: list[float] = []
        self.up = threading.Event()
        """Set while it is meant to be up: from ready until the instant before it is killed."""
        self._process: subprocess.Popen[bytes] | None = None
        self.node = ""
        self.owner = ""

    def start(self, token: str | None = None) -> None:
        """Raises `DidNotStart`."""
        started = time.monotonic()
        configuration = settings(self.data)
        self._process = launch(configuration, token)
        self.lives.append(Life(self._process.pid))
        await_ready(configuration, self._process, timeout_s=READY_S)
        if len(self.lives) > 1:
            self.restarts_s.append(time.monotonic() - started)
        status = self.mesh.network.status()
        self.node, self.owner = status.node, status.owner
        self.up.set()

    def kill(self) -> None:
        """`kill -9`."""
        self.up.clear()
        process = self._running()
        if process.poll() is not None:
            raise DidNotStart(f"{self.name} had ended by itself, with {process.returncode}")
        process.kill()
        process.wait()

    def look(self) -> None:
        self.lives[-1].look()

    def end(self) -> None:
        self.mesh.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self, lines: int = 30) -> str:
        text = (self.data / "node.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise DidNotStart(f"{self.name} was never started")
        return self._process


class Pool:
    """`names` on loopback; the first founds. All stop when `stack` ends."""

    def __init__(self, directory: Path, stack: ExitStack, *names: str) -> None:
        self.members = [Member(directory / name) for name in names]
        founder, *others = self.members
        stack.callback(founder.end)
        founder.start()
        for member in others:
            stack.callback(member.end)
            member.start(founder.mesh.network.invite().token)

    def __getitem__(self, name: str) -> Member:
        return next(each for each in self.members if each.name == name)
