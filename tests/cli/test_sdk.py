"""`import hypermesh as hm`, as the first page shows it, and what the SDK does besides."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import hypermesh as hm
from hypermesh.sdk.rest import NodeNotRunning
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.api.token import Scope
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound

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


def test_an_array_in_the_memory_of_another_machine(mesh: hm.Mesh) -> None:
    done: list[tuple[int, int]] = []
    with mesh.memory.lease("40MiB").numpy("float64") as array:
        assert (array.shape, len(running(mesh))) == ((5 << 20,), 1)
        array.write(..., 1.5, progress=lambda now, total: done.append((now, total)))
        assert done[-1] == (40 << 20, 40 << 20)
        assert len(done) == 3
        array[3:5] = [1, 2]
        assert array[2:6].tolist() == [1.5, 1.0, 2.0, 1.5]
        assert array.copy().sum() == 1.5 * (array.size - 2) + 3
        assert "lender" in repr(array)
    assert running(mesh) == []


def test_long_transfers_go_in_pieces_and_say_how_far_they_are(mesh: hm.Mesh) -> None:
    content = bytes(range(256)) * (40 << 12)
    done: list[tuple[int, int]] = []
    with mesh.memory.lease(len(content)) as region:
        region.write(0, content, progress=lambda *now: done.append(now))
        assert region.read(0, len(content), progress=lambda *now: done.append(now)) == content
        assert region[:] == content
    pieces = [(16 << 20, 40 << 20), (32 << 20, 40 << 20), (40 << 20, 40 << 20)]
    assert done == [*pieces, *pieces]


def test_the_same_from_asyncio(mesh: hm.Mesh, home: Machine, memory: str) -> None:
    async def work() -> None:
        async with hm.connect_async(home.data) as twin:
            assert await twin.network.status() is not None
            found = [asset.asset async for asset in twin.assets.list()]
            assert found == [asset.asset for asset in mesh.assets.list()]
            async with await twin.memory.lease("1MiB", address=memory) as region:
                await region.write(0, b"hello")
                assert await region.read(0, 5) == b"hello"
                assert await region.compare_and_swap(8, 0, 7) == (True, 0)
                array = region.numpy("int64")
                rows = [array.write(slice(i * 10, i * 10 + 10), i) for i in range(1, 20)]
                await asyncio.gather(*rows)
                assert (await array.copy())[10:].sum() == 10 * sum(range(20))
            await twin.memory.put(memory, b"kept")
            async with await twin.memory.open(memory) as again:
                assert await again.read(0, 4) == b"kept"
            with pytest.raises(NotFound):
                await twin.memory.lease("900TiB")
            with pytest.raises(InvalidInput):
                await twin.memory.lease(0)

    asyncio.run(work())
    for lease in running(mesh):
        mesh.leases.release(lease)


def test_a_node_is_reached_from_elsewhere(mesh: hm.Mesh, tmp_path: Path) -> None:
    """Over TLS, with a token, the certificate checked against the network's root."""
    made = mesh.tokens.create("elsewhere", [Scope.READ, Scope.LEASE])
    assert made.remote.url is not None
    root = tmp_path / "root.pem"
    root.write_text(made.remote.root_certificate)
    port = made.remote.url.rpartition(":")[2]
    there: dict[str, Any] = {
        "url": f"https://[::1]:{port}",
        "token": made.token,
        "root": root,
        "server_name": made.remote.server_name,
    }
    with hm.connect(**there) as remote:
        assert remote.network.status().node == mesh.network.status().node
        with pytest.raises(Forbidden, match="own UNIX socket"):
            remote.memory.lease(64)
        with pytest.raises(HyperMeshError) as refused:
            remote.network.invite()
        assert refused.value.exit_code == hm.ExitCode.PERMISSION
    assert running(mesh) == []

    async def work() -> str:
        async with hm.connect_async(**there) as remote:
            return (await remote.network.status()).node

    assert asyncio.run(work()) == mesh.network.status().node

    async def wrong() -> None:
        async with hm.connect_async(**{**there, "server_name": "other.hm.internal"}) as remote:
            await remote.network.status()

    with pytest.raises(hm.NotTrusted):
        asyncio.run(wrong())
    # Another network's root, or another node's name: nothing is sent.
    other = tmp_path / "other.pem"
    other.write_text(another_root())
    for change in ({"server_name": "other.hm.internal"}, {"root": other}):
        with hm.connect(**{**there, **change}) as remote, pytest.raises(hm.NotTrusted):
            remote.network.status()
    with hm.connect(**{**there, "token": "hm_" + "0" * 40}) as remote:
        with pytest.raises(HyperMeshError) as unknown:
            remote.network.status()
        assert unknown.value.exit_code == hm.ExitCode.PERMISSION
    mesh.tokens.revoke(made.view.id)


def another_root() -> str:
    """The root of some network, self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_places_that_are_none(tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_text("no certificate")
    for arguments in (
        {"token": "x"},
        {"url": "https://host"},
        {"url": "https://host", "token": "x", "root": tmp_path / "none"},
        {"url": "https://host", "token": "x", "root": root},
        {"url": "http://host", "token": "x", "root": root},
        {"url": "https://host:999999", "token": "x", "root": root},
        {"url": "https://host/path", "token": "x", "root": root},
        {"url": "https://host", "token": "x y", "root": root},
        {"data": tmp_path, "url": "https://host", "token": "x", "root": root},
    ):
        with pytest.raises(InvalidInput):
            hm.connect(**arguments)  # type: ignore[arg-type]
