"""The jobs of this node's owner: taken in, placed, run at a provider, followed, cancelled, settled.

Each job has a thread of a bounded pool from its first attempt to its end. The step that a job is at
is written down before it is taken (`jobs_kept`), so that a restart finds what was under way: jobs
that no provider has seen are run, of the others nothing can be said any more, and their leases are
settled by the ledger's rules.

What a job says is fetched from its provider by one more thread. It is also the pulse: a provider
that is silent for `SILENCE_S` is given up, long before its transport would notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from hypermesh.assets import lease as leases
from hypermesh.assets.adapters.adapter import NoCapacity
from hypermesh.assets.provider import NotOffered
from hypermesh.catalog.output import Output
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.mfn.route import Outcome
from hypermesh.node import jobs
from hypermesh.node.borrowing import Borrowing
from hypermesh.node.dialling import dial
from hypermesh.node.jobs import Record
from hypermesh.node.jobs_active import Active
from hypermesh.node.jobs_kept import JobsNotKept, KeptJobs
from hypermesh.node.jobs_owing import Owing
from hypermesh.node.jobs_session import GONE, Session
from hypermesh.node.membership import Membership
from hypermesh.node.placing import Placing
from hypermesh.node.trouble import Trouble
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity
from hypermesh.wire.api.job import (
    JobOutput,
    JobPage,
    JobState,
    JobSubmit,
    JobView,
    NodeWentDown,
    ProviderLost,
)
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import HyperMeshError, Overloaded
from hypermesh.wire.ids import AssetId, JobId, LeaseId, NodeId, hex_bytes, parse_hex
from hypermesh.wire.rpc import (
    ALPN_SESSION,
    JobLimits,
    JobRequest,
    JobResult,
)

RUNNERS = 32
"""Jobs that are placed or run at a time."""
LEAVING = 8
"""Endpoints that are closed at a time."""
QUEUED_MAX = 480
"""Jobs that wait for a runner; their programs lie on the disk."""
READERS_MAX = 256
"""Requests that wait for output at a time."""
ROOM_WAIT_S = 1.0
"""How often a queued job looks for room, unless a job of this node ends before."""
ROOM_WAIT_S_MAX = 3600.0
"""How long a queued job looks for room."""
PATIENCE_S = 2.0
"""How long one that somebody waits for does: what another has just given back is free when its host
has seen the block that says so."""
LEASE_SPARE_MS = 30_000
FOLLOW_AFTER_S = 0.25
"""A job that nobody watches is not followed in its first moments: most are over by then."""
SILENCE_S = 12.0
AGAIN_S = 0.1
CANCEL_S_MAX = 10.0
STOP_S_MAX = 5.0
OWED_S = 2.0
OWED_S_MAX = 30.0

log = logging.getLogger(__name__)

_NO_ROOM = (Overloaded, leases.NoRoom, NotOffered, NoCapacity)
"""What providers say who may have room later."""


class _NotGranted(Exception):
    """A provider turned a job away before its program ran."""

    def __init__(self, reason: HyperMeshError) -> None:
        super().__init__()
        self.reason = reason


class _Cancelled(Exception):
    """The job was cancelled before its program was sent."""


class Running:
    """The jobs of this node's owner. Safe to use from any thread; `run` and `output` from the event
    loop."""

    def __init__(
        self,
        membership: Membership,
        borrowing: Borrowing,
        placing: Placing,
        kept: KeptJobs,
        locate: Callable[[NodeId], Locator],
        name: Callable[[NodeId], str],
        lease: Callable[[LeaseId], LeaseView],
        is_settled: Callable[[], bool],
    ) -> None:
        """`is_settled`: whether this node is so far that it can lease."""
        self._membership = membership
        self._borrowing = borrowing
        self._placing = placing
        self._kept = kept
        self._locate = locate
        self._name = name
        self._owing = Owing(kept, borrowing, lease)
        self._is_settled = is_settled
        self._told: Callable[[Record], None] = lambda record: None  # noqa: ARG005
        self._active: dict[JobId, Active] = {}
        self._places = 0
        self._readers = 0
        self._endpoints: set[Endpoint] = set()
        self._changed = threading.Condition()
        """Over all of the above, and told when a job ends."""
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(RUNNERS, thread_name_prefix="job")
        self._keeping = ThreadPoolExecutor(1, thread_name_prefix="job-keep")
        self._leaving = ThreadPoolExecutor(LEAVING, thread_name_prefix="job-leave")
        self._again = self._recover()
        self._tidying = threading.Thread(target=self._tidy, name="job-tidy", daemon=True)

    def tell(self, told: Callable[[Record], None]) -> None:
        """Call `told` with every state that a job comes to, from the thread that brings it there.
        To be said before `start`."""
        self._told = told

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return (self._tidying,)

    def start(self) -> None:
        """Take up what a former run left, once this node can lease."""
        self._tidying.start()

    def stop(self) -> None:
        """End what is under way: those who wait are told, the leases are settled as far as there is
        time. Jobs that no provider has seen stay queued for the next start."""
        with self._changed:
            self._stopping.set()
            endpoints = list(self._endpoints)
            self._changed.notify_all()
        for endpoint in endpoints:
            endpoint.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._changed.wait_for(
                lambda: all(each.record.state is JobState.QUEUED for each in self._active.values()),
                STOP_S_MAX,
            )

    def close(self) -> None:
        """After `stop`, and after all that may ask."""
        self._keeping.shutdown()
        self._leaving.shutdown()
        self._kept.close()

    # What the API asks

    def submit(self, submit: JobSubmit) -> JobView:
        """Take a job in; it is durable when this returns, and is run when there is room."""
        _bytes(submit)
        active = self._accept(submit, is_waited_for=False)
        with contextlib.suppress(RuntimeError):  # this node goes down: the next start runs it
            self._pool.submit(self._run, active, None)
        return self._shown(active)

    async def run(self, submit: JobSubmit) -> JobView:
        """Run a job and wait for it. Raises what kept it from running, `ProviderLost` included."""
        self._reserve(RUNNERS)
        try:
            future = self._pool.submit(self._run_waited_for, submit)
        except RuntimeError as error:
            self._give_back()
            raise NodeWentDown from error
        # Whoever asked may go away; the job runs on.
        return await asyncio.shield(asyncio.wrap_future(future))

    def get(self, job: str) -> JobView:
        """Raises `UnknownJob`."""
        job_id = parse_hex(job, 16, "job id")
        active = self._active.get(job_id)
        if active is not None:
            return self._shown(active)
        record = self._kept.get(job_id)
        return jobs.view(record, self._kept.said(job_id), self._named(record))

    def page(self, state: JobState | None, cursor: str | None, limit: int) -> JobPage:
        """Jobs from the newest on."""
        found = self._kept.newest(state, cursor, limit + 1)
        items = []
        for each in found[:limit]:
            sizes = each.stdout_bytes, each.stderr_bytes
            active = self._active.get(each.record.job)
            if active is not None:
                sizes = len(active.output.stdout.data), len(active.output.stderr.data)
            items.append(jobs.summary(each.record, *sizes, self._named(each.record)))
        return JobPage(items, str(found[limit - 1].number) if len(found) > limit else None)

    async def output(self, job: str, stdout: int, stderr: int, wait_ms: int) -> JobOutput:
        """What a job has said since these offsets; waits for more where there is nothing yet."""
        job_id = parse_hex(job, 16, "job id")
        active = self._active.get(job_id)
        if active is None:
            record = await asyncio.to_thread(self._kept.get, job_id)
            said = await asyncio.to_thread(self._kept.said, job_id)
            return jobs.piece(record, said.stdout[stdout:], said.stderr[stderr:], (stdout, stderr))
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        deadline = loop.time() + wait_ms / 1000
        active.stir.set()
        with self._reading(), active.output.heard(lambda: _tell(loop, changed)):
            while True:
                changed.clear()
                record = active.record
                new = active.output.since(stdout, stderr)
                piece = jobs.piece(record, *new, (stdout, stderr))
                if piece.ended or (piece.stdout_next, piece.stderr_next) != (stdout, stderr):
                    return piece
                try:
                    async with asyncio.timeout_at(deadline):
                        await changed.wait()
                except TimeoutError:
                    return piece

    def cancel(self, job: str) -> JobView:
        """End a job, at its provider where it runs, and wait a while for its end. One that is over
        stays as it is."""
        job_id = parse_hex(job, 16, "job id")
        active = self._active.get(job_id)
        if active is not None:
            with self._changed:
                active.is_cancelled = True
                has_run = active.is_begun
                active.is_begun = True
                self._changed.notify_all()
            if has_run:
                self._end(active)
            else:
                self._finish(active, jobs.cancelled(active.record, _now_ms()))
        return self.get(job)

    # The life of a job

    def _accept(self, submit: JobSubmit, *, is_waited_for: bool) -> Active:
        """Its place is taken already where it is waited for."""
        if not is_waited_for:
            self._reserve(RUNNERS + QUEUED_MAX)
        now_ms = _now_ms()
        record = jobs.accepted(secrets.token_bytes(16), submit, now_ms)
        active = Active(record, is_waited_for, Output(submit.output_bytes))
        with self._changed:
            self._active[record.job] = active
        try:
            self._kept.add(record, None if is_waited_for else submit)
        except BaseException:
            with self._changed:
                del self._active[record.job]
                self._places -= 1
            raise
        self._told(record)
        return active

    def _run_waited_for(self, submit: JobSubmit) -> JobView:
        try:
            _bytes(submit)
        except BaseException:
            self._give_back()
            raise
        active = self._accept(submit, is_waited_for=True)
        self._run(active, submit)
        return self._shown(active)

    def _run(self, active: Active, submit: JobSubmit | None) -> None:
        """From the queue to its end. `submit` is read where it lies unless it is at hand."""
        with self._changed:
            if active.is_begun:
                return
            active.is_begun = True
        try:
            active.lap("queue")
            self._placed(active, submit or self._kept.submitted(active.record.job))
        except _Cancelled:
            self._finish(active, jobs.cancelled(active.record, _now_ms()))
        except HyperMeshError as error:
            never_ran = active.record.state is JobState.QUEUED and not active.is_waited_for
            if never_ran and isinstance(error, NodeWentDown):
                return
            if active.is_cancelled and isinstance(error, ProviderLost):
                self._finish(active, jobs.cancelled(active.record, _now_ms()))
            else:
                self._finish(active, jobs.cut_short(active.record, error, _now_ms()))
            if active.is_waited_for:
                raise
            log.info("job %s: %s", active.record.job.hex(), error)
        except BaseException:
            log.exception("job %s", active.record.job.hex())
            bug = HyperMeshError("This node failed on the job", fix="Its log says more: node.log")
            self._finish(active, jobs.cut_short(active.record, bug, _now_ms()))
            raise

    def _placed(self, active: Active, submit: JobSubmit | None) -> None:
        """Run it at the first provider that has room, now or later."""
        if submit is None:
            raise NodeWentDown("The program of the job is gone")
        patience_s = PATIENCE_S if active.is_waited_for else ROOM_WAIT_S_MAX
        until = time.monotonic() + patience_s
        while True:
            try:
                self._run_at_one_of(active, submit, self._placing.candidates(submit))
            except _NO_ROOM:
                if time.monotonic() > until:
                    raise
            else:
                return
            with self._changed:
                if not (active.is_cancelled or self._stopping.is_set()):
                    self._changed.wait(min(ROOM_WAIT_S, patience_s / 10))
            self._require_wanted(active)
            active.lap("queue")

    def _run_at_one_of(
        self, active: Active, submit: JobSubmit, candidates: dict[NodeId, AssetId]
    ) -> None:
        """A provider that does not grant the lease is passed over for the next; a program that was
        sent is never sent a second time."""
        active.lap("choose")
        while True:
            try:
                with self._placing.attempt(candidates) as attempt:
                    self._require_wanted(active)
                    asset = candidates.pop(attempt.host)
                    self._step(active, JobState.LEASING, asset=asset, provider=attempt.host)
                    result = self._run_at(active, submit, attempt.host, asset)
                    attempt.outcome = Outcome.COMPLETED
                break
            except _NotGranted as passed:
                # A reservation that nobody took up returns to its payer by itself.
                active.owed = False
                self._note(active, jobs.requeued(active.record, submit))
                if not candidates:
                    raise passed.reason from None
                log.info("%s turned a job away: %s", attempt.host.hex()[:16], passed.reason)
        active.answer(result)
        self._settle(active, asset, jobs.answered(active.record, result))

    def _run_at(self, active: Active, submit: JobSubmit, host: NodeId, asset: AssetId) -> JobResult:
        keys = QuantumKeys.generate()
        duration_ms = submit.wall_ms + LEASE_SPARE_MS
        try:
            lease = self._borrowing.open(
                asset, submit.cpu_millicores, duration_ms, keys.id, cost_max=submit.cost_max
            )
            active.owed = True
            self._note(active, msgspec.structs.replace(active.record, lease=lease))
            capability = self._borrowing.activate(lease).capability
        except JobsNotKept:
            raise
        except HyperMeshError as error:
            raise _NotGranted(error) from error
        active.lap("lease")
        program, stdin = _bytes(submit)
        request = JobRequest(
            lease=lease,
            epoch=capability.epoch,
            engine=submit.engine,
            program=program,
            arguments=submit.arguments,
            stdin=stdin,
            limits=JobLimits(
                submit.cpu_millicores, submit.memory_bytes, submit.wall_ms, submit.output_bytes
            ),
            job=active.record.job,
            packages=submit.packages,
            result_bytes=submit.result_bytes,
        )
        try:
            with self._session(active, keys, host, lease) as session:
                self._require_wanted(active)
                self._step(active, JobState.RUNNING)
                result = self._answer(active, session, request, host)
        except ProviderLost:
            raise
        except (HyperMeshError, _NotGranted, _Cancelled):
            self._release(active, asset, lease)
            raise
        active.lap("run")
        return result

    def _answer(
        self, active: Active, session: Session, request: JobRequest, host: NodeId
    ) -> JobResult:
        following = threading.Thread(
            target=self._follow, args=(active, session), name="job-follow", daemon=True
        )
        following.start()
        try:
            return session.run(request)
        except Overloaded as error:
            raise _NotGranted(error) from error
        except GONE as error:
            if self._stopping.is_set():
                raise NodeWentDown from error
            raise ProviderLost(
                f"The provider {self._name(host)} went away in the middle of the job",
                why=f"node {host.hex()}: {error}",
            ) from error
        finally:
            active.session = None
            active.stir.set()

    def _follow(self, active: Active, session: Session) -> None:
        """Fetch what the job says, and give its provider up when it is silent for too long."""
        active.stir.wait(FOLLOW_AFTER_S)
        heard = time.monotonic()
        while active.session is session:
            stdout, stderr = active.output.stdout, active.output.stderr
            try:
                said = session.output(len(stdout.data), len(stderr.data))
            except HyperMeshError as error:
                if not session.is_open:
                    return
                if not isinstance(error, GONE):
                    # An answer too: a provider that has too much to do is not silent.
                    heard = time.monotonic()
                if time.monotonic() - heard > SILENCE_S:
                    session.close()
                    return
                active.over.wait(AGAIN_S)
                continue
            heard = time.monotonic()
            active.hear(said)
            if said.ended:
                # Not begun yet, or over and its answer on the way.
                active.over.wait(AGAIN_S)

    def _settle(self, active: Active, asset: AssetId, record: Record) -> None:
        """Pay the lease of a program that has ended. Its result is made durable meanwhile; what it
        cost can be read from the ledger again, so that needs no second sync."""
        active.record = record
        keeping = self._keeping.submit(self._kept.keep, record, owed=True, said=active.said())
        try:
            lease = record.lease
            assert lease is not None  # noqa: S101
            self._release(active, asset, lease)
        finally:
            keeping.result()
        active.lap("settle")
        end = jobs.finished(active.record, _now_ms(), cancelled=active.is_cancelled)
        self._note(active, end)
        self._over(active)

    def _release(self, active: Active, asset: AssetId, lease: LeaseId) -> None:
        """Settle a lease now; where that fails it is tried again later."""
        try:
            settled = self._borrowing.release(asset, lease)
        except HyperMeshError as error:
            log.info("lease %s is not settled yet: %s", lease.hex()[:16], error)
            return
        active.owed = False
        active.record = jobs.settled(active.record, settled.paid or 0, settled.fee or 0)

    def _finish(self, active: Active, record: Record) -> None:
        """The end of a job without an answer."""
        if active.over.is_set():
            return
        try:
            self._kept.keep(record, owed=active.owed, said=active.said())
        except JobsNotKept as error:
            # Its last step is on the disk: the next start will find it under way, and end it.
            log.error("job %s: %s", record.job.hex(), error)  # noqa: TRY400
        active.record = record
        self._over(active)
        self._told(record)

    def _over(self, active: Active) -> None:
        with self._changed:
            self._active.pop(active.record.job, None)
            self._places -= 1
            active.over.set()
            self._changed.notify_all()
        active.stir.set()
        active.output.end()

    def _end(self, active: Active) -> None:
        """Bring a cancelled job to its end."""
        until, is_told = time.monotonic() + CANCEL_S_MAX, False
        while not active.over.wait(AGAIN_S):
            session = None if is_told else active.session
            if session is not None:
                try:
                    is_told = session.cancel()
                except GONE:
                    session.close()
                except HyperMeshError as error:
                    log.info("job %s is not cancelled: %s", active.record.job.hex(), error)
            if time.monotonic() > until:
                return

    def _require_wanted(self, active: Active) -> None:
        if active.is_cancelled:
            raise _Cancelled
        if self._stopping.is_set():
            raise NodeWentDown

    def _step(self, active: Active, state: JobState, **known: Any) -> None:
        # The last one before a program is sent. One that is kept would be run after a restart, so
        # this step must outlast a loss of power, too.
        is_sent_once = state is JobState.RUNNING and not active.is_waited_for
        self._note(active, jobs.moved(active.record, state, **known), durable=is_sent_once)

    def _note(self, active: Active, record: Record, *, durable: bool = False) -> None:
        self._kept.note(record, owed=active.owed, durable=durable)
        is_new = record.state is not active.record.state
        active.record = record
        if is_new:
            self._told(record)

    @contextlib.contextmanager
    def _session(
        self, active: Active, keys: QuantumKeys, host: NodeId, lease: LeaseId
    ) -> Iterator[Session]:
        """The way to the provider; nothing was sent where there is none."""
        policy = self._membership.policy(frozenset())
        endpoint = Endpoint.bind("::", policy=policy, identity=Identity.of_keys(keys))
        try:
            with self._changed:
                if self._stopping.is_set():
                    raise NodeWentDown
                self._endpoints.add(endpoint)
            try:
                connection, _ = dial(endpoint, self._locate(host), ALPN_SESSION)
            except HyperMeshError as error:
                raise _NotGranted(error) from error
            active.session = Session(connection, lease, active.record.job)
            yield active.session
        finally:
            active.session = None
            with self._changed:
                self._endpoints.discard(endpoint)
            # It stays for some round trips to see its farewell through; the job need not.
            self._leaving.submit(endpoint.close)

    # What a former run left, and leases that are not settled

    def _recover(self) -> list[Active]:
        """Jobs that can still be run; the rest of what was under way is over now."""
        again = []
        for record in self._kept.unfinished():
            submit = self._kept.submitted(record.job)
            if submit is not None and jobs.can_be_run_again(record):
                active = Active(jobs.requeued(record, submit), False, Output(submit.output_bytes))
                self._active[record.job] = active
                again.append(active)
        self._places = len(again)
        # On a full disk they stay as they are until there is room.
        with contextlib.suppress(JobsNotKept):
            self._owing.end(self._active.__contains__)
        return again

    def _tidy(self) -> None:
        """Run what is left to run, then settle what is left to settle for as long as there is
        anything, the longer the more often it failed."""
        while not self._is_settled():
            if self._stopping.wait(AGAIN_S):
                return
        for active in self._again:
            with contextlib.suppress(RuntimeError):  # the pool is closed already
                self._pool.submit(self._run, active, None)
        trouble, pause = Trouble(log, "settling the leases of jobs"), OWED_S
        while not self._stopping.wait(pause):
            try:
                self._owing.end(self._active.__contains__)
                is_done = self._owing.settle()
            except Exception as error:  # noqa: BLE001
                trouble.note(error)
                is_done = False
            else:
                trouble.over()
            pause = OWED_S if is_done else min(2 * pause, OWED_S_MAX)

    # Bounds, and what is shown

    def _reserve(self, places_max: int) -> None:
        with self._changed:
            if self._stopping.is_set():
                raise NodeWentDown
            if self._places >= places_max:
                raise Overloaded(f"{self._places} jobs are under way or wait already")
            self._places += 1

    def _give_back(self) -> None:
        with self._changed:
            self._places -= 1

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._changed:
            if self._readers >= READERS_MAX:
                raise Overloaded(f"{READERS_MAX} requests wait for output already")
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1

    def _shown(self, active: Active) -> JobView:
        return jobs.view(active.record, active.said(), self._named(active.record))

    def _named(self, record: Record) -> str | None:
        return None if record.provider is None else self._name(record.provider)


def _bytes(submit: JobSubmit) -> tuple[bytes, bytes]:
    """Program and standard input. Raises `InvalidInput`."""
    return hex_bytes(submit.program, "program"), hex_bytes(submit.stdin, "input")


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(changed.set)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
