"""Many connections at one endpoint, from clients in a process of their own.

They are opened in steps, and the memory of the server is read after each: what one idle connection
costs, and the slope that says what ten times as many would. Then all are asked for an echo at once
while some of them move data.
"""

from __future__ import annotations

import time

from result import Metric, metric

from measures.transport.ends import (
    LOOPBACK,
    RUST,
    End,
    dialling,
    echoing,
    prepared,
)
from measures.transport.scale import Scale

STEPS = 5
LIMIT_S = 300.0
PATIENCE_MS = 5_000
MOVING_S = 6.0
RESTING_S = 10.0
"""Longer than the interval of keep-alives, so that every connection has its share in it."""
ANSWERED_GOAL = 99.0
IDLE_GOAL_KB = 40.0
FAR = 100_000


def measure(scale: Scale) -> list[Metric]:
    with prepared() as directory, echoing(LOOPBACK, directory, LIMIT_S) as (server, port):
        command = [str(RUST), "hold", "--credentials", str(directory)]
        with dialling(command, LOOPBACK, port, LIMIT_S) as clients:
            held, resident = [0], [server.ask()["resident_bytes"]]
            seconds, retried = 0.0, 0
            for _ in range(STEPS):
                opened = clients.ask(f"open {scale.connections // STEPS}")
                held.append(opened["held"])
                resident.append(server.ask()["resident_bytes"])
                seconds += opened["seconds"]
                retried += opened["retried"]
            resting_percent = resting(server, scale)
            quiet = clients.ask(f"ping {PATIENCE_MS}")
            moving_s = MOVING_S if not scale.short else 1.0
            busy = clients.ask(f"load {scale.movers} {moving_s} {PATIENCE_MS}")
            alive = clients.last()["alive"]
    if alive != held[-1]:
        raise SystemExit(f"{held[-1] - alive} connections ended by themselves")
    each_kb = [
        (now - resident[0]) / count / 1000
        for now, count in zip(resident[1:], held[1:], strict=True)
    ]
    slope_kb = slope(held[1:], resident[1:]) / 1000
    return [
        metric("stoq.connections.live", [float(held[-1])], "", better="higher"),
        metric(
            "stoq.connections.answered",
            [100 * busy["answered"] / busy["asked"]],
            "% within 5 s while 100 move data",
            goal=ANSWERED_GOAL,
            better="higher",
        ),
        metric("stoq.connections.ping.p50", [busy["p50_ms"]], "ms"),
        metric("stoq.connections.ping.p99", [busy["p99_ms"]], "ms"),
        metric("stoq.connections.ping.quiet.p99", [quiet["p99_ms"]], "ms"),
        metric(
            "stoq.connections.moved",
            [busy["moved_bytes"] * 8 / busy["seconds"] / 1e9],
            "Gbit/s each way meanwhile",
            better="higher",
        ),
        metric(
            "stoq.connections.idle_memory",
            each_kb,
            "KB resident, server",
            value=each_kb[-1],
            goal=IDLE_GOAL_KB,
        ),
        metric("stoq.connections.slope", [slope_kb], "KB a further connection, server"),
        metric("stoq.connections.far", [slope_kb * FAR / 1e6], "GB for 100,000, by the slope"),
        metric(
            "stoq.connections.idle_cpu", [resting_percent], "% of one core, server, all of them"
        ),
        metric("stoq.connections.retried", [float(retried)], "attempts that were not let in"),
        metric("stoq.connections.opened", [held[-1] / seconds], "1/s", better="higher"),
    ]


def resting(server: End, scale: Scale) -> float:
    """What the server uses while nobody asks anything, in percent of one core."""
    seconds = RESTING_S if not scale.short else 0.5
    before_s = server.ask()["cpu_s"]
    time.sleep(seconds)
    return float(100 * (server.ask()["cpu_s"] - before_s) / seconds)


def slope(counts: list[int], resident: list[int]) -> float:
    """Bytes that a further connection costs: the least-squares line."""
    mean_count, mean_bytes = sum(counts) / len(counts), sum(resident) / len(resident)
    over = sum(
        (count - mean_count) * (size - mean_bytes)
        for count, size in zip(counts, resident, strict=True)
    )
    return over / sum((count - mean_count) ** 2 for count in counts)
