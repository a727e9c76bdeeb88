"""Writes that share commits.

One thread writes. What waits when it turns to the disk is committed together, each in a savepoint
of its own, so that one refusal undoes itself alone and many clients share one sync.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from hypermesh.trustchain.acme.store import StoreBusy, Tables

T = TypeVar("T")

WAITING_MAX = 1024
TOGETHER_MAX = 64
"""Writes of one commit."""


class Write:
    """One write that waits, and then its outcome, told when that is durable."""

    def __init__(self, work: Callable[[Tables], Any]) -> None:
        self.done: Future[Any] = Future()
        self._work = work
        self._value: Any = None
        self._error: Exception | None = None

    def run(self, execute: Callable[[str], object], tables: Tables, fatal: type[Exception]) -> None:
        """Do it within the transaction that is open; what the database raises, `fatal`, ends that
        transaction."""
        execute("SAVEPOINT work")
        try:
            self._value = self._work(tables)
        except fatal:
            raise
        except Exception as error:  # noqa: BLE001 (told to who asked)
            self._error = error
            execute("ROLLBACK TO SAVEPOINT work")
        execute("RELEASE SAVEPOINT work")

    def tell(self) -> None:
        if self._error is not None:
            self.done.set_exception(self._error)
        else:
            self.done.set_result(self._value)


class Commits:
    """The thread that writes. `commit` makes one transaction of some writes and returns when it is
    durable."""

    def __init__(self, commit: Callable[[Sequence[Write]], None]) -> None:
        self._commit = commit
        self._waiting: queue.Queue[Write | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="acme-store", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Tables], T]) -> T:
        """See `Store.write`."""
        write = Write(work)
        try:
            self._waiting.put_nowait(write)
        except queue.Full:
            raise StoreBusy from None
        # Shielded: a client that goes away does not undo what it asked for half way.
        answer: T = await asyncio.shield(asyncio.wrap_future(write.done))
        return answer

    def close(self) -> None:
        """Commit what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            writes = [first]
            is_last = False
            while len(writes) < TOGETHER_MAX and not is_last:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                else:
                    writes.append(more)
            try:
                self._commit(writes)
            except Exception as error:  # noqa: BLE001 (each who waits is told)
                for write in writes:
                    write.done.set_exception(error)
            else:
                for write in writes:
                    write.tell()
            if is_last:
                return
