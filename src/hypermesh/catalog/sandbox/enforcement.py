"""Which back end keeps the limits on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.sandbox import cgroup
from hypermesh.catalog.sandbox.cgroup1 import open_cgroup1
from hypermesh.catalog.sandbox.cgroup2 import open_cgroup2
from hypermesh.catalog.sandbox.tree import KernelTree, Tree

_PROC = Path("/proc/self")


def find(name: str) -> cgroup.Cgroups:
    """The cgroups of the node `name`, in force and shown to hold a process: version 2, else 1, else
    none. Clears away what a killed run of the same node left, its processes included.

    Only one process at a time may use a name; a node's lock on its data directory sees to that.
    Takes at most `PROBE_S_MAX` seconds.
    """
    return (
        cgroup.within(cgroup.PROBE_S_MAX, lambda: _find(KernelTree(), name)) or cgroup.NoCgroups()
    )


def _find(tree: Tree, name: str) -> cgroup.Cgroups | None:
    try:
        found = cgroup.mounts((_PROC / "mountinfo").read_text())
        member = cgroup.memberships((_PROC / "cgroup").read_text())
    except OSError:
        return None
    candidates = (
        lambda: open_cgroup2(tree, found, member, name, os.getpid()),
        lambda: open_cgroup1(tree, found, member, name),
    )
    for open_candidate in candidates:
        with suppress(OSError, SandboxBroken):
            opened = open_candidate()
            if opened is not None:
                if cgroup.probe_with(opened, _held_by_node(name)):
                    return opened
                opened.close()
    return None


def _held_by_node(name: str) -> Callable[[int], bool]:
    def holds(pid: int) -> bool:
        return cgroup.PREFIX + name in Path(f"/proc/{pid}/cgroup").read_text()

    return holds
