"""Control groups: reading /proc, version 2 against a model of the kernel's rules, leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.limits import (
    CPU_QUOTA_US_MIN,
    LeafLimits,
    Usage,
    cpu_quota,
    process_limits,
)
from hypermesh.catalog.sandbox import cgroup, enforcement
from hypermesh.catalog.sandbox.cgroup2 import Cgroup2, open_cgroup2
from hypermesh.catalog.sandbox.tree import KernelTree
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.rpc import JobLimits

V1_MOUNTS = r"""
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /docker/1f /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cg\040roup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
""".strip()


def test_mounts_are_read_with_their_roots_and_spaces() -> None:
    first, second, third = cgroup.mounts(V1_MOUNTS)
    assert (first.version, first.controllers) == (1, {"cpu", "cpuacct"})
    assert first.point == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert second.root == PurePosixPath("/docker/1f")
    assert (third.version, third.point) == (2, Path("/sys/fs/cg roup/unified"))


def test_the_own_directory_respects_what_a_container_sees() -> None:
    member = cgroup.memberships("4:memory:/docker/1f/x\n3:cpu,cpuacct:/a:b\n0::/user.slice")
    assert member[""] == PurePosixPath("/user.slice")
    assert member["cpuacct"] == PurePosixPath("/a:b")
    cpu, memory, _ = cgroup.mounts(V1_MOUNTS)
    assert cgroup.own_directory(cpu, member["cpu"]) == cpu.point / "a:b"
    assert cgroup.own_directory(memory, member["memory"]) == memory.point / "x"
    assert cgroup.own_directory(memory, PurePosixPath("/elsewhere")) == memory.point


@pytest.mark.parametrize(
    ("millicores", "expected"),
    [
        (1, (1000, 1_000_000)),
        (19, (19_000, 1_000_000)),
        (20, (1000, 50_000)),
        (200, (10_000, 50_000)),
        (1_024_000, (51_200_000, 50_000)),
    ],
)
def test_the_quota_is_never_below_the_kernels_least(
    millicores: int, expected: tuple[int, int]
) -> None:
    quota, period = cpu_quota(millicores)
    assert (quota, period) == expected
    assert quota >= CPU_QUOTA_US_MIN
    assert quota * 1000 == millicores * period


def test_process_limits_stand_in_only_where_no_cgroup_does_better() -> None:
    limits = JobLimits(1500, 64 << 20, 2500, 0)
    held = process_limits(limits, memory_enforced=True, processes_enforced=True)
    assert (held.address_space_bytes, held.processes, held.cpu_s) == (None, None, 7)
    bare = process_limits(limits, memory_enforced=False, processes_enforced=False)
    assert (bare.address_space_bytes, bare.processes) == (64 << 20, 64)


MOUNT = Path("/cg")
ALL = "cpu io memory pids"


class KernelModel:
    """Version 2 as the kernel has it: control files appear with a directory, depend on what its
    parent hands on, and a cgroup with processes hands on nothing (except the root)."""

    def __init__(self, *, kill_file: bool = True) -> None:
        self.controllers: dict[Path, set[str]] = {MOUNT: set(ALL.split())}
        self.handed: dict[Path, set[str]] = {MOUNT: set()}
        self.procs: dict[Path, list[int]] = {MOUNT: []}
        self.values: dict[Path, str] = {}
        self.locked: set[Path] = set()
        self.kill_file = kill_file

    def add(self, path: str, *, hands: str = "", procs: tuple[int, ...] = ()) -> Path:
        at = MOUNT / path
        self.make(at)
        self.procs[at] = list(procs)
        self.handed[at] = set(hands.split())
        return at

    def read(self, path: Path) -> str:
        at, name = path.parent, path.name
        if at not in self.procs or not self.exists(path):
            raise FileNotFoundError(path)
        if name == "cgroup.procs":
            return "".join(f"{pid}\n" for pid in self.procs[at])
        if name == "cgroup.controllers":
            return " ".join(sorted(self.controllers[at]))
        if name == "cgroup.subtree_control":
            return " ".join(sorted(self.handed[at]))
        return self.values.get(path, "max")

    def exists(self, path: Path) -> bool:
        if path in self.procs:
            return True
        at, name = path.parent, path.name
        if at not in self.procs:
            return False
        if name.startswith("cgroup."):
            return name != "cgroup.kill" or self.kill_file
        return at != MOUNT and name.split(".")[0] in self.controllers[at]

    def write(self, path: Path, text: str) -> None:
        at, name = path.parent, path.name
        if not self.exists(path):
            raise FileNotFoundError(path)
        if at in self.locked:
            raise PermissionError(path)
        if name == "cgroup.procs":
            if self.handed[at] and at != MOUNT:
                raise OSError(16, "busy")
            pid = int(text)
            for pids in self.procs.values():
                if pid in pids:
                    pids.remove(pid)
            self.procs[at].append(pid)
        elif name == "cgroup.subtree_control":
            wanted = {word[1:] for word in text.split()}
            if not wanted <= self.controllers[at]:
                raise FileNotFoundError(path)
            if self.procs[at] and at != MOUNT:
                raise OSError(16, "busy")
            self.handed[at] |= wanted
            for child in self.directories(at):
                self.controllers[child] |= wanted
        elif name == "cgroup.kill":
            self.procs[at].clear()
        else:
            self.values[path] = text

    def make(self, path: Path) -> None:
        if path in self.procs:
            raise FileExistsError(path)
        if path.parent not in self.procs:
            raise FileNotFoundError(path)
        if path.parent in self.locked:
            raise PermissionError(path)
        self.procs[path], self.handed[path] = [], set()
        self.controllers[path] = set(self.handed[path.parent])

    def remove(self, path: Path) -> None:
        if path not in self.procs:
            raise FileNotFoundError(path)
        if self.procs[path] or self.directories(path):
            raise OSError(16, "busy")
        del self.procs[path], self.handed[path], self.controllers[path]

    def directories(self, path: Path) -> list[Path]:
        return sorted(each for each in self.procs if each.parent == path)


MOUNTS = [cgroup.Mount(2, frozenset(), PurePosixPath("/"), MOUNT)]
ME = 4242


def opened(kernel: KernelModel, own: str) -> Cgroup2 | None:
    return open_cgroup2(kernel, MOUNTS, {"": PurePosixPath("/" + own)}, "n1", ME)


def test_version_2_is_found_in_a_delegated_ancestor() -> None:
    kernel = KernelModel()
    kernel.handed[MOUNT] = set(ALL.split())
    kernel.add("app", hands="cpu memory pids")
    kernel.add("app/term", procs=(ME, 7))
    found = opened(kernel, "app/term")
    assert found is not None
    assert (found.cpu, found.memory) == (Enforcement.CGROUP2, Enforcement.CGROUP2)
    assert MOUNT / "app/hypermesh-n1" in kernel.procs
    assert kernel.procs[MOUNT / "app/term"] == [ME, 7]


def test_a_node_alone_in_its_cgroup_steps_aside() -> None:
    kernel = KernelModel()
    kernel.handed[MOUNT] = set(ALL.split())
    service = kernel.add("service", procs=(ME,))
    assert opened(kernel, "service") is not None
    assert kernel.procs[service / "hypermesh.node"] == [ME]
    assert service / "hypermesh-n1" in kernel.procs


def test_limits_of_an_ancestor_are_not_escaped() -> None:
    kernel = KernelModel()
    kernel.handed[MOUNT] = set(ALL.split())
    kernel.add("slice", hands="cpu memory pids")
    kernel.add("slice/capped", procs=(ME, 7))
    kernel.values[MOUNT / "slice/capped/memory.max"] = "1000000"
    assert opened(kernel, "slice/capped") is None


def test_nothing_writable_means_no_version_2() -> None:
    kernel = KernelModel()
    kernel.handed[MOUNT] = {"io"}
    kernel.add("user", procs=(ME, 7))
    kernel.locked = {MOUNT, MOUNT / "user"}
    assert opened(kernel, "user") is None
    kernel = KernelModel()
    kernel.controllers[MOUNT] = {"hugetlb"}
    assert opened(kernel, "") is None, "a hybrid machine has no cpu controller here"


@pytest.fixture
def kernel() -> KernelModel:
    return KernelModel()


@pytest.fixture
def cgroups(kernel: KernelModel) -> Cgroup2:
    found = opened(kernel, "")
    assert found is not None
    return found


def test_a_leaf_of_version_2_sets_and_reads_the_files(
    kernel: KernelModel, cgroups: Cgroup2
) -> None:
    leaf = cgroups.leaf()
    (at,) = kernel.directories(MOUNT / "hypermesh-n1")
    leaf.limit(LeafLimits(250, 64 << 20))
    read = {name: kernel.read(at / name) for name in ("cpu.max", "memory.max", "pids.max")}
    assert read == {"cpu.max": "12500 50000", "memory.max": str(64 << 20), "pids.max": "64"}
    assert kernel.read(at / "memory.swap.max") == "0"
    assert kernel.read(at / "memory.oom.group") == "1"
    kernel.values |= {
        at / "cpu.stat": "usage_usec 1234\nuser_usec 1\n",
        at / "memory.peak": "5678\n",
        at / "memory.events": "low 0\noom 2\noom_kill 1\noom_group_kill 1\n",
    }
    assert leaf.usage() == Usage(1234, 5678, 1)
    kernel.procs[at] = [1, 2, 3]
    leaf.remove()
    assert at not in kernel.procs
    cgroups.close()
    assert MOUNT / "hypermesh-n1" not in kernel.procs


def test_a_process_is_born_into_a_leaf_of_version_2(kernel: KernelModel, cgroups: Cgroup2) -> None:
    leaf = cgroups.leaf()
    (at,) = kernel.directories(MOUNT / "hypermesh-n1")
    with leaf.born(lambda: subprocess.Popen(["sleep", "60"])) as process:
        assert kernel.procs[at] == [process.pid]
        process.kill()
    kernel.locked.add(at)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[0]

    with pytest.raises(SandboxBroken, match="under its limits"):
        leaf.born(start)
    assert started[0].returncode == -signal.SIGKILL, "it may not run outside"


def test_without_cgroup_kill_the_members_are_killed_one_by_one() -> None:
    kernel = KernelModel(kill_file=False)
    found = opened(kernel, "")
    assert found is not None
    leaf = found.leaf()
    (at,) = kernel.directories(MOUNT / "hypermesh-n1")
    with subprocess.Popen(["sleep", "60"]) as process:
        kernel.procs[at] = [process.pid]
        emptied = kernel.read

        def read(path: Path) -> str:
            if process.poll() is not None:
                kernel.procs[at].clear()
            return emptied(path)

        kernel.read = read  # type: ignore[method-assign]
        leaf.kill()
        assert process.wait(5) == -signal.SIGKILL
    assert kernel.values[at / "pids.max"] == "0", "no fork can win the race"


def test_what_a_killed_node_left_is_cleared_wherever_it_ran(kernel: KernelModel) -> None:
    kernel.add("old")
    kernel.add("old/hypermesh-n1")
    kernel.add("old/hypermesh-n1/job-1")
    kernel.add("old/hypermesh-other")
    assert opened(kernel, "") is not None
    assert kernel.directories(MOUNT / "old") == [MOUNT / "old/hypermesh-other"]


KILLED_NODE = """
import subprocess, sys, time
from hypermesh.catalog.sandbox import enforcement
cgroups = enforcement.find(sys.argv[1])
leaf = cgroups.leaf()
job = leaf.born(lambda: subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL))
print(job.pid, flush=True)
time.sleep(600)
"""


def test_a_node_killed_with_a_job_leaves_nothing_after_its_next_start(node_name: str) -> None:
    name = f"{node_name}-killed"
    node = subprocess.Popen(
        [sys.executable, "-c", KILLED_NODE, name], stdout=subprocess.PIPE, text=True
    )
    with node:
        assert node.stdout is not None
        job = int(node.stdout.readline())
        node.kill()
    os.kill(job, 0)
    directories = _directories_of(name)
    cgroups = enforcement.find(name)
    try:
        if cgroups.memory is Enforcement.UNENFORCED:
            os.kill(job, signal.SIGKILL)
            assert directories == []
            return
        assert directories
        until = time.monotonic() + 5
        while Path(f"/proc/{job}").exists() and not _is_zombie(job):
            assert time.monotonic() < until, "the job of the killed node still runs"
            time.sleep(0.005)
        assert all(not list(KernelTree().directories(each)) for each in _directories_of(name))
    finally:
        cgroups.close()
    assert _directories_of(name) == []


def _directories_of(name: str) -> list[Path]:
    found = cgroup.mounts(Path("/proc/self/mountinfo").read_text())
    return [each for mount in found for each in cgroup.leftovers(KernelTree(), mount.point, name)]


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_a_probe_that_hangs_counts_as_nothing_found() -> None:
    began = time.monotonic()
    assert cgroup.within(0.05, lambda: time.sleep(1)) is None  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 0.9


def test_the_thread_that_starts_a_job_is_home_again(node_name: str) -> None:
    before = Path("/proc/thread-self/cgroup").read_text()
    cgroups = enforcement.find(f"{node_name}-home")
    try:
        leaf = cgroups.leaf()
        with leaf.born(lambda: subprocess.Popen(["sleep", "60"])) as process:
            inside = Path(f"/proc/{process.pid}/cgroup").read_text()
            process.kill()
        assert Path("/proc/thread-self/cgroup").read_text() == before
        held = cgroups.memory is not Enforcement.UNENFORCED
        assert (f"hypermesh-{node_name}-home/job-" in inside) == held

        def failing() -> subprocess.Popen[bytes]:
            raise OSError("no process")

        with pytest.raises((OSError, SandboxBroken), match="no process"):
            leaf.born(failing)
        assert Path("/proc/thread-self/cgroup").read_text() == before
        leaf.remove()
    finally:
        cgroups.close()
