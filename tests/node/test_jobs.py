"""Jobs on real nodes: followed while they run, cancelled, and what is left of them when the
provider or the consumer is killed."""

from __future__ import annotations

import asyncio
import threading

import pytest
from msgspec.structs import replace as replaced

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.sdk.job import Job, JobNotOver, program
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import AsyncMesh, Mesh
from hypermesh.wire.api.job import (
    JobCancelled,
    JobFailed,
    JobOutput,
    JobState,
    JobSubmit,
    JobView,
    NodeWentDown,
    ProviderLost,
    UnknownJob,
)
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.errors import Forbidden, Unreachable
from hypermesh.wire.rpc import (
    ALPN_SESSION,
    SERVICE_JOB,
    JobCancelRequest,
    JobOutputRequest,
)

from .network import Network, Node, call, dial, eventually, stoq
from .test_leases import lease_of

ENDLESS = (
    "import sys\n"
    "print('begun')\n"
    "sys.stdout.buffer.write(b'\\xff\\n')\n"
    "print('aside', file=sys.stderr)\n"
    "while True: pass\n"
)
SILENCE_NOTICED_S = 40.0


def on(node: Node, source: str, wall_ms: int = 60_000) -> JobSubmit:
    """A job for the CPU of `node`, all of it."""
    asset = node.asset(AssetKind.CPU)
    assert asset.capacity is not None
    said = program(source, cpu_millicores=asset.capacity, memory_bytes=64 << 20, wall_ms=wall_ms)
    return replaced(said, asset=asset.asset)


def first(job: Job) -> JobOutput:
    """The first that it says, while it runs: it never ends by itself."""
    return next(job.output())


def heard(job: Job, stdout: bytes) -> bytes:
    """What it said, once that is `stdout`."""
    said = b""
    pieces = job.output()
    while said != stdout:
        said += next(pieces).stdout_data
    return said


def state_of(node: Node, job: str) -> JobState:
    return node.ask(lambda m: m.jobs.get(job).view.state)


def test_what_a_job_says_is_heard_while_it_runs_and_a_cancel_ends_it(network: Network) -> None:
    with network.bob.mesh() as mesh:
        job = mesh.jobs.submit(on(network.carol, ENDLESS))
        assert heard(job, b"begun\n\xff\n") == b"begun\n\xff\n"
        running = job.refresh()
        assert (running.state, running.exit_code, running.paid) == (JobState.RUNNING, None, None)
        assert running.stdout_raw == b"begun\n\xff\n"
        assert "�" in running.stdout
        with pytest.raises(JobNotOver):
            job.wait(0.05)
        over = job.cancel()
        assert (over.state, over.reason, over.exit_code) == (JobState.CANCELLED, "cancelled", 137)
        assert (over.stdout_data, over.stderr) == (b"begun\n\xff\n", "aside\n")
        assert over.provider == network.carol.id.hex()
        assert over.provider_name == "carol"
        assert over.paid is not None
        assert over.lease is not None
        assert over.receipt == over.lease
        assert lease_of(network.bob, over.lease).state is LeaseState.SETTLED
        with pytest.raises(JobCancelled):
            job.result()
        # Again, and nothing changes.
        assert job.cancel() == over


def test_a_job_that_is_waited_for_is_a_job_like_any_other(network: Network) -> None:
    with network.bob.mesh() as mesh:
        done = mesh.jobs.run(on(network.carol, "print(7)"))
        assert (done.state, done.stdout, done.exit_code) == (JobState.DONE, "7\n", 0)
        assert set(done.timings_ms) == {"queue", "choose", "lease", "run", "settle"}
        assert mesh.jobs.get(done.job).view == done
        assert next(iter(mesh.jobs.list())).job == done.job
        assert mesh.jobs.get(done.job).result() == done
        failed = mesh.jobs.submit(on(network.carol, "raise SystemExit('no luck')"))
        with pytest.raises(JobFailed, match="ended with 1") as refused:
            failed.result(60)
        assert refused.value.why == "no luck"
        seen = [each.job for each in mesh.jobs.list(JobState.FAILED)]
        assert failed.id in seen
        assert done.job not in seen
        with pytest.raises(UnknownJob):
            mesh.jobs.get("0" * 32)


def test_a_result_and_a_package_travel(network: Network) -> None:
    source = (
        "import cloudpickle, os, sys\n"
        "print('a line of the program')\n"
        "with os.fdopen(int(os.environ['HYPERMESH_RESULT_FD']), 'wb') as file:\n"
        "    file.write(sys.stdin.buffer.read()[::-1])\n"
    )
    given = bytes(range(256)) * 1024
    wanted = replaced(
        on(network.carol, source),
        stdin=given.hex(),
        packages=["cloudpickle"],
        result_bytes=len(given),
    )
    with network.bob.mesh() as mesh:
        done = mesh.jobs.run(wanted)
        assert done.stdout == "a line of the program\n"
        assert done.result == given[::-1]
        short = mesh.jobs.run(replaced(wanted, result_bytes=10))
        assert (short.state, short.result) == (JobState.FAILED, None)
        assert short.problem is not None
        assert short.problem.code == "HM-JOB-0010"


