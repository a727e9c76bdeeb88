"""What a node keeps for itself in canonical files: read whole, and named where it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from hypermesh.wire.codec import SIZE_MAX, Undecodable, decode
from hypermesh.wire.errors import HyperMeshError

T = TypeVar("T")


class FileDamaged(HyperMeshError):
    """A file of the data directory is missing, cut short, or not what was written."""

    code = "HM-NODE-0006"
    exit_code = 9
    title = "A file of the node is damaged"


def read(kind: type[T], file: Path, fix: str, *, size_max: int = SIZE_MAX) -> T:
    """The value of type `kind` in `file`. Raises `FileDamaged` with the way out that `fix` says."""
    try:
        return decode(kind, file.read_bytes(), size_max=size_max)
    except (Undecodable, OSError) as error:
        raise FileDamaged(f"{file} cannot be read", why=str(error), fix=fix) from error
