"""A sequencer's life under the recorder: the real rules, store and engine.

    python -m tests.faults.ledger_process ORDER DIRECTORY LOG

It submits the ordered transactions, some together, and marks each as begun and as done.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.solo import Solo
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.store import Store
from hypermesh.node import configuration
from hypermesh.node.rules import kernel as rules
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import SubmitResponse

from .plants import NOT_SETTLED, STORES, forget_to_settle
from .workloads import Death, Scribe, under_the_recorder

WAIT_S = 60.0
TOGETHER = 5
ALONE = 20
"""After so many transactions one by one come `TOGETHER` at once, which may share a block."""


class Order(msgspec.Struct, frozen=True):
    """What to do in one life. `entries` from `first` on are submitted; before entry `turn_at` the
    epoch turns by `vdf`. An orderly life closes its store; any other just ends."""

    genesis: bytes
    sequencer: bytes
    entries: list[bytes]
    vdf: bytes
    turn_at: int
    first: int
    last: int
    plant: str
    orderly: bool
    death: Death | None


class SteppingClock:
    """A millisecond passes with each look, and seconds when told: the same blocks in each run."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        self.ns += 1_000_000
        return self.ns


class Life:
    """One sequencer from start to end."""

    def __init__(self, order: Order, data: Path, scribe: Scribe) -> None:
        self._order = order
        self._scribe = scribe
        genesis = decode(Genesis, order.genesis)
        self._epoch_ns = genesis.proofs.epoch_ms * 1_000_000
        configuration.prepare(data)
        self._kernel = rules(genesis)
        self.store: Store = STORES.get(order.plant, Store)(data / "ledger", genesis)
        if not self.store.founded:
            self.store.found(self._kernel.begin(self.store))
        self._clock = SteppingClock()
        self._engine = Solo(
            self._kernel,
            self.store,
            Feed(self.store.height),
            QuantumKeys.from_secret_bytes(order.sequencer),
            BlockClock(self._kernel.head(self.store).time_ms, self._clock),
        )

    async def run(self) -> None:
        order, at = self._order, self._order.first
        self._engine.start()
        while at < order.last:
            if at == order.turn_at:
                await self._turn()
            together = TOGETHER if at % (ALONE + TOGETHER) >= ALONE else 1
            end = min(order.last, at + together)
            await asyncio.gather(*map(self._submit, order.entries[at:end]))
            at = end
        assert self._engine.stop(WAIT_S)

    async def _submit(self, entry: bytes) -> None:
        key = transaction_key(self._kernel.tx_id(entry))
        self._scribe.begin(key)
        try:
            answer = await self._engine.submit_async(entry, WAIT_S)
        except Refusal:
            self._scribe.refused(key)
        else:
            self._scribe.done(key, place_of(answer))

    async def _turn(self) -> None:
        self._clock.ns += 2 * self._epoch_ns
        vdf = decode(VdfOutput, self._order.vdf)
        key = vdf_key(vdf)
        self._scribe.begin(key)
        try:
            height = await self._engine.offer_vdf_async(vdf, WAIT_S)
        except Refusal:
            # An earlier life turned the epoch and did not live to say so.
            self._scribe.refused(key)
        else:
            self._scribe.done(key, str(height))


def transaction_key(tx: bytes) -> str:
    return f"tx {tx.hex()}"


def vdf_key(vdf: VdfOutput) -> str:
    return f"vdf {digest_of('test', vdf).hex()}"


def place_of(answer: SubmitResponse) -> str:
    return f"{answer.height}/{answer.index} {answer.result.code}"


def live(order: Order, data: Path, scribe: Scribe) -> None:
    if order.plant == NOT_SETTLED:
        forget_to_settle()
    life = Life(order, data, scribe)
    asyncio.run(life.run())
    if order.orderly:
        life.store.close()


if __name__ == "__main__":
    under_the_recorder(Order, live)
