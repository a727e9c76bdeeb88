"""Many live connections at one endpoint: all answer, and an idle one costs its server little."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_ECHO

FIRST, ALL = 100, 300
EACH_BYTES_MAX = 40_000
ANSWER_MS = 5_000


def resident_bytes(pid: int) -> int:
    """What of a process is in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def test_300_connections_answer_at_once_and_cost_at_most_40_kb_each(
    process: subprocess.Popen[str],
    bob: Endpoint,
    alice_keys: QuantumKeys,
) -> None:
    assert process.stdout is not None
    port = int(process.stdout.readline())

    def opened(count: int) -> list[Connection]:
        return [bob.connect("::1", port, peer=alice_keys.id) for _ in range(count)]

    # What a process takes once is not what a connection costs.
    connections = opened(FIRST)
    before_bytes = resident_bytes(process.pid)
    connections += opened(ALL - FIRST)
    each_bytes = (resident_bytes(process.pid) - before_bytes) / (ALL - FIRST)
    assert each_bytes < EACH_BYTES_MAX

    async def asked() -> list[bytes]:
        return await asyncio.gather(
            *(
                each.request_async(SERVICE_ECHO, b"ping", timeout_ms=ANSWER_MS)
                for each in connections
            )
        )

    assert asyncio.run(asked()) == [b"ping"] * ALL
