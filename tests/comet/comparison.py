"""Blocks as the engine decided them, executed again as solo does, and where the two part."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.signature import sign
from hypermesh.ledger.engines.comet.rpc import Rpc
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block, BlockInput
from hypermesh.wire.codec import encode

from .network import Network


@dataclass(frozen=True)
class Decided:
    """What the engine's own store says of a block: its input, and the app hash that the engine's
    header of the next block commits to."""

    input: BlockInput
    app_hash: bytes


def decided(rpc: Rpc) -> list[Decided]:
    """Every block of the engine whose app hash the next header holds."""
    blocks = [_block(rpc, height) for height in range(1, rpc.height() + 1)]
    hashes = [bytes.fromhex(block["header"]["app_hash"]) for block in blocks]
    return [
        Decided(_input(block), app_hash)
        for block, app_hash in zip(blocks, hashes[1:], strict=False)
    ]


def entries(rpc: Rpc) -> list[bytes]:
    """Every entry of every block so far, openings left out."""
    found: list[bytes] = []
    for height in range(1, rpc.height() + 1):
        found += _input(_block(rpc, height)).entries[1:]
    return found


def first_difference(network: Network, blocks: Sequence[Decided], directory: Path) -> int | None:
    """The first height at which solo, given the same inputs, has another app hash."""
    for height, app_hash in solo(network, [block.input for block in blocks], directory):
        if app_hash != blocks[height - 1].app_hash:
            return height
    return None


def solo(
    network: Network, inputs: Sequence[BlockInput], directory: Path
) -> Iterator[tuple[int, bytes]]:
    """(height, app hash) as a sequencer has them that makes these blocks on a fresh store: it
    executes, signs the header and commits."""
    kernel = network.kernel()
    store = Store(directory, network.genesis)
    try:
        store.found(kernel.begin(store))
        for given in inputs:
            execution = kernel.execute(given, store)
            header = execution.header
            signature = sign(
                network.keys("alice"), "header", header.genesis, digest_of("header", header)
            )
            block = Block(header, signature, given.entries, execution.results)
            store.commit(encode(block), execution)
            yield header.height, store.tree.root
    finally:
        store.close()


def _block(rpc: Rpc, height: int) -> dict[str, Any]:
    return rpc.block(height)


def _input(block: dict[str, Any]) -> BlockInput:
    header, txs = block["header"], block["data"]["txs"] or []
    data = [base64.b64decode(tx) for tx in txs]
    assert block["evidence"]["evidence"] in (None, [])
    return BlockInput(int(header["height"]), _milliseconds(header["time"]), data, [])


def _milliseconds(text: str) -> int:
    """RFC 3339 with up to nine digits of a second, as the engine writes it; cut to milliseconds."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000 + int(fraction.ljust(9, "0")[:3])
