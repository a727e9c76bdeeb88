"""Reads what this machine has: procfs, sysfs, one `statvfs`, and NVML where a driver is.

No library that starts a process or measures for long: the whole inventory takes a few
milliseconds. `root` is where `/proc` and `/sys` lie, so that a recorded tree of another machine
reads like this one.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from hypermesh.assets.inventory import (
    NOT_LIMITED,
    Cgroup,
    Cpu,
    Gpu,
    Interface,
    Inventory,
    Memory,
    Storage,
    cgroup,
    cpu_model,
    field_of,
    kibibytes,
    limit,
    listed,
    mounts,
    quota,
    quota_v1,
)
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.errors import NotFound

CPUINFO_BYTES = 8192
"""Enough of procfs `cpuinfo` for the first processor; the kernel computes the rest on demand."""

INTERFACES_MAX = 64
GPUS_MAX = 64

_VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
"""PCI vendors of display controllers that compute; the emulated ones of hypervisors do not."""


def discover(
    data_directory: Path,
    *,
    root: Path = Path("/"),
    nvidia: Callable[[], list[Gpu]] | None = None,
) -> Inventory:
    """The inventory of the machine under `root`, with the file system of `data_directory`.

    `nvidia` lists the GPUs of the NVIDIA driver; `nvml` unless given. Raises `NotFound`
    where procfs is not there and `OSError` where `data_directory` is not.
    """
    proc = root / "proc"
    membership = _read(proc / "self/cgroup") or ""
    hierarchies = mounts(_read(proc / "self/mountinfo") or "")
    of_cpu, of_memory = (
        cgroup(controller, membership, hierarchies) for controller in ("cpu", "memory")
    )
    return Inventory(
        cpu=_cpu(root, of_cpu),
        memory=_memory(root, of_memory),
        storage=_storage(data_directory, root),
        interfaces=tuple(_interfaces(root / "sys/class/net")),
        gpus=tuple(_gpus(root / "sys/class/drm", (nvidia or nvml)())),
    )


def nvml() -> list[Gpu]:
    """The GPUs that NVIDIA's management library sees; none without the library or its driver."""
    try:
        # Importing the binding costs more than the rest of the inventory; most machines need not.
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        gpus = []
        for index in range(min(pynvml.nvmlDeviceGetCount(), GPUS_MAX)):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(
                Gpu(
                    name=_text(pynvml.nvmlDeviceGetName(device)),
                    vendor="nvidia",
                    memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
                    bus=_text(pynvml.nvmlDeviceGetPciInfo(device).busId).lower()[-12:],
                    source="nvml",
                )
            )
    except pynvml.NVMLError:
        return []
    else:
        return gpus
    finally:
        pynvml.nvmlShutdown()


def _cpu(root: Path, place: Cgroup | None) -> Cpu:
    threads = len(listed(_read(root / "sys/devices/system/cpu/online") or "0"))
    allowed = listed(field_of(_read(root / "proc/self/status") or "", "Cpus_allowed_list"))
    bounds = [(threads * 1000, NOT_LIMITED)]
    if allowed:
        bounds.append((len(allowed) * 1000, "affinity"))
    if place is not None:
        bounds += [(each, f"cgroup{place.version} quota") for each in _quotas(root, place)]
    millicores, limited_by = min(bounds, key=lambda bound: bound[0])
    return Cpu(
        model=cpu_model(_read(root / "proc/cpuinfo", CPUINFO_BYTES) or ""),
        architecture=os.uname().machine,
        threads=threads,
        millicores=millicores,
        limited_by=limited_by,
        enforcement=_enforcement(root, place),
    )


def _quotas(root: Path, place: Cgroup) -> Iterator[int]:
    for directory in _directories(root, place):
        if place.version == 2:
            text = _read(directory / "cpu.max")
            found = None if text is None else quota(text)
        else:
            allowed = _read(directory / "cpu.cfs_quota_us")
            period = _read(directory / "cpu.cfs_period_us")
            found = None if allowed is None or period is None else quota_v1(allowed, period)
        if found is not None:
            yield found


