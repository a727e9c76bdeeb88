"""What the model takes from a disk at a power cut, and what it leaves."""

from __future__ import annotations

import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from .disk import (
    SECTOR,
    Disk,
    Found,
    Image,
    NothingUnsynced,
    SomeUnsynced,
    Unmodelled,
    read_in,
    write_out,
)
from .recorder import Kind, Record

ROOT_INODE = 1
SEEDS = range(300)


class Script:
    """Operations on a disk by name; the inode of a file is what it was created with."""

    def __init__(self) -> None:
        self.disk = Disk()
        self._play(Kind.START, ROOT_INODE, "/d", mode=stat.S_IFDIR | 0o700)

    def create(self, name: str, inode: int, *, emptied: bool = False) -> None:
        self._play(Kind.OPEN, inode, f"/d/{name}", offset=int(emptied), mode=stat.S_IFREG | 0o600)

    def make(self, name: str, inode: int) -> None:
        self._play(Kind.MKDIR, inode, f"/d/{name}", mode=stat.S_IFDIR | 0o700)

    def write(self, inode: int, data: bytes, offset: int = 0) -> None:
        self.disk.play(Record(Kind.WRITE, 0, inode, offset, data))

    def truncate(self, inode: int, size: int) -> None:
        self.disk.play(Record(Kind.TRUNCATE, 0, inode, size, b""))

    def sync(self, inode: int) -> None:
        self.disk.play(Record(Kind.SYNC, 0, inode, 0, b""))

    def rename(self, old: str, new: str) -> None:
        self._play(Kind.RENAME, 0, f"/d/{old}", f"/d/{new}")

    def link(self, old: str, new: str) -> None:
        self._play(Kind.LINK, 0, f"/d/{old}", f"/d/{new}")

    def unlink(self, name: str) -> None:
        self._play(Kind.UNLINK, 0, f"/d/{name}")

    def _play(self, kind: Kind, inode: int, *paths: str, offset: int = 0, mode: int = 0) -> None:
        payload = b"".join(path.encode() + b"\0" for path in paths)
        self.disk.play(Record(kind, mode, inode, offset, payload))

    def lost(self) -> Image:
        return self.disk.image(NothingUnsynced())

    def drawn(self) -> list[Image]:
        return [self.disk.image(SomeUnsynced((seed,))) for seed in SEEDS]

    def contents(self, name: str) -> set[bytes | None]:
        """What `name` may hold after a power cut; None where it may be missing."""
        images = self.drawn()
        return {image[name].data if name in image else None for image in images}


@pytest.fixture
def script() -> Script:
    return Script()


def kept_file(script: Script, name: str, inode: int, data: bytes) -> None:
    script.create(name, inode)
    script.write(inode, data)
    script.sync(inode)
    script.sync(ROOT_INODE)


def test_a_write_is_certain_once_its_file_is_synced(script: Script) -> None:
    kept_file(script, "a", 2, b"old")
    script.write(2, b"new")
    assert script.lost()["a"].data == b"old"
    assert script.contents("a") == {b"old", b"new"}
    script.sync(2)
    assert script.contents("a") == {b"new"}


def test_a_synced_file_without_a_name_is_gone(script: Script) -> None:
    script.create("a", 2)
    script.write(2, b"data")
    script.sync(2)
    assert script.lost() == {}
    assert script.contents("a") == {None, b"data"}
    script.sync(ROOT_INODE)
    assert script.contents("a") == {b"data"}


def test_a_synced_name_of_a_file_that_is_not_may_be_empty(script: Script) -> None:
    script.create("a", 2)
    script.write(2, b"data")
    script.sync(ROOT_INODE)
    assert script.lost()["a"].data == b""
    assert script.contents("a") == {b"", b"data", bytes(4)}, "or long and zero"


