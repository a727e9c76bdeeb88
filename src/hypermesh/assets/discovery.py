"""Reads what this machine has: procfs, sysfs, one `statvfs`, and NVML where a driver is.

No library that starts a process or measures for long: the whole inventory takes a few
milliseconds. `root` is where `/proc` and `/sys` lie, so that a recorded tree of another machine
reads like this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

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

    `nvidia` lists the GPUs of the NVIDIA driver; `nvml` unless given. Raises `OSError` where
    procfs itself cannot be read.
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
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        count = min(pynvml.nvmlDeviceGetCount(), GPUS_MAX)
        return [_nvml_gpu(pynvml, index) for index in range(count)]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _nvml_gpu(library: object, index: int) -> Gpu: ...


def _cpu(root: Path, place: Cgroup | None) -> Cpu: ...
