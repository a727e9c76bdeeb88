"""What `hm doctor` looks at, as values. Times in milliseconds since 1970, sizes in bytes.

A fact that could not be found out, for want of the thing or of time, is None: no check may read a
fault into it. `trouble` is what the system or a reader said in its own words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypermesh.wire.api.dns import DnsView
from hypermesh.wire.api.health import HealthView
from hypermesh.wire.api.network import StatusView


@dataclass(frozen=True, slots=True)
class Directory:
    """The node's data directory; `mode` and `user` are None where there is none."""

    path: Path
    mode: int | None = None
    user: int | None = None
    trouble: str = ""
    """Why nothing can be written there."""
    free: int | None = None
    size: int | None = None
    """Of its file system."""


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    sealed: bool
    trouble: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """What makes it a node of a network. `is_founder` and `certificate_ends_ms` are None where
    their files cannot be read."""

    trouble: str = ""
    fix: str = ""
    is_founder: bool | None = None
    certificate_ends_ms: int | None = None
    plot_bytes: int | None = None
    has_plot: bool = False
    secrets: tuple[Secret, ...] = ()
    secrets_missing: tuple[str, ...] = ()
    secrets_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """A SQLite file. `checked` is False where time ran out."""

    file: Path
    trouble: str = ""
    checked: bool = True


@dataclass(frozen=True, slots=True)
class Ledger:
    databases: tuple[Database, ...] = ()
    """The first is the ledger's own, where there is one."""
    height: int | None = None
    last_block_ms: int | None = None
    index_height: int | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """The process that holds the lock of the data directory, and its socket."""

    pid: int | None = None
    ended_unseen: int | None = None
    """The process that held it last and did not tidy up."""
    is_stopped: bool = False
    has_socket: bool = False
    socket_mode: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the running node says of itself."""

    trouble: str = ""
    version: str | None = None
    status: StatusView | None = None
    readiness: dict[str, str] | None = None
    attested: bool | None = None
    health: HealthView | None = None
    names: DnsView | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What the node needs of the machine. Ports are those that something else holds."""

    user: int = 0
    now_ms: int = 0
    ipv6_trouble: str = ""
    stoq_port_taken: int | None = None
    api_ports_taken: tuple[int, ...] = ()
    dns_taken: str | None = None
    """Where names shall be served, and something else does."""
    api_ports: int = 1
    """How many the node would try."""
    sandbox_trouble: str = ""
    sandbox_fix: str = ""
    limits_unenforced: tuple[str, ...] = ()
    files_max: int | None = None
    memory: int | None = None
    memory_free: int | None = None
    udp_buffers: dict[str, int] = field(default_factory=dict)
    """Kernel setting -> the largest buffer that it allows."""
    bypasses: dict[str, str] = field(default_factory=dict)
    """A way past the system calls of a socket -> why STOQ does not go it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it. `version` is that of this `hm`."""

    version: str
    directory: Directory
    machine: Machine = Machine()
    configuration_trouble: tuple[str, str] = ("", "")
    """What is wrong with the configuration files, and the fix."""
    settings_trouble: str = ""
    settings_file: Path | None = None
    member: Member | None = None
    """None where there is no node in the directory yet."""
    ledger: Ledger = Ledger()
    process: Process = Process()
    answers: Answers | None = None
    """None where no process holds the lock."""
