"""The ledger as this node drives it: as its sequencer, or as a follower.

Both read the same way, from their own copy. They differ in how a write becomes durable: the
sequencer puts it into a block, a follower asks the sequencer to, and then waits for its own copy
to get there, so that a node reads what it wrote.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.ledger.blocktime import BlockClock, starting_time_ms
from hypermesh.ledger.engines.solo import Solo
from hypermesh.ledger.errors import LedgerUnavailable, OutcomeUnknown
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.follower import Follower, Pull
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.state import Overlay
from hypermesh.ledger.store import Store
from hypermesh.node.peers import Peers
from hypermesh.node.rules import kernel
from hypermesh.stoq.errors import PeerRefused, UnknownIssuer
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import Unreachable
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import BlocksRequest, BlocksResponse, SubmitResponse
from hypermesh.wire.tx import SignedTransaction

SUBMIT_TIMEOUT_S = 15.0
FOLLOW_TIMEOUT_S = 15.0
POLL_WAIT_MS = 10_000
SYNC_POLL_S = 0.05
BLOCKS_A_FETCH = 64
STOP_TIMEOUT_S = 10.0


class Chain(Protocol):
    """What the rest of the node sees of the ledger."""

    ledger: Ledger
    feed: Feed

    @property
    def contact_age_ms(self) -> int | None:
        """Since the sequencer was last heard; None where this node is the sequencer."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """Why it no longer goes on; None while it does."""
        ...

    def now_ms(self) -> int:
        """Block time now: the sequencer's own, a follower's as last heard and elapsed since."""
        ...

    def submit(self, entry: bytes) -> SubmitResponse:
        """Put an encoded `SignedTransaction` on the ledger; durable, and readable here, when
        answered. Raises `LedgerUnavailable` where the sequencer cannot be reached."""
        ...

    async def submit_async(self, entry: bytes) -> SubmitResponse:
        """As `submit`."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def open_store(directory: Path, genesis: Genesis) -> Store:
    """The ledger's store, with the rows of genesis in it."""
    store = Store(directory, genesis)
    if not store.founded:
        store.found(kernel(genesis).begin(store))
    return store


class Sequencing:
    """The ledger on the node that orders it."""

    contact_age_ms: int | None = None

    def __init__(
        self, directory: Path, genesis: Genesis, keys: QuantumKeys, confirmed_ms: int | None
    ) -> None:
        self._store = open_store(directory, genesis)
        self.feed = Feed(self._store.height)
        self.ledger = Ledger(genesis, self._store, self.feed)
        rules = kernel(genesis)
        last_ms = rules.head(Overlay(self._store)).time_ms
        wall_ms = time.time_ns() // 1_000_000
        self.clock = BlockClock(starting_time_ms(last_ms, wall_ms, confirmed_ms))
        self._engine = Solo(rules, self._store, self.feed, keys, self.clock)

    @property
    def failure(self) -> BaseException | None:
        return self._engine.failure

    def submit(self, entry: bytes) -> SubmitResponse:
        return self._explained(self._engine.submit(entry, SUBMIT_TIMEOUT_S))

    async def submit_async(self, entry: bytes) -> SubmitResponse:
        return self._explained(await self._engine.submit_async(entry, SUBMIT_TIMEOUT_S))

    def _explained(self, answer: SubmitResponse) -> SubmitResponse:
        return msgspec.structs.replace(answer, problem=self._engine.problem(answer.result.tx))

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def turn(self, vdf: VdfOutput) -> int:
        """Make the block that turns the epoch; its height."""
        return self._engine.offer_vdf(vdf, SUBMIT_TIMEOUT_S)

    def start(self) -> None:
        self._engine.start()

    def stop(self) -> None:
        self._engine.stop(STOP_TIMEOUT_S)
        self._store.close()


class Following:
    """The ledger on every other node."""

    def __init__(
        self, directory: Path, genesis: Genesis, peers: Peers, mistrusted: Callable[[], None]
    ) -> None:
        """`mistrusted` is told where the sequencer or this node has a certificate of an issuing CA
        that the other does not know."""
        self._peers = peers
        self._mistrusted = mistrusted
        self._sequencer = key_id(genesis.sequencer)
        self._store = open_store(directory, genesis)
        self.feed = Feed(self._store.height)
        self.ledger = Ledger(genesis, self._store, self.feed)
        self._clock = BlockClock(self.ledger.status().time_ms)
        self._follower = Follower(kernel(genesis), self._store, self.feed)
        self._pull = Pull(self._follower, self._fetch)

    @property
    def contact_age_ms(self) -> int | None:
        age_s = self._pull.age_s
        if age_s is not None:
            return int(age_s * 1000)
        # Not heard since this process began: what is read here is as old as the last block.
        return max(0, time.time_ns() // 1_000_000 - self.ledger.status().time_ms)

    @property
    def failure(self) -> BaseException | None:
        return self._follower.diverged or self._pull.failure

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def await_synced(self) -> None:
        """Wait until this copy has every block that the sequencer has.

        Raises `LedgerUnavailable` where the sequencer does not answer, or not within the time.
        """
        deadline = time.monotonic() + FOLLOW_TIMEOUT_S
        while self._pull.age_s is None or self._pull.behind > 0:
            trouble = self.failure or self._pull.trouble
            if trouble is not None or time.monotonic() > deadline:
                raise LedgerUnavailable(why=str(trouble or "no answer"))
            self.feed.wait(self.feed.height + 1, SYNC_POLL_S)

    def submit(self, entry: bytes) -> SubmitResponse:
        signed = decode(SignedTransaction, entry)
        try:
            answer = self._peers.call(self._sequencer, "ledger.submit", signed, SubmitResponse)
        except OutcomeUnknown:
            raise
        except (PeerRefused, Unreachable) as error:
            raise LedgerUnavailable(why=str(error)) from error
        self.feed.wait(answer.height, FOLLOW_TIMEOUT_S)
        return answer

    async def submit_async(self, entry: bytes) -> SubmitResponse:
        return await asyncio.to_thread(self.submit, entry)

    def start(self) -> None:
        self._pull.start()

    def stop(self) -> None:
        self._pull.stop(STOP_TIMEOUT_S)
        self._store.close()

    def _fetch(self, height: int) -> BlocksResponse:
        wait_ms = 0 if self._pull.age_s is None else POLL_WAIT_MS
        request = BlocksRequest(height, BLOCKS_A_FETCH, wait_ms)
        try:
            response = self._peers.call(self._sequencer, "ledger.blocks", request, BlocksResponse)
        except UnknownIssuer:
            self._mistrusted()
            raise
        if response.time_ms:
            self._clock = BlockClock(response.time_ms)
        return response


def genesis_id(genesis: Genesis) -> bytes:
    """The id of the network that `genesis` begins."""
    return digest_of("genesis", genesis)
