"""Remote memory from Python: what is granted works, and every refusal has its class."""

from __future__ import annotations

import secrets
import threading
import time

import pytest

from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.region import Counters, RemoteRegion
from hypermesh.stoq.trust import Identity
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_SESSION

from .network import DEADLINE_S, Network

SIZE = 8 << 20
FOREVER_MS = 2**53


def grant(alice: Endpoint, region: bytes, peer: bytes, **changed: int) -> None:
    terms = {
        "offset": 0,
        "length": SIZE,
        "can_write": True,
        "expires_unix_ms": FOREVER_MS,
        "epoch": 1,
    } | changed
    alice.regions.grant(
        region,
        peer,
        offset=terms["offset"],
        length=terms["length"],
        can_write=bool(terms["can_write"]),
        expires_unix_ms=terms["expires_unix_ms"],
        epoch=terms["epoch"],
    )


def test_the_regions_that_are_there_are_told(alice: Endpoint) -> None:
    one, other = secrets.token_bytes(16), secrets.token_bytes(16)
    alice.regions.create(one, 64)
    alice.regions.create(other, 128)
    assert alice.regions.sizes == {one: 64, other: 128}
    for size in (7, 0):
        with pytest.raises((errors.RegionExists, errors.RegionTooLarge)):
            alice.regions.create(one, size)
    alice.regions.destroy(one)
    assert alice.regions.sizes == {other: 128}
    with pytest.raises(errors.RegionUnknown):
        alice.regions.destroy(one)


@pytest.fixture
def region(alice: Endpoint, bob_keys: QuantumKeys) -> bytes:
    region = secrets.token_bytes(16)
    alice.regions.create(region, SIZE)
    grant(alice, region, bob_keys.id)
    return region


@pytest.fixture
def remote(connection: Connection, region: bytes) -> RemoteRegion:
    return connection.region(region, 1)


def test_bytes_come_back(remote: RemoteRegion) -> None:
    data = secrets.token_bytes(SIZE)
    assert remote.write(0, data) == SIZE
    assert digest("test", remote.read(0, SIZE)) == digest("test", data)
    assert remote.read(1000, 10) == data[1000:1010]
    assert remote.read(SIZE, 0) == b""
    assert remote.write(5, b"") == 0


def test_a_fresh_region_is_zero(remote: RemoteRegion) -> None:
    assert remote.read(0, SIZE) == bytes(SIZE)


def test_any_contiguous_buffer_will_do(remote: RemoteRegion) -> None:
    import numpy as np

    numbers = np.arange(1 << 17, dtype=np.float64)
    assert remote.write(0, numbers) == numbers.nbytes
    back = np.zeros_like(numbers)
    assert remote.readinto(0, back) == numbers.nbytes
    assert (back == numbers).all()
    with pytest.raises(BufferError):
        remote.write(0, numbers[::2])
    with pytest.raises(BufferError):
        remote.readinto(0, b"read-only")


def test_words(remote: RemoteRegion) -> None:
    assert remote.compare_and_swap(8, 0, 258) == 0
    assert remote.read(8, 8) == b"\x02\x01\0\0\0\0\0\0"
    assert remote.compare_and_swap(8, 0, 1) == 258
    assert remote.fetch_add(8, 2**64 - 1) == 258
    assert remote.fetch_add(8, 0) == 257
    for offset in (1, 4, 9):
        with pytest.raises(errors.Unaligned):
            remote.fetch_add(offset, 1)
        with pytest.raises(errors.Unaligned):
            remote.compare_and_swap(offset, 0, 1)


def test_adding_from_many_threads_loses_nothing(remote: RemoteRegion) -> None:
    def add() -> None:
        for _ in range(25):
            remote.fetch_add(0, 3)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert remote.fetch_add(0, 0) == 8 * 25 * 3


def test_the_counters_count_what_was_served(
    alice: Endpoint, region: bytes, remote: RemoteRegion
) -> None:
    remote.write(0, bytes(300_000))
    remote.read(0, 200_000)
    remote.fetch_add(0, 1)
    with pytest.raises(errors.OutOfRange):
        remote.read(SIZE, 1)
    assert alice.regions.counters(region) == Counters(200_008, 300_008, 3)
    assert alice.regions.destroy(region) == Counters(200_008, 300_008, 3)