def _memory(root: Path, place: Cgroup | None) -> Memory:
    meminfo = _read(root / "proc/meminfo")
    if meminfo is None:
        raise NotFound(
            "This machine does not say how much memory it has",
            why=f"{root / 'proc/meminfo'} cannot be read",
            fix="Mount procfs at /proc",
        )
    total = kibibytes(meminfo, "MemTotal")
    bounds = [(total, NOT_LIMITED)]
    if place is not None:
        name = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
        for directory in _directories(root, place):
            found = limit(_read(directory / name) or "")
            if found is not None:
                bounds.append((found, f"cgroup{place.version} limit"))
    effective, limited_by = min(bounds, key=lambda bound: bound[0])
    available = min(kibibytes(meminfo, "MemAvailable"), effective)
    return Memory(total, effective, available, limited_by)


def _enforcement(root: Path, place: Cgroup | None) -> Enforcement:
    """Which mechanism can hold a job that this process starts: a cgroup below its own."""
    if place is None or not place.writable:
        return Enforcement.UNENFORCED
    own = next(_directories(root, place), None)
    if own is None or not os.access(own, os.W_OK):
        return Enforcement.UNENFORCED
    if place.version == 1:
        return Enforcement.CGROUP1
    delegated = (_read(own / "cgroup.controllers") or "").split()
    return Enforcement.CGROUP2 if "cpu" in delegated else Enforcement.UNENFORCED


def _storage(data_directory: Path, root: Path) -> Storage:
    found = os.statvfs(data_directory)
    device = data_directory.stat().st_dev
    block = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    # A partition has no queue of its own; its disk is the directory above.
    rotational = _read(block / "queue/rotational") or _read(block / "../queue/rotational")
    return Storage(
        total=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        rotational=None if rotational is None else rotational.strip() == "1",
    )


def _interfaces(directory: Path) -> Iterator[Interface]:
    for each in _listing(directory, INTERFACES_MAX):
        if each.name == "lo":
            continue
        megabits = _number(each / "speed")
        yield Interface(
            name=each.name,
            up=(_read(each / "operstate") or "").strip() == "up",
            physical=(each / "device").exists(),
            mtu=_number(each / "mtu"),
            bits_per_s=max(0, megabits) * 1_000_000,
        )


def _gpus(directory: Path, nvidia: list[Gpu]) -> Iterator[Gpu]:
    yield from nvidia
    known = {gpu.bus for gpu in nvidia}
    for card in _listing(directory, GPUS_MAX):
        if not re.fullmatch(r"card[0-9]+", card.name):
            continue
        device = card / "device"
        vendor = _VENDORS.get((_read(device / "vendor") or "").strip())
        bus = _pci_address(_read(device / "uevent") or "")
        if vendor is None or bus in known:
            continue
        yield Gpu(
            name=f"{vendor} {(_read(device / 'device') or 'unknown').strip()}",
            vendor=vendor,
            memory_bytes=_number(device / "mem_info_vram_total"),
            bus=bus,
            source="sysfs",
        )


def _directories(root: Path, place: Cgroup) -> Iterator[Path]:
    """The directories of a cgroup that exist, its own first."""
    for each in place.directories:
        directory = root / each.relative_to("/")
        if directory.is_dir():
            yield directory


def _listing(directory: Path, count_max: int) -> list[Path]:
    try:
        return sorted(directory.iterdir())[:count_max]
    except OSError:
        return []


def _read(path: Path, size: int = -1) -> str | None:
    """The text of a small kernel file; None where it is missing or its driver refuses (`EINVAL` for
    the speed of an interface that is down)."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(size)
    except OSError:
        return None


def _number(path: Path) -> int:
    text = (_read(path) or "0").strip()
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else 0


def _pci_address(uevent: str) -> str:
    found = re.search(r"^PCI_SLOT_NAME=(.+)$", uevent, re.MULTILINE)
    return found.group(1).lower() if found else ""


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
