"""A whole node in one sealed file, and back.

    content = length u32 | encoded Manifest | the bytes of each of its entries, in its order

A node may run meanwhile: databases are copied through SQLite, which gives one instant of each, and
other files are replaced as a whole when they change. The ledger is copied first. Everything else
then is at least as new, as it is after a crash: keys, certificates, hosted assets and sessions are
written before the ledger hears of what needs them. The authority is copied before its logs, so that
every certificate in a backup has its entry there.

A restored node has the identity of the one that was backed up; only one of them may run. It begins
with `RESTORED` in its data directory, and `catching_up` says what that asks of its first start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.crypto.files import make_directory, replace, settle, sync
from hypermesh.crypto.sealed import SealedDamaged, Sealer, Unsealer, require_passphrase
from hypermesh.ledger.store import Store
from hypermesh.node import witnessing
from hypermesh.node.authority_logs import DIRECTORY
from hypermesh.node.configuration import DataDirectoryUnusable
from hypermesh.node.jobs_kept import forget_programs
from hypermesh.node.kept import read
from hypermesh.node.membership import Membership
from hypermesh.trustchain.ct import succession
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Conflict, NotFound
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId

RESTORED = "restored"
"""The file that says that this node was restored and has not caught up yet."""

LEFT_OUT: dict[str, str] = {
    "node.lock": "of the running process",
    "ledger/ledger.lock": "of the running process",
    "hm.sock": "of the running process",
    "api-token": "of this machine; a new one is made",
    "node.log": "words for the operator",
    "node.log.1": "words for the operator",
    ".writable": "a probe",
    "plots": "made again from the node's id",
    "inbox": "files that others sent, as large as they are, and what is known of them",
    "index": "made again from the ledger",
    "witness": "what it cosigned of logs: from an older copy it would cosign a second history",
    RESTORED: "of an earlier restore",
}
"""What of a data directory is not in its backup, and why. All else is."""

LOCKS = ("logs.lock", "witness.lock")
"""Nor are these, wherever they are: of the running process, as well."""

FILES_MAX = 16_384
"""More than `READINGS_MAX`, of which each is a file."""
MANIFEST_BYTES_MAX = 4 << 20
PIECE_BYTES = 1 << 20

_DATABASE = ".sqlite"
_SIDECARS = ("-wal", "-shm", "-journal")
_LEDGER = "ledger/ledger.sqlite"
_JOBS = "jobs.sqlite"
_LENGTH_BYTES = 4


class BackupStale(Conflict):
    """The place for the restored node is taken."""

    code = "HM-NODE-0032"
    title = "There is something in that directory already"
    remedy = "Restore into a directory that is empty or not there: hm restore FILE --data DIRECTORY"


class Restored(msgspec.Struct, frozen=True, array_like=True):
    """What `RESTORED` says: the height of the backup, when it was restored, and whether the
    operator goes on without the nodes that do not answer."""

    height: int
    restored_ms: int
    without_silent: bool = False


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One file: its path below the data directory, its length in bytes."""

    path: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=0, le=2**50)]


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What a backup holds: which node of which network, at which height of its ledger, when."""

    version: Annotated[int, Meta(ge=1, le=1)]
    genesis: GenesisId
    node: NodeId
    owner: OwnerId
    name: str
    is_founder: bool
    height: int
    created_ms: int
    entries: Annotated[list[Entry], Meta(max_length=FILES_MAX)]


def back_up(data: Path, target: Path, passphrase: str, name: str, now_ms: int) -> Manifest:
    """Write the node of `data`, running or not, to the sealed file `target`, mode 0600.

    Raises `NotFound` where there is no node, `Conflict` where `target` exists, `InvalidInput` for a
    short passphrase; `OSError` where the disk fails, and then there is no `target`.
    """
    require_passphrase(passphrase)
    membership = Membership.open(data)
    if membership is None:
        raise NotFound(f"There is no node in {data}", fix="Name its directory with --data")
    if target.exists():
        raise Conflict(f"{target} exists already", fix="Choose another name: backups are not mixed")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=data.parent) as staging:
        copied = [_copied(data, Path(staging), path) for path in _files(data)]
        entries = [each for each in copied if each is not None]
        manifest = Manifest(
            version=1,
            genesis=membership.genesis_id,
            node=membership.keys.id,
            owner=membership.owner,
            name=name,
            is_founder=membership.is_founder,
            height=_height(Path(staging) / _LEDGER),
            created_ms=now_ms,
            entries=entries,
        )
        _write(Path(staging), manifest, target, passphrase)
    return manifest


def restore(source: Path, data: Path, passphrase: str, now_ms: int) -> Manifest:
    """Put the node that `source` holds into `data`, wholly or not at all.

    Raises `BackupStale` where `data` holds anything, `SealedDamaged` or `PassphraseWrong`.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise BackupStale(f"{data} is not empty")
    make_directory(data.parent)
    staging = Path(tempfile.mkdtemp(prefix=".restore-", dir=data.parent))
    try:
        with source.open("rb") as file:
            manifest = _read(Unsealer(file, passphrase), staging)
        _require_whole(staging, manifest)
        if (staging / _JOBS).exists():
            # What waited then may have been run since, and no program is run a second time.
            forget_programs(staging / _JOBS)
        # A log may have signed more than the backup has of it, and going on would be a fork.
        succession.end_all(staging / DIRECTORY, "it was restored from a backup")
        witnessing.end(staging, "it was restored from a backup, and what it cosigned is not in it")
        replace(staging / RESTORED, encode(Restored(manifest.height, now_ms)))
        settle(staging)
        # In one step, also where an empty directory is there.
        staging.rename(data)
        sync(data.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def pending(data: Path) -> Restored | None:
    """What a restored node has not done yet; None where nothing is owed."""
    marker = data / RESTORED
    if not marker.exists():
        return None
    return read(Restored, marker, "Restore the backup again, into another directory")


def go_on_without_silent(data: Path) -> None:
    """Write down that the operator does not wait for nodes that do not answer."""
    if (restored := pending(data)) is not None:
        marked = msgspec.structs.replace(restored, without_silent=True)
        replace(data / RESTORED, encode(marked))


def _files(data: Path) -> list[str]:
    """Relative paths of what belongs into a backup; the ledger first."""
    found: list[str] = []
    for folder, folders, names in os.walk(data):
        below = Path(folder).relative_to(data)
        folders[:] = sorted(each for each in folders if (below / each).as_posix() not in LEFT_OUT)
        for each in sorted(names):
            path = (below / each).as_posix()
            transient = path in LEFT_OUT or each in LOCKS or each.endswith((*_SIDECARS, ".new"))
            if not transient and Path(folder, each).is_file():
                found.append(path)
    if len(found) > FILES_MAX:
        raise DataDirectoryUnusable(
            f"{data} holds more files than a node has", why=f"{len(found)}, and {FILES_MAX} fit"
        )
    return sorted(found, key=lambda path: (path != _LEDGER, path))


def _copied(data: Path, staging: Path, path: str) -> Entry | None:
    """None where the running node has taken the file away meanwhile."""
    source, target = data / path, staging / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.endswith(_DATABASE):
        with (
            contextlib.closing(sqlite3.connect(source)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            # One file then, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
    else:
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError:
            return None
    return Entry(path, target.stat().st_size)


def _height(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    with contextlib.closing(sqlite3.connect(ledger)) as database:
        (height,) = database.execute("SELECT coalesce(max(height), 0) FROM blocks").fetchone()
    return int(height)


def _write(staging: Path, manifest: Manifest, target: Path, passphrase: str) -> None:
    head = encode(manifest)
    fresh = target.with_name(f".{target.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            sealer = Sealer(file, passphrase)
            sealer.write(len(head).to_bytes(_LENGTH_BYTES, "big") + head)
            for entry in manifest.entries:
                with (staging / entry.path).open("rb") as content:
                    while piece := content.read(PIECE_BYTES):
                        sealer.write(piece)
            sealer.close()
            file.flush()
            os.fsync(descriptor)
        fresh.rename(target)
        sync(target.parent)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _read(sealed: Unsealer, staging: Path) -> Manifest:
    """Unpack into `staging`. What is read has been authenticated; the checks are for a backup that
    somebody with the passphrase made by other means."""
    size = int.from_bytes(sealed.read(_LENGTH_BYTES), "big")
    if size > MANIFEST_BYTES_MAX:
        raise SealedDamaged("This is not a backup of a node", why="its manifest is too large")
    manifest = decode(Manifest, sealed.read(size), size_max=MANIFEST_BYTES_MAX)
    for entry in manifest.entries:
        pure = PurePosixPath(entry.path)
        if pure.is_absolute() or ".." in pure.parts or entry.path in LEFT_OUT:
            raise SealedDamaged("This is not a backup of a node", why=f"it names {entry.path!r}")
        target = staging / pure
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            left = entry.size
            while left:
                piece = sealed.read(min(left, PIECE_BYTES))
                if not piece:
                    raise SealedDamaged(why=f"{entry.path} is incomplete")
                file.write(piece)
                left -= len(piece)
    if sealed.read(1):
        raise SealedDamaged(why="there is more in it than its manifest says")
    return manifest


def _require_whole(staging: Path, manifest: Manifest) -> None:
    """The restored node can be opened, and is the one that the manifest names."""
    membership = Membership.open(staging)
    if membership is None or membership.genesis_id != manifest.genesis:
        raise SealedDamaged(why="the membership in it is not of the network that it names")
    if (staging / _LEDGER).exists():
        store = Store(staging / "ledger", membership.genesis)
        height = store.height
        store.close()
        if height != manifest.height:
            raise SealedDamaged(why=f"its ledger is at height {height}, not {manifest.height}")
