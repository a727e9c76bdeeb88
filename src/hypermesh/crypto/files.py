"""Files that are durable when a function returns. Here, for the key store is the lowest part that
writes any.

What a process wrote is certain to outlive a power cut once the file was synced, and a name once its
directory was (POSIX.1-2017, `fsync`). `docs/explanation/durability.md` says what is taken for
granted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

_WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without hard links answers (link(2))."""


def replace(path: Path, data: bytes) -> None:
    """Give the file `path` the content `data`, mode 0600. After a crash it has the old content or
    the new one, whole. One caller at a time for one path. Raises `OSError`."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    sync(path.parent)


def publish(fresh: Path, path: Path) -> None:
    """Give the durable file `fresh` the name `path` in its place, durably. Whatever has that name
    already is left alone: raises `FileExistsError`, and `OSError`. After a crash it has the one
    name, the other or both."""
    try:
        os.link(fresh, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.replace(path)
    sync(path.parent)
    fresh.unlink(missing_ok=True)
    sync(fresh.parent)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make the directory `path`, and with default modes those that lead to it, where they are not
    there. Raises `OSError`."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(mode, exist_ok=True)
    # One that is there may have been made by a process that was killed before this step. Where we
    # may not read the parent, we cannot have made anything in it.
    with contextlib.suppress(PermissionError):
        sync(path.parent)


def sync(path: Path) -> None:
    """Return when the content of the file, or the names in the directory `path` are durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(directory: Path) -> None:
    """Sync all that is below `directory`.

    A process that was killed leaves unsynced writes in the system's cache, where the next one reads
    them. Settled first, they cannot go in a power cut after that one has answered from them. Call
    it before this process opens a database there: closing a descriptor gives up the process's
    locks on its file (POSIX.1-2017, `fcntl`).
    """
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            # A process that runs here may take its own files away meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    sync(path)
        with contextlib.suppress(FileNotFoundError):
            sync(Path(folder))
