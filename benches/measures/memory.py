"""Leased memory of another node: 1 MiB at a time, from Python through the SDK.

Two real nodes; the consumer leases memory of the provider and writes and reads it over STOQ. After
each write and each read the same bytes go over plain TCP on the same loopback to a process that
keeps them. A write counts when the other side has acknowledged it, a read when its bytes are here;
every read is compared by BLAKE3 with what was written there.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from result import Metric, metric

from hypermesh.crypto.digest import digest
from hypermesh.sdk.region import LeasedRegion
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.asset import AssetKind
from measures import tcp
from measures.network import network

PIECE = 1 << 20
PIECES = 32
PASSES = 8
GOAL_GBPS = 2.0


def measure(passes: int = PASSES) -> list[Metric]:
    with network() as nodes:
        alice = nodes.found("alice")
        bob = nodes.join("bob", alice)
        address = next(a.address for a in bob.mesh.assets.list(AssetKind.MEMORY) if a.mine)
        with (
            alice.mesh.memory.lease(PIECE * PIECES, address=GlobalAddress.parse(address)) as region,
            plain() as peer,
        ):
            return _measured(region, peer, passes)


def _measured(region: LeasedRegion, peer: Plain, passes: int) -> list[Metric]:
    names = (
        "core.memory.write",
        "core.memory.tcp_write",
        "core.memory.read",
        "core.memory.tcp_read",
    )
    gbps: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(passes):
        contents = [os.urandom(PIECE) for _ in range(PIECES)]
        for index, content in enumerate(contents):
            started = time.perf_counter()
            region.write(index * PIECE, content)
            gbps["core.memory.write"].append(_gbps(started))
            started = time.perf_counter()
            peer.write(content)
            gbps["core.memory.tcp_write"].append(_gbps(started))
        for index, content in enumerate(contents):
            started = time.perf_counter()
            found = region.read(index * PIECE, PIECE)
            gbps["core.memory.read"].append(_gbps(started))
            if digest("bench", found) != digest("bench", content):
                raise SystemExit("the bytes that came back are others")
            started = time.perf_counter()
            peer.read()
            gbps["core.memory.tcp_read"].append(_gbps(started))
    metrics = []
    for way in ("write", "read"):
        baseline = f"core.memory.tcp_{way}"
        mine = gbps[f"core.memory.{way}"]
        metrics += [
            metric(
                f"core.memory.{way}",
                mine,
                "Gbit/s",
                goal=GOAL_GBPS,
                better="higher",
                baseline=baseline,
            ),
            metric(baseline, gbps[baseline], "Gbit/s", better="higher"),
        ]
    return metrics


class Plain:
    """This end of the TCP baseline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(PIECE))
        self._answer = memoryview(bytearray(1))

    def write(self, content: bytes) -> None:
        self._connection.sendall(b"w")
        self._connection.sendall(content)
        tcp.receive(self._connection, self._answer)

    def read(self) -> None:
        self._connection.sendall(b"r")
        tcp.receive(self._connection, self._buffer)


@contextmanager
def plain() -> Iterator[Plain]:
    """A connection to a process of its own that keeps one piece."""
    command = [sys.executable, str(Path(tcp.__file__)), str(PIECE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise SystemExit("the baseline has no output")
        port = int(process.stdout.readline())
        with socket.create_connection(("::1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Plain(connection)


def _gbps(started: float) -> float:
    return PIECE * 8 / (time.perf_counter() - started) / 1e9
