"""Bulk data over one connection: every transport in turn, round after round, on one path.

The receiver counts, from its first byte to its last. Every byte of a timed transfer is compared
with a pattern; once on each path each transport also moves random bytes whose BLAKE3 digests are
compared. A ratio is taken within each round, so that both of its sides saw the same load.
"""

from __future__ import annotations

from pathlib import Path

from result import Metric, metric

from measures.transport import peers
from measures.transport.ends import LOOPBACK, Link, Transfer, Transport, cable, prepared, transfer
from measures.transport.scale import Scale

GOALS_GBPS = {"stoq.loopback.one_connection": 10.0, "stoq.mtu1500.one_connection": 5.0}
RATIOS: dict[str, list[tuple[str, Transport, Transport, float]]] = {
    "loopback": [
        ("stoq.loopback.to_python_ssl", peers.STOQ, peers.PYTHON_SSL, 1.0),
        ("stoq.loopback.to_rustls", peers.STOQ, peers.RUSTLS, 1.0),
        ("stoq.loopback.stretch_to_tcp", peers.STOQ, peers.TCP, 0.5),
        ("stoq.python.to_rust", peers.STOQ_PYTHON, peers.STOQ, 0.8),
    ],
    "mtu1500": [("stoq.mtu1500.to_quinn_best", peers.STOQ, peers.QUINN_BEST, 1.5)],
    "mtu9000": [],
}


def measure_loopback(scale: Scale) -> list[Metric]:
    with prepared() as directory:
        return _path(LOOPBACK, directory, scale)


def measure_mtu1500(scale: Scale) -> list[Metric]:
    with prepared() as directory, cable(1_500) as link:
        return _path(link, directory, scale)


def measure_mtu9000(scale: Scale) -> list[Metric]:
    with prepared() as directory, cable(9_000) as link:
        return _path(link, directory, scale)


def _path(link: Link, directory: Path, scale: Scale) -> list[Metric]:
    for transport in peers.ALL:
        # aioquic would take minutes for what the others move in a moment.
        size = scale.hashed_bytes // (16 if transport is peers.AIOQUIC else 1)
        transfer(transport, link, directory, hashed=size)
    rounds: list[dict[str, Transfer]] = []
    for _ in range(scale.rounds):
        done = {
            transport.name: transfer(transport, link, directory, seconds=scale.seconds)
            for transport in peers.ALL
        }
        rounds.append(done)
    return [*_figures(link, rounds), *_ratios(link, rounds)]


def _figures(link: Link, rounds: list[dict[str, Transfer]]) -> list[Metric]:
    metrics = []
    for transport in peers.ALL:
        done = [each[transport.name] for each in rounds]
        name = identifier(link, transport)
        goal = GOALS_GBPS.get(name)
        metrics += [
            metric(name, [each.gbps for each in done], "Gbit/s", goal=goal, better="higher"),
            metric(f"{name}.cpu", [each.cpu_s_per_gb for each in done], "s of one core per GB"),
        ]
    return metrics


def _ratios(link: Link, rounds: list[dict[str, Transfer]]) -> list[Metric]:
    return [
        metric(
            name,
            [each[ours.name].gbps / each[theirs.name].gbps for each in rounds],
            "",
            goal=goal,
            better="higher",
            baseline=identifier(link, theirs),
        )
        for name, ours, theirs, goal in RATIOS[link.name]
    ]


def identifier(link: Link, transport: Transport) -> str:
    """The metric of one transport on one path."""
    if transport is peers.STOQ:
        return f"stoq.{link.name}.one_connection"
    if transport is peers.STOQ_PYTHON:
        return f"stoq.python.{link.name}"
    return f"stoq.{link.name}.{transport.name}"