def test_a_rename_is_wholly_there_or_not_at_all(script: Script) -> None:
    kept_file(script, "a", 2, b"old")
    script.create("a.new", 3)
    script.write(3, b"new")
    script.sync(3)
    script.rename("a.new", "a")
    assert script.lost()["a"].data == b"old"
    assert {tuple((name, image[name].data) for name in image) for image in script.drawn()} == {
        (("a", b"old"),),
        (("a", b"old"), ("a.new", b"new")),
        (("a", b"new"),),
    }


def test_a_rename_of_a_file_that_is_not_synced_may_leave_nothing_in_it(script: Script) -> None:
    kept_file(script, "a", 2, b"old")
    script.create("a.new", 3)
    script.write(3, b"new")
    script.rename("a.new", "a")
    script.sync(ROOT_INODE)
    assert script.lost()["a"].data == b""


def test_links_share_their_content(script: Script) -> None:
    kept_file(script, "a", 2, b"old")
    script.write(2, b"new")
    script.link("a", "b")
    script.sync(ROOT_INODE)
    for image in script.drawn():
        assert image["a"].data == image["b"].data


def test_a_removed_file_may_come_back(script: Script) -> None:
    kept_file(script, "a", 2, b"data")
    script.unlink("a")
    assert script.contents("a") == {None, b"data"}
    script.sync(ROOT_INODE)
    assert script.contents("a") == {None}


def test_a_directory_that_is_not_synced_takes_all_with_it(script: Script) -> None:
    script.make("deep", 2)
    script.create("deep/a", 3)
    script.write(3, b"data")
    script.sync(3)
    script.sync(2)
    assert script.lost() == {}
    script.sync(ROOT_INODE)
    assert script.lost()["deep/a"].data == b"data"


def test_later_writes_may_arrive_without_earlier_ones(script: Script) -> None:
    kept_file(script, "a", 2, b"....")
    for place in range(3):
        script.write(2, b"x", place)
    assert script.contents("a") >= {b"....", b"xxx.", b"..x.", b".x..", b"x.x."}


def test_a_write_may_be_torn_between_sectors_and_nowhere_else(script: Script) -> None:
    kept_file(script, "a", 2, bytes(4 * SECTOR))
    script.write(2, b"x" * 3 * SECTOR, offset=100)
    edges = [100, SECTOR, 2 * SECTOR, 3 * SECTOR, 3 * SECTOR + 100]
    pieces = set()
    for data in script.contents("a"):
        assert data is not None
        assert set(data[:100]) == {0}
        for start, end in pairwise(edges):
            assert len(set(data[start:end])) == 1
        pieces.add(tuple(data[start] != 0 for start in edges[:-1]))
    assert len(pieces) == 16


def test_a_truncation_is_a_change_like_a_write(script: Script) -> None:
    kept_file(script, "a", 2, b"long data")
    script.truncate(2, 4)
    assert script.contents("a") == {b"long data", b"long"}
    script.create("a", 2, emptied=True)
    assert b"" in script.contents("a")
    assert script.lost()["a"].data == b"long data"


@pytest.mark.parametrize(
    "operation",
    [
        lambda script: script.sync(99),
        lambda script: script.write(99, b"x"),
        lambda script: script.rename("a", "deep/a"),
        lambda script: script.unlink("../elsewhere/a"),
    ],
)
def test_what_it_does_not_know_it_refuses(
    script: Script, operation: Callable[[Script], None]
) -> None:
    kept_file(script, "a", 2, b"data")
    script.make("deep", 3)
    with pytest.raises((Unmodelled, KeyError)):
        operation(script)


def test_an_image_is_laid_out_as_it_was_found(script: Script, tmp_path: Path) -> None:
    script.make("deep", 2)
    script.create("deep/a", 3)
    script.write(3, b"data")
    write_out(script.disk.present(), tmp_path / "point")
    assert read_in(tmp_path / "point") == {
        "deep": Found(stat.S_IFDIR | 0o700, None),
        "deep/a": Found(stat.S_IFREG | 0o600, b"data"),
    }
