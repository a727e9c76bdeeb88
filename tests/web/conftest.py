"""Two real nodes, something going on between them, and Chromium.

What is not there is said: without the built page, its packages or a browser these tests are left
out with the reason.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.node.network import Network

import hypermesh
from hypermesh.wire.api.job import JobSubmit
from hypermesh.wire.asset import AssetKind

from .visit import WEB

PAGE = Path(hypermesh.__file__).parent / "_ui" / "index.html"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
HOUR_MS = 3_600_000
PROGRAM = b"""
import sys
for number in range(40):
    print("line", number)
print("a word on stderr", file=sys.stderr)
"""


@pytest.fixture(scope="session")
def web_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Alice, whose page it is, and bob."""
    if not PAGE.exists():
        pytest.skip("the dashboard is not built: `make ui`")
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `make ui`")
    network = Network(tmp_path_factory.mktemp("w"))
    try:
        network.found("bob")
        yield network
    finally:
        network.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of each module its own: while it runs, its thread has an event loop."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: `python tools/setup.py browser`")
    with sync_playwright() as driver:
        # Chromium's own sandbox wants user namespaces, which containers do not always have.
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


def exchange_files(network: Network) -> None:
    nodes = (network.alice, network.bob)
    owners = [node.ask(lambda mesh: mesh.accounts.get()).owner for node in nodes]
    for node, owner in zip(nodes, reversed(owners), strict=True):
        node.ask(lambda mesh, owner=owner: mesh.inbox.allow(owner))
    for node, to in ((network.alice, "bob"), (network.bob, "alice")):
        file = node.data.parent / "sample.bin"
        file.write_bytes(bytes(range(256)) * 1024)
        node.ask(lambda mesh, file=file, to=to: mesh.transfer.send(file, to))


@dataclass(frozen=True)
class Scene:
    """Ids of what is to be seen."""

    node: str
    asset: str
    mine: str
    lease: str
    settled: str
    job: str
    tx: str


@pytest.fixture(scope="session")
def scene(web_network: Network) -> Iterator[Scene]:
    """A job that ran, a file sent each way, and a lease of memory that is in use all the time."""
    alice = web_network.alice
    exchange_files(web_network)
    with alice.mesh() as mesh:
        job = mesh.jobs.submit(JobSubmit(engine="python", program=PROGRAM.hex()))
        done = job.wait(60)
        assert done.state == "done", done.problem
        theirs = next(each for each in mesh.assets.list(AssetKind.MEMORY) if not each.mine)
        mine = next(each for each in mesh.assets.list(AssetKind.MEMORY) if each.mine)
        session = mesh.leases.allocate(theirs.asset, 8 << 20, duration_ms=HOUR_MS, keep=True)
        blocks = next(iter(mesh.ledger.blocks()))
    stop = threading.Event()

    def use() -> None:
        with alice.holding(session) as region:
            while not stop.wait(0.02):
                region.write(0, b"x" * 65_536)
                region.read(0, 65_536)

    user = threading.Thread(target=use)
    user.start()
    try:
        yield Scene(
            node=web_network.bob.id.hex(),
            asset=theirs.asset,
            mine=mine.asset,
            lease=session.lease.lease,
            settled=str(done.receipt),
            job=job.id,
            tx=str(blocks.operations[-1].tx),
        )
    finally:
        stop.set()
        user.join(30)
