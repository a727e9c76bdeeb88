"""The engine of validators, running: CometBFT's process, our socket for it, and those who submit.

It offers what `solo` offers: `submit` is durable when it answers, `offer_vdf` puts a VDF output
into an opening. What differs is who orders: blocks come at a steady pace, empty or not, because the
state changes with every block (it holds the block's height and time) and CometBFT then makes the
next one to prove that state.

When the process ends or its connection for blocks is lost, this engine has stopped for good, and
says so to everyone who waits. Nothing durable is lost: a new start continues where the store and
CometBFT's own directory stand, whichever is ahead by one block.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
import time
from typing import Final

from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.comet.abci import Server
from hypermesh.ledger.engines.comet.application import Application
from hypermesh.ledger.engines.comet.errors import EngineRefused, EngineStopped
from hypermesh.ledger.engines.comet.home import Home
from hypermesh.ledger.engines.comet.rpc import Rpc
from hypermesh.ledger.engines.comet.waiting import Waiting
from hypermesh.ledger.errors import LedgerStopped, LedgerUnavailable, OutcomeUnknown
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import Problem
from hypermesh.wire.ids import TxId
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.rpc import SubmitResponse

PACE_MS: Final = 500
"""Milliseconds between a block and the next."""
START_S_MAX: Final = 60.0
START_PAUSE_S: Final = 0.05
KILL_S_MAX: Final = 5.0
LOG_BYTES_MAX: Final = 4 << 20
"""A longer log of the engine is begun anew at the next start."""
LOG_READ_BYTES: Final = 64 << 10
LOG_LINES_SHOWN: Final = 4
LOG_CHARACTERS_SHOWN: Final = 1500
COMPLAINTS: Final = ("panic:", "ERROR:", "E[")
"""How the engine's lines begin that say what went wrong."""

log = logging.getLogger(__name__)


