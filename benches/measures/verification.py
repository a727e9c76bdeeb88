"""What the kernel takes for one asset operation: `check` and `execute`, nothing stored.

Every sample is the operation of `measures.operation` under a signature not seen before, so that
both halves of it are verified, in a block of its own on the ledger that a founder has left.
"""

from __future__ import annotations

import time

from result import Metric, metric

from hypermesh.ledger.state import Overlay
from hypermesh.ledger.store import Store
from hypermesh.node.membership import Membership
from hypermesh.node.rules import kernel
from hypermesh.wire.block import BlockInput
from hypermesh.wire.codec import encode
from hypermesh.wire.tx import BlockOpening
from measures.network import network
from measures.operation import FIRST_NONCE, Signer

OPERATIONS = 300
GOAL_MS = 1.0


def measure(operations: int = OPERATIONS) -> list[Metric]:
    with network() as nodes:
        founder = nodes.found("alice")
        signer = Signer(founder)
        standing = signer.standing()
        entries = [signer.sign(FIRST_NONCE, standing) for _ in range(operations)]
        nodes.stop(founder)
        membership = Membership.open(founder.data)
        if membership is None:
            raise SystemExit("the founder has left no membership")
        store = Store(founder.data / "ledger", membership.genesis)
        try:
            rules = kernel(membership.genesis)
            time_ms = rules.head(store).time_ms
            opening = encode(BlockOpening(time_ms, None))
            checked: list[float] = []
            executed: list[float] = []
            for entry in entries:
                started = time.perf_counter()
                rules.check(entry, Overlay(store), time_ms)
                between = time.perf_counter()
                block = BlockInput(store.height + 1, time_ms, [opening, entry], [])
                execution = rules.execute(block, store)
                ended = time.perf_counter()
                checked.append((between - started) * 1000)
                executed.append((ended - between) * 1000)
                if execution.results[1].code != "ok":
                    raise SystemExit(f"the operation was refused: {execution.problems}")
        finally:
            store.close()
    both = [check + execute for check, execute in zip(checked, executed, strict=True)]
    return [
        metric("core.verify", both, "ms", goal=GOAL_MS),
        metric("core.verify.check", checked, "ms"),
        metric("core.verify.execute", executed, "ms"),
    ]
