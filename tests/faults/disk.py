"""A disk that forgets what was not synced: what a directory holds after a power cut.

It plays a recorded log and answers, at any moment, which files would be found if the power went
there. What it takes for granted:

- Data of a file is certain once an `fsync` or `fdatasync` of that file has returned. Of the writes
  and truncations since then any subset may have arrived, in any order, and one of them torn between
  sectors of 512 bytes. The file may have its new size where the bytes did not arrive; they are then
  zero.
- A name is certain once an `fsync` of its directory has returned; syncing the file does not do it.
  Of the changes to one directory since then some first ones have arrived, in their order (a rename
  wholly or not at all). Different directories know nothing of each other.
- What was synced stays as it was. Bits that rot and drives that lie about a flush are other tests.

The first two are what POSIX grants and less than Linux filesystems do in practice (they sync the
name of a new file with its data). Shared memory files of SQLite (`-shm`) are not stored state:
SQLite makes them anew when it is the first to open the database, so they are left out.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from .recorder import Kind, Record

SECTOR = 512
NOT_STORED = "-shm"


class Unmodelled(Exception):
    """The log holds an operation whose fate after a power cut this model does not know."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write of `data` at `offset`, or with `data` None a truncation to `offset` bytes."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
            return
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data)] = self.data

    @property
    def end(self) -> int:
        """The least size of the file after it."""
        return self.offset + len(self.data or b"")


@dataclass(slots=True, eq=False)
class File:
    """Synced content, and the changes since in their order."""

    mode: int
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.synced)
        self.pending.clear()