def test_async_twins(network: Network) -> None:
    submit = on(network.carol, ENDLESS)

    async def attend() -> tuple[JobOutput, JobView]:
        mesh = AsyncMesh(socket_path(network.bob.data))
        try:
            job = await mesh.jobs.submit(submit)
            piece = await anext(job.output())
            return piece, await job.cancel()
        finally:
            await mesh.close()

    piece, over = asyncio.run(attend())
    assert piece.stdout_data.startswith(b"begun\n")
    assert over.state is JobState.CANCELLED


def test_nobody_reads_or_ends_the_job_of_another_session(network: Network) -> None:
    """Not even a member of the network who knows lease and job."""
    with network.bob.mesh() as mesh:
        job = mesh.jobs.submit(on(network.carol, ENDLESS))
        heard(job, b"begun\n\xff\n")
        lease = bytes.fromhex(job.refresh().lease or "")
        at = lease, bytes.fromhex(job.id)
        keys = QuantumKeys.generate()
        with stoq(network.alice.membership, certified=False, keys=keys) as endpoint:
            connection = dial(endpoint, network.carol, ALPN_SESSION)
            for method, argument in (
                ("job.output", JobOutputRequest(*at, 0, 0, 0)),
                ("job.cancel", JobCancelRequest(*at)),
            ):
                with pytest.raises(Forbidden):
                    call(connection, method, argument, SERVICE_JOB)
        assert job.refresh().state is JobState.RUNNING
        job.cancel()


def test_a_provider_killed_in_the_middle_is_named_and_the_escrow_comes_back(
    shaken: Network,
) -> None:
    with shaken.bob.mesh() as mesh:
        job = mesh.jobs.submit(on(shaken.carol, ENDLESS))
        heard(job, b"begun\n\xff\n")
        shaken.carol.kill()
        over = job.wait(SILENCE_NOTICED_S)
        assert (over.state, over.reason, over.exit_code) == (JobState.LOST, "provider_lost", None)
        with pytest.raises(ProviderLost, match="carol") as lost:
            job.result()
        assert isinstance(lost.value, Unreachable)
        assert shaken.carol.id.hex() in lost.value.why
        assert lost.value.exit_code == 7
        # What it had said is kept.
        assert over.stdout_data == b"begun\n\xff\n"
        shaken.carol.start()
        settled = eventually(lambda: _settled(shaken.bob, job.id), "the lease is settled", 60)
        lease = lease_of(shaken.bob, settled.lease or "")
        assert lease.state is LeaseState.SETTLED
        assert lease.refund == lease.escrow - (lease.paid or 0) - (lease.fee or 0)
        assert lease.refund > 0


def test_a_job_waited_for_names_the_provider_that_died_too(shaken: Network) -> None:
    with shaken.bob.mesh() as mesh:
        killer = _KillWhenRunning(shaken)
        with pytest.raises(ProviderLost, match="carol"), killer:
            mesh.jobs.run(on(shaken.carol, ENDLESS))


def test_a_consumer_killed_in_the_middle_says_what_was_lost_and_runs_what_was_queued(
    shaken: Network,
) -> None:
    """The lost job's lease is settled, which is what the queued one waits for."""
    with shaken.bob.mesh() as mesh:
        going = mesh.jobs.submit(on(shaken.carol, ENDLESS, wall_ms=600_000))
        heard(going, b"begun\n\xff\n")
        queued = mesh.jobs.submit(on(shaken.carol, "print('at last')"))
        done = mesh.jobs.run(on(shaken.bob, "print('before')"))
    assert state_of(shaken.bob, queued.id) in (JobState.QUEUED, JobState.LEASING)
    shaken.bob.kill()
    shaken.bob.start()
    with shaken.bob.mesh() as mesh:
        lost = mesh.jobs.get(going.id)
        assert (lost.view.state, lost.view.reason) == (JobState.LOST, "node_down")
        with pytest.raises(NodeWentDown):
            lost.result()
        assert mesh.jobs.get(done.job).view == done
        assert mesh.jobs.get(queued.id).result(60).stdout == "at last\n"
    settled = eventually(lambda: _settled(shaken.bob, going.id), "the lease is settled", 60)
    assert lease_of(shaken.bob, settled.lease or "").state is LeaseState.SETTLED


def test_a_node_that_goes_down_in_order_ends_its_jobs(shaken: Network) -> None:
    with shaken.bob.mesh() as mesh:
        job = mesh.jobs.submit(on(shaken.carol, ENDLESS))
        heard(job, b"begun\n\xff\n")
    assert shaken.bob.stop() == 0
    shaken.bob.start()
    with shaken.bob.mesh() as mesh:
        view = mesh.jobs.get(job.id).view
    assert (view.state, view.reason) == (JobState.LOST, "node_down")
    eventually(lambda: _settled(shaken.bob, job.id), "the lease is settled", 60)


class _KillWhenRunning:
    """Kills carol once bob's newest job runs there."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._thread = threading.Thread(target=self._kill)

    def _kill(self) -> None:
        bob = self._network.bob
        with Mesh(socket_path(bob.data)) as mesh:
            job = eventually(
                lambda: next(iter(mesh.jobs.list(JobState.RUNNING)), None), "a job runs"
            )
            first(mesh.jobs.get(job.job))
        self._network.carol.kill()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def _settled(node: Node, job: str) -> JobView | None:
    view = node.ask(lambda m: m.jobs.get(job).view)
    return view if view.paid is not None else None
