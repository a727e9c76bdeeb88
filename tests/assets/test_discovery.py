"""Effective limits, read from trees that look like machines: cgroup v2, v1, both, containers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.assets.discovery import discover
from hypermesh.assets.inventory import (
    Gpu,
    Inventory,
    Share,
    cpu_model,
    descriptors,
    listed,
)
from hypermesh.wire.asset import AssetKind, Descriptor, Enforcement
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput, NotFound

GIB = 1 << 30
V2_MOUNT = "30 23 0:28 / /sys/fs/cgroup {mode},relatime - cgroup2 cgroup2 rw"
V1_LINE = "{n} 23 0:{n} {root} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"


class Machine:
    """A tree with `/proc` and `/sys` of four processors and 8 GiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Test CPU\nflags\t: aes\n\n")
        self.write("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n")
        self.write("proc/self/status", "Name:\tpython\nCpus_allowed_list:\t0-3\n")
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.write("sys/class/net/lo/operstate", "unknown\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def cgroup2(self, path: str, mode: str = "rw") -> str:
        self.write("proc/self/mountinfo", V2_MOUNT.format(mode=mode) + "\n")
        self.write("proc/self/cgroup", f"0::{path}\n")
        directory = "sys/fs/cgroup" + path.rstrip("/")
        self.write(f"{directory}/cgroup.controllers", "cpuset cpu io memory pids\n")
        return directory

    def cgroup1(self, path: str, root: str = "/", unified: bool = False) -> None:
        lines = [
            V1_LINE.format(n=40 + n, root=root, name=name)
            for n, name in enumerate(("cpu", "memory"))
        ]
        if unified:
            lines.append("50 23 0:50 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw")
        self.write("proc/self/mountinfo", "\n".join(lines) + "\n")
        self.write("proc/self/cgroup", f"5:memory:{path}\n4:cpu:{path}\n0::/\n")
        for name in ("cpu", "memory"):
            self.write(f"sys/fs/cgroup/{name}/tasks", "")

    def inventory(self, nvidia: list[Gpu] | None = None) -> Inventory:
        return discover(self.root, root=self.root, nvidia=lambda: nvidia or [])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_cgroups_the_machine_is_the_limit(machine: Machine) -> None:
    found = machine.inventory()
    assert (found.cpu.model, found.cpu.threads, found.cpu.millicores) == ("Test CPU", 4, 4000)
    assert found.cpu.limited_by == found.memory.limited_by == "none"
    assert found.cpu.enforcement is Enforcement.UNENFORCED
    assert (found.memory.total, found.memory.effective) == (8 * GIB, 8 * GIB)
    assert found.memory.available == 6 * GIB
    assert found.interfaces == found.gpus == ()


def test_affinity_limits(machine: Machine) -> None:
    machine.write("proc/self/status", "Cpus_allowed_list:\t1,3\n")
    assert (machine.inventory().cpu.millicores, machine.inventory().cpu.limited_by) == (
        2000,
        "affinity",
    )


def test_cgroup2_limits(machine: Machine) -> None:
    own = machine.cgroup2("/user/job")
    machine.write(f"{own}/cpu.max", "150000 100000\n")
    machine.write(f"{own}/memory.max", f"{GIB}\n")
    found = machine.inventory()
    assert (found.cpu.millicores, found.cpu.limited_by) == (1500, "cgroup2 quota")
    assert (found.memory.effective, found.memory.limited_by) == (GIB, "cgroup2 limit")
    assert found.memory.available == GIB
    assert found.cpu.enforcement is Enforcement.CGROUP2


def test_the_tightest_ancestor_holds(machine: Machine) -> None:
    own = machine.cgroup2("/user/job")
    machine.write(f"{own}/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/user/cpu.max", "50000 100000\n")
    machine.write(f"{own}/memory.max", "max\n")
    machine.write("sys/fs/cgroup/user/memory.max", f"{2 * GIB}\n")
    found = machine.inventory()
    assert (found.cpu.millicores, found.memory.effective) == (500, 2 * GIB)


def test_a_read_only_hierarchy_enforces_nothing(machine: Machine) -> None:
    machine.cgroup2("/job", mode="ro")
    assert machine.inventory().cpu.enforcement is Enforcement.UNENFORCED


def test_cgroup2_without_the_cpu_controller_enforces_nothing(machine: Machine) -> None:
    own = machine.cgroup2("/job")
    machine.write(f"{own}/cgroup.controllers", "hugetlb\n")
    assert machine.inventory().cpu.enforcement is Enforcement.UNENFORCED


def test_cgroup1_limits(machine: Machine) -> None:
    machine.cgroup1("/job")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "20000\n")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", f"{3 * GIB}\n")
    found = machine.inventory()
    assert (found.cpu.millicores, found.cpu.limited_by) == (200, "cgroup1 quota")
    assert (found.memory.effective, found.memory.limited_by) == (3 * GIB, "cgroup1 limit")
    assert found.cpu.enforcement is Enforcement.CGROUP1


def test_cgroup1_says_no_limit_in_its_own_way(machine: Machine) -> None:
    machine.cgroup1("/job")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n")
    found = machine.inventory()
    assert (found.cpu.millicores, found.memory.effective) == (4000, 8 * GIB)
    assert found.cpu.limited_by == found.memory.limited_by == "none"


def test_hybrid_takes_each_controller_from_where_it_is(machine: Machine) -> None:
    machine.cgroup1("/job", unified=True)
    machine.write("sys/fs/cgroup/unified/cpu.max", "1000 100000\n")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "300000\n")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    found = machine.inventory()
    assert (found.cpu.millicores, found.cpu.enforcement) == (3000, Enforcement.CGROUP1)


