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

from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.store import Growth, SqliteLogStore
from hypermesh.trustchain.evidence import Act

from .samples import WAIT_S, opened, plain

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
    logs = opened(directory, store=Early if plant == EARLY else Dying)
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
