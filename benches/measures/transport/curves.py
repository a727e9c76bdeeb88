"""The two curves of `docs/performance.md`, on loopback: throughput over the size of a write, and
over the number of connections that share the machine."""

from __future__ import annotations

from collections.abc import Callable

from result import Metric, metric

from measures.transport import peers
from measures.transport.ends import LOOPBACK, Transport, prepared, transfer
from measures.transport.scale import Scale

MESSAGE_BYTES = (64, 512, 4 << 10, 32 << 10, 256 << 10, 2 << 20)
CONNECTIONS = (1, 4, 16, 64)
DRAWN = (peers.STOQ, peers.QUINN_BEST, peers.RUSTLS, peers.TCP)
SHARE = 0.5
"""Of a timed transfer: many points, each less sure."""
ROUNDS = 2


def measure(scale: Scale) -> list[Metric]:
    seconds = scale.seconds * SHARE

    def message(transport: Transport, size: int) -> float:
        done = transfer(transport, LOOPBACK, directory, seconds=seconds, message=size)
        return done.gbps

    def connections(transport: Transport, count: int) -> float:
        done = transfer(transport, LOOPBACK, directory, seconds=seconds, connections=count)
        return done.gbps

    with prepared() as directory:
        return [
            *_curve("message", MESSAGE_BYTES, message, scale),
            *_curve("connections", CONNECTIONS, connections, scale),
        ]


def _curve(
    name: str, points: tuple[int, ...], run: Callable[[Transport, int], float], scale: Scale
) -> list[Metric]:
    rounds = min(ROUNDS, scale.rounds)
    if scale.short:
        points = (points[0], points[-1]) if name == "message" else points[:2]
    metrics = []
    for point in points:
        samples: dict[str, list[float]] = {transport.name: [] for transport in DRAWN}
        for _ in range(rounds):
            for transport in DRAWN:
                samples[transport.name].append(run(transport, point))
        metrics += [
            metric(
                f"stoq.loopback.{name}.{point}.{transport.name}",
                samples[transport.name],
                "Gbit/s",
                better="higher",
            )
            for transport in DRAWN
        ]
    return metrics
