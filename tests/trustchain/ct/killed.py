"""A log's life in a process of its own, which ends by SIGKILL at a named instant.

    python -m tests.trustchain.ct.killed DIRECTORY INSTANT COUNT PLANT FIRST

It records certificates from number FIRST on, two threads at a time, and shows a checkpoint after
each; what it was answered it says on standard output. The process kills itself when INSTANT comes
for the COUNT-th time.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypermesh.trustchain.ct.postgresql_store import PostgresqlLogStore
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.store import Growth, SqliteLogStore
from hypermesh.trustchain.evidence import Act

from .samples import WAIT_S, opened, place_in, plain

INSTANTS = (
    "before write",
    "before commit",
    "after commit",
    "after answer",
    "before showing",
    "after showing",
)
EARLY = "the answer comes before the commit"
ROUNDS = 20


class Dying(SqliteLogStore):
    """A store whose process dies at an instant."""

    instant = ""
    left = 0
    dying = threading.Lock()
    publishing = False

    def append(self, growths: Sequence[Growth]) -> None:
        reach("before write")
        super().append(growths)
        reach("after commit")

    def publish(self, log: int, note: bytes) -> None:
        self.publishing = True
        super().publish(log, note)
        self.publishing = False
        reach("after showing")

    def _commit(self, writer: sqlite3.Connection) -> None:
        reach("before showing" if self.publishing else "before commit")
        super()._commit(writer)


class DyingInDatabase(PostgresqlLogStore):
    """The same over a database."""

    def __init__(self, path: Path) -> None:
        place = place_in(path.parent.parent)
        assert place is not None
        super().__init__(path, place)
        commit = self._writer._commit

        def dying(connection: Any) -> None:
            reach("before commit")
            commit(connection)

        self._writer._commit = dying  # type: ignore[method-assign]

    def append(self, growths: Sequence[Growth]) -> None:
        reach("before write")
        super().append(growths)
        reach("after commit")

    def publish(self, log: int, note: bytes) -> None:
        reach("before showing")
        super().publish(log, note)
        reach("after showing")


class EarlyInDatabase(DyingInDatabase):
    """The same fault: the answer is there, the commit is not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        begin, commit = self._writer._begun, self._writer._commit
        self._held: list[Any] = []

        def late(*, writes: bool) -> Any:
            while self._held:
                commit(self._held.pop())
            return begin(writes=writes)

        self._writer._begun = late  # type: ignore[method-assign]
        self._writer._commit = self._held.append  # type: ignore[method-assign]


class Early(Dying):
    """A planted fault: a batch is committed when the next one begins."""

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            if self._writer.in_transaction:
                self._commit(self._writer)
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer


def reach(instant: str) -> None:
    with Dying.dying:
        if instant == Dying.instant:
            Dying.left -= 1
            if Dying.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(directory: Path, plant: str, first: int) -> None:
    if place_in(directory) is None:
        store: Any = Early if plant == EARLY else Dying
    else:
        store = EarlyInDatabase if plant == EARLY else DyingInDatabase
    logs = opened(directory, store=store)
    certificates, acts = CertificateRecorder(logs, WAIT_S), ActRecorder(logs, WAIT_S)

    def record(number: int) -> None:
        (recorded,) = certificates.record([plain(number)])
        say("sct", number, recorded.index, recorded.sct.hex())
        reach("after answer")
        (index,) = acts.record([Act("test.act", b"%d" % number)])
        say("act", number, index)
        reach("after answer")

    for number in range(first, first + 2 * ROUNDS, 2):
        if plant == EARLY:
            # One after the other, so that the last answer said has no batch after it.
            record(number)
            continue
        threads = [threading.Thread(target=record, args=(number + each,)) for each in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, view in (("certificates", logs.certificates), ("acts", logs.acts)):
            say("checkpoint", name, view.checkpoint(view.head.size).hex())


if __name__ == "__main__":
    where, Dying.instant, count, planted, start = sys.argv[1:]
    Dying.left = int(count)
    live(Path(where), planted, int(start))
