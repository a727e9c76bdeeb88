"""A directory that one process has at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hypermesh.trustchain.ct.errors import LogInUse


def claim(lock: Path, taken: str) -> int:
    """An exclusive claim, as a descriptor to close; it ends with this process, whichever way that
    ends. Raises `LogInUse`, saying `taken`, where another has it."""
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise LogInUse(taken, why=f"{lock} is claimed") from error
    return held
