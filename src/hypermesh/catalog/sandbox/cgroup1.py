"""Control groups, version 1: one hierarchy for each controller (Linux, admin-guide/cgroup-v1).

Each controller that is mounted and writable is used; what is missing is reported as unenforced.

A process is born inside, by moving the thread that starts it for that moment: moving another
process waits for an RCU grace period (4 to 18 ms measured, as much as the whole start of a
sandbox), moving oneself does not (0.2 ms). The leaf has no limits yet at that moment, so none can
strike the node's own thread.
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

CONTROLLERS = ("pids", "memory", "cpu", "cpuacct")
_THIS_THREAD = "0"


class Cgroup1:
    """The node's cgroup in each hierarchy. `parents` maps a controller to its directory."""

    def __init__(self, tree: Tree, parents: dict[str, Path]) -> None:
        self._tree = tree
        self._parents = parents
        timed = "cpu" in parents and "cpuacct" in parents
        self.cpu = Enforcement.CGROUP1 if timed else Enforcement.UNENFORCED
        self.memory = Enforcement.CGROUP1 if "memory" in parents else Enforcement.UNENFORCED
        self.processes = Enforcement.CGROUP1 if "pids" in parents else Enforcement.UNENFORCED

    def leaf(self) -> Leaf1:
        name = f"job-{secrets.token_hex(6)}"
        leaf = Leaf1(self._tree, {key: path / name for key, path in self._parents.items()})
        leaf.make()
        return leaf

    def close(self) -> None:
        for parent in dict.fromkeys(self._parents.values()):
            remove_parent(self._tree, parent)


class Leaf1:
    """One job's cgroup in each hierarchy."""

    def __init__(self, tree: Tree, directories: dict[str, Path]) -> None:
        self._tree = tree
        self._at = directories
        self._all = tuple(dict.fromkeys(directories.values()))

    def make(self) -> None:
        try:
            for directory in self._all:
                self._tree.make(directory)
        except OSError as error:
            for directory in self._all:
                with suppress(OSError):
                    self._tree.remove(directory)
            raise SandboxBroken("No cgroup can be made for a job", why=str(error)) from error

    def born(self, start: Callable[[], cgroup.Process]) -> cgroup.Process:
        moved: list[Path] = []
        try:
            for directory in self._all:
                self._tree.write(directory / "tasks", _THIS_THREAD)
                moved.append(directory)
            return start()
        except OSError as error:
            raise SandboxBroken(
                "A job cannot be started under its limits", why=str(error)
            ) from error
        finally:
            for directory in moved:
                home = directory.parent.parent
                self._tree.write(home / "tasks", _THIS_THREAD)

    def limit(self, limits: LeafLimits) -> None:
        try:
            if "pids" in self._at:
                self._tree.write(self._at["pids"] / "pids.max", str(limits.processes))
            if "cpu" in self._at:
                self._limit_cpu(limits.cpu_millicores)
            if "memory" in self._at:
                self._limit_memory(limits.memory_bytes)
        except OSError as error:
            raise SandboxBroken("The kernel refuses a job's limits", why=str(error)) from error

    def _limit_cpu(self, millicores: int) -> None:
        quota_us, period_us = cpu_quota(millicores)
        at = self._at["cpu"]
        # A quota may not exceed what its ancestors allow for the period set; going through "no
        # quota" keeps every step valid when a leaf's limits change.
        self._tree.write(at / "cpu.cfs_quota_us", "-1")
        self._tree.write(at / "cpu.cfs_period_us", str(period_us))
        self._tree.write(at / "cpu.cfs_quota_us", str(quota_us))

    def _limit_memory(self, memory_bytes: int) -> None:
        at = self._at["memory"]
        swap = at / "memory.memsw.limit_in_bytes"
        counted = self._tree.exists(swap)
        # memory plus swap may never be below memory, so it is lifted first and lowered last.
        if counted:
            self._tree.write(swap, "-1")
        self._tree.write(at / "memory.limit_in_bytes", str(memory_bytes))
        if counted:
            self._tree.write(swap, str(memory_bytes))
        else:
            self._tree.write(at / "memory.swappiness", "0")

    def usage(self) -> Usage | None:
        if "cpuacct" not in self._at or "memory" not in self._at:
            return None
        memory = self._at["memory"]
        kills = 0
        for line in self._tree.read(memory / "memory.oom_control").splitlines():
            if line.startswith("oom_kill "):
                kills = int(line.split()[1])
        return Usage(
            int(self._tree.read(self._at["cpuacct"] / "cpuacct.usage")) // 1000,
            int(self._tree.read(memory / "memory.max_usage_in_bytes")),
            kills,
        )

    def kill(self) -> None:
        if "pids" in self._at:
            with suppress(OSError):
                self._tree.write(self._at["pids"] / "pids.max", "0")
        for directory in self._all:
            cgroup.kill_members(self._tree, directory)

    def remove(self) -> None:
        self.kill()
        for directory in self._all:
            cgroup.remove_empty(self._tree, directory)


def remove_parent(tree: Tree, parent: Path) -> None:
    """Remove a node's cgroup in one hierarchy with all its leaves, killing what runs there."""
    if not tree.exists(parent):
        return
    for leaf in tree.directories(parent):
        with suppress(OSError):
            tree.write(leaf / "pids.max", "0")
        cgroup.kill_members(tree, leaf)
        cgroup.remove_empty(tree, leaf)
    cgroup.kill_members(tree, parent)
    cgroup.remove_empty(tree, parent)


def open_cgroup1(
    tree: Tree, found: list[cgroup.Mount], member: dict[str, PurePosixPath], name: str
) -> Cgroup1 | None:
    """The cgroups of the node `name`, after what an earlier run left is cleared away. None where
    no controller can be used."""
    parents: dict[str, Path] = {}
    for controller in CONTROLLERS:
        mount = next((m for m in found if m.version == 1 and controller in m.controllers), None)
        if mount is None or controller not in member:
            continue
        parent = cgroup.own_directory(mount, member[controller]) / (cgroup.PREFIX + name)
        if parent not in parents.values():
            for old in cgroup.leftovers(tree, mount.point, name):
                remove_parent(tree, old)
            try:
                tree.make(parent)
            except OSError:
                continue
        parents[controller] = parent
    return Cgroup1(tree, parents) if parents else None
