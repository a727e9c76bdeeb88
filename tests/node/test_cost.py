"""What a consumer is ready to pay, and what a provider is ready to give to jobs."""

from __future__ import annotations

import pytest

from hypermesh.wire.api.job import JobState, JobSubmit
from hypermesh.wire.api.lease import TooDear
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.errors import HyperMeshError

from .network import Network, hm

MIB = 1 << 20
HOUR_MS = 3_600_000


def test_nothing_is_leased_above_what_the_consumer_allows(network: Network) -> None:
    asset = network.carol.asset(AssetKind.MEMORY).asset
    before = network.alice.ask(lambda m: m.accounts.get())
    with pytest.raises(TooDear, match="costs more than was allowed"):
        network.alice.ask(
            lambda m: m.leases.allocate(asset, 64 * MIB, duration_ms=HOUR_MS, cost_max=1_000)
        )
    assert network.alice.ask(lambda m: m.accounts.get()) == before

    opened = network.alice.ask(
        lambda m: m.leases.allocate(asset, 64 * MIB, duration_ms=HOUR_MS, cost_max=10_000)
    )
    assert opened.lease.escrow <= 10_000
    settled = network.alice.ask(lambda m: m.leases.release(opened.lease))
    assert settled.state is LeaseState.SETTLED


def test_memory_is_sought_only_where_it_is_cheap_enough(network: Network) -> None:
    with network.alice.mesh() as mesh, pytest.raises(TooDear):
        mesh.memory.lease(MIB, cost_max=1)


def test_a_job_that_would_cost_more_is_not_run(network: Network) -> None:
    program = network.directory / "short.py"
    program.write_text("print('run')")
    words = ["job", "run", str(program), "--cpu", "50m", "--timeout", "20s"]
    dear = hm(*words, "--max-cost", "0.000001", data=network.alice.data)
    assert dear.returncode == TooDear.exit_code
    assert TooDear.code in dear.stderr.decode()
    fine = hm(*words, "--max-cost", "0.01", data=network.alice.data)
    assert (fine.returncode, fine.stdout) == (0, b"run\n"), fine.stderr
    assert hm(*words, "--max-cost", "much", data=network.alice.data).returncode == 2


def test_a_job_gets_no_more_memory_than_its_provider_lends(network: Network) -> None:
    memory = network.carol.asset(AssetKind.MEMORY)
    assert memory.free is not None
    job = JobSubmit(
        engine="python",
        program=b"print(1)".hex(),
        cpu_millicores=50,
        memory_bytes=memory.free + MIB,
        asset=network.carol.asset(AssetKind.CPU).asset,
    )
    with pytest.raises(HyperMeshError, match="bytes of memory"):
        network.alice.ask(lambda m: m.jobs.run(job))
    left = network.alice.ask(lambda m: list(m.jobs.list(state=JobState.RUNNING)))
    assert left == []
