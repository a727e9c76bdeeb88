"""Mixed load over three nodes for a long time, with a node killed every 30 s.

`alice` founds and orders the ledger, `bob` and `carol` follow. All three read, pay, run programs
and lease from one another (`work`). Every 30 s a node dies by `kill -9` and is started again: bob
two times of three and alice the third in the first quarter; bob alone after it, so that one life of
the sequencer is long enough for its memory to be judged. Carol is never killed, and what is kept
with her has to be there at the end. The memory of alice's longest life and of carol's is judged
once it is warm: a node has bounded caches (pages and rows of its ledger, its index, its jobs) that
fill with use.

A read is one by a client that fails over: it is available if any node gives a true answer within
5 s. What was acknowledged is looked for on every node after all are up again.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from result import Metric, metric, percentile

from hypermesh.crypto.digest import digest_of
from hypermesh.node.background import DidNotStart
from hypermesh.sdk.region import LeasedRegion
from hypermesh.wire.api.job import FINAL
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.tx import BankTransfer, SignedTransaction
from measures import promised, series
from measures.pool import SEEN_EACH_S, Life, Member, Pool
from measures.work import STDOUT, Load

MINUTES = 20.0
KILL_EACH_S = 30.0
DOWN_S = 3.0
WARM_S = 300.0
"""A life's memory counts after that, or after half of a shorter life."""
SEQUENCER_DIES = 0.25
"""The share of the run in which the sequencer is killed, too."""
READS_GOAL = 99.9
SLOPE_GOAL = 1.0
DESCRIPTORS_GOAL = 2.0
"""Flat: no more than that many at the end over the beginning, medians of a quarter each."""
AGREE_S = 60.0
JOBS_OVER_S = 120.0


def measure(minutes: float = MINUTES) -> list[Metric]:
    directory = Path(tempfile.mkdtemp(prefix="hm-soak-"))
    with ExitStack() as stack:
        pool = Pool(directory, stack, "alice", "bob", "carol")
        run = Soak(pool, minutes)
        metrics = run.run()
    if run.faults:
        say(f"what went wrong is in {directory}")
    else:
        shutil.rmtree(directory)
    return metrics


def victims(minutes: float) -> list[tuple[float, str]]:
    """When (seconds from the start) which node is killed. The last comes back before the end."""
    count = math.ceil(minutes * series.MINUTE_S / KILL_EACH_S) - 1
    plan = []
    for index in range(1, count + 1):
        early = index * KILL_EACH_S <= minutes * series.MINUTE_S * SEQUENCER_DIES
        plan.append((index * KILL_EACH_S, "alice" if early and index % 3 == 0 else "bob"))
    return plan


