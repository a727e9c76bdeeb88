"""The store: what it keeps, what it refuses to open, and what a reader sees meanwhile."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hypermesh.ledger.errors import (
    AnotherNetwork,
    DiskFull,
    LedgerDamaged,
    LedgerInUse,
    LedgerStopped,
    NewerSchema,
)
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import HEAD_KEY, Kernel
from hypermesh.ledger.ledger import ASSURANCE_SOLO, RESPONSE_BYTES_MAX, Ledger
from hypermesh.ledger.state import MemoryBase
from hypermesh.ledger.store import READERS_MAX, SCAN_FIRST, SCAN_PAGE, Store
from hypermesh.ledger.tree import changes, check_proof
from hypermesh.ledger.verify import verify_row
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import NotFound
from hypermesh.wire.rpc import BlocksRequest
from hypermesh.wire.tx import BankFaucet

from .toys import (
    BALANCES,
    GRANT,
    START_MS,
    block_input,
    faucet,
    founded,
    genesis,
    keys,
    own,
    pay,
    signed_block,
)

Extend = Callable[..., Block]


def rows_of(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(b""))


def test_what_is_committed_is_there_after_opening_again(
    tmp_path: Path, kernel: Kernel, store: Store, chain: Extend
) -> None:
    chain(own("alice"), faucet("alice", 1))
    block = chain(pay("alice", 2, "bob", 5))
    rows, root = rows_of(store), store.tree.root
    store.close()
    again = Store(tmp_path / "ledger", kernel.genesis)
    assert (again.founded, again.height) == (True, 2)
    assert (rows_of(again), again.tree.root) == (rows, root)
    assert again.tree.root == block.header.app_hash
    assert decode(Block, again.block(2) or b"") == block
    assert again.position(block.results[1].tx) == (2, 1)
    again.close()


def test_the_store_and_memory_agree(kernel: Kernel, store: Store, chain: Extend) -> None:
    memory = MemoryBase()
    memory.take(kernel.begin(memory))
    for entries in ([own("alice"), faucet("alice", 1)], [pay("alice", 2, "bob", 5, "due:3")], []):
        given = block_input(store.height + 1, *entries, time_ms=START_MS + 5 * store.height)
        memory.take(kernel.execute(given, memory).changes)
        chain(*entries, time_ms=given.time_ms)
        assert rows_of(store) == dict(memory.scan(b""))
        assert store.tree.root == memory.tree.root


def test_only_executed_transactions_are_indexed(store: Store, chain: Extend) -> None:
    early, late = pay("alice", 2, "bob", 5), own("alice")
    block = chain(early, late)
    assert [result.code for result in block.results[1:]] == ["HM-TEST-0001", "ok"]
    assert store.position(block.results[1].tx) is None
    assert store.position(block.results[2].tx) == (1, 2)
    block = chain(faucet("alice", 1), early)
    assert store.position(block.results[2].tx) == (2, 2)


@pytest.mark.parametrize("count", [0, 1, SCAN_FIRST, SCAN_FIRST + 1, SCAN_FIRST + SCAN_PAGE + 3])
def test_a_scan_of_any_length_is_whole_and_in_order(store: Store, count: int) -> None:
    rows = {b"many/" + number.to_bytes(4, "big"): b"v" for number in range(count)}
    neighbours = {b"many.": b"before", b"many0": b"after"}
    with store._transaction():
        store._write(changes(store, rows | neighbours))
    assert list(store.scan(b"many/")) == sorted(rows.items())


def test_a_snapshot_stays_at_its_height(store: Store, chain: Extend) -> None:
    chain(own("alice"))
    key = BALANCES.key(keys("alice").id)
    with store.snapshot() as before:
        chain(faucet("alice", 1))
        with store.snapshot() as after:
            assert (before.height, after.height) == (1, 2)
            assert before.get(key) is None
            assert after.get(key) == encode([GRANT])
            assert list(before.scan(BALANCES.key(b""))) == []
        with pytest.raises(TypeError, match="read only"):
            before.put(key, b"")
        with pytest.raises(TypeError, match="read only"):
            before.delete(key)


def test_readers_share_a_bounded_number_of_connections(store: Store, chain: Extend) -> None:
    chain(own("alice"))
    seen: list[int] = []

    def read() -> None:
        for _ in range(20):
            with store.snapshot() as snapshot:
                seen.append(snapshot.height)

    readers = [threading.Thread(target=read) for _ in range(3 * READERS_MAX)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert seen == [1] * (60 * READERS_MAX)
    assert len(store._connections) <= 1 + READERS_MAX


def test_proofs_hold_while_blocks_are_committed(store: Store, chain: Extend) -> None:
    chain(own("alice"), faucet("alice", 1))
    roots = {1: store.tree.root}
    key = BALANCES.key(keys("alice").id)
    proofs: list[tuple[int, bytes | None, object]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            proofs.append(store.prove(key))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for nonce in range(2, 22):
            block = chain(pay("alice", nonce, "bob", 1))
            roots[block.header.height] = block.header.app_hash
    finally:
        done.set()
        reader.join(20)
    proofs.append(store.prove(key))
    assert proofs[-1][0] == 21
    for height, value, proof in proofs:
        assert value == encode([GRANT - (height - 1)])
        check_proof(roots[height], proof, value)  # type: ignore[arg-type]


def test_another_process_cannot_open_the_same_ledger(tmp_path: Path, store: Store) -> None:
    with pytest.raises(LedgerInUse):
        Store(tmp_path / "ledger", genesis())
    store.close()
    Store(tmp_path / "ledger", genesis()).close()


def test_directories_that_are_missing_are_made(tmp_path: Path, kernel: Kernel) -> None:
    deep = founded(tmp_path / "a" / "b" / "ledger", kernel)
    assert deep.founded
    deep.close()


def test_a_database_of_another_genesis_is_refused(tmp_path: Path, store: Store) -> None:
    store.close()
    with pytest.raises(AnotherNetwork):
        Store(tmp_path / "ledger", genesis(START_MS + 1))
    Store(tmp_path / "ledger", genesis()).close()


def alter(tmp_path: Path, statement: str) -> None:
    connection = sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_newer_schema_is_refused(tmp_path: Path, store: Store) -> None:
    store.close()
    alter(tmp_path, "PRAGMA user_version = 2")
    with pytest.raises(NewerSchema):
        Store(tmp_path / "ledger", genesis())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM buckets WHERE number = (SELECT min(number) FROM buckets)",
        "UPDATE buckets SET hash = zeroblob(32)",
        "UPDATE buckets SET hash = zeroblob(31)",
        "UPDATE buckets SET hash = 7",
        "UPDATE buckets SET number = number + 65536",
        "DELETE FROM blocks WHERE height = 2",
    ],
)
def test_a_damaged_tree_is_found_at_start(
    tmp_path: Path, store: Store, chain: Extend, statement: str
) -> None:
    chain(own("alice"))
    chain(faucet("alice", 1))
    store.close()
    alter(tmp_path, statement)
    with pytest.raises(LedgerDamaged):
        Store(tmp_path / "ledger", genesis())


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerDamaged):
        Store(tmp_path / "ledger", genesis())
    # The claim was given up again: the next attempt fails for the same reason.
    with pytest.raises(LedgerDamaged):
        Store(tmp_path / "ledger", genesis())


def test_an_empty_ledger_has_no_root_before_it_is_founded(tmp_path: Path, kernel: Kernel) -> None:
    empty = Store(tmp_path / "ledger", kernel.genesis)
    assert not empty.founded
    empty.close()
    again = founded(tmp_path / "ledger", kernel)
    assert again.founded
    assert again.get(HEAD_KEY) is not None
    again.close()


def test_rows_of_genesis_are_seen_by_who_looked_before_they_were_written(
    tmp_path: Path, kernel: Kernel
) -> None:
    store = Store(tmp_path, kernel.genesis)
    assert store.get(HEAD_KEY) is None
    store.found(kernel.begin(store))
    assert store.get(HEAD_KEY) is not None
    store.close()


def test_a_full_disk_drops_the_block_whole_and_the_store_goes_on(
    kernel: Kernel, store: Store, chain: Extend
) -> None:
    chain(own("alice"), faucet("alice", 1))
    rows, root = rows_of(store), store.tree.root
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    memo = "x" * 200
    payments = [pay("alice", 2 + number, "bob", 1, memo) for number in range(10)]
    given = block_input(2, *payments)
    block, execution = signed_block(kernel, store, given)
    with pytest.raises(DiskFull):
        store.commit(encode(block), execution)  # type: ignore[arg-type]
    assert (store.height, store.tree.root, rows_of(store)) == (1, root, rows)
    assert store.get(HEAD_KEY) == rows[HEAD_KEY]
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert chain(*payments).header == block.header


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(LedgerStopped), store.snapshot():
        pass


class TestLedger:
    """The reading side."""

    @pytest.fixture
    def ledger(self, kernel: Kernel, store: Store) -> Ledger:
        return Ledger(kernel.genesis, store, Feed(store.height))

    def test_status_before_and_after_the_first_block(
        self, ledger: Ledger, store: Store, chain: Extend
    ) -> None:
        status = ledger.status()
        assert (status.height, status.app_hash) == (0, store.tree.root)
        assert (status.time_ms, status.assurance) == (START_MS, ASSURANCE_SOLO)
        block = chain(own("alice"), time_ms=START_MS + 3)
        status = ledger.status()
        assert (status.height, status.app_hash) == (1, block.header.app_hash)
        assert status.time_ms == START_MS + 3

    def test_blocks_and_transactions_are_found(self, ledger: Ledger, chain: Extend) -> None:
        chain(own("alice"))
        block = chain(faucet("alice", 1), pay("alice", 2, "bob", 5, "refuse"))
        assert ledger.block(2) == block
        placed = ledger.transaction(block.results[2].tx)
        assert (placed.height, placed.index) == (2, 2)
        assert placed.result.code == "HM-TEST-0001"
        assert ledger.transaction(block.results[1].tx).signed.transaction.body == BankFaucet()
        with pytest.raises(NotFound):
            ledger.block(3)
        with pytest.raises(NotFound):
            ledger.transaction(bytes(32))

    def test_a_row_comes_with_what_proves_it(self, ledger: Ledger, chain: Extend) -> None:
        with pytest.raises(NotFound):
            ledger.row(BALANCES.key(keys("alice").id))
        chain(own("alice"), faucet("alice", 1))
        for name, value in (("alice", encode([GRANT])), ("bob", None)):
            row = ledger.row(BALANCES.key(keys(name).id))
            assert row.value == value
            verify_row(genesis(), row.header, row.proof, row.value)

    def test_responses_are_bounded(self, ledger: Ledger, chain: Extend) -> None:
        for name in ("alice", "bob", "carol"):
            chain(own(name))
        request = BlocksRequest(height=1, count_max=2, wait_ms=0)
        response = ledger.blocks(request)
        assert [decode(Block, each).header.height for each in response.blocks] == [1, 2]
        assert response.height == 3
        beyond = ledger.blocks(msgspec.structs.replace(request, height=4))
        assert (beyond.blocks, beyond.height) == ([], 3)

    def test_a_response_stays_under_the_size_that_a_listener_reads(
        self, ledger: Ledger, store: Store, chain: Extend
    ) -> None:
        chain(own("alice"))
        huge = bytes(RESPONSE_BYTES_MAX - 1)
        with store._transaction():
            for height in (2, 3):
                store._writer.execute(
                    "INSERT INTO blocks VALUES (?, ?, ?)", (height, b"header", huge)
                )
        request = BlocksRequest(height=1, count_max=8, wait_ms=0)
        assert [len(each) for each in ledger.blocks(request).blocks][1:] == []
        request = BlocksRequest(height=2, count_max=8, wait_ms=0)
        assert ledger.blocks(request).blocks == [huge]
