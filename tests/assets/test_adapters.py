"""Adapters: nothing is promised twice, sessions are shut out before the last reading."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hypermesh.assets.adapters.adapter import (
    HOLDS_MAX,
    AssetAdapter,
    DiscoveryOnly,
    HeldAlready,
    NoCapacity,
    NotHeld,
    Reading,
)
from hypermesh.assets.adapters.container import ContainerAssetAdapter
from hypermesh.assets.adapters.cpu import CpuAssetAdapter
from hypermesh.assets.adapters.gpu import GpuAssetAdapter
from hypermesh.assets.adapters.memory import MemoryAssetAdapter, region_id
from hypermesh.assets.adapters.network import NetworkAssetAdapter
from hypermesh.assets.adapters.storage import StorageAssetAdapter
from hypermesh.assets.inventory import Cpu, Gpu, Interface, Inventory, Memory, Share, Storage
from hypermesh.crypto.digest import digest_of
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import RegionUnknown
from hypermesh.stoq.trust import TrustPolicy
from hypermesh.wire.asset import AssetKind, Descriptor, Enforcement, Lease, LeaseState
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.reading import JOBS_READ_MAX, JobOutcome, MeterReading

from .samples import cpu, memory, reserved

LEASE, OTHER = b"l" * 32, b"m" * 32
START_MS = 2_000


def activated(lease: Lease) -> Lease:
    return msgspec.structs.replace(
        lease,
        state=LeaseState.ACTIVE,
        starts_ms=START_MS,
        ends_ms=START_MS + lease.duration_ms,
    )


class RecordedRegions:
    """Regions that record what was asked, in order, and hold as much as they are told."""

    def __init__(self, memory_bytes: int = 1 << 40) -> None:
        self.free = memory_bytes
        self.sizes: dict[bytes, int] = {}
        self.log: list[tuple[object, ...]] = []
        self.read = self.written = self.operations = 0

    def create(self, region: bytes, size: int, /) -> None:
        if size > self.free:
            raise MemoryError(size)
        self.free -= size
        self.sizes[region] = size
        self.log.append(("create", region, size))

    def destroy(self, region: bytes, /) -> tuple[int, int, int]:
        self.free += self.sizes.pop(region)
        self.log.append(("destroy", region))
        return self.read, self.written, self.operations

    def grant(self, *arguments: object, **named: object) -> None:
        self.log.append(("grant", *arguments, *named.values()))

    def counters(self, region: bytes, /) -> tuple[int, int, int]:
        self.log.append(("counters", region))
        assert region in self.sizes
        return self.read, self.written, self.operations


def test_a_memory_lease_from_reservation_to_receipt() -> None:
    regions = RecordedRegions()
    adapter: AssetAdapter = MemoryAssetAdapter(memory(4096), regions)
    lease = reserved(4096, epoch=7)
    adapter.reserve(LEASE, lease)
    assert (adapter.free, adapter.in_use) == (0, False)
    assert regions.log == [("create", region_id(LEASE), 4096)], "no grant before activation"
    assert adapter.meter(LEASE, START_MS + 500).held_ms == 0
    adapter.activate(LEASE, activated(lease))
    assert adapter.in_use
    assert regions.log[-1] == (
        "grant", region_id(LEASE), lease.session, 0, 4096, True, START_MS + 10_000, 7
    )  # fmt: skip
    regions.read, regions.written, regions.operations = 10, 20, 3
    assert adapter.meter(LEASE, START_MS + 500) == Reading(500, 0, 10, 20, 3)
    regions.log.clear()
    assert adapter.release(LEASE, START_MS + 900) == Reading(900, 0, 10, 20, 3)
    assert regions.log == [("destroy", region_id(LEASE))], "the last reading is of the end itself"
    assert (adapter.free, adapter.in_use) == (4096, False)


def test_a_region_of_the_transport_whose_epoch_the_consumer_raised() -> None:
    """Over a real endpoint: a fence far above the lease's epoch does not keep the end off."""
    with Endpoint.bind(policy=TrustPolicy(network=b"g" * 32), identity=None) as endpoint:
        adapter = MemoryAssetAdapter(memory(1 << 16), endpoint.regions)
        adapter.reserve(LEASE, reserved(4096))
        adapter.activate(LEASE, activated(reserved(4096)))
        assert adapter.meter(LEASE, START_MS + 5) == Reading(5)
        endpoint.regions.fence(region_id(LEASE), 2**63)
        assert adapter.release(LEASE, START_MS + 9) == Reading(9)
        with pytest.raises(RegionUnknown):
            endpoint.regions.counters(region_id(LEASE))
        assert adapter.free == 1 << 16