def test_ranges_end_with_the_grant(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    grant(alice, region, bob_keys.id, offset=4096, length=4096)
    assert remote.write(4096, bytes(4096)) == 4096
    for offset, length in ((4095, 1), (4096, 4097), (8192, 1), (0, SIZE), (2**64 - 1, 1)):
        with pytest.raises(errors.OutOfRange):
            remote.read(offset, length)
        with pytest.raises(errors.OutOfRange):
            remote.write(offset, bytes(length))
    with pytest.raises(errors.OutOfRange):
        remote.fetch_add(8192, 1)


def test_a_long_write_that_is_refused_says_why_and_the_connection_lives(
    remote: RemoteRegion,
) -> None:
    with pytest.raises(errors.OutOfRange):
        remote.write(1, bytes(SIZE))
    assert remote.read(0, 4) == bytes(4)


def test_read_only(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    grant(alice, region, bob_keys.id, can_write=False)
    assert remote.read(0, 4) == bytes(4)
    with pytest.raises(errors.ReadOnly):
        remote.write(0, b"x")
    with pytest.raises(errors.ReadOnly):
        remote.compare_and_swap(0, 0, 1)
    with pytest.raises(errors.ReadOnly):
        remote.fetch_add(0, 1)
    with pytest.raises(errors.ReadOnly):
        remote.fence(2)


def test_a_grant_expires(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    grant(alice, region, bob_keys.id, expires_unix_ms=int(time.time() * 1000) - 1)
    with pytest.raises(errors.GrantExpired):
        remote.read(0, 1)
    with pytest.raises(errors.NoGrant):
        remote.read(0, 1)


def test_a_grant_can_be_taken_away(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    assert alice.regions.revoke(region, bob_keys.id)
    assert not alice.regions.revoke(region, bob_keys.id)
    with pytest.raises(errors.NoGrant):
        remote.read(0, 1)
    with pytest.raises(errors.NoGrant):
        remote.write(0, bytes(1 << 20))


def test_an_unknown_region_looks_like_one_that_is_not_granted(connection: Connection) -> None:
    with pytest.raises(errors.NoGrant):
        connection.region(bytes(16), 1).read(0, 1)


def test_a_grant_is_for_one_peer(network: Network, alice: Endpoint, region: bytes) -> None:
    keys = QuantumKeys.generate()
    with (
        Endpoint.bind(policy=network.policy, identity=network.identity(keys)) as carol,
        carol.connect(*alice.address) as connection,
    ):
        remote = connection.region(region, 1)
        with pytest.raises(errors.NoGrant):
            remote.read(0, 1)
        grant(alice, region, keys.id, can_write=False)
        assert remote.read(0, 1) == b"\0"


def test_the_bearer_of_a_lease_uses_its_session(
    network: Network, alice: Endpoint, region: bytes
) -> None:
    keys = QuantumKeys.generate()
    grant(alice, region, keys.id)
    with (
        Endpoint.bind(policy=network.policy, identity=Identity.of_keys(keys)) as bearer,
        bearer.connect(*alice.address, alpn=ALPN_SESSION) as connection,
    ):
        connection.region(region, 1).write(0, b"mine")
        assert connection.region(region, 1).read(0, 4) == b"mine"


def test_enrolling_gives_no_memory(network: Network, alice: Endpoint, region: bytes) -> None:
    with (
        Endpoint.bind(policy=network.policy, identity=None) as nobody,
        nobody.connect(*alice.address, alpn=ALPN_ENROL) as connection,
        pytest.raises(errors.NoGrant),
    ):
        connection.region(region, 1).read(0, 1)


def test_the_host_fences_epochs_off(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    alice.regions.fence(region, 5)
    with pytest.raises(errors.Fenced):
        remote.read(0, 1)
    with pytest.raises(errors.Fenced):
        remote.write(0, bytes(1 << 20))
    with pytest.raises(errors.Fenced):
        grant(alice, region, bob_keys.id, epoch=4)
    with pytest.raises(errors.Fenced):
        alice.regions.fence(region, 4)
    grant(alice, region, bob_keys.id, epoch=5)
    assert remote.connection.region(region, 5).read(0, 1) == b"\0"
    with pytest.raises(errors.Fenced):
        remote.connection.region(region, 6).read(0, 1)


def test_a_holder_fences_older_holders_off(remote: RemoteRegion) -> None:
    newer = remote.fence(2)
    newer.write(0, b"new")
    with pytest.raises(errors.Fenced):
        remote.write(0, b"old")
    with pytest.raises(errors.Fenced):
        newer.fence(2)
    assert newer.read(0, 3) == b"new"


def test_a_destroyed_region_is_gone_and_its_bytes_with_it(
    alice: Endpoint, region: bytes, remote: RemoteRegion, bob_keys: QuantumKeys
) -> None:
    remote.write(0, b"\xaa" * SIZE)
    alice.regions.destroy(region)
    with pytest.raises(errors.NoGrant):
        remote.read(0, 1)
    with pytest.raises(errors.RegionUnknown):
        alice.regions.destroy(region)
    with pytest.raises(errors.RegionUnknown):
        alice.regions.counters(region)
    alice.regions.create(region, SIZE)
    with pytest.raises(errors.RegionExists):
        alice.regions.create(region, SIZE)
    grant(alice, region, bob_keys.id)
    assert remote.read(0, SIZE) == bytes(SIZE)


@pytest.mark.parametrize("size", [0, 2**62, 2**64 - 1])
def test_impossible_regions(alice: Endpoint, size: int) -> None:
    with pytest.raises(errors.RegionTooLarge):
        alice.regions.create(bytes(16), size)


def test_a_grant_lies_inside_its_region(
    alice: Endpoint, region: bytes, bob_keys: QuantumKeys
) -> None:
    for offset, length in ((0, SIZE + 1), (SIZE, 1), (1, SIZE), (0, 0), (2**64 - 1, 2)):
        with pytest.raises(errors.OutOfRange):
            grant(alice, region, bob_keys.id, offset=offset, length=length)


def test_a_fence_stops_a_transfer_that_is_under_way(
    alice: Endpoint, connection: Connection, bob_keys: QuantumKeys
) -> None:
    region = secrets.token_bytes(16)
    size = 256 << 20
    alice.regions.create(region, size)
    grant(alice, region, bob_keys.id, length=size)
    remote = connection.region(region, 1)
    raised: list[errors.Fenced] = []

    def write() -> None:
        try:
            remote.write(0, bytes(size))
        except errors.Fenced as error:
            raised.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    deadline = time.monotonic() + DEADLINE_S
    while alice.regions.counters(region).bytes_written == 0:
        assert time.monotonic() < deadline
    alice.regions.fence(region, 2)
    frozen = alice.regions.counters(region).bytes_written
    writer.join(DEADLINE_S)
    assert len(raised) == 1
    assert 0 < frozen < size
    assert alice.regions.destroy(region).bytes_written == frozen
