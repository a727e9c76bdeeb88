"""Looks at the machine and the node for `hm doctor`. Decides nothing, changes nothing.

Every wait has a bound, so the whole takes seconds even where nothing answers.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec
import psutil

from hypermesh import __version__
from hypermesh.catalog.errors import SandboxMissing, SandboxUnusable
from hypermesh.catalog.sandbox import bubblewrap, enforcement
from hypermesh.cli.doctor.facts import (
    Answers,
    Database,
    Directory,
    Facts,
    Ledger,
    Machine,
    Member,
    Process,
    Secret,
)
from hypermesh.consensus.module import plot_bytes
from hypermesh.crypto.keystore import KeyStore, PassphraseNeeded
from hypermesh.ledger.errors import LedgerDamaged, NewerSchema
from hypermesh.ledger.store import Store
from hypermesh.node import layers
from hypermesh.node.claim import holder
from hypermesh.node.configuration import (
    API_PORT,
    API_PORTS_TRIED,
    SETTINGS_FILE,
    DataDirectoryUnusable,
    Settings,
    first_settings,
    kept_settings,
)
from hypermesh.node.kept import FileDamaged, read
from hypermesh.node.membership import NODE_SECRET, OWNER_SECRET, Certified, key_store
from hypermesh.node.names.place import parse_listen
from hypermesh.sdk.answer import AnswerInvalid
from hypermesh.sdk.call import Call
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.rest import NodeNotRunning, Rest
from hypermesh.stoq import kernel
from hypermesh.wire.api.dns import DnsView
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.api.network import StatusView
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.block import Genesis, Header
from hypermesh.wire.codec import decode
from hypermesh.wire.decoding import NOT_DECODED
from hypermesh.wire.errors import HyperMeshError, InvalidInput, Unreachable

T = TypeVar("T")
U = TypeVar("U")

ANSWER_S = 3.0
DATABASE_S = 5.0
INTERFACES_MAX = 8
SQLITE_STEPS = 10_000
"""Instructions of SQLite between looks at the clock."""
MEMBERSHIP_FIX = "Restore it from a backup, or join as a new node: hm join --data ANOTHER"


class _Described(msgspec.Struct, frozen=True):
    version: str


class _Description(msgspec.Struct, frozen=True):
    """What is wanted of the node's OpenAPI document."""

    info: _Described


class _Attested(msgspec.Struct, frozen=True):
    attested: bool


def collect(data: Path) -> Facts:
    """What there is to see of the node in `data` and of this machine."""
    directory = _directory(data)
    process = _process(data)
    member = _member(data) if directory.mode is not None and not directory.trouble else None
    answers = None
    if process.pid is not None and not process.is_stopped:
        answers = _answers(socket_path(data))
    settings_trouble, settings = _settings(data / SETTINGS_FILE)
    return Facts(
        version=__version__,
        directory=directory,
        machine=_machine(settings, is_running=process.pid is not None),
        configuration_trouble=_configuration(),
        settings_trouble=settings_trouble,
        settings_file=data / SETTINGS_FILE,
        member=member,
        ledger=_ledger(data, process.pid is not None),
        process=process,
        answers=answers,
    )


def _configuration() -> tuple[str, str]:
    try:
        layers.configured()
    except layers.ConfigurationInvalid as error:
        return "; ".join(part for part in (error.what, error.why) if part), error.fix
    return "", ""


def _directory(data: Path) -> Directory:
    try:
        status = data.stat()
        usage = shutil.disk_usage(data)
    except FileNotFoundError:
        return Directory(data, trouble=_no_place(data))
    except OSError as error:
        return Directory(data, trouble=str(error))
    trouble = ""
    if not stat.S_ISDIR(status.st_mode):
        trouble = f"{data} is no directory"
    elif not os.access(data, os.W_OK | os.X_OK):
        trouble = f"nothing can be written in {data} (mode {stat.S_IMODE(status.st_mode):o})"
    elif os.statvfs(data).f_flag & os.ST_RDONLY:
        trouble = f"the file system of {data} is read-only"
    return Directory(
        data, stat.S_IMODE(status.st_mode), status.st_uid, trouble, usage.free, usage.total
    )


def _no_place(data: Path) -> str:
    """Why `data` could not be made; empty where it could."""
    above = next(each for each in data.parents if each.exists())
    return "" if os.access(above, os.W_OK | os.X_OK) else f"{data} cannot be made in {above}"


def _process(data: Path) -> Process:
    lock, file = data / "node.lock", socket_path(data)
    try:
        pid = holder(lock)
        last = None if pid is not None or not lock.exists() else lock.read_text().strip()
        mode = stat.S_IMODE(file.stat().st_mode) if file.is_socket() else None
    except (OSError, ValueError):
        return Process()
    is_stopped = False
    if pid is not None:
        try:
            is_stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            is_stopped = False
    unseen = int(last) if last and last.isdigit() else None
    return Process(pid, unseen, is_stopped, mode is not None, mode)