def test_a_container_sees_its_own_part_of_the_hierarchy(machine: Machine) -> None:
    machine.cgroup1("/docker/abc", root="/docker/abc")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    assert machine.inventory().memory.effective == GIB


def test_a_path_outside_the_namespace_falls_back_to_the_mount(machine: Machine) -> None:
    machine.cgroup2("/")
    machine.write("proc/self/cgroup", "0::/../../elsewhere\n")
    machine.write("sys/fs/cgroup/memory.max", f"{GIB}\n")
    assert machine.inventory().memory.effective == GIB


def test_interfaces(machine: Machine) -> None:
    machine.write("sys/class/net/eth0/operstate", "up\n")
    machine.write("sys/class/net/eth0/speed", "10000\n")
    machine.write("sys/class/net/eth0/mtu", "9000\n")
    machine.write("sys/class/net/eth0/device/vendor", "0x1d0f\n")
    machine.write("sys/class/net/veth1/operstate", "down\n")
    machine.write("sys/class/net/veth1/speed", "-1\n")
    machine.write("sys/class/net/veth1/mtu", "1500\n")
    ethernet, virtual = machine.inventory().interfaces
    assert (ethernet.up, ethernet.physical, ethernet.mtu) == (True, True, 9000)
    assert ethernet.bits_per_s == 10_000_000_000
    assert (virtual.up, virtual.physical, virtual.bits_per_s) == (False, False, 0)


def test_gpus_of_several_vendors_each_once(machine: Machine) -> None:
    for card, vendor, bus in (
        ("card0", "0x1234", "0000:00:01.0"),
        ("card1", "0x1002", "0000:03:00.0"),
        ("card2", "0x10de", "0000:17:00.0"),
    ):
        machine.write(f"sys/class/drm/{card}/device/vendor", f"{vendor}\n")
        machine.write(f"sys/class/drm/{card}/device/device", "0x744c\n")
        machine.write(f"sys/class/drm/{card}/device/uevent", f"DRIVER=x\nPCI_SLOT_NAME={bus}\n")
    machine.write("sys/class/drm/card1/device/mem_info_vram_total", str(24 * GIB))
    machine.write("sys/class/drm/card1-DP-1/status", "connected\n")
    known = Gpu("NVIDIA H200", "nvidia", 141 * GIB, "0000:17:00.0", "nvml")
    first, second = machine.inventory([known]).gpus
    assert first == known
    assert (second.vendor, second.memory_bytes, second.source) == ("amd", 24 * GIB, "sysfs")


def test_a_machine_without_procfs_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="meminfo"):
        discover(tmp_path, root=tmp_path, nvidia=list)


def test_arm_is_named_by_implementer_and_part() -> None:
    assert (
        cpu_model("processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c\n") == "ARM 0x41 0xd0c"
    )
    assert cpu_model("") == "unknown"


@given(st.frozensets(st.integers(0, 300), max_size=40))
def test_a_list_is_read_however_it_is_grouped(numbers: frozenset[int]) -> None:
    text, ordered = [], sorted(numbers)
    while ordered:
        first = last = ordered.pop(0)
        while ordered and ordered[0] == last + 1:
            last = ordered.pop(0)
        text.append(str(first) if first == last else f"{first}-{last}")
    assert listed(",".join(text) + "\n") == numbers


@pytest.mark.parametrize("basis_points", [0, -1, 10_001])
def test_a_share_is_a_part_of_the_whole(basis_points: int) -> None:
    with pytest.raises(InvalidInput):
        Share(basis_points)


@given(st.integers(0, 2**62), st.lists(st.integers(1, 10_000), min_size=1, max_size=8))
def test_shares_that_make_a_whole_never_make_more_than_the_machine(
    units: int, parts: list[int]
) -> None:
    taken, left = 0, 10_000
    for part in parts:
        if part <= left:
            taken += Share(part).of(units)
            left -= part
    assert taken <= units


def test_a_third_of_a_machine_as_assets(machine: Machine) -> None:
    machine.write("sys/class/net/eth0/operstate", "up\n")
    gpu = Gpu("NVIDIA H200", "nvidia", 141 * GIB, "0000:17:00.0", "nvml")
    found = {each.kind: each for each in descriptors(machine.inventory([gpu]), Share(3333))}
    assert found[AssetKind.CPU].capacity == 1333
    assert found[AssetKind.MEMORY].capacity == 8 * GIB * 3333 // 10_000
    assert found[AssetKind.MEMORY].enforcement is Enforcement.ALLOCATION
    assert AssetKind.NETWORK in found
    assert AssetKind.GPU not in found, "a third of one device is no device"
    for descriptor in found.values():
        assert decode(Descriptor, encode(descriptor)) == descriptor
        assert descriptor.detail == sorted(descriptor.detail)


def test_the_whole_machine_has_its_gpu(machine: Machine) -> None:
    gpu = Gpu("NVIDIA H200", "nvidia", 141 * GIB, "0000:17:00.0", "nvml")
    kinds = [each.kind for each in descriptors(machine.inventory([gpu]), Share())]
    assert kinds.count(AssetKind.GPU) == 1


def test_this_machine(tmp_path: Path) -> None:
    """The real one, within the budget of the inventory; the best of a few, for other load."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        found = discover(tmp_path)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.050
    assert 1 <= found.cpu.millicores <= found.cpu.threads * 1000
    assert 0 < found.memory.available <= found.memory.effective <= found.memory.total
    assert 0 < found.storage.free <= found.storage.total