def test_held_time_is_never_negative_and_never_more_than_the_lease() -> None:
    adapter = CpuAssetAdapter(cpu())
    adapter.reserve(LEASE, reserved(100, duration_ms=10_000))
    adapter.activate(LEASE, activated(reserved(100, duration_ms=10_000)))
    assert adapter.meter(LEASE, START_MS - 1).held_ms == 0
    assert adapter.meter(LEASE, START_MS + 10_000).held_ms == 10_000
    assert adapter.meter(LEASE, START_MS + 99_999).held_ms == 10_000


def test_overcommitment_is_refused_to_the_unit() -> None:
    adapter = MemoryAssetAdapter(memory(4096), RecordedRegions())
    adapter.reserve(LEASE, reserved(4000))
    with pytest.raises(NoCapacity, match="96 of 4096"):
        adapter.reserve(OTHER, reserved(97))
    adapter.reserve(OTHER, reserved(96))


def test_a_host_without_memory_leaves_nothing_set_aside() -> None:
    adapter = MemoryAssetAdapter(memory(4096), RecordedRegions(memory_bytes=100))
    with pytest.raises(MemoryError):
        adapter.reserve(LEASE, reserved(4096))
    assert adapter.free == 4096
    with pytest.raises(NotHeld):
        adapter.meter(LEASE, 0)


def test_a_lease_is_held_once_and_released_once() -> None:
    for adapter in (MemoryAssetAdapter(memory(), RecordedRegions()), CpuAssetAdapter(cpu())):
        adapter.reserve(LEASE, reserved(10))
        with pytest.raises(HeldAlready):
            adapter.reserve(LEASE, reserved(10))
        adapter.release(LEASE, START_MS)
        for step in (adapter.release, adapter.meter):
            with pytest.raises(NotHeld):
                step(LEASE, START_MS)
        with pytest.raises(NotHeld):
            adapter.activate(LEASE, activated(reserved(10)))


def test_cpu_time_of_jobs_adds_up() -> None:
    adapter = CpuAssetAdapter(cpu())
    adapter.reserve(LEASE, reserved(250))
    adapter.activate(LEASE, activated(reserved(250)))
    adapter.spend(LEASE, 1_500)
    adapter.spend(LEASE, 500)
    assert adapter.release(LEASE, START_MS + 5) == Reading(5, 2_000)


def test_a_job_runs_only_while_its_lease_is_served() -> None:
    adapter = CpuAssetAdapter(cpu())
    lease = reserved(250, epoch=4)
    with pytest.raises(NotHeld):
        adapter.allowance(LEASE, 4, START_MS)
    adapter.reserve(LEASE, lease)
    with pytest.raises(NotHeld, match="not active"):
        adapter.allowance(LEASE, 4, START_MS)
    adapter.activate(LEASE, activated(lease))
    assert adapter.allowance(LEASE, 4, START_MS + 9_999) == 250
    for epoch, now_ms in ((3, START_MS), (5, START_MS), (4, START_MS + 10_000)):
        with pytest.raises(NotHeld):
            adapter.allowance(LEASE, epoch, now_ms)


def test_as_many_leases_as_the_registry_allows_and_no_more() -> None:
    adapter = CpuAssetAdapter(cpu(2 * HOLDS_MAX))
    for number in range(HOLDS_MAX):
        adapter.reserve(number.to_bytes(32, "big"), reserved(1))
    with pytest.raises(NoCapacity, match="1024"):
        adapter.reserve(LEASE, reserved(1))


@pytest.mark.parametrize(
    "kind",
    [StorageAssetAdapter, NetworkAssetAdapter, GpuAssetAdapter, ContainerAssetAdapter],
    ids=lambda kind: kind.kind,
)
def test_what_cannot_be_leased_yet_says_so(kind: type[DiscoveryOnly]) -> None:
    adapter = kind(Descriptor(kind.kind, 1, Enforcement.UNENFORCED, []))
    assert (adapter.free, adapter.in_use) == (0, False)
    with pytest.raises(NotAvailable, match=kind.kind):
        adapter.reserve(LEASE, reserved(1))
    with pytest.raises(NotAvailable):
        adapter.activate(LEASE, reserved(1))
    with pytest.raises(NotAvailable):
        adapter.meter(LEASE, 0)
    with pytest.raises(NotAvailable):
        adapter.release(LEASE, 0)


