"""The recorder of `recorder.c` from both sides: building and preloading it, speaking to it from the
recorded process, and reading its log."""

from __future__ import annotations

import ctypes
import enum
import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")
COMPILER = ("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
BUILD_TIMEOUT_S = 60
_HEAD = struct.Struct("=IIQQQ")


class Kind(enum.IntEnum):
    """The operations of the log, numbered as in `recorder.c`."""

    START = 0
    OPEN = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    RENAME = 5
    LINK = 6
    UNLINK = 7
    MKDIR = 8
    RMDIR = 9
    MAP = 10
    MARK = 11


@dataclass(frozen=True, slots=True)
class Record:
    """One operation. `offset` is that of a write, the size after a truncation, or whether an open
    emptied the file; `payload` is the data, or paths that each end in a zero byte."""

    kind: Kind
    mode: int
    file: int
    offset: int
    payload: bytes

    @property
    def paths(self) -> list[str]:
        return [os.fsdecode(path) for path in self.payload.split(b"\0")[:-1]]


def build(directory: Path) -> Path:
    """Compile the recorder into `directory`."""
    library = directory / "recorder.so"
    command = [*COMPILER, "-o", str(library), str(SOURCE), "-lpthread"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    return library


def preloading(library: Path) -> dict[str, str]:
    """The environment of a process that is to be recorded."""
    return {**os.environ, "LD_PRELOAD": str(library)}


class Recorder:
    """The recorder, from inside the process that it was preloaded into."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def start(self, directory: Path, log: Path) -> None:
        """Record from now on what happens below `directory`, at the end of `log`."""
        result = self._library.recorder_start(os.fsencode(directory.resolve()), os.fsencode(log))
        assert result == 0, f"cannot record {directory} into {log}"

    def mark(self, data: bytes) -> None:
        """Put `data` between the operations."""
        self._library.recorder_mark(data, ctypes.c_size_t(len(data)))

    def die(self, kinds: Sequence[Kind], count: int) -> None:
        """Be killed just before the `count`-th operation of one of `kinds`, counted from now."""
        self._library.recorder_die(sum(1 << kind for kind in kinds), count)


def read(log: Path) -> Iterator[Record]:
    """The operations of a log, in order."""
    data = log.read_bytes()
    at = 0
    while at < len(data):
        kind, mode, file, offset, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        assert at + length <= len(data), "the log ends inside a record"
        yield Record(Kind(kind), mode, file, offset, data[at : at + length])
        at += length
