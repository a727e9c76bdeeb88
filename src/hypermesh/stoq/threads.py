"""How many I/O threads an endpoint has, each with a socket of its own at one address."""

from __future__ import annotations

import os

from hypermesh.wire.errors import InvalidInput

THREADS_MAX = 64
"""`SHARDS_MAX` of `crates/stoq/src/limits.rs`."""


def settled(threads: int) -> int:
    """`threads`, where 0 means one for each core that this process may use. Raises
    `InvalidInput`."""
    if not 0 <= threads <= THREADS_MAX:
        raise InvalidInput(f"{threads} I/O threads", why=f"0 to {THREADS_MAX} are possible")
    return threads or min(len(os.sched_getaffinity(0)), THREADS_MAX)
