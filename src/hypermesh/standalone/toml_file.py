"""A TOML file of settings as far as every server reads it alike: bounded, UTF-8, TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypermesh.wire.errors import HyperMeshError

BYTES_MAX = 1 << 20


def read_text(file: Path, invalid: type[HyperMeshError]) -> str:
    """What stands in `file`. Raises `invalid`."""
    try:
        with file.open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise invalid(f"{file} cannot be read", why=error.strerror or "") from error
    if len(data) > BYTES_MAX:
        raise invalid(f"{file} has more than {BYTES_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"{file} is not UTF-8") from error


def parsed(text: str, where: str, invalid: type[HyperMeshError]) -> dict[str, Any]:
    """The tables in `text`, which is from `where`. Raises `invalid`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise invalid(f"{where} is not TOML", why=str(error)) from error
