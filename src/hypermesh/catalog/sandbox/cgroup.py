"""Limits kept by the kernel: what the control-group back ends have in common.

A node owns one cgroup, `hypermesh-<name>`, and in it one leaf for each running job. The parent is
made beneath the cgroup that the node runs in, never beside it, so a limit that an administrator set
for the node holds for its jobs, too. The back ends are `cgroup2`, `cgroup1` and `NoCgroups`; `find`
takes the first that is shown to work by holding a real process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeAlias

from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.limits import LeafLimits, Usage
from hypermesh.catalog.sandbox.tree import Tree
from hypermesh.wire.asset import Enforcement

PREFIX = "hypermesh-"
PROBE_S_MAX = 3.0
"""Seconds a probe of the control groups may take before they count as unusable."""
KILL_S_MAX = 5.0
"""Seconds to wait for killed processes to be gone."""
WALK_DIRECTORIES_MAX = 10_000
"""Directories looked at in search of what a killed node left behind."""
_POLL_S = 0.0002

Process: TypeAlias = "subprocess.Popen[bytes]"


class Leaf(Protocol):
    """The cgroup of one job. Safe to use from one thread at a time."""

    def born(self, start: Callable[[], Process]) -> Process:
        """The process that `start` starts, inside before this returns. It must wait to be let go,
        because with some back ends it is moved in after its birth. Raises `SandboxBroken`."""
        ...

    def limit(self, limits: LeafLimits) -> None:
        """Set the limits that this back end enforces; swap is never allowed. May be called again
        while processes are inside. Raises `SandboxBroken` where the kernel refuses."""
        ...

    def usage(self) -> Usage | None:
        """What the processes in it have used so far; None where nothing is measured."""
        ...

    def kill(self) -> None:
        """End every process inside, forks in flight included, and wait until they are gone."""
        ...

    def remove(self) -> None:
        """`kill`, then remove the cgroup itself."""
        ...


class Cgroups(Protocol):
    """The node's own cgroup. Safe to use from any thread."""

    cpu: Enforcement
    memory: Enforcement
    processes: Enforcement

    def leaf(self) -> Leaf:
        """A new, empty leaf. Raises `SandboxBroken`."""
        ...

    def close(self) -> None:
        """Remove the node's cgroup and every leaf in it, killing what runs there."""
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted control-group hierarchy."""

    version: int
    controllers: frozenset[str]
    root: PurePosixPath
    """The cgroup that is visible as the mount point (not `/` inside some containers)."""
    point: Path


def mounts(mountinfo: str) -> list[Mount]:
    """The hierarchies that /proc/self/mountinfo shows (proc(5)). Pure."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, point = (_unescape(field) for field in fields.split(" ")[3:5])
            names = frozenset(options.split(",")) - {"rw", "ro"} if kind == "cgroup" else ()
            found.append(
                Mount(
                    1 if kind == "cgroup" else 2,
                    frozenset(names),
                    PurePosixPath(root),
                    Path(point),
                )
            )
    return found


def memberships(cgroup: str) -> dict[str, PurePosixPath]:
    """The cgroup of this process for each controller, from /proc/self/cgroup (cgroups(7)); the
    entry for version 2 has the empty name. Pure."""
    found = {}
    for line in cgroup.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = PurePosixPath(path)
    return found


def own_directory(mount: Mount, member: PurePosixPath) -> Path:
    """Where `mount` shows the cgroup `member`. Pure."""
    inside = member.relative_to(mount.root) if member.is_relative_to(mount.root) else "."
    return mount.point / inside


def _unescape(field: str) -> str:
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
        field = field.replace(octal, character)
    return field


def members(tree: Tree, leaf: Path) -> list[int]:
    """Processes in `leaf`; empty where it is gone."""
    try:
        return [int(pid) for pid in tree.read(leaf / "cgroup.procs").split()]
    except OSError:
        return []


def kill_members(tree: Tree, leaf: Path) -> None:
    """SIGKILL everything in `leaf` until it is empty. The caller has stopped new forks, or a fork
    bomb could win. Raises `SandboxBroken` after `KILL_S_MAX`."""
    until = time.monotonic() + KILL_S_MAX
    while pids := members(tree, leaf):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise SandboxBroken(
                f"{len(pids)} processes of a job do not end",
                why=f"they are in {leaf} and were sent SIGKILL for {KILL_S_MAX:g} s",
            )
        time.sleep(_POLL_S)


def remove_empty(tree: Tree, directory: Path) -> None:
    """Remove a cgroup whose processes are ending. Raises `SandboxBroken` after `KILL_S_MAX`."""
    until = time.monotonic() + KILL_S_MAX
    while True:
        try:
            tree.remove(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > until:
                raise SandboxBroken(
                    f"The cgroup {directory} cannot be removed", why=str(error)
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def leftovers(tree: Tree, top: Path, name: str) -> list[Path]:
    """Every cgroup of the node `name` below `top`. A node that was killed may have run in another
    cgroup than the one it starts in now, so the whole hierarchy is searched."""
    found: list[Path] = []
    pending = [top]
    seen = 0
    while pending and seen < WALK_DIRECTORIES_MAX:
        seen += 1
        try:
            directories = tree.directories(pending.pop(0))
        except OSError:
            continue
        for directory in directories:
            (found if directory.name == PREFIX + name else pending).append(directory)
    return found


def probe_with(cgroups: Cgroups, holds: Callable[[int], bool]) -> bool:
    """Whether a leaf of `cgroups` really holds a process: `holds(pid)` looks at it from outside."""
    try:
        leaf = cgroups.leaf()
    except SandboxBroken:
        return False
    try:
        with leaf.born(_waiting) as waiting:
            leaf.limit(LeafLimits(cpu_millicores=1000, memory_bytes=64 << 20))
            held = holds(waiting.pid)
            leaf.kill()
            return held and waiting.wait(KILL_S_MAX) == -signal.SIGKILL
    except (OSError, SandboxBroken, subprocess.TimeoutExpired):
        return False
    finally:
        with suppress(SandboxBroken):
            leaf.remove()


def _waiting() -> Process:
    return subprocess.Popen(["/bin/sh", "-c", "read -r end"], stdin=subprocess.PIPE)


def within(seconds: float, probe: Callable[[], Cgroups | None]) -> Cgroups | None:
    """What `probe` finds, or None where it takes longer than `seconds`: a control file of a broken
    kernel or container can block for ever, and a node must start all the same."""
    answer: list[Cgroups | None] = []
    thread = threading.Thread(
        target=lambda: answer.append(probe()), name="hm-cgroup-probe", daemon=True
    )
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None


class NoCgroups:
    """No control groups can be used here. Nothing is enforced, and every result says so."""

    cpu = Enforcement.UNENFORCED
    memory = Enforcement.UNENFORCED
    processes = Enforcement.UNENFORCED

    def leaf(self) -> Leaf:
        return _NoLeaf()

    def close(self) -> None:
        """Nothing was made, nothing is to be removed."""


class _NoLeaf:
    def born(self, start: Callable[[], Process]) -> Process:
        return start()

    def limit(self, limits: LeafLimits) -> None:
        """Nothing is enforced."""

    def usage(self) -> None:
        return None

    def kill(self) -> None:
        """Whoever started the processes ends them (the sandbox's first process takes the rest)."""

    def remove(self) -> None:
        """There is no cgroup."""