def _settings(file: Path) -> tuple[str, Settings]:
    """What is wrong with the kept settings, and what a node would start with."""
    try:
        return "", kept_settings(file)
    except DataDirectoryUnusable as error:
        return f"{error.what}: {error.why}", first_settings()
    except OSError as error:
        return str(error), first_settings()


def _member(data: Path) -> Member | None:
    if not (data / "genesis").exists():
        if (data / "certificate").exists() and (data / "seeds").exists():
            return Member(trouble=f"{data / 'genesis'} is gone", fix=MEMBERSHIP_FIX)
        return None
    store = key_store(data)
    try:
        genesis = read(Genesis, data / "genesis", "Every node of the network has the same: copy it")
        certified = read(Certified, data / "certificate", MEMBERSHIP_FIX)
    except FileDamaged as error:
        sound, missing, trouble = _secrets(store, ())
        return Member(
            f"{error.what}: {error.why}",
            error.fix,
            secrets=sound,
            secrets_missing=missing,
            secrets_trouble=trouble,
        )
    founder = (OWNER_SECRET, "ca-root", "ca-issuing") if _is_founder(data) else ()
    sound, missing, trouble = _secrets(store, founder)
    return Member(
        is_founder=bool(founder),
        certificate_ends_ms=certified.not_after_s * 1000,
        plot_bytes=plot_bytes(genesis.proofs.space_k),
        has_plot=any((data / "plots").glob("*")),
        secrets=sound,
        secrets_missing=missing,
        secrets_trouble=trouble,
    )


def _is_founder(data: Path) -> bool:
    """By what only a founder has: the keys may be what is missing."""
    return (data / "ca.sqlite").exists()


def _secrets(
    store: KeyStore, wanted: tuple[str, ...]
) -> tuple[tuple[Secret, ...], tuple[str, ...], str]:
    """The secrets that are there, those that are not, and what keeps from looking."""
    try:
        names = store.names()
    except HyperMeshError as error:
        return (), (), f"{error.what}: {error.why}"
    found = tuple(_secret(store, name) for name in names)
    return found, tuple(name for name in (NODE_SECRET, *wanted) if name not in names), ""


def _secret(store: KeyStore, name: str) -> Secret:
    try:
        store.get(name)
    except PassphraseNeeded:
        return Secret(name, sealed=True)
    except HyperMeshError as error:
        said = f"{error.what}: {error.why}" if error.why else error.what
        return Secret(name, sealed=False, trouble=said, fix=error.fix)
    return Secret(name, sealed=bool(os.environ.get("HYPERMESH_PASSPHRASE")))


def _ledger(data: Path, is_running: bool) -> Ledger:
    file = data / "ledger" / "ledger.sqlite"
    index = next(iter(sorted(data.rglob("index.sqlite"))), None)
    others = sorted(each for each in data.rglob("*.sqlite") if each != file)
    own = _database(file) if file.exists() else Database(file)
    height = last_ms = indexed = None
    if file.exists() and not own.trouble:
        own, height, last_ms = _head(own, data, is_running)
    seen = [_database(each) for each in others]
    if index is not None and not any(each.trouble for each in seen if each.file == index):
        indexed = _index_height(index)
    return Ledger((own, *seen), height, last_ms, indexed)


def _database(file: Path) -> Database:
    """What SQLite says of the file, within `DATABASE_S`."""
    deadline = time.monotonic() + DATABASE_S
    try:
        with _reading(file) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, SQLITE_STEPS)
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "interrupt" in str(error):
            return Database(file, checked=False)
        return Database(file, str(error))
    except sqlite3.DatabaseError as error:
        return Database(file, str(error))
    return Database(file, "" if said == "ok" else str(said))


def _head(own: Database, data: Path, is_running: bool) -> tuple[Database, int | None, int | None]:
    """Height and time of the last block. The tree over all rows is compared with its header, where
    no node has done so at its start."""
    try:
        with _reading(own.file) as connection:
            row = connection.execute(
                "SELECT height, header FROM blocks ORDER BY height DESC LIMIT 1"
            ).fetchone()
        header = None if row is None else decode(Header, row[1])
        if not is_running:
            genesis = read(Genesis, data / "genesis", "")
            Store(own.file.parent, genesis).close()
    except (LedgerDamaged, NewerSchema) as error:
        return Database(own.file, error.why or error.what), None, None
    except (HyperMeshError, sqlite3.Error, OSError) as error:
        # Being in use, or without a genesis, is told by other checks.
        is_damage = isinstance(error, sqlite3.DatabaseError)
        return Database(own.file, str(error) if is_damage else ""), None, None
    if header is None:
        return own, 0, None
    return own, int(row[0]), header.time_ms


