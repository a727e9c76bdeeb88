"""The store: durable, serial, each write whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.postgresql.fixtures import STORES, place_of

from hypermesh.trustchain.acme import commits
from hypermesh.trustchain.acme.sqlite import SqliteStore
from hypermesh.trustchain.acme.store import Binding, Store, StoreBusy, Tables
from hypermesh.trustchain.ca.database import StoreUnavailable


def binding(number: int) -> Binding:
    return Binding(f"k{number}", "", b"s", 0)


@pytest.fixture(params=STORES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same store again and again."""
    place = place_of(request)
    if place is None:
        return lambda: SqliteStore(tmp_path)
    from hypermesh.trustchain.acme.postgresql import PostgresqlStore

    return lambda: PostgresqlStore(place)


def test_writes_see_each_other_and_a_refusal_undoes_itself_alone(
    made: Callable[[], Store],
) -> None:
    store = made()

    def write(number: int):
        def put(tables: Tables) -> int:
            tables.put_binding(binding(number))
            if number % 3 == 0:
                raise LookupError(number)
            return tables.bindings()

        return put

    async def run() -> None:
        answers = await asyncio.gather(
            *(store.write(write(number)) for number in range(300)), return_exceptions=True
        )
        assert [each for each in answers if isinstance(each, int)] == list(range(1, 201))
        assert sum(isinstance(each, LookupError) for each in answers) == 100
        assert store.read(lambda tables: tables.bindings()) == 200
        assert store.read(lambda tables: tables.binding("k3")) is None

    asyncio.run(run())
    store.close()
    again = made()
    assert again.read(lambda tables: tables.bindings()) == 200
    again.close()


def test_what_was_answered_is_in_the_file(tmp_path: Path) -> None:
    """Another connection, which sees what was committed, has it as soon as it is answered."""
    store = SqliteStore(tmp_path)
    other = sqlite3.connect(tmp_path / "acme.sqlite")

    async def run() -> None:
        for number in range(20):
            await store.write(lambda tables: tables.put_binding(binding(number)))  # noqa: B023
            count = other.execute("SELECT count(*) FROM bindings").fetchone()
            assert count == (number + 1,)

    asyncio.run(run())
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    store.close()


def test_as_many_writes_wait_as_may(
    made: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "WAITING_MAX", 2)
    store = made()

    async def run() -> None:
        go_on = asyncio.Event()
        loop = asyncio.get_running_loop()
        held = asyncio.Event()

        def hold(tables: Tables) -> None:
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)

        first = asyncio.create_task(store.write(hold))
        await held.wait()
        waiting = [
            asyncio.create_task(store.write(lambda tables: tables.bindings())) for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy):
            await store.write(lambda tables: tables.bindings())
        go_on.set()
        await first
        assert await asyncio.gather(*waiting) == [0, 0]

    asyncio.run(run())
    store.close()


def test_a_store_that_fails_says_so_to_all_who_wait(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)

    def fails(tables: Tables) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def run() -> None:
        with pytest.raises(StoreUnavailable):
            await store.write(fails)
        assert await store.write(lambda tables: tables.bindings()) == 0

    asyncio.run(run())
    store.close()
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path / "acme.sqlite")