@dataclass(slots=True, eq=False)
class Directory:
    """Names as processes see them, as they were synced, and the changes between the two. One change
    may concern several names at once, and maps each to what it then names, or None."""

    mode: int
    names: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)
    pending: list[Mapping[str, Node | None]] = field(default_factory=list)

    def change(self, change: Mapping[str, Node | None]) -> None:
        _rename(self.names, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _rename(self.synced, change)
        self.pending.clear()


Node = File | Directory


def _rename(names: dict[str, Node], change: Mapping[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            del names[name]
        else:
            names[name] = node


@dataclass(frozen=True, slots=True)
class Found:
    """What stands under a path after a power cut; `data` is None for a directory."""

    mode: int
    data: bytes | None


Image = dict[str, Found]
"""A directory's content by path, relative and sorted so that parents come first."""


class Fate(Protocol):
    """Which of the changes that were not synced arrived."""

    def names(self, pending: int) -> int:
        """How many of the first changes of a directory."""
        ...

    def content(self, file: File) -> bytes:
        """What is in a file."""
        ...


class NothingUnsynced:
    """Every change that was not synced is lost."""

    def names(self, pending: int) -> int:  # noqa: ARG002
        return 0

    def content(self, file: File) -> bytes:
        return bytes(file.synced)


class SomeUnsynced:
    """Lots, drawn from `seed`, decide."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._lots = np.random.default_rng(seed)

    def names(self, pending: int) -> int:
        return int(self._lots.integers(pending + 1))

    def content(self, file: File) -> bytes:
        content = bytearray(file.synced)
        if not file.pending:
            return bytes(content)
        lots = self._lots
        share = lots.random()
        arrived = [change for change in file.pending if lots.random() < share]
        order = lots.permutation(len(arrived))
        for place, index in enumerate(order):
            change = arrived[index]
            if place == len(order) - 1 and change.data is not None and lots.random() < 0.5:
                for piece in _sectors(change.offset, change.data):
                    if lots.random() < 0.5:
                        piece.apply(content)
            else:
                change.apply(content)
        if lots.random() < 0.25:
            size = max(change.end for change in file.pending)
            content.extend(bytes(max(0, size - len(content))))
        return bytes(content)


class _AllArrived:
    """Every change is there."""

    def names(self, pending: int) -> int:
        return pending

    def content(self, file: File) -> bytes:
        content = bytearray(file.synced)
        for change in file.pending:
            change.apply(content)
        return bytes(content)


def _sectors(offset: int, data: bytes) -> Iterable[Change]:
    """`data` cut where sectors of the file begin."""
    first = SECTOR - offset % SECTOR
    for start, end in zip(
        [0, *range(first, len(data), SECTOR)],
        [*range(first, len(data), SECTOR), len(data)],
        strict=True,
    ):
        yield Change(offset + start, data[start:end])


class Disk:
    """The state of the recorded directory; `play` moves it on by one operation."""

    def __init__(self) -> None:
        self._root = Directory(0)
        self._path = ""
        self._nodes: dict[int, Node] = {}
        self.mapped: set[str] = set()
        """Files that the process wrote to through shared memory, by path."""

    def play(self, record: Record) -> None:
        """Raises `Unmodelled`."""
        match record.kind:
            case Kind.START:
                self._start(record)
            case Kind.OPEN:
                self._open(record)
            case Kind.WRITE:
                self._file(record).pending.append(Change(record.offset, record.payload))
            case Kind.TRUNCATE:
                self._file(record).pending.append(Change(record.offset, None))
            case Kind.SYNC:
                self._node(record).sync()
            case Kind.RENAME:
                self._rename(*record.paths, flags=record.offset)
            case Kind.LINK:
                old, new = record.paths
                directory, name = self._place(new)
                directory.change({name: self._named(old)})
            case Kind.UNLINK | Kind.RMDIR:
                directory, name = self._place(*record.paths)
                directory.change({name: None})
            case Kind.MKDIR:
                directory, name = self._place(*record.paths)
                made = self._nodes[record.file] = Directory(record.mode)
                directory.change({name: made})
            case Kind.MAP:
                self.mapped.add(*record.paths)
            case Kind.MARK:
                pass

    def present(self) -> Image:
        """What processes see now."""
        return self.image(_AllArrived())

    def image(self, fate: Fate) -> Image:
        """What is found after a power cut now."""
        image: Image = {}
        contents: dict[int, bytes] = {}

        def look(directory: Directory, prefix: str) -> None:
            names = dict(directory.synced)
            for change in directory.pending[: fate.names(len(directory.pending))]:
                _rename(names, change)
            for name, node in sorted(names.items()):
                if name.endswith(NOT_STORED):
                    continue
                if isinstance(node, Directory):
                    image[prefix + name] = Found(node.mode, None)
                    look(node, f"{prefix}{name}/")
                    continue
                if id(node) not in contents:
                    contents[id(node)] = fate.content(node)
                image[prefix + name] = Found(node.mode, contents[id(node)])

        look(self._root, "")
        return image

    def _start(self, record: Record) -> None:
        (path,) = record.paths
        if self._path not in ("", path):
            raise Unmodelled(f"the log begins in {self._path} and goes on in {path}")
        if not self._path:
            self._root.mode, self._path = record.mode, path
            self._nodes[record.file] = self._root

    def _open(self, record: Record) -> None:
        directory, name = self._place(*record.paths)
        node = directory.names.get(name)
        if node is None:
            node = self._nodes[record.file] = File(record.mode)
            directory.change({name: node})
        elif record.offset and isinstance(node, File):
            node.pending.append(Change(0, None))

    def _rename(self, old: str, new: str, flags: int) -> None:
        source, name = self._place(old)
        target, renamed = self._place(new)
        if source is not target or flags:
            raise Unmodelled(f"a rename from {old} to {new}, flags {flags}")
        node = source.names[name]
        source.change({renamed: node, name: None})

    def _node(self, record: Record) -> Node:
        node = self._nodes.get(record.file)
        if node is None:
            raise Unmodelled(f"{record.kind.name} of a file that was there before the log began")
        return node

    def _file(self, record: Record) -> File:
        node = self._node(record)
        assert isinstance(node, File)
        return node

    def _place(self, path: str) -> tuple[Directory, str]:
        """The directory that a path leads to, and the name in it."""
        if not path.startswith(f"{self._path}/"):
            raise Unmodelled(f"{path} lies outside {self._path}")
        *way, name = path.removeprefix(f"{self._path}/").split("/")
        node: Node = self._root
        for step in way:
            if not isinstance(node, Directory) or step in (".", ".."):
                raise Unmodelled(f"the path {path}")
            node = node.names[step]
        assert isinstance(node, Directory)
        return node, name

    def _named(self, path: str) -> Node:
        directory, name = self._place(path)
        return directory.names[name]


def write_out(image: Image, directory: Path) -> None:
    """Lay `image` out in `directory`, which must be new."""
    directory.mkdir(mode=0o700)
    for path, found in image.items():
        target = directory / path
        if found.data is None:
            target.mkdir()
        else:
            target.write_bytes(found.data)
        target.chmod(stat.S_IMODE(found.mode))


def read_in(directory: Path) -> Image:
    """What is in `directory` now."""
    image: Image = {}
    for path in sorted(directory.rglob("*")):
        if not path.name.endswith(NOT_STORED):
            data = path.read_bytes() if path.is_file() else None
            image[str(path.relative_to(directory))] = Found(path.stat().st_mode, data)
    return image
