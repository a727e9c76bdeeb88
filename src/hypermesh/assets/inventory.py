"""What a machine has to lend: values, and how to read them out of what Linux says. Pure.

Effective limits, not the host's: a process in a container of one core has one core, whatever
procfs says about the machine. The least of affinity, cpuset and every quota on the way from its
cgroup to the root of the mounted hierarchy holds (cgroup v1 and v2, and both beside each other:
each controller is on one of them).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from hypermesh.wire.amount import BASIS_POINTS, share
from hypermesh.wire.asset import AssetKind, Descriptor, Enforcement
from hypermesh.wire.errors import InvalidInput

NOT_LIMITED = "none"
"""What `limited_by` says where the machine itself is the limit."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processors. `millicores` is what this process may use, `threads` what the machine has."""

    model: str
    architecture: str
    threads: int
    millicores: int
    limited_by: str
    enforcement: Enforcement


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM in bytes. `effective` is what this process may use in all, `available` what is free of
    it on the machine now."""

    total: int
    effective: int
    available: int
    limited_by: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The file system of the data directory, in bytes; `rotational` is None where unknown."""

    total: int
    free: int
    rotational: bool | None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface other than loopback. `bits_per_s` is 0 where the driver does not say."""

    name: str
    up: bool
    physical: bool
    mtu: int
    bits_per_s: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor. `bus` is its PCI address, `source` who told us (nvml or sysfs)."""

    name: str
    vendor: str
    memory_bytes: int
    bus: str
    source: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of it. No interface and no GPU are normal answers."""

    cpu: Cpu
    memory: Memory
    storage: Storage
    interfaces: tuple[Interface, ...]
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a machine that its owner declares, in basis points (10,000 is all of it)."""

    basis_points: int = BASIS_POINTS

    def __post_init__(self) -> None:
        if not 1 <= self.basis_points <= BASIS_POINTS:
            raise InvalidInput(
                f"{self.basis_points} basis points are no share of a machine",
                why="expected 1 to 10,000",
            )

    def of(self, units: int) -> int:
        """That part of `units`, rounded down, so that shares never add up to more than all."""
        return share(units, self.basis_points)


def descriptors(inventory: Inventory, part: Share) -> list[Descriptor]:
    """What `part` of the machine is as assets: CPU, memory and storage, one for each interface that
    is up, and the whole GPUs that the share holds (a third of one GPU is none)."""
    found = [
        _cpu(inventory.cpu, part),
        _memory(inventory.memory, part),
        _storage(inventory.storage, part),
    ]
    found += [_network(each, part) for each in inventory.interfaces if each.up]
    found += [_gpu(each) for each in inventory.gpus[: part.of(len(inventory.gpus))]]
    return found


def _cpu(cpu: Cpu, part: Share) -> Descriptor:
    return _descriptor(
        AssetKind.CPU,
        part.of(cpu.millicores),
        cpu.enforcement,
        architecture=cpu.architecture,
        limited_by=cpu.limited_by,
        model=cpu.model,
        share=str(part.basis_points),
        threads=str(cpu.threads),
    )


def _memory(memory: Memory, part: Share) -> Descriptor:
    return _descriptor(
        AssetKind.MEMORY,
        part.of(memory.effective),
        Enforcement.ALLOCATION,
        limited_by=memory.limited_by,
        share=str(part.basis_points),
        total=str(memory.total),
    )


def _storage(storage: Storage, part: Share) -> Descriptor:
    medium = {None: "unknown", True: "rotational", False: "solid state"}[storage.rotational]
    return _descriptor(
        AssetKind.STORAGE,
        part.of(storage.free),
        Enforcement.UNENFORCED,
        medium=medium,
        share=str(part.basis_points),
        total=str(storage.total),
    )


def _network(interface: Interface, part: Share) -> Descriptor:
    return _descriptor(
        AssetKind.NETWORK,
        part.of(interface.bits_per_s),
        Enforcement.UNENFORCED,
        interface=interface.name,
        medium="physical" if interface.physical else "virtual",
        mtu=str(interface.mtu),
        share=str(part.basis_points),
        speed=str(interface.bits_per_s) if interface.bits_per_s else "unknown",
    )


def _gpu(gpu: Gpu) -> Descriptor:
    return _descriptor(
        AssetKind.GPU,
        1,
        Enforcement.UNENFORCED,
        bus=gpu.bus,
        memory_bytes=str(gpu.memory_bytes),
        model=gpu.name,
        source=gpu.source,
        vendor=gpu.vendor,
    )


