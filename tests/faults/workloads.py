"""Running a workload in a process of its own, recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .recorder import Kind, Record, preloading, read

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
KILLED = -9


@dataclass(frozen=True)
class Recording:
    """What a workload did below `directory`, over all its lives."""

    directory: Path
    log: Path

    @classmethod
    def begin(cls, base: Path) -> Recording:
        directory = base / "disk"
        directory.mkdir()
        return cls(directory, base / "log")

    def records(self) -> list[Record]:
        return list(read(self.log))

    def live(self, library: Path, module: str, order: msgspec.Struct) -> int:
        """One life of the workload `module`, which gets `order`; its exit status."""
        file = self.log.with_name("order")
        file.write_bytes(msgspec.msgpack.encode(order))
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.{module}", file, self.directory, self.log],
            cwd=ROOT,
            env=preloading(library),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode in (0, KILLED), done.stderr
        return done.returncode


class Death(msgspec.Struct, frozen=True):
    """The process is to be killed before the `count`-th operation of `kind` once `after` operations
    of the workload are acknowledged."""

    after: int
    kind: Kind
    count: int


def base_temporary() -> str | None:
    """Where to lay disks out: in memory where there is room, for they are many and short-lived."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
