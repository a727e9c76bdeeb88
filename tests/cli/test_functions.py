"""`@hm.function` in a real pool: other nodes, their sandboxes, their channel for results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import hypermesh as hm

from .shell import Machine


@pytest.fixture(scope="module")
def mesh(home: Machine, lender: Machine) -> Iterator[hm.Mesh]:
    with hm.connect(home.data) as connected:
        yield connected


@hm.function(cpu="100m", memory="128MiB", timeout="20s")
def primes(below: int) -> list[int]:
    import math

    return [n for n in range(2, below) if all(n % d for d in range(2, math.isqrt(n) + 1))]


@hm.function(cpu="100m", memory="128MiB", timeout="20s")
def divide(number: int) -> float:
    return 1 / number


@hm.function(cpu="100m", memory="128MiB", timeout="1s")
def forever() -> None:
    while True:
        pass


def test_a_function_runs_in_the_pool(mesh: hm.Mesh) -> None:
    call = primes.on(mesh).submit(20)
    assert call.result() == [2, 3, 5, 7, 11, 13, 17, 19]
    assert call.job.view.isolation
    assert call.job.view.paid is not None


def test_the_users_own_node_is_the_default(
    home: Machine, mesh: hm.Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERMESH_DATA", str(home.data))
    assert primes.remote(4) == [2, 3]


def test_what_it_raises_there_is_raised_here(mesh: hm.Mesh) -> None:
    with pytest.raises(hm.RemoteError, match="ZeroDivisionError") as caught:
        divide.on(mesh).remote(0)
    assert "return 1 / number" in caught.value.remote_traceback


def test_map_is_in_order(mesh: hm.Mesh) -> None:
    done: list[Any] = []
    found = primes.on(mesh).map([5, 4, 3], concurrency=2, progress=lambda *n: done.append(n))
    assert list(found) == [[2, 3], [2, 3], [2]]
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_one_that_takes_too_long_is_stopped(mesh: hm.Mesh) -> None:
    with pytest.raises(hm.HyperMeshError, match="deadline"):
        forever.on(mesh).remote()


def test_closures_travel_where_the_versions_are_the_same(mesh: hm.Mesh) -> None:
    scale = 3

    @hm.function(cpu="100m", memory="128MiB", travels="cloudpickle")
    def scaled(number: int) -> int:
        return number * scale

    try:
        assert scaled.on(mesh).remote(2) == 6
    except hm.VersionMismatch as error:
        # The sandbox has the system's Python, this test another.
        assert "Python" in error.why  # noqa: PT017


def test_the_same_from_asyncio(mesh: hm.Mesh, home: Machine) -> None:
    async def work() -> None:
        async with hm.connect_async(home.data) as twin:
            assert await primes.on(twin).aremote(4) == [2, 3]
            assert [each async for each in primes.on(twin).amap([3, 4])] == [[2], [2, 3]]
            with pytest.raises(hm.RemoteError):
                await divide.on(twin).aremote(0)

    asyncio.run(work())
