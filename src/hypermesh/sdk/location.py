"""Where a node keeps its data, and where its socket is (XDG base directory specification)."""

from __future__ import annotations

import os
from pathlib import Path

SOCKET_NAME = "hm.sock"
TOKEN_NAME = "api-token"
SOCKET_PATH_BYTES_MAX = 107
"""sockaddr_un holds 108 bytes with the closing zero (unix(7))."""


def data_directory(given: Path | None = None) -> Path:
    """The data directory: as given, else `HYPERMESH_DATA`, else `$XDG_DATA_HOME/hypermesh`."""
    if given is not None:
        return given.expanduser().absolute()
    if named := os.environ.get("HYPERMESH_DATA"):
        return Path(named).expanduser().absolute()
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser().absolute() / "hypermesh"


def socket_path(data: Path) -> Path:
    """The owner's UNIX socket of the node whose data is in `data`."""
    return data / SOCKET_NAME


def session_token(data: Path) -> str:
    """The token with which the loopback listener of the node in `data` takes whoever can read the
    directory for the owner. Raises `OSError`."""
    return (data / TOKEN_NAME).read_text()
