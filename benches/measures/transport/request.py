"""Small requests to the echo service on loopback: 64 bytes there and back.

Awake: one request after the other, so neither end has gone to sleep. Sleeping: a pause before each,
so both have; beside it the processor time of a connection that does nothing. Pipelined: a hundred
at once from Rust, many in one call from Python. Concurrent: a hundred tasks of an event loop with a
call each. The echo is served in Rust; the client is in Rust, or in Python (`stoq.python.request`,
and asyncio).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from result import Metric, metric, percentile

from measures.transport.ends import (
    BEYOND_S,
    LOOPBACK,
    PYTHON,
    RUST,
    End,
    dialling,
    echoing,
    prepared,
)
from measures.transport.scale import Scale

PAUSE_MS = 20
WINDOW = 100
AWAKE_GOAL_US = 40.0
ASYNCIO_GOAL_US = 150.0
ASYNCIO_P90_GOAL_US = 1000.0
PIPELINED_GOAL = 100_000.0
_RUST = (str(RUST), "request", "--mode")
_PYTHON = (sys.executable, str(PYTHON / "stoq_request.py"), "request", "--mode")
CLIENTS = {
    "awake": (*_RUST, "blocking"),
    "python": (*_PYTHON, "blocking"),
    "asyncio": (*_PYTHON, "asyncio"),
    "sleeping": (*_RUST, "blocking", "--pause", str(PAUSE_MS)),
    "pipelined": (*_RUST, "pipelined", "--window", str(WINDOW)),
    "python_concurrent": (*_PYTHON, "concurrent", "--window", str(WINDOW)),
    "python_pipelined": (*_PYTHON, "pipelined"),
}


def measure(scale: Scale) -> list[Metric]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CLIENTS}
    idle: list[float] = []
    with prepared() as directory:
        for _ in range(scale.rounds):
            for name, command in CLIENTS.items():
                found[name].append(asked(command, directory, scale.seconds))
            idle.append(idling(directory, scale.seconds))
    taken = {
        name: [value for each in done for value in each["taken_us"]]
        for name, done in found.items()
        if "taken_us" in done[0]
    }
    rate = {
        name: [each["answered"] / each["seconds"] for each in done]
        for name, done in found.items()
        if "answered" in done[0]
    }
    return [
        metric("stoq.request.awake.p50", taken["awake"], "µs", goal=AWAKE_GOAL_US),
        _at("stoq.request.awake.p99", taken["awake"], 0.99),
        metric("stoq.request.sleeping.p50", taken["sleeping"], "µs"),
        metric("stoq.request.idle_cpu", idle, "% of one core, both ends"),
        metric("stoq.request.asyncio.p50", taken["asyncio"], "µs", goal=ASYNCIO_GOAL_US),
        _at("stoq.request.asyncio.p90", taken["asyncio"], 0.90, ASYNCIO_P90_GOAL_US),
        metric(
            "stoq.request.pipelined", rate["pipelined"], "1/s", goal=PIPELINED_GOAL, better="higher"
        ),
        metric("stoq.python.request.awake.p50", taken["python"], "µs", goal=AWAKE_GOAL_US),
        _at("stoq.python.request.awake.p99", taken["python"], 0.99),
        metric("stoq.python.request.concurrent", rate["python_concurrent"], "1/s", better="higher"),
        metric("stoq.python.request.pipelined", rate["python_pipelined"], "1/s", better="higher"),
    ]


def asked(command: Sequence[str], directory: Path, seconds: float) -> dict[str, Any]:
    """What one client found, at an echo of its own."""
    with (
        echoing(LOOPBACK, directory, seconds + BEYOND_S) as (_, port),
        _client(command, directory, port, seconds) as client,
    ):
        return client.last()


def idling(directory: Path, seconds: float) -> float:
    """What both ends of a connection use that does nothing, in percent of one core."""
    command = (*_RUST, "idle")
    with (
        echoing(LOOPBACK, directory, seconds + BEYOND_S) as (server, port),
        _client(command, directory, port, seconds) as client,
    ):
        client.line()  # it does nothing from here on
        before = server.ask()
        used_s = client.last()["used_s"] + server.ask()["cpu_s"] - before["cpu_s"]
    return float(100 * used_s / seconds)


def _client(command: Sequence[str], directory: Path, port: int, seconds: float) -> End:
    words = [*command, "--credentials", str(directory), "--seconds", str(seconds)]
    return dialling(words, LOOPBACK, port, seconds + BEYOND_S)


def _at(name: str, samples: list[float], share: float, goal: float | None = None) -> Metric:
    return metric(name, samples, "µs", value=percentile(samples, share), goal=goal)
