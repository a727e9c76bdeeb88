"""Running a workload in a process of its own: recorded, and perhaps killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .promises import ANY, Witness
from .recorder import Kind, Record, Recorder, preloading, read

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
KILLED = -9


class Death(msgspec.Struct, frozen=True):
    """The process is to be killed just before the `count`-th operation of `kind` once `after`
    requests of its life are answered."""

    after: int
    kind: Kind
    count: int


@dataclass(frozen=True)
class Life:
    """How a life ended, and the marks that its process said over a pipe before."""

    killed: bool
    said: list[bytes]


@dataclass(frozen=True)
class Recording:
    """What a workload does below `directory`, in all its lives."""

    library: Path
    directory: Path
    log: Path

    @classmethod
    def begin(cls, library: Path, base: Path) -> Recording:
        """A new recording in `base`, by the recorder `library`."""
        directory = base / "disk"
        directory.mkdir()
        return cls(library, directory, base / "log")

    @property
    def node(self) -> Path:
        """The data directory of the node."""
        return self.directory / "node"

    def records(self) -> list[Record]:
        return list(read(self.log))

    def live(self, module: str, order: msgspec.Struct) -> Life:
        """One life of the workload `module`, which gets `order`."""
        file = self.log.with_name("order")
        file.write_bytes(msgspec.msgpack.encode(order))
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.{module}", file, self.directory, self.log],
            cwd=ROOT,
            env=preloading(self.library),
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode in (0, KILLED), done.stderr.decode()
        return Life(done.returncode == KILLED, done.stdout.splitlines())


class Scribe(Witness):
    """The witness of a recorded process: it marks the recording, then speaks on standard output,
    and has the process killed where its order says so."""

    def __init__(self, recorder: Recorder, death: Death | None) -> None:
        super().__init__(self._both)
        self._recorder = recorder
        self._death = death
        self._acknowledged = 0
        self._arm()

    def done(self, key: str, value: str | None) -> None:
        super().done(key, value)
        self._answered()

    def refused(self, key: str, value: str | None = ANY) -> None:
        super().refused(key, value)
        self._answered()

    def _answered(self) -> None:
        self._acknowledged += 1
        self._arm()

    def _arm(self) -> None:
        death = self._death
        if death is not None and death.after == self._acknowledged:
            self._recorder.die([death.kind], death.count)

    def _both(self, mark: bytes) -> None:
        self._recorder.mark(mark)
        os.write(sys.stdout.fileno(), mark + b"\n")


def under_the_recorder(order_type: type, live: Callable[..., None]) -> None:
    """The main function of a workload: `live(order, data directory, scribe)`, recorded.

    The process then just ends, for what was acknowledged needs no farewell.
    """
    order_file, directory, log = map(Path, sys.argv[1:])
    order = msgspec.msgpack.decode(order_file.read_bytes(), type=order_type)
    recorder = Recorder()
    recorder.start(directory, log)
    live(order, directory / "node", Scribe(recorder, order.death))
    os._exit(0)


def base_temporary() -> str | None:
    """Where to lay disks out: in memory where there is such a place, for they are many and soon
    gone."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
