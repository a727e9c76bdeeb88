"""The mixed load of the soak: threads that read, pay, run programs, lease and keep memory, over
nodes that come and go. Each does one thing again and again at its own pace, and writes down what
was acknowledged."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec

from hypermesh.sdk import account, asset, lease, ledger, network
from hypermesh.sdk.call import Call
from hypermesh.sdk.job import program
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.errors import HyperMeshError
from measures.pool import Member
from measures.promised import Kept, Payment, Promised

READ_WITHIN_S = 5.0
"""A read that has no answer by then, from any node, was not available."""
ATTEMPT_S = 2.0
SOURCE = "print(6 * 7)"
STDOUT = "42\n"
JOB_WITHIN_S = 45.0
SWEEP_BYTES = 1 << 20
KEEP_BYTES = 64 << 10
KEEP_MS = 2 * 60 * 60 * 1000
LEASE_MS = 60_000
KEPT_MAX = 256

T = TypeVar("T")
Question = tuple[str, Call[object], Callable[[object], bool]]


class Load:
    """The threads, what they did and what they were promised."""

    def __init__(self, members: list[Member], lender: Member) -> None:
        self.promised = Promised()
        self.reads_good = 0
        self.reads_bad = 0
        self.first_good = 0
        self.first_bad = 0
        """First attempts, at a node that was meant to be up all the while."""
        self.read_ms: list[float] = []
        self.wrong: list[str] = []
        """Answers that came and were false."""
        self.bugs: list[str] = []
        """What ended a piece of work other than by an error of the catalogue."""
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.said: dict[str, str] = {}
        """The first refusal of each sort, in its own words."""
        self._members = members
        self._lender = lender
        self._hashes: dict[int, str] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for work, pause_s, threads in (
            (self.read, 0.03, 4),
            (self.pay, 0.1, 2),
            (self.run, 0.7, 2),
            (self.sweep, 0.7, 1),
            (self.keep, 6.0, 1),
            (self.hold, 1.0, 1),
        ):
            for index in range(threads):
                name = f"{work.__name__}-{index}"
                rng = secrets.SystemRandom()
                thread = threading.Thread(target=self._go, name=name, args=(work, pause_s, rng))
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def read(self, rng: secrets.SystemRandom) -> None:
        """One read by a client that goes to the next node where one fails."""
        name, call, holds = rng.choice(self._questions(rng))
        nodes = rng.sample(self._members, len(self._members))
        started = time.monotonic()
        for place, member in enumerate(nodes):
            meant = member.up.is_set()
            left_s = READ_WITHIN_S - (time.monotonic() - started)
            good = left_s > 0 and self._asked(member, call, holds, min(ATTEMPT_S, left_s), name)
            if place == 0 and meant and member.up.is_set():
                with self._lock:
                    self.first_good += good
                    self.first_bad += not good
            if good:
                with self._lock:
                    self.reads_good += 1
                    self.read_ms.append((time.monotonic() - started) * 1000)
                return
        with self._lock:
            self.reads_bad += 1

    def pay(self, rng: secrets.SystemRandom) -> None:
        payer, payee = rng.sample(self._members, 2)
        memo = f"soak {next(self._numbers)}"
        answer = payer.mesh.accounts.transfer(payee.owner, 1, memo)
        if answer.code == "ok":
            self.promised.pay(Payment(answer.tx, answer.height, answer.index, memo))
        else:
            self._refusal("pay", answer.code)

    def run(self, rng: secrets.SystemRandom) -> None:
        member = rng.choice(self._members)
        job = member.mesh.jobs.submit(program(SOURCE, cpu_millicores=100, memory_bytes=64 << 20))
        self.promised.accept(job.id, member.name)
        view = job.wait(JOB_WITHIN_S)
        self.promised.end(job.id, view.state.value)
        if view.state.value == "done" and view.stdout != STDOUT:
            self._false(f"job {job.id} said {view.stdout!r}")
        if view.state.value != "done":
            code = view.problem.code if view.problem is not None else view.reason
            self._refusal("run", f"{view.state.value} {code}")

    def sweep(self, rng: secrets.SystemRandom) -> None:
        """Lease memory anywhere, write, read back, settle."""
        member = rng.choice(self._members)
        content = os.urandom(SWEEP_BYTES)
        region = member.mesh.memory.lease(SWEEP_BYTES, duration_ms=LEASE_MS)
        try:
            region.write(0, content)
            if region.read(0, SWEEP_BYTES) != content:
                self._false(f"memory of lease {region.lease.lease} came back altered")
        finally:
            final = region.close()
        if final is not None and final.state is LeaseState.SETTLED:
            self.promised.settle(final.lease, member.name, final.paid)

    def keep(self, rng: secrets.SystemRandom) -> None:
        """Write bytes that stay to the end, at the lender that never goes down."""
        if len(self.promised.kept) >= KEPT_MAX:
            return
        member = rng.choice([each for each in self._members if each is not self._lender])
        place = _memory_of(self._lender)
        content = os.urandom(KEEP_BYTES)
        with member.mesh.memory.lease(
            KEEP_BYTES, address=place, duration_ms=KEEP_MS, keep=True
        ) as region:
            region.write(0, content)
            self.promised.keep(Kept(member.name, region.lease.lease, content))

    def hold(self, rng: secrets.SystemRandom) -> None:
        """Lease a share of a processor, and settle."""
        member, lender = rng.sample(self._members, 2)
        processors = member.mesh.assets.list(AssetKind.CPU)
        place = next((each for each in processors if each.host == lender.node), None)
        if place is None:
            self._refusal("hold", "not shown")
            return
        session = member.mesh.leases.allocate(place.asset, 50, duration_ms=LEASE_MS)
        final = member.mesh.leases.release(session.lease)
        if final.state is LeaseState.SETTLED:
            self.promised.settle(final.lease, member.name, final.paid)

    def _go(
        self,
        work: Callable[[secrets.SystemRandom], None],
        pause_s: float,
        rng: secrets.SystemRandom,
    ) -> None:
        while not self._stop.wait(pause_s * rng.uniform(0.5, 1.5)):
            try:
                work(rng)
            except HyperMeshError as error:
                self._refusal(work.__name__, error.code, str(error))
            except Exception:  # noqa: BLE001
                with self._lock:
                    self.bugs.append(f"{work.__name__}: {traceback.format_exc()}")
            else:
                with self._lock:
                    self.done[work.__name__] += 1

    def _questions(self, rng: secrets.SystemRandom) -> list[Question]:
        whom = rng.choice(self._members)
        with self._lock:
            height = rng.randint(1, max(self._hashes, default=1))
        return [
            ("status", network.status(), lambda found: found.height >= 1),
            ("account", account.get(whom.owner), lambda found: found.owner == whom.owner),
            ("assets", asset.page(), lambda found: any(each.mine for each in found.items)),
            ("leases", lease.page(), lambda found: isinstance(found.items, list)),
            ("block", ledger.block(height), lambda found: self._same(height, found.hash)),
        ]

    def _same(self, height: int, found: str) -> bool:
        """Whether the block there is the one that any node ever showed there."""
        with self._lock:
            return self._hashes.setdefault(height, found) == found

    def note_height(self, member: Member) -> None:
        """Blocks up to that of `member` may be asked for from now on."""
        status = member.mesh.network.status()
        shown = member.mesh.ledger.block(status.height)
        if not self._same(status.height, shown.hash):
            self._false(f"two blocks at {status.height}")

    def _asked(
        self,
        member: Member,
        call: Call[T],
        holds: Callable[[T], bool],
        within_s: float,
        name: str,
    ) -> bool:
        try:
            found = member.mesh.rest.run(msgspec.structs.replace(call, timeout_s=within_s))
        except HyperMeshError as error:
            self._refusal("read", f"{error.code} up={member.up.is_set()}")
            return False
        if not holds(found):
            self._false(f"{name} at {member.name}: {found!r:.300}")
            return False
        return True

    def _refusal(self, work: str, code: str, said: str = "") -> None:
        with self._lock:
            self.refused[f"{work} {code}"] += 1
            self.said.setdefault(f"{work} {code}", said)

    def _false(self, said: str) -> None:
        with self._lock:
            self.wrong.append(said)


def _memory_of(member: Member) -> str:
    found = member.mesh.assets.list(AssetKind.MEMORY)
    return next(each.address for each in found if each.mine)
