"""`import hypermesh as hm`, as the first page shows it, and what the SDK does besides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hypermesh as hm
from hypermesh.sdk.rest import NodeNotRunning
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound

from .shell import Machine


@pytest.fixture
def mesh(home: Machine, lender: Machine) -> Iterator[hm.Mesh]:
    with hm.connect(home.data) as connected:
        for lease in running(connected):
            connected.leases.release(lease)
        yield connected


def running(mesh: hm.Mesh) -> list[LeaseView]:
    return [lease for lease in mesh.leases.list() if lease.paid is None]


def test_the_promise_of_the_design(
    home: Machine, lender: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERMESH_DATA", str(home.data))
    with hm.connect() as mesh, mesh.memory.lease("256MiB") as region:
        region[0:5] = b"hello"
        assert region[0:5] == b"hello"
        assert len(region) == 256 << 20


def test_the_root_package_loads_nothing_until_asked() -> None:
    program = (
        "import sys, hypermesh; "
        "assert 'hypermesh.sdk' not in sys.modules; "
        "assert {'connect', 'Mesh'} <= set(dir(hypermesh)); "
        "assert hypermesh.connect and 'hypermesh.sdk' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="frob"):
        hm.frob  # type: ignore[attr-defined]  # noqa: B018


def test_slices_and_offsets_are_the_same_bytes(mesh: hm.Mesh) -> None:
    with mesh.memory.lease("1kB") as region:
        assert region[:] == bytes(1000)
        region[:3] = bytearray(b"abc")
        region[-2:] = memoryview(b"yz")
        assert region.write(3, b"def") == 3
        assert region.read(0, 6) == region[0:6] == b"abcdef"
        buffer = bytearray(4)
        assert region.readinto(996, buffer) == 4
        assert bytes(buffer) == region[996:] == b"\0\0yz"
        assert region[5:5] == region[7:3] == b""
        region[5:5] = b""
        assert region[990:5000] == region[990:]
        done, before = region.compare_and_swap(8, 0, 2**64 - 1)
        assert (done, before) == (True, 0)
        assert region.compare_and_swap(8, 0, 1) == (False, 2**64 - 1)
        for wrong in (slice(0, 4), slice(0, 2), slice(998, 1001)):
            with pytest.raises(ValueError, match="bytes and the data 3"):
                region[wrong] = b"abc"
        with pytest.raises(ValueError, match="contiguous"):
            region[::2]
        with pytest.raises(TypeError, match="slices"):
            region[0]  # type: ignore[index]


def test_closing_settles_once(mesh: hm.Mesh) -> None:
    region = mesh.memory.lease(4096)
    settled = region.close()
    assert settled is not None
    assert settled.paid is not None
    assert region.close() is None


def test_a_lease_ends_with_an_exception_too(mesh: hm.Mesh) -> None:
    with pytest.raises(RuntimeError), mesh.memory.lease(64):
        raise RuntimeError
    assert running(mesh) == []


def test_what_is_kept_is_found_again_and_nothing_else(mesh: hm.Mesh, memory: str) -> None:
    with mesh.memory.lease(16, address=memory) as passing:
        with pytest.raises(NotFound, match="Nothing of yours"):
            mesh.memory.open(memory)
        passing.write(0, b"mine")
        with mesh.memory.lease("5B", address=memory, keep=True) as kept:
            kept[:] = b"later"
        with mesh.memory.open(memory) as found:
            assert found[:] == b"later"
            assert found.lease.lease == kept.lease.lease
        mesh.memory.put(memory, b"another length")
        assert passing[:4] == b"mine"
    assert [lease.amount for lease in running(mesh)] == [len(b"another length")]


@pytest.mark.parametrize("size", [0, -1, "0B", "frob", "1.5", "1 MiBs"])
def test_sizes_that_are_none(mesh: hm.Mesh, size: int | str) -> None:
    with pytest.raises(InvalidInput):
        mesh.memory.lease(size)


def test_more_than_anybody_has(mesh: hm.Mesh) -> None:
    with pytest.raises(NotFound, match="No memory asset has"):
        mesh.memory.lease("900TiB")


def test_errors_of_the_node_keep_their_class_and_code(mesh: hm.Mesh, memory: str) -> None:
    with pytest.raises(NotFound):
        mesh.ledger.block(10**9)
    free = mesh.assets.get(memory.split(".")[2].split(":")[0]).free or 0
    with pytest.raises(HyperMeshError) as caught:
        mesh.memory.lease(free + 1, address=memory)
    assert (caught.value.code, caught.value.exit_code) == ("HM-TX-LEASE-0006", 8)


def test_where_no_node_is(tmp_path: Path) -> None:
    for place in (tmp_path, str(tmp_path)):
        with hm.connect(place) as mesh, pytest.raises(NodeNotRunning, match="hm up"):
            mesh.network.status()


def test_a_connection_outlives_a_restart_of_the_node(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "restarted")
    machine.succeeds("up")
    try:
        with hm.connect(machine.data) as mesh:
            before = mesh.network.status()
            machine.succeeds("down")
            with pytest.raises(NodeNotRunning):
                mesh.network.status()
            machine.succeeds("up")
            after = mesh.network.status()
            assert (after.node, after.pid != before.pid) == (before.node, True)
    finally:
        machine.hm("down")
