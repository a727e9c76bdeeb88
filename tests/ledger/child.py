"""A process for other tests to kill, or to start under another hash seed.

    child.py work    a sequencer that submits the given transactions in turn and prints `ack N`
                     after each; it kills itself at the named point of the named commit
    child.py replay  prints the app hash after replaying the given ledger

The order comes on standard input as JSON: `directory`, `keys` (name to secret, hex) and, for
`work`, `entries` (hex), `point`, `height`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import toys

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.solo import Solo
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import Execution
from hypermesh.ledger.replay import Archive, replay
from hypermesh.ledger.store import Store
from hypermesh.ledger.tree import Changes


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Store):
    """A store whose process dies at one named point of one commit (height 0 is genesis)."""

    def __init__(self, directory: Path, point: str, height: int) -> None:
        self.point, self.dies_at, self.writing = point, height, 0
        super().__init__(directory, toys.genesis())

    def found(self, genesis_rows: Changes) -> None:
        super().found(genesis_rows)
        self.passes("after commit", 0)

    def commit(self, block: bytes, execution: Execution) -> None:
        self.writing = execution.header.height
        self.passes("before commit", self.writing)
        super().commit(block, execution)
        self.passes("after commit", self.writing)

    def _write(self, changes: Changes) -> None:
        super()._write(changes)
        self.passes("inside the transaction", self.writing)

    def passes(self, point: str, height: int) -> None:
        if (point, height) == (self.point, self.dies_at):
            die()


def work(order: dict[str, object]) -> None:
    kernel = toys.toy_kernel()
    store = Mortal(Path(str(order["directory"])), str(order["point"]), int(str(order["height"])))
    if not store.founded:
        store.found(kernel.begin(store))
    solo = Solo(
        kernel, store, Feed(store.height), toys.keys("sequencer"), BlockClock(toys.START_MS)
    )
    solo.start()
    entries = order["entries"]
    assert isinstance(entries, list)
    for number, entry in enumerate(entries):
        assert solo.submit(bytes.fromhex(entry), 60).result.code == "ok"
        sys.stdout.write(f"ack {number}\n")
        sys.stdout.flush()
    die()


def main() -> None:
    order = json.load(sys.stdin)
    for name, secret in order["keys"].items():
        toys.KNOWN[name] = QuantumKeys.from_secret_bytes(bytes.fromhex(secret))
    if sys.argv[1] == "work":
        work(order)
    archive = Archive(Path(order["directory"]))
    replayed = replay(toys.toy_kernel(archive.genesis()), archive.blocks())
    sys.stdout.write(f"{replayed.height} {replayed.app_hash.hex()} {hash('seeded')}\n")


if __name__ == "__main__":
    main()