class Soak:
    def __init__(self, pool: Pool, minutes: float) -> None:
        self._pool = pool
        self._minutes = minutes
        self._over = threading.Event()
        self.load = Load(pool.members, pool["carol"])
        self.lost: list[str] = []
        """What was acknowledged and is not there, or not as it was."""
        self.kills = 0
        self._faults: list[str] = []

    def run(self) -> list[Metric]:
        self._await_acquainted()
        watcher = threading.Thread(target=self._watch, name="watch")
        watcher.start()
        self.load.start()
        try:
            self._kill()
        finally:
            self.load.stop()
            self._over.set()
            watcher.join()
        say("the load is over; looking for what was acknowledged")
        self._check()
        self._tell()
        return self._metrics()

    def _kill(self) -> None:
        began = time.monotonic()
        for at_s, name in victims(self._minutes):
            self._sleep_until(began + at_s)
            member = self._pool[name]
            try:
                member.kill()
                self.kills += 1
                time.sleep(DOWN_S)
                member.start()
            except DidNotStart as error:
                say(f"{name} did not come back: {error}\n{member.log()}")
                raise
            say(
                f"{at_s:6.0f} s  {name} killed, back in {member.restarts_s[-1]:.1f} s; "
                f"{self.load.promised.count} acknowledged, {self.load.reads_good} reads, "
                f"{self.load.reads_bad} without answer"
            )
        self._sleep_until(began + self._minutes * series.MINUTE_S)

    def _sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _watch(self) -> None:
        """Sample the processes; see that those nobody killed live."""
        while not self._over.wait(SEEN_EACH_S):
            for member in self._pool.members:
                member.look()
            member = self._pool["carol"]
            try:
                self.load.note_height(member)
            except HyperMeshError as error:
                self._faults.append(f"carol does not answer: {error}")

    def _await_acquainted(self) -> None:
        names = {each.node for each in self._pool.members}

        def acquainted() -> bool:
            for member in self._pool.members:
                attested = {each.node for each in member.mesh.network.nodes() if each.attested}
                if not names <= attested & {each.host for each in member.mesh.assets.list()}:
                    return False
            return True

        eventually(acquainted, "all nodes see one another", AGREE_S)

    def _check(self) -> None:
        members = self._pool.members
        given = self.load.promised

        def agreed() -> bool:
            seen = {(s.height, s.app_hash) for s in (m.mesh.network.status() for m in members)}
            return len(seen) == 1

        eventually(agreed, "one height and one app hash everywhere", AGREE_S)
        for member in members:
            wrong = promised.missing_payments(given.payments, entries(member))
            self.lost += [f"{member.name}: {each}" for each in wrong]
        finals = frozenset(state.value for state in FINAL)
        self.lost += promised.wrong_jobs(given.jobs, given.ended, self._jobs(), finals, STDOUT)
        found = {}
        for lease, (name, _) in given.settled.items():
            view = self._pool[name].mesh.leases.get(lease).lease
            found[lease] = view.state.value, view.paid
        self.lost += promised.wrong_leases(given.settled, found)
        contents = {kept.lease: self._content(kept) for kept in given.kept}
        self.lost += promised.wrong_bytes(given.kept, contents)

    @property
    def faults(self) -> list[str]:
        """All that nodes did wrong; what a test program could have done wrong is among it."""
        return [*self.lost, *self._faults, *self.load.wrong, *self.load.bugs]

    def _jobs(self) -> dict[str, tuple[str, str]]:
        """(state, stdout) by job, once all are over or the time for it is."""
        found: dict[str, tuple[str, str]] = {}
        deadline = time.monotonic() + JOBS_OVER_S
        for job, name in self.load.promised.jobs.items():
            while True:
                try:
                    view = self._pool[name].mesh.jobs.get(job).view
                except HyperMeshError as error:
                    found[job] = str(error), ""
                    break
                found[job] = view.state.value, view.stdout
                if view.state in FINAL or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
        return found

    def _content(self, kept: promised.Kept) -> bytes | str:
        mesh = self._pool[kept.consumer].mesh
        try:
            session = mesh.leases.session(kept.lease)
            with LeasedRegion(mesh.rest, session, keep=True) as region:
                return region.read(0, len(kept.content))
        except HyperMeshError as error:
            return str(error)

    def _tell(self) -> None:
        load = self.load
        say(f"done: {dict(load.done)}")
        for sort, count in load.refused.most_common():
            say(f"refused {count:6} {sort}: {load.said.get(sort, '')[:200]}")
        for fault in self.faults[:50]:
            say(f"FAULT {fault}")

    def _metrics(self) -> list[Metric]:
        load = self.load
        alice, carol = self._pool["alice"], self._pool["carol"]
        restarts = [took for each in self._pool.members for took in each.restarts_s]
        return [
            metric(
                "product.soak.reads",
                [float(load.reads_good), float(load.reads_bad)],
                "%",
                value=series.percent(load.reads_good, load.reads_bad),
                goal=READS_GOAL,
                better="higher",
            ),
            metric(
                "product.soak.first_attempts",
                [float(load.first_good), float(load.first_bad)],
                "%",
                value=series.percent(load.first_good, load.first_bad),
                better="higher",
            ),
            metric(
                "product.soak.read_p99", load.read_ms, "ms", value=percentile(load.read_ms, 0.99)
            ),
            metric("product.soak.acknowledged", [float(load.promised.count)], "", better="higher"),
            metric("product.soak.lost", [float(len(self.lost))], "", goal=0),
            metric("product.soak.false", [float(len(self.faults) - len(self.lost))], "", goal=0),
            metric("product.soak.kills", [float(self.kills)], "", better="higher"),
            metric("product.soak.restart", restarts, "s", value=max(restarts)),
            *lived("sequencer", max(alice.lives, key=lambda life: len(life.at_s))),
            *lived("follower", carol.lives[0]),
        ]


def lived(role: str, life: Life) -> list[Metric]:
    """How one process grew."""
    at_s, rss = series.settled(life.at_s, life.rss_mib, WARM_S)
    _, descriptors = series.settled(life.at_s, life.descriptors, WARM_S)
    return [
        metric(
            f"product.soak.{role}.memory",
            rss,
            "MiB/min",
            value=series.slope_per_minute(at_s, rss),
            goal=SLOPE_GOAL,
        ),
        metric(f"product.soak.{role}.rss", life.rss_mib, "MiB", value=max(life.rss_mib)),
        metric(
            f"product.soak.{role}.descriptors",
            descriptors,
            "",
            value=series.growth(descriptors),
            goal=DESCRIPTORS_GOAL,
        ),
    ]


def entries(member: Member) -> list[promised.Entry]:
    """Every transaction on a node's ledger, from the bytes of its blocks."""
    found = []
    for height in range(1, member.mesh.network.status().height + 1):
        block = member.mesh.ledger.block(height)
        for index, (entry, kind) in enumerate(zip(block.entries, block.types, strict=True)):
            if kind == "bank.transfer":
                transaction = decode(SignedTransaction, bytes.fromhex(entry)).transaction
                body = transaction.body
                memo = body.memo if isinstance(body, BankTransfer) else ""
                tx = digest_of("tx", transaction).hex()
                found.append(promised.Entry(tx, height, index, block.codes[index], memo))
    return found


def eventually(look: Callable[[], bool], what: str, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_s:g} s: {what}")
        time.sleep(0.2)


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
