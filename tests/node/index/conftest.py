"""A ledger that a real node has written, with leases, jobs and refusals in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.node.network import Network, eventually

from hypermesh.ledger.feed import Feed
from hypermesh.ledger.ledger import Ledger
from hypermesh.node.chain import open_store
from hypermesh.node.index.index import Index
from hypermesh.node.rules import kernel
from hypermesh.wire.api.job import JobSubmit, JobView
from hypermesh.wire.api.ledger import BlockSummary, HistoryPage
from hypermesh.wire.api.receipt import ReceiptDocument
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.block import Genesis
from hypermesh.wire.tx import BankTransfer, StakeBond, StakeUnbond

WAIT_S = 60.0
PROGRAM = "print(sum(range(1000)))"


@dataclass
class Written:
    """What alice's node left behind, and what bob's answered."""

    data: Path
    genesis: Genesis
    job: JobView
    receipts: dict[str, ReceiptDocument]
    histories: dict[AssetKind, list[HistoryPage]]
    blocks: list[BlockSummary]

    @contextmanager
    def index(self, directory: Path) -> Iterator[Index]:
        """An index in `directory`, over a copy of the ledger there, running."""
        with ExitStack() as stack:
            if not (directory / "ledger").exists():
                shutil.copytree(self.data / "ledger", directory / "ledger")
            store = open_store(directory / "ledger", self.genesis)
            stack.callback(store.close)
            feed = Feed(store.height)
            ledger = Ledger(self.genesis, store, feed)
            index = Index(
                directory / "index", self.genesis, ledger, feed, lambda: kernel(self.genesis)
            )
            stack.callback(index.stop)
            index.start()
            yield index


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Bob uses alice's machine: a memory lease that he settles, one that alice has to claim, a
    job; besides, bonds, a payment and one that is refused."""
    network = Network(tmp_path_factory.mktemp("i"))
    try:
        network.found("bob")
        alice, bob = network.alice, network.bob
        memory = alice.asset(AssetKind.MEMORY)
        with bob.mesh() as mesh:
            claimed = mesh.leases.allocate(memory.asset, 4096, duration_ms=1_000).lease.lease
            with mesh.memory.lease("1MiB", address=memory.address) as region:
                region[0:5] = b"hello"
                settled = region.lease.lease
            job = mesh.jobs.run(
                JobSubmit(
                    engine="python",
                    program=PROGRAM.encode().hex(),
                    asset=alice.asset(AssetKind.CPU).asset,
                )
            )
            assert job.lease is not None
            owner = alice.membership.owner
            mesh.accounts.transfer(owner.hex(), 1_500, "thanks")
            bob.submit(StakeBond(bob.id, 5_000))
            bob.submit(StakeUnbond(bob.id, 2_000))
            bob.submit(BankTransfer(bob.membership.owner, 1, "to myself: refused"))
            eventually(
                lambda: mesh.leases.get(claimed).lease.paid is not None,
                "alice claims what bob did not settle",
            )
            receipts = {
                "settled": mesh.receipts.get(settled),
                "claimed": mesh.receipts.get(claimed),
                "job": mesh.receipts.get(job.lease),
            }
            histories = {
                kind: list(mesh.assets.history(alice.asset(kind).asset))
                for kind in (AssetKind.MEMORY, AssetKind.CPU)
            }
            blocks = list(mesh.ledger.blocks())
        network.await_agreed()
        alice.stop()
        bob.stop()
        yield Written(alice.data, alice.membership.genesis, job, receipts, histories, blocks)
    finally:
        network.end()
