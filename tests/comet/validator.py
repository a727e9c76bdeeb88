"""One validator as a process: the real rules under the real engine, until it is told to stop.

    python validator.py DIRECTORY ENGINE PACE_MS

DIRECTORY holds `genesis` (encoded); a file `vdf` (encoded) that appears there is offered as the VDF
output that turns the epoch. When blocks can be made, one line of JSON says so. The exit status is 3
where the engine stopped by itself; the reason is on standard error.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from hypermesh.ledger.blocktime import BlockClock, starting_time_ms
from hypermesh.ledger.engines.comet.engine import Comet
from hypermesh.ledger.engines.comet.home import Home
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.store import Store
from hypermesh.node.rules import kernel as rules
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.proof import VdfOutput

POLL_S = 0.02
WAIT_S = 10.0


def main() -> int:
    directory, engine, pace_ms = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    genesis = decode(Genesis, (directory / "genesis").read_bytes())
    store = Store(directory / "ledger", genesis)
    kernel = rules(genesis)
    last_ms = kernel.head(store).time_ms if store.founded else genesis.created_ms
    clock = BlockClock(starting_time_ms(last_ms, time.time_ns() // 1_000_000))
    home = Home(directory / "comet", engine)
    comet = Comet(kernel, store, Feed(store.height), clock, home, pace_ms)
    comet.start()
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
