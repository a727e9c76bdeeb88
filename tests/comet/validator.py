"""One validator as a process: the real rules under the real engine, until it is told to stop.

    python validator.py DIRECTORY ENGINE PACE_MS

DIRECTORY holds `genesis` (encoded); a file `vdf` (encoded) that appears there is offered as the VDF
output that turns the epoch. When blocks can be made, one line of JSON says so. The exit status is 3
where the engine stopped by itself; the reason is on standard error.

DIE_AT in the environment names a step of the second block at which this process is to vanish:
`execute` before the kernel executes it, `commit` before and `committed` after it is durable.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hypermesh.ledger.blocktime import BlockClock, starting_time_ms
from hypermesh.ledger.engines.comet.engine import Comet
from hypermesh.ledger.engines.comet.errors import EngineStopped
from hypermesh.ledger.engines.comet.home import Home
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import Execution, Kernel
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.store import Store
from hypermesh.node.rules import kernel as rules
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.proof import VdfOutput

POLL_S = 0.02
WAIT_S = 10.0
VANISHED = 9


class Mortal:
    """Counts down to the step at which the process is to vanish."""

    def __init__(self, step: str | None) -> None:
        self._step = step
        self._left = 2

    def reach(self, step: str) -> None:
        if step != self._step:
            return
        self._left -= 1
        if self._left == 0:
            os._exit(VANISHED)


class MortalStore(Store):
    """A store whose process may vanish around a commit."""

    mortal: Mortal

    def commit(self, block: bytes, execution: Execution) -> None:
        self.mortal.reach("commit")
        super().commit(block, execution)
        self.mortal.reach("committed")


class MortalKernel:
    """A kernel whose process may vanish before it executes."""

    def __init__(self, kernel: Kernel, mortal: Mortal) -> None:
        self._kernel = kernel
        self._mortal = mortal

    def __getattr__(self, name: str) -> Any:
        if name == "execute":
            self._mortal.reach(name)
        return getattr(self._kernel, name)


def main() -> int:
    directory, engine, pace_ms = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    genesis = decode(Genesis, (directory / "genesis").read_bytes())
    mortal = Mortal(os.environ.get("DIE_AT"))
    store = MortalStore(directory / "ledger", genesis)
    store.mortal = mortal
    kernel = rules(genesis)
    last_ms = kernel.head(store).time_ms if store.founded else genesis.created_ms
    clock = BlockClock(starting_time_ms(last_ms, time.time_ns() // 1_000_000))
    home = Home(directory / "comet", engine)
    watched: Any = MortalKernel(kernel, mortal)
    comet = Comet(watched, store, Feed(store.height), clock, home, pace_ms)
    try:
        comet.start()
    except EngineStopped as error:
        sys.stderr.write(f"stopped: {error}\n")
        return 3
    ready = {"engine": comet.pid, "height": store.height}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    while not stopping.wait(POLL_S) and comet.failure is None:
        offer(comet, directory / "vdf")
    failure = comet.failure
    comet.stop(WAIT_S)
    store.close()
    if failure is not None:
        sys.stderr.write(f"stopped: {failure}\n")
        return 3
    return 0


def offer(comet: Comet, file: Path) -> None:
    """Offer the VDF output, again and again until its time has come."""
    if not file.exists():
        return
    try:
        height = comet.offer_vdf(decode(VdfOutput, file.read_bytes()), WAIT_S)
    except Refusal:
        return
    file.rename(file.with_name(f"vdf-{height}"))


if __name__ == "__main__":
    sys.exit(main())