def _descriptor(
    kind: AssetKind, capacity: int, enforcement: Enforcement, **detail: str
) -> Descriptor:
    return Descriptor(kind, capacity, enforcement, sorted(detail.items()))


# -- procfs ----------------------------------------------------------------------------------------


def cpu_model(cpuinfo: str) -> str:
    """The model of the first processor in procfs `cpuinfo`; ARM names implementer and part."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, found, value = line.partition(":")
        if not found:
            if fields:
                break
            continue
        fields.setdefault(name.strip(), value.strip())
    if "model name" in fields:
        return fields["model name"]
    arm = [fields[name] for name in ("CPU implementer", "CPU part") if name in fields]
    return "ARM " + " ".join(arm) if arm else "unknown"


def kibibytes(meminfo: str, field: str) -> int:
    """A field of procfs `meminfo` in bytes; 0 where there is none."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def field_of(status: str, field: str) -> str:
    """A field of procfs `self/status` such as `Cpus_allowed_list`; empty where there is none."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def listed(text: str) -> frozenset[int]:
    """The numbers in a list such as `0-3,8` (cpuset(7), "List format")."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if first:
            numbers.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(numbers)


# -- cgroups ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted cgroup hierarchy: which part of it (`root`) is visible where (`point`)."""

    version: int
    root: PurePosixPath
    point: PurePosixPath
    controllers: frozenset[str]
    writable: bool


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Where this process stands for one controller: the directories from its own cgroup up to the
    root of the mount; a limit at any of them holds."""

    version: int
    directories: tuple[PurePosixPath, ...]
    writable: bool


def mounts(mountinfo: str) -> list[Mount]:
    """The cgroup hierarchies in procfs `self/mountinfo` (proc_pid_mountinfo(5))."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, *rest) = left.split(), right.split() or [""]
        if kind not in ("cgroup", "cgroup2") or len(fields) < 6 or len(rest) < 2:
            continue
        options = frozenset(rest[1].split(","))
        found.append(
            Mount(
                version=2 if kind == "cgroup2" else 1,
                root=PurePosixPath(fields[3]),
                point=PurePosixPath(fields[4]),
                controllers=options if kind == "cgroup" else frozenset(),
                writable="rw" in fields[5].split(",") and "rw" in options,
            )
        )
    return found


def cgroup(controller: str, membership: str, hierarchies: list[Mount]) -> Cgroup | None:
    """Where `controller` (such as `memory`) limits this process, by procfs `self/cgroup`
    (cgroups(7)) and its mounts; None where the hierarchy is not mounted.

    A controller named on a v1 line is on v1; any other is on v2, if anywhere.
    """
    unified: str | None = None
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            return _cgroup(1, path, [m for m in hierarchies if controller in m.controllers])
        if number == "0" and not names:
            unified = path
    if unified is None:
        return None
    return _cgroup(2, unified, [m for m in hierarchies if m.version == 2])


def _cgroup(version: int, path: str, candidates: list[Mount]) -> Cgroup | None:
    if not candidates:
        return None
    mount = candidates[0]
    own = PurePosixPath(path)
    # In a container the path may be that of the host, above or beside what is mounted: then the
    # root of the mount is the nearest that can be seen.
    visible = own.is_relative_to(mount.root) and ".." not in own.parts
    below = own.relative_to(mount.root) if visible else PurePosixPath()
    directories = tuple(mount.point / each for each in (below, *below.parents))
    return Cgroup(version, directories, mount.writable)


def quota(cpu_max: str) -> int | None:
    """Millicores in a v2 `cpu.max` such as `20000 100000`; None for `max`."""
    allowed, _, period = cpu_max.strip().partition(" ")
    return None if allowed in ("max", "") else int(allowed) * 1000 // int(period or 100_000)


def quota_v1(quota_us: str, period_us: str) -> int | None:
    """Millicores in a v1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None for -1."""
    allowed = int(quota_us)
    return None if allowed < 0 else allowed * 1000 // int(period_us)


def limit(text: str) -> int | None:
    """Bytes in a v2 `memory.max` or v1 `memory.limit_in_bytes`; None for `max`. The v1 way to say
    "no limit" is a number above any machine's memory, which the caller's minimum disposes of."""
    plain = text.strip()
    return None if plain in ("max", "") else int(plain)
