"""What each part brings: the same measurement with it and without it, in turns.

| part | with | without |
|---|---|---|
| gso, gro | the kernel's offloads, MTU 1,500 | as on a kernel that has not the one or the other |
| pinning | each end on a core of its own, MTU 1,500 | where the scheduler puts them |
| bundles | 4, 16 and 32 connections at once, MTU 1,500 | one |
| pooling | requests on a connection that is kept | a connection for each |
| batching | a hundred requests at once | one at a time |
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from result import Metric, metric

from measures.transport import peers
from measures.transport.ends import (
    RUST,
    Link,
    Transport,
    cable,
    prepared,
    transfer,
)
from measures.transport.request import WINDOW, asked
from measures.transport.scale import Scale

MTU = 1_500
BUNDLES = (4, 16, 32)
ROUNDS = 3
REQUEST = (str(RUST), "request", "--mode")


def measure(scale: Scale) -> list[Metric]:
    found: dict[str, list[float]] = {}
    with prepared() as directory, cable(MTU) as link:
        ways = {
            **_bulk(link, directory, scale.seconds),
            **_requests(directory, scale.seconds),
        }
        for _ in range(min(ROUNDS, scale.rounds)):
            for name, run in ways.items():
                found.setdefault(name, []).append(run())
    with_all = found.pop("bulk")
    pooled, single = found.pop("pooling.on"), found.pop("batching.off")
    metrics = [
        _gbps(f"{part}.{state}", with_all if state == on else found[f"{part}.{state}"])
        for part, on, off in (
            ("gso", "on", ("off",)),
            ("gro", "on", ("off",)),
            ("pinning", "off", ("on",)),
            ("bundles", "1", tuple(map(str, BUNDLES))),
        )
        for state in (on, *off)
    ]
    return [
        *metrics,
        _rate("pooling.on", pooled),
        _rate("pooling.off", found["pooling.off"]),
        _rate("batching.on", found["batching.on"]),
        _rate("batching.off", single),
    ]


def _bulk(link: Link, directory: Path, seconds: float) -> dict[str, Callable[[], float]]:
    def run(transport: Transport = peers.STOQ, way: Link = link, connections: int = 1) -> float:
        done = transfer(transport, way, directory, seconds=seconds, connections=connections)
        return done.gbps

    return {
        "bulk": run,
        "gso.off": lambda: run(_lacking("gso")),
        "gro.off": lambda: run(_lacking("gro")),
        "pinning.on": lambda: run(way=_pinned(link)),
        **{f"bundles.{count}": lambda count=count: run(connections=count) for count in BUNDLES},
    }


def _requests(directory: Path, seconds: float) -> dict[str, Callable[[], float]]:
    def one_by_one(mode: str) -> float:
        done = asked((*REQUEST, mode), directory, seconds)
        return len(done["taken_us"]) / float(done["seconds"])

    def at_once(window: int) -> float:
        done = asked((*REQUEST, "pipelined", "--window", str(window)), directory, seconds)
        return float(done["answered"]) / float(done["seconds"])

    return {
        "pooling.on": lambda: one_by_one("blocking"),
        "pooling.off": lambda: one_by_one("fresh"),
        "batching.on": lambda: at_once(WINDOW),
        "batching.off": lambda: at_once(1),
    }


def _lacking(offload: str) -> Transport:
    return replace(peers.STOQ, settings=lambda _: ("--lacking", offload))


def _pinned(link: Link) -> Link:
    """Each end on one core: the receiver on the first that this process has, the sender on the
    last."""
    if shutil.which("taskset") is None:
        raise SystemExit("`taskset` is not installed (Debian: util-linux)")
    cores = sorted(os.sched_getaffinity(0))

    def on(core: int, words: Sequence[str]) -> list[str]:
        return ["taskset", "--cpu-list", str(core), *words]

    return replace(
        link,
        receiver=lambda words: link.receiver(on(cores[0], words)),
        sender=lambda words: link.sender(on(cores[-1], words)),
    )


def _gbps(name: str, samples: list[float]) -> Metric:
    return metric(f"stoq.ablation.{name}", samples, "Gbit/s", better="higher")


def _rate(name: str, samples: list[float]) -> Metric:
    return metric(f"stoq.ablation.{name}", samples, "requests/s", better="higher")
