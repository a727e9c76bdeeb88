"""Files that are durable when a function returns. That nothing is lost at a power cut is shown in
`tests/faults`; here is what each function does."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypermesh.crypto.files import make_directory, replace, settle


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Inodes in the order in which they are synced."""
    real, inodes = os.fsync, []

    def fsync(descriptor: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_file_is_replaced_whole_for_its_owner_alone(
    tmp_path: Path, synced: list[int], open_umask: None
) -> None:
    file = tmp_path / "file"
    for content in (b"one", b""):
        synced.clear()
        replace(file, content)
        assert file.read_bytes() == content
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert synced == [file.stat().st_ino, tmp_path.stat().st_ino]
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    replace(file, b"old")

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        replace(file, b"new")
    assert file.read_bytes() == b"old"


def test_a_directory_is_made_with_those_that_lead_to_it(
    tmp_path: Path, synced: list[int], open_umask: None
) -> None:
    deep = tmp_path / "a" / "b" / "c"
    make_directory(deep, 0o700)
    parents = [tmp_path.parent, tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert synced == [parent.stat().st_ino for parent in parents]
    assert stat.S_IMODE(deep.stat().st_mode) == 0o700
    synced.clear()
    make_directory(deep)
    assert synced == [deep.parent.stat().st_ino], "its maker may have died before"


def test_everything_that_lies_there_is_settled(tmp_path: Path, synced: list[int]) -> None:
    (tmp_path / "deep").mkdir()
    files = [tmp_path / "one", tmp_path / "deep" / "two"]
    for file in files:
        file.write_bytes(b"data")
    (tmp_path / "link").symlink_to("/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
        settle(tmp_path)
    wanted = [*files, tmp_path, tmp_path / "deep"]
    assert sorted(synced) == sorted(path.stat().st_ino for path in wanted)
