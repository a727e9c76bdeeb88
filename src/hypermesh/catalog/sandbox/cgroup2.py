"""Control groups, version 2: one hierarchy (Linux, admin-guide/cgroup-v2).

A cgroup that hands controllers to its children holds no process itself ("no internal processes").
So the node's cgroup is made beneath the nearest ancestor that hands on cpu, memory and pids, or can
be made to. An ordinary user finds one in the part of the tree that systemd delegates to sessions.
The search stops at an ancestor that has limits of its own: above it, a job would escape them. Where
the node is alone in its cgroup (a service, a container) it first steps into a child, to make the
cgroup free to hand on controllers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.limits import LeafLimits, Usage, cpu_quota
from hypermesh.catalog.sandbox import cgroup
from hypermesh.catalog.sandbox.tree import Tree
from hypermesh.wire.asset import Enforcement

CONTROLLERS = frozenset({"cpu", "memory", "pids"})
_ENABLE = "+cpu +memory +pids"
_STEP_ASIDE = "hypermesh.node"


class Cgroup2:
    """The node's cgroup; `parent` hands on cpu, memory and pids."""

    cpu = Enforcement.CGROUP2
    memory = Enforcement.CGROUP2
    processes = Enforcement.CGROUP2

    def __init__(self, tree: Tree, parent: Path) -> None:
        self._tree = tree
        self._parent = parent

    def leaf(self) -> Leaf2:
        directory = self._parent / f"job-{secrets.token_hex(6)}"
        try:
            self._tree.make(directory)
        except OSError as error:
            raise SandboxBroken("No cgroup can be made for a job", why=str(error)) from error
        return Leaf2(self._tree, directory)

    def close(self) -> None:
        remove_parent(self._tree, self._parent)


class Leaf2:
    """One job's cgroup."""

    def __init__(self, tree: Tree, directory: Path) -> None:
        self._tree = tree
        self._at = directory

    def born(self, start: Callable[[], cgroup.Process]) -> cgroup.Process:
        process = start()
        try:
            self._tree.write(self._at / "cgroup.procs", str(process.pid))
        except OSError as error:
            process.kill()
            process.wait()
            raise SandboxBroken(
                "A job cannot be started under its limits", why=str(error)
            ) from error
        return process

    def limit(self, limits: LeafLimits) -> None:
        quota_us, period_us = cpu_quota(limits.cpu_millicores)
        try:
            self._tree.write(self._at / "pids.max", str(limits.processes))
            self._tree.write(self._at / "cpu.max", f"{quota_us} {period_us}")
            self._tree.write(self._at / "memory.max", str(limits.memory_bytes))
            self._tree.write(self._at / "memory.oom.group", "1")
            if self._tree.exists(self._at / "memory.swap.max"):
                self._tree.write(self._at / "memory.swap.max", "0")
        except OSError as error:
            raise SandboxBroken("The kernel refuses a job's limits", why=str(error)) from error

    def usage(self) -> Usage:
        # memory.peak came with Linux 5.19; before it, what is in use now is the best there is.
        peak = self._at / "memory.peak"
        memory = peak if self._tree.exists(peak) else self._at / "memory.current"
        return Usage(
            _field(self._tree.read(self._at / "cpu.stat"), "usage_usec"),
            int(self._tree.read(memory)),
            _field(self._tree.read(self._at / "memory.events"), "oom_kill"),
        )

    def kill(self) -> None:
        _kill(self._tree, self._at)

    def remove(self) -> None:
        self.kill()
        cgroup.remove_empty(self._tree, self._at)


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _kill(tree: Tree, leaf: Path) -> None:
    # cgroup.kill came with Linux 5.14. Where it is missing, stopping forks first and then killing
    # one by one ends even a fork bomb.
    with suppress(OSError):
        tree.write(leaf / "pids.max", "0")
    with suppress(OSError):
        tree.write(leaf / "cgroup.kill", "1")
    cgroup.kill_members(tree, leaf)


def remove_parent(tree: Tree, parent: Path) -> None:
    """Remove a node's cgroup with all its leaves, killing what runs there."""
    if not tree.exists(parent):
        return
    for leaf in tree.directories(parent):
        _kill(tree, leaf)
        cgroup.remove_empty(tree, leaf)
    cgroup.remove_empty(tree, parent)


def open_cgroup2(
    tree: Tree, found: list[cgroup.Mount], member: dict[str, PurePosixPath], name: str, pid: int
) -> Cgroup2 | None:
    """The cgroup of the node `name` (this process, `pid`), after what an earlier run left is
    cleared away. None where no ancestor hands on the controllers that limits need."""
    mount = next((m for m in found if m.version == 2), None)
    if mount is None or "" not in member:
        return None
    for old in cgroup.leftovers(tree, mount.point, name):
        remove_parent(tree, old)
    own = cgroup.own_directory(mount, member[""])
    here = own
    while here.is_relative_to(mount.point):
        if _hands_on(tree, here, alone=pid if here == own else None):
            parent = here / (cgroup.PREFIX + name)
            with suppress(OSError):
                tree.make(parent)
                tree.write(parent / "cgroup.subtree_control", _ENABLE)
                return Cgroup2(tree, parent)
        if _limited(tree, here):
            return None
        here = here.parent
    return None


def _hands_on(tree: Tree, here: Path, *, alone: int | None) -> bool:
    """Whether `here` hands the controllers to its children, or can be made to."""
    try:
        if set(tree.read(here / "cgroup.subtree_control").split()) >= CONTROLLERS:
            return True
        if not set(tree.read(here / "cgroup.controllers").split()) >= CONTROLLERS:
            return False
        if alone is not None and cgroup.members(tree, here) == [alone]:
            aside = here / _STEP_ASIDE
            with suppress(FileExistsError):
                tree.make(aside)
            tree.write(aside / "cgroup.procs", str(alone))
        tree.write(here / "cgroup.subtree_control", _ENABLE)
    except OSError:
        return False
    return True


def _limited(tree: Tree, here: Path) -> bool:
    for name in ("memory.max", "cpu.max", "pids.max"):
        try:
            if not tree.read(here / name).startswith("max"):
                return True
        except OSError:
            continue
    return False