def _index_height(file: Path) -> int | None:
    try:
        with _reading(file) as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'height'").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else int(row[0])


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads, closed afterwards."""
    # Not `mode=ro`: where a node was killed, the log beside the file holds its last blocks, and
    # reading them needs the shared memory that a read-only connection may not make.
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=1.0)
    try:
        connection.execute("PRAGMA query_only = ON")
        yield connection
    finally:
        connection.close()


def _answers(path: Path) -> Answers:
    rest = Rest(path)
    status = None
    try:
        status = _ask(rest, StatusView, "/v1/network")
    except (Unreachable, NodeNotRunning) as error:
        rest.close()
        return Answers(trouble=f"{error.what}: {error.why}" if error.why else error.what)
    except HyperMeshError:
        pass  # It answers; why it cannot tell is seen in what it reads.
    try:
        return Answers(
            status=status,
            version=_or_none(
                rest, _Description, "/v1/openapi.json", lambda each: each.info.version
            ),
            readiness=_readiness(rest),
            attested=_or_none(rest, _Attested, "/v1/nodes/me", lambda each: each.attested),
            health=_or_none(rest, HealthView, "/v1/network/health", lambda each: each),
            names=_or_none(rest, DnsView, "/v1/dns", lambda each: each),
        )
    finally:
        rest.close()


def _ask(rest: Rest, kind: type[T], path: str) -> T:
    return rest.run(Call(kind, "GET", path, timeout_s=ANSWER_S))


def _or_none(rest: Rest, kind: type[T], path: str, part: Callable[[T], U]) -> U | None:
    """A part of an answer; None where the node has no such path, or says why not."""
    try:
        return part(_ask(rest, kind, path))
    except HyperMeshError:
        return None


def _readiness(rest: Rest) -> dict[str, str] | None:
    try:
        return _ask(rest, dict[str, str], "/readyz")
    except AnswerInvalid as error:
        # A node that is not ready answers 503, and with the checks in place of a problem.
        try:
            return msgspec.json.decode(error.why.removeprefix("503: "), type=dict[str, str])
        except NOT_DECODED:
            return None
    except HyperMeshError:
        return None


def _machine(settings: Settings, *, is_running: bool) -> Machine:
    stoq_port = 0 if is_running else settings.stoq_port
    memory = psutil.virtual_memory()
    sandbox_trouble, sandbox_fix = _sandbox()
    return Machine(
        user=os.geteuid(),
        now_ms=time.time_ns() // 1_000_000,
        ipv6_trouble=_ipv6(),
        stoq_port_taken=stoq_port
        if stoq_port and _is_taken(socket.SOCK_DGRAM, stoq_port)
        else None,
        api_ports_taken=() if is_running else _api_ports_taken(),
        dns_taken=None if is_running else _dns_taken(settings.dns_listen),
        api_ports=API_PORTS_TRIED,
        sandbox_trouble=sandbox_trouble,
        sandbox_fix=sandbox_fix,
        limits_unenforced=_limits(),
        files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        memory=memory.total,
        memory_free=memory.available,
        udp_buffers=_udp_buffers(),
        bypasses=_bypasses(),
    )


def _ipv6() -> str:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return f"IPv6 loopback cannot be used ({error.strerror})"
    return ""


def _is_taken(kind: socket.SocketKind, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(("::1" if kind is socket.SOCK_STREAM else "::", port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _api_ports_taken() -> tuple[int, ...]:
    """From the first on, as far as they are taken."""
    taken: list[int] = []
    for port in range(API_PORT, API_PORT + API_PORTS_TRIED):
        if not _is_taken(socket.SOCK_STREAM, port):
            break
        taken.append(port)
    return tuple(taken)


def _dns_taken(listen: str) -> str | None:
    """`listen`, where another program serves there."""
    try:
        place = parse_listen(listen)
    except InvalidInput:
        return None
    if place is None or not place.port:
        return None
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((place.host, place.port))
    except OSError as error:
        return str(place) if error.errno == errno.EADDRINUSE else None
    return None


def _sandbox() -> tuple[str, str]:
    try:
        bubblewrap.find()
    except (SandboxMissing, SandboxUnusable) as error:
        return f"{error.what}: {error.why}" if error.why else error.what, error.fix
    return "", ""


def _limits() -> tuple[str, ...]:
    # Under a name of its own, for opening a node's cgroups clears them.
    cgroups = enforcement.find(f"doctor-{os.getpid()}")
    try:
        kept = {"CPU": cgroups.cpu, "memory": cgroups.memory}
        return tuple(name for name, how in kept.items() if how is Enforcement.UNENFORCED)
    finally:
        cgroups.close()


def _bypasses() -> dict[str, str]:
    """Of io_uring, and of AF_XDP on each interface that is up."""
    up = [name for name, of in psutil.net_if_stats().items() if of.isup and name != "lo"]
    xdp = {f"AF_XDP on {name}": kernel.af_xdp(name).why for name in up[:INTERFACES_MAX]}
    return {"io_uring": kernel.io_uring().why, **xdp}


def _udp_buffers() -> dict[str, int]:
    found = {}
    for name in ("rmem_max", "wmem_max"):
        try:
            found[f"net.core.{name}"] = int(Path("/proc/sys/net/core", name).read_text())
        except (OSError, ValueError):
            continue
    return found
