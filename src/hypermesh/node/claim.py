"""One node process a data directory: an advisory lock that the kernel frees with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hypermesh.wire.errors import HyperMeshError


class AlreadyRunning(HyperMeshError):
    """Another process runs the node of this data directory."""

    code = "HM-NODE-0002"
    status = 409
    exit_code = 6
    title = "A node is already running here"
    remedy = "Use it, or stop it with `hm down`"


class Claim:
    """Holds the lock file for as long as this process lives."""

    def __init__(self, lock: Path) -> None:
        self._file = lock.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(why=f"process {holder(lock)} holds {lock}") from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.truncate(0)
        self._file.close()


def holder(lock: Path) -> int | None:
    """The process that holds the lock, or None."""
    try:
        with lock.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None
