"""The part of a file system that cgroups need, so that their rules can be tested without one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Tree(Protocol):
    """Directories of small control files. Every method raises `OSError` like the kernel does."""

    def read(self, path: Path) -> str: ...

    def write(self, path: Path, text: str) -> None:
        """Hand `text` to an existing control file in one write."""
        ...

    def exists(self, path: Path) -> bool: ...

    def make(self, path: Path) -> None:
        """Make one directory; raises `FileExistsError` where there is one."""
        ...

    def remove(self, path: Path) -> None:
        """Remove one directory that holds no process and no directory."""
        ...

    def directories(self, path: Path) -> list[Path]:
        """The directories directly in `path`, by name."""
        ...


class KernelTree:
    """The tree that the kernel shows under its cgroup mounts."""

    def read(self, path: Path) -> str:
        return path.read_text(encoding="ascii")

    def write(self, path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def make(self, path: Path) -> None:
        path.mkdir(mode=0o755)

    def remove(self, path: Path) -> None:
        path.rmdir()

    def directories(self, path: Path) -> list[Path]:
        with os.scandir(path) as entries:
            return sorted(
                Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)
            )
