"""How long after a commit a client of `GET /events` hears of it, under a moderate write load.

Four clients write, each at its own pace; two clients listen, one at the sequencer and one at a
follower, which first has to fetch and execute the block. All run on one machine, so with one clock.

The time is taken from the moment before the request of the first transaction of a block is sent
until its event is there. That is more than the lag: it has the request, the checks and the commit
in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from result import Metric, metric, percentile

from hypermesh.wire.api.event import BlockEvent
from measures.network import Running, network

WRITERS = 4
PAUSE_S = 0.08
"""Between two writes of one client: about 40 writes a second of all."""
SECONDS = 20.0
QUIET_S = 2.0
HEARD_WITHIN_S = 5.0
GOAL_MS = 500.0


def measure(seconds: float = SECONDS) -> list[Metric]:
    with network() as nodes:
        alice = nodes.found("alice")
        bob = nodes.join("bob", alice)
        owner = bob.mesh.network.status().owner
        listeners = {"sequencer": Listener(alice), "follower": Listener(bob)}
        time.sleep(QUIET_S)
        sent = written(alice, owner, seconds)
        await_heard(listeners.values(), max(sent))
        for each in listeners.values():
            each.stop()
    metrics = []
    for role, listener in listeners.items():
        missing = [height for height in sent if height not in listener.heard_s]
        if missing:
            raise SystemExit(f"{role}: no event for {len(missing)} blocks of {len(sent)}")
        lags = [(listener.heard_s[height] - at_s) * 1000 for height, at_s in sent.items()]
        metrics += [
            metric(
                f"product.events.lag.{role}",
                lags,
                "ms",
                value=percentile(lags, 0.99),
                goal=GOAL_MS,
            ),
            metric(f"product.events.lag.{role}.p50", lags, "ms"),
        ]
    return [
        *metrics,
        metric("product.events.blocks", [len(sent) / seconds], "1/s", better="higher"),
    ]


class Listener:
    """A thread that notes when it heard of each block."""

    def __init__(self, node: Running) -> None:
        self.heard_s: dict[int, float] = {}
        self._stream = node.mesh.events(kinds=["block"])
        self._over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over = True

    def _listen(self) -> None:
        for event in self._stream:
            now = time.monotonic()
            if isinstance(event.data, BlockEvent):
                self.heard_s.setdefault(event.data.height, now)
            if self._over:
                return


def written(node: Running, payee: str, seconds: float) -> dict[int, float]:
    """When the first request of each block was sent, by height."""
    sent: dict[int, float] = {}
    lock = threading.Lock()
    until = time.monotonic() + seconds

    def write() -> None:
        while (at_s := time.monotonic()) < until:
            answer = node.mesh.accounts.transfer(payee, 1)
            if answer.code != "ok":
                raise SystemExit(f"a payment was refused: {answer}")
            with lock:
                sent[answer.height] = min(at_s, sent.get(answer.height, at_s))
            time.sleep(PAUSE_S)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def await_heard(listeners: Iterable[Listener], height: int) -> None:
    deadline = time.monotonic() + HEARD_WITHIN_S
    while time.monotonic() < deadline:
        if all(height in each.heard_s for each in listeners):
            return
        time.sleep(0.01)
