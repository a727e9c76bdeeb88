"""A job between acceptance and end, as its runner, its follower and its readers share it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import msgspec

from hypermesh.catalog.output import Output
from hypermesh.node.jobs import Record, Said
from hypermesh.node.jobs_session import Session
from hypermesh.wire.rpc import JobOutputResponse, JobResult


@dataclass(slots=True)
class Active:
    """A job that is not over. `record` and `owed` are its runner's to change."""

    record: Record
    is_waited_for: bool
    output: Output
    lapped: float = field(default_factory=time.perf_counter)
    owed: bool = False
    is_begun: bool = False
    """A runner has taken it, or it was cancelled before one did."""
    is_cancelled: bool = False
    is_answered: bool = False
    session: Session | None = None
    stir: threading.Event = field(default_factory=threading.Event)
    """Set when somebody watches, or the program has ended."""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Between the runner and the thread that follows, over `output`."""

    def lap(self, name: str) -> None:
        """The time since the last lap was spent on `name`."""
        now = time.perf_counter()
        spent = (now - self.lapped) * 1000 + self.record.timings_ms.get(name, 0)
        self.lapped = now
        timings = {**self.record.timings_ms, name: round(spent, 2)}
        self.record = msgspec.structs.replace(self.record, timings_ms=timings)

    def hear(self, said: JobOutputResponse) -> None:
        """A piece of the output, in order."""
        with self.lock:
            if not self.is_answered:
                self.output.take(self.output.stdout, said.stdout)
                self.output.take(self.output.stderr, said.stderr)

    def answer(self, result: JobResult) -> None:
        """The whole output: what no piece has brought yet is added."""
        with self.lock:
            self.is_answered = True
            out, err = self.output.stdout, self.output.stderr
            self.output.take(out, result.stdout[len(out.data) :])
            self.output.take(err, result.stderr[len(err.data) :])
            self.output.result.data += result.result
        self.stir.set()

    def said(self) -> Said:
        stdout, stderr = self.output.since(0, 0)
        wanted = self.record.limits.result_bytes
        return Said(stdout, stderr, bytes(self.output.result.data) if wanted else None)