def test_each_adapter_discovers_its_own_kind() -> None:
    inventory = Inventory(
        Cpu("x", "x86_64", 2, 2000, "none", Enforcement.CGROUP2),
        Memory(1000, 1000, 1000, "none"),
        Storage(1000, 500, None),
        (Interface("eth0", True, True, 1500, 10**9), Interface("eth1", False, True, 1500, 0)),
        (Gpu("g", "amd", 1, "bus", "sysfs"),),
    )
    capacities = {
        adapter.kind: [each.capacity for each in adapter.discover(inventory, Share())]
        for adapter in (
            CpuAssetAdapter,
            MemoryAssetAdapter,
            StorageAssetAdapter,
            NetworkAssetAdapter,
            GpuAssetAdapter,
            ContainerAssetAdapter,
        )
    }
    assert capacities == {
        AssetKind.CPU: [2000],
        AssetKind.MEMORY: [1000],
        AssetKind.STORAGE: [500],
        AssetKind.NETWORK: [10**9],
        AssetKind.GPU: [1],
        AssetKind.CONTAINER: [],
    }


def test_a_receipt_carries_the_reading_and_its_digest() -> None:
    reading = Reading(5, 6, 7, 8, 9)
    receipt = reading.receipt(b"g" * 32, LEASE, 3)
    assert (receipt.held_ms, receipt.cpu_us, receipt.bytes_read, receipt.bytes_written) == (
        5,
        6,
        7,
        8,
    )
    assert receipt.evidence == digest_of("meter", reading)
    assert receipt.evidence != Reading(5, 6, 7, 8, 10).receipt(b"g" * 32, LEASE, 3).evidence


class HoldsMachine(RuleBasedStateMachine):
    """Any order of reservations and releases against a dict: the books agree, and the regions hold
    exactly what is reserved."""

    capacity = 1000

    @initialize()
    def begin(self) -> None:
        self.regions = RecordedRegions()
        self.adapter = MemoryAssetAdapter(memory(self.capacity), self.regions)
        self.model: dict[bytes, int] = {}

    @rule(number=st.integers(0, 5), amount=st.integers(1, 700))
    def reserve(self, number: int, amount: int) -> None:
        lease_id = bytes([number]) * 32
        if lease_id in self.model:
            with pytest.raises(HeldAlready):
                self.adapter.reserve(lease_id, reserved(amount))
        elif sum(self.model.values()) + amount > self.capacity:
            with pytest.raises(NoCapacity):
                self.adapter.reserve(lease_id, reserved(amount))
        else:
            self.adapter.reserve(lease_id, reserved(amount))
            self.model[lease_id] = amount

    @rule(number=st.integers(0, 5))
    def release(self, number: int) -> None:
        lease_id = bytes([number]) * 32
        if lease_id in self.model:
            self.adapter.release(lease_id, START_MS)
            del self.model[lease_id]
        else:
            with pytest.raises(NotHeld):
                self.adapter.release(lease_id, START_MS)

    @invariant()
    def books_agree(self) -> None:
        assert self.adapter.free == self.capacity - sum(self.model.values())
        assert sum(self.regions.sizes.values()) == sum(self.model.values())


TestHolds = HoldsMachine.TestCase


def test_the_reading_of_a_cpu_lease_names_its_jobs() -> None:
    """The digest in the receipt binds what each job did; beyond a bound only its CPU time stays."""
    held = ("bubblewrap", "cgroup1", "cgroup1")
    digests = [bytes(32)] * 4
    job = JobOutcome(b"j" * 16, "python", 0, "exited", *held, 5, 7, 0, *digests)
    adapter = CpuAssetAdapter(cpu())
    lease = reserved(500)
    adapter.reserve(LEASE, lease)
    for _ in range(JOBS_READ_MAX + 1):
        adapter.spend(LEASE, 7, job)
    reading = adapter.meter(LEASE, 0)
    assert reading.jobs == [job] * JOBS_READ_MAX
    assert reading.cpu_us == 7 * (JOBS_READ_MAX + 1)
    told = decode(MeterReading, encode(reading))
    assert digest_of("meter", told) == reading.receipt(b"g" * 32, LEASE, 1).evidence
    other = msgspec.structs.replace(told, jobs=told.jobs[1:])
    assert digest_of("meter", other) != reading.receipt(b"g" * 32, LEASE, 1).evidence
