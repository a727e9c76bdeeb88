"""Files that hold a secret in the clear, and so must be readable for their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypermesh.wire.errors import HyperMeshError


def read_private(file: Path, bytes_max: int, unusable: type[HyperMeshError]) -> bytes:
    """The first `bytes_max` bytes of `file`. Raises `unusable` where it cannot be read, or where
    others may read it."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(bytes_max)
    except OSError as error:
        raise unusable(f"{file} cannot be read", why=str(error)) from error
    if stat.S_IMODE(mode) & 0o077:
        raise unusable(f"Others may read {file}", fix=f"chmod 600 {file}")
    return data