class Comet:
    """The engine of a network of validators, at one of them.

    It owns the kernel and the writing side of the store while it runs. `submit` and `offer_vdf` may
    be called from any thread.
    """

    def __init__(
        self,
        kernel: Kernel,
        store: Store,
        feed: Feed,
        clock: BlockClock,
        home: Home,
        pace_ms: int = PACE_MS,
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._feed = feed
        self._home = home
        self._pace_ms = pace_ms
        self._waiting = Waiting()
        self._application = Application(kernel, store, feed, self._waiting, clock.now_ms)
        self._server = Server(home.abci_socket, self._application, self._ended)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: threading.Thread | None = None
        self._rpc = Rpc(home.rpc_socket)
        self._log_start = 0
        self._stopping = False
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine; None while it runs and after an orderly stop."""
        return self._failure

    @property
    def pid(self) -> int | None:
        """The engine's process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the engine and wait until it takes transactions.

        Raises what `Home.claim` and `Home.prepare` raise, and `EngineStopped` where the process
        does not come up.
        """
        self._home.claim()
        try:
            self._home.prepare(self._kernel.genesis, self._kernel.genesis_id, self._pace_ms)
            self._server.start()
            self._process = self._launched()
            self._watch = threading.Thread(
                target=self._watched, args=(self._process,), name="comet-watch", daemon=True
            )
            self._watch.start()
            self._await_ready()
        except BaseException:
            self.stop(KILL_S_MAX)
            raise

    def stop(self, timeout_s: float) -> bool:
        """End the engine process and take no more. Whether it ran until now and ended in time."""
        with self._lock:
            self._stopping = True
        self._waiting.close(_stopped_by(self._failure))
        in_time = self._end_process(timeout_s)
        self._server.stop()
        if self._watch is not None:
            self._watch.join(KILL_S_MAX)
        self._rpc.close()
        self._home.release()
        self._feed.close(_stopped_by(self._failure))
        return in_time and self._failure is None

    def submit(self, entry: bytes, timeout_s: float) -> SubmitResponse:
        """Put an encoded `SignedTransaction` into a block; it is durable when this returns.

        As `Solo.submit`: the body may have been refused there, a transaction that was executed
        before gets its first result again. Raises the `Refusal` of one that no block took;
        `QueueFull`, `LedgerStopped`, `LedgerUnavailable`; `OutcomeUnknown` after `timeout_s`
        seconds.
        """
        deadline = time.monotonic() + timeout_s
        tx = self._kernel.tx_id(entry)
        others = self._waiting.expected(tx)
        waiter = self._waiting.expect(tx)
        try:
            if (first := self._first_result(tx)) is not None:
                return first
            refusal = self._rpc.broadcast(entry)
            if refusal is not None and not others:
                # Another encoding of the same transaction may have been executed meanwhile.
                if (first := self._first_result(tx)) is None:
                    raise refusal
                return first
            return waiter.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None
        except LedgerUnavailable as error:
            raise OutcomeUnknown(why=str(error)) from error
        finally:
            self._waiting.forget(tx, waiter)

    async def submit_async(self, entry: bytes, timeout_s: float) -> SubmitResponse:
        """As `submit`."""
        return await asyncio.to_thread(self.submit, entry, timeout_s)

    def offer_vdf(self, vdf: VdfOutput, timeout_s: float) -> int:
        """The height of the block whose opening carries `vdf`, as `Solo.offer_vdf`."""
        try:
            return self._waiting.offer(vdf).result(timeout_s)
        except TimeoutError:
            raise OutcomeUnknown(why=f"no block within {timeout_s:g} s") from None

    async def offer_vdf_async(self, vdf: VdfOutput, timeout_s: float) -> int:
        """As `offer_vdf`."""
        return await asyncio.to_thread(self.offer_vdf, vdf, timeout_s)

    def problem(self, tx: TxId) -> Problem | None:
        """In words, why the body of a recent transaction was refused; blocks hold only the code."""
        return self._waiting.problem(tx)

    def _first_result(self, tx: TxId) -> SubmitResponse | None:
        with self._store.snapshot() as snapshot:
            position = snapshot.position(tx)
            encoded = None if position is None else snapshot.block(position[0])
        if position is None or encoded is None:
            return None
        height, index = position
        return SubmitResponse(height, index, decode(Block, encoded).results[index])

    def _launched(self) -> subprocess.Popen[bytes]:
        home = self._home
        fresh = not home.log.exists() or home.log.stat().st_size > LOG_BYTES_MAX
        with home.log.open("wb" if fresh else "ab") as output:
            self._log_start = output.seek(0, 2)
            return subprocess.Popen(
                [str(home.binary), "start", "--home", str(home.directory)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(home.claim_descriptor,),
                start_new_session=True,
                umask=0o077,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while not self._ready():
            if self._failure is not None:
                raise _stopped_by(self._failure) from self._failure
            if time.monotonic() > deadline:
                raise EngineStopped(
                    f"The BFT engine was not ready after {START_S_MAX:g} s", why=self._last_words()
                )
            time.sleep(START_PAUSE_S)

    def _ready(self) -> bool:
        try:
            return self._rpc.listening() and self._rpc.takes_transactions()
        except (LedgerUnavailable, EngineRefused):
            return False

    def _watched(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        self._ended(EngineStopped(why=f"its process ended with {status}: {self._last_words()}"))

    def _ended(self, failure: BaseException) -> None:
        """The engine cannot go on: say so once, to everyone, and let its process end."""
        with self._lock:
            if self._stopping or self._failure is not None:
                return
            self._failure = failure
        log.error("the ledger stops: %s", failure)
        stopped = _stopped_by(failure)
        self._waiting.close(stopped)
        self._feed.close(stopped)
        if self._process is not None:
            self._process.terminate()

    def _end_process(self, timeout_s: float) -> bool:
        process = self._process
        if process is None:
            return True
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(KILL_S_MAX)
            return False
        return True

    def _last_words(self) -> str:
        """What the engine's log says since the start: its complaints, without the stack traces."""
        try:
            with self._home.log.open("rb") as output:
                output.seek(self._log_start)
                lines = output.read(LOG_READ_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return ""
        complaints = [line for line in lines if line.startswith(COMPLAINTS)]
        return "; ".join((complaints or lines)[-LOG_LINES_SHOWN:])[-LOG_CHARACTERS_SHOWN:]


def _stopped_by(failure: BaseException | None) -> LedgerStopped:
    if failure is None:
        return LedgerStopped(why="the node is going down")
    if isinstance(failure, LedgerStopped):
        return failure
    return LedgerStopped(why=f"{type(failure).__name__}: {failure}")
