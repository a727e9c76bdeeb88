"""A backup of all but the root, and back.

    DIR/manifest      encode(Manifest): every file with its SHA-256
    DIR/files/...     the data directory, without the root and without locks
    DIR/files/database/...   the tables, where the settings name a PostgreSQL database

Databases are copied through SQLite, which gives one instant of each while the server runs. They are
copied in the order in which what they hold is shown: the authority's first, the logs' last, so
that every certificate in the copy has its entry in the copied log. The tables of a PostgreSQL
database are of one instant, which is after that of every file.

A log that goes on from an old copy signs other entries under indices that it has shown: a fork. So
a restore wants the newest checkpoint that anybody has of the log, and refuses a copy that is behind
it; nobody but the operator can know which that is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest
from hypermesh.crypto.files import make_directory, replace, settle, sync
from hypermesh.standalone.trust.errors import AlreadyFounded, BackupInvalid, LogBehind
from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.settings import Settings, read_settings, written
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import Conflict

MANIFEST = "manifest"
FILES = "files"
TABLES = "database"
FILES_MAX = 100_000
PIECE_BYTES = 1 << 20
ORDER = ("ca", "acme", "dns", "log")
"""Directories with databases, in the order in which they are copied."""
PASSING = (".lock", "-wal", "-shm", "-journal", ".new")
LEFT_OUT = frozenset({"root", "witness"})
"""The root is kept elsewhere, or backed up by itself. A witness that goes back is none."""


class Copied(msgspec.Struct, frozen=True, array_like=True):
    """A file by its path below `FILES`, its length and the SHA-256 of its content."""

    path: str
    length: int
    sha256: bytes


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What a backup holds. `entries` is the size of the log of certificates in it."""

    version: int
    entries: int
    files: tuple[Copied, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """How many files a backup has, and entries its log of certificates."""

    files: int
    entries: int


def back_up(directory: Directory, target: Path) -> Found:
    """Copy `directory` into the new directory `target`; durable when this returns. Raises
    `Conflict` where `target` is there already."""
    if target.exists():
        raise Conflict(f"{target} is there already", fix="Name a new directory")
    make_directory(target, 0o700)
    copy = target / FILES
    make_directory(copy, 0o700)
    stores = stores_of(directory, read_settings(directory.settings))
    for path in _sources(directory.path):
        _copy(directory.path / path, copy / path)
    stores.copy_out(copy / TABLES)
    entries = _entries(Directory(copy))
    files = tuple(_copied(copy, path) for path in sorted(_sources(copy)))
    manifest = Manifest(1, entries, files, _digest(entries, files))
    settle(copy)
    replace(target / MANIFEST, encode(manifest))
    sync(target)
    return Found(len(files), entries)


def verify(target: Path) -> Found:
    """Check every file of the backup in `target`. Raises `BackupInvalid`."""
    manifest = _manifest(target)
    copy = target / FILES
    found = {str(path) for path in _sources(copy)}
    if found != {each.path for each in manifest.files}:
        raise BackupInvalid(why="there are other files than the manifest names")
    for each in manifest.files:
        if _copied(copy, Path(each.path)) != each:
            raise BackupInvalid(why=f"{each.path} was changed")
    return Found(len(manifest.files), manifest.entries)


def restore(
    target: Path,
    directory: Directory,
    checkpoint: bytes | None,
    change: Callable[[Settings], Settings] = lambda settings: settings,
) -> Found:
    """Bring the backup in `target` back into `directory`, which holds nothing yet, and into the
    empty database that the settings name.

    `checkpoint` is the newest one that anybody has of the log of certificates; `change` gives the
    settings from now on. Raises `AlreadyFounded`, `BackupInvalid`, and `LogBehind` where the log
    would go back.
    """
    if directory.path.exists() and any(directory.path.iterdir()):
        raise AlreadyFounded(f"{directory.path} is not empty")
    found = verify(target)
    make_directory(directory.path, 0o700)
    # Without this file the directory is no authority's, so half a restore serves nothing.
    last = Path("founded")
    for path in _sources(target / FILES):
        if path != last and path.parts[0] != TABLES:
            _copy_plain(target / FILES / path, directory.path / path)
    before = read_settings(directory.settings)
    settings = change(before)
    if settings != before:
        replace(directory.settings, written(settings).encode())
    settle(directory.path)
    stores_of(directory, settings).copy_in(
        target / FILES / TABLES, lambda: _require_newest(directory, checkpoint)
    )
    _copy_plain(target / FILES / last, directory.path / last)
    settle(directory.path)
    return found


def _require_newest(directory: Directory, checkpoint: bytes | None) -> None:
    logs = _opened_logs(directory)
    try:
        view = logs.certificates
        if checkpoint is None:
            if view.head.size:
                raise LogBehind(
                    "It is not said how far the log had come",
                    why="a log that goes back forks",
                    fix="Give the newest checkpoint that a monitor, a witness or a client has",
                )
            return
        shown = view.identity.opened(checkpoint)
        if shown.size > view.head.size:
            raise LogBehind(
                f"The log had {shown.size} entries, the backup has {view.head.size}",
                fix="Restore a newer backup, or found a new authority with another log",
            )
        if view.root(shown.size) != shown.root:
            raise LogDamaged(why="the checkpoint is of another log, or the backup of a fork")
    finally:
        logs.close()


def _sources(directory: Path) -> Iterator[Path]:
    """The files of a data directory, relative to it, in the order in which they are copied."""
    found: list[Path] = []
    for folder, names, files in os.walk(directory):
        below = Path(folder).relative_to(directory)
        if below == Path():
            names[:] = [each for each in names if each not in LEFT_OUT]
        # Not what belongs to a running process, nor what SQLite keeps beside a database.
        found += [below / name for name in files if not name.endswith(PASSING)]
        if len(found) > FILES_MAX:
            raise BackupInvalid(f"There are more than {FILES_MAX} files")

    def rank(path: Path) -> tuple[int, str]:
        place = ORDER.index(path.parts[0]) if path.parts[0] in ORDER else len(ORDER)
        return (place, str(path))

    return iter(sorted(found, key=rank))


def _copy(source: Path, target: Path) -> None:
    make_directory(target.parent, 0o700)
    if source.suffix != ".sqlite":
        _copy_plain(source, target)
        return
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
        contextlib.closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE")
    target.chmod(0o600)


def _copy_plain(source: Path, target: Path) -> None:
    make_directory(target.parent, 0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(source, target)
        target.chmod(0o600)


def _copied(directory: Path, path: Path) -> Copied:
    hashed, length = hashlib.sha256(), 0
    with (directory / path).open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            hashed.update(piece)
            length += len(piece)
    return Copied(str(path), length, hashed.digest())


def _entries(directory: Directory) -> int:
    """The size of the copied log; one in files is opened and checked as a server would."""
    if (directory.path / TABLES).is_dir():
        from hypermesh.trustchain.ct.postgresql_store import copied_size

        return copied_size(directory.path / TABLES)
    logs = _opened_logs(directory)
    try:
        return logs.certificates.head.size
    finally:
        logs.close()


def _opened_logs(directory: Directory) -> TransparencyLogs:
    settings = read_settings(directory.settings)
    stores = stores_of(directory, settings)
    return TransparencyLogs(directory.log, directory.keys, settings.origin, store=stores.log)


def _manifest(target: Path) -> Manifest:
    try:
        manifest = decode(Manifest, (target / MANIFEST).read_bytes())
    except (OSError, Undecodable) as error:
        raise BackupInvalid(f"{target} has no manifest", why=str(error)) from error
    if manifest.version != 1:
        raise BackupInvalid(why=f"it is of version {manifest.version}")
    if manifest.digest != _digest(manifest.entries, manifest.files):
        raise BackupInvalid(why="the manifest was changed")
    return manifest


def _digest(entries: int, files: tuple[Copied, ...]) -> bytes:
    return digest("trustchain-backup", encode((entries, files)))
