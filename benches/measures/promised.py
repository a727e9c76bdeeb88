"""What nodes acknowledged during a run, and whether it is all there at the end.

An acknowledgement binds: the ledger of every node holds a transaction that was answered `ok`, a job
that was answered for is known and over, a settled lease stays settled as it was, and a lender that
never went down still has every byte. What had no answer binds nobody, but happens once at most.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Payment:
    """An acknowledged transfer: its id, its place, and the memo that only it has."""

    tx: str
    height: int
    index: int
    memo: str


@dataclass(frozen=True)
class Entry:
    """A transaction as a ledger holds it. `memo` is that of a transfer that took place."""

    tx: str
    height: int
    index: int
    code: str
    memo: str


@dataclass(frozen=True)
class Kept:
    """Bytes that were acknowledged as written under a lease of the node `consumer`."""

    consumer: str
    lease: str
    content: bytes


@dataclass
class Promised:
    """Filled by any number of threads."""

    payments: list[Payment] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    """Node by job."""
    ended: dict[str, str] = field(default_factory=dict)
    """Final state by job, as far as a client was told."""
    settled: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    """(consumer, paid) by lease."""
    kept: list[Kept] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pay(self, payment: Payment) -> None:
        with self._lock:
            self.payments.append(payment)

    def accept(self, job: str, node: str) -> None:
        with self._lock:
            self.jobs[job] = node

    def end(self, job: str, state: str) -> None:
        with self._lock:
            self.ended[job] = state

    def settle(self, lease: str, consumer: str, paid: int | None) -> None:
        with self._lock:
            self.settled[lease] = consumer, paid

    def keep(self, kept: Kept) -> None:
        with self._lock:
            self.kept.append(kept)

    @property
    def count(self) -> int:
        return len(self.payments) + len(self.jobs) + len(self.settled) + len(self.kept)


def missing_payments(promised: Iterable[Payment], ledger: Iterable[Entry]) -> list[str]:
    """What one node's ledger lacks of the acknowledged transfers, and what it holds twice."""
    entries = list(ledger)
    held = {entry.tx: entry for entry in entries if entry.code == "ok"}
    wrong = []
    for payment in promised:
        entry = held.get(payment.tx)
        if entry is None:
            wrong.append(f"transfer {payment.tx} is not there")
        elif (entry.height, entry.index) != (payment.height, payment.index):
            wrong.append(f"transfer {payment.tx} is at {entry.height}.{entry.index}")
    times = Counter(entry.memo for entry in entries if entry.code == "ok" and entry.memo)
    return wrong + [f"{memo} was paid {count} times" for memo, count in times.items() if count > 1]


def wrong_jobs(
    promised: Mapping[str, str],
    ended: Mapping[str, str],
    found: Mapping[str, tuple[str, str]],
    finals: frozenset[str],
    output: str,
) -> list[str]:
    """Acknowledged jobs that are unknown, not over, over in another way than was said, or done with
    another output. `found` has (state, stdout) by job."""
    wrong = []
    for job in promised:
        state, stdout = found.get(job, ("unknown", ""))
        if state not in finals:
            wrong.append(f"job {job} is {state}")
        elif ended.get(job, state) != state:
            wrong.append(f"job {job} was {ended[job]} and is {state}")
        elif state == "done" and stdout != output:
            wrong.append(f"job {job} is done and said {stdout!r}")
    return wrong


def wrong_leases(
    promised: Mapping[str, tuple[str, int | None]], found: Mapping[str, tuple[str, int | None]]
) -> list[str]:
    """Leases that were answered as settled and are not, or not as then. `found` has (state, paid)
    by lease."""
    wrong = []
    for lease, (_, paid) in promised.items():
        state, now = found.get(lease, ("unknown", None))
        if state != "settled" or now != paid:
            wrong.append(f"lease {lease} is {state}, paid {now} and not {paid}")
    return wrong


def wrong_bytes(promised: Iterable[Kept], found: Mapping[str, bytes | str]) -> list[str]:
    """Kept memory that is gone or altered. `found` has the bytes by lease, or a reason."""
    wrong = []
    for kept in promised:
        content = found.get(kept.lease, "unknown")
        if isinstance(content, str):
            wrong.append(f"memory of lease {kept.lease}: {content}")
        elif content != kept.content:
            wrong.append(f"memory of lease {kept.lease} is altered")
    return wrong
