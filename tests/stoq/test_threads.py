"""An endpoint with several I/O threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.endpoint import Endpoint, limits
from hypermesh.stoq.threads import THREADS_MAX, settled
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.rpc import SERVICE_ECHO

from .network import DEADLINE_S, Network, eventually

THREADS = 3
CLIENTS = 12
BODY = bytes(200_000)


def io_threads() -> dict[int, tuple[str, set[int]]]:
    """Name and cores of each I/O thread of this process."""
    found = {}
    for each in Path("/proc/self/task").iterdir():
        try:
            name = (each / "comm").read_text().strip()
            if name.startswith("stoq-io-"):
                found[int(each.name)] = name, os.sched_getaffinity(int(each.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found


@pytest.fixture
def several(network: Network, alice_keys: QuantumKeys) -> Iterator[Endpoint]:
    identity = network.identity(alice_keys)
    with Endpoint.bind(policy=network.policy, identity=identity, threads=THREADS) as endpoint:
        yield endpoint


def test_each_thread_is_pinned_to_a_core(network: Network, alice_keys: QuantumKeys) -> None:
    before = io_threads()
    identity = network.identity(alice_keys)
    with Endpoint.bind(policy=network.policy, identity=identity, threads=THREADS) as endpoint:
        assert endpoint.threads == THREADS

        def pinned() -> list[tuple[str, set[int]]] | None:
            """They pin themselves, as their first act."""
            new = [found for thread, found in io_threads().items() if thread not in before]
            done = len(new) == THREADS and all(len(cores) == 1 for _, cores in new)
            return sorted(new) if done else None

        new = eventually(pinned, "pinned threads", within_s=30)
    assert [name for name, _ in new] == [f"stoq-io-{number}" for number in range(THREADS)]
    usable = len(os.sched_getaffinity(0))
    assert len(set().union(*(cores for _, cores in new))) == min(THREADS, usable)


def test_one_thread_goes_where_it_is_put(alice: Endpoint) -> None:
    assert alice.threads == 1
    assert all(cores == os.sched_getaffinity(0) for _, cores in io_threads().values())


def test_clients_of_several_threads_are_all_served(
    several: Endpoint, network: Network, alice_keys: QuantumKeys
) -> None:
    """All dial at once, from threads of their own, and resume."""

    def talk(keys: QuantumKeys) -> None:
        identity = network.identity(keys)
        with Endpoint.bind(policy=network.policy, identity=identity, threads=2) as client:
            for _ in range(3):
                with client.connect(*several.address, peer=alice_keys.id) as connection:
                    assert connection.request(SERVICE_ECHO, BODY) == BODY

    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: QuantumKeys.generate(), range(CLIENTS)))
        for done in [pool.submit(talk, each) for each in keys]:
            done.result(60)
    stats = several.stats()
    assert stats.accepted == 3 * CLIENTS
    assert stats.resumed > 0


def test_a_client_that_moves_stays_with_its_thread(
    several: Endpoint, bob: Endpoint, alice_keys: QuantumKeys
) -> None:
    with bob.connect(*several.address, peer=alice_keys.id) as connection:
        for _ in range(4):
            before = several.connections()[0].remote
            bob.rebind()
            assert connection.request(SERVICE_ECHO, BODY) == BODY
            assert several.connections()[0].remote != before
        assert connection.ended is None


def test_an_endpoint_of_several_threads_moves_and_drains(
    several: Endpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    with several.connect(*bob.address, peer=bob_keys.id) as connection:
        assert several.rebind() == several.address
        assert connection.request(SERVICE_ECHO, BODY) == BODY
    assert several.drain(DEADLINE_S * 1000)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_address_that_is_taken_is_refused(
    several: Endpoint, network: Network, alice_keys: QuantumKeys, threads: int
) -> None:
    """Sockets that share an address would share it with whoever comes next."""
    with pytest.raises(errors.BindRefused):
        Endpoint.bind(
            *several.address,
            policy=network.policy,
            identity=network.identity(alice_keys),
            threads=threads,
        )


def test_threads_have_their_bounds() -> None:
    assert limits()["shards_max"] == THREADS_MAX
    assert settled(0) == min(len(os.sched_getaffinity(0)), THREADS_MAX)
    assert settled(THREADS_MAX) == THREADS_MAX
    for threads in (-1, THREADS_MAX + 1):
        with pytest.raises(InvalidInput, match="I/O threads"):
            settled(threads)
