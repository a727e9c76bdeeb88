"""A kernel of toys, a store with its genesis, and a chain to extend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block
from hypermesh.wire.codec import encode
from hypermesh.wire.proof import VdfOutput

from .toys import START_MS, block_input, founded, signed_block, toy_kernel


@pytest.fixture
def kernel() -> Kernel:
    return toy_kernel()


@pytest.fixture
def store(tmp_path: Path, kernel: Kernel) -> Iterator[Store]:
    opened = founded(tmp_path / "ledger", kernel)
    yield opened
    opened.close()


@pytest.fixture
def chain(kernel: Kernel, store: Store) -> Callable[..., Block]:
    """`chain(*entries)` commits the next block and returns it."""

    def extend(*entries: bytes, time_ms: int = START_MS, vdf: VdfOutput | None = None) -> Block:
        given = block_input(store.height + 1, *entries, time_ms=time_ms, vdf=vdf)
        block, execution = signed_block(kernel, store, given)
        store.commit(encode(block), execution)  # type: ignore[arg-type]
        return block

    return extend
