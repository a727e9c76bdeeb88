"""Bad networks: bulk data through the project's relay, which delays and drops in user space.

The relay stands at the receiver's end of a cable with an MTU of 1,500, so that no end takes the
path for its own host. STOQ is compared with stock quinn: in each round with the better of its
defaults and its best settings. Every byte is compared with what was sent, so nothing that the
relay does may show. The last network alters, doubles and reorders as well, and moves the client to
new ports: there the whole is digested at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from result import ROOT, Metric, metric

from measures.transport import peers
from measures.transport.ends import BEYOND_S, End, Link, cable, prepared, transfer
from measures.transport.scale import Scale

RELAY = ROOT / "target" / "release" / "hm-impair"
MTU = 1_500
TRANSPORTS = (peers.STOQ, peers.QUINN_BEST, peers.QUINN)


@dataclass(frozen=True)
class Network:
    """What the relay does, in its own words; both directions alike."""

    name: str
    settings: tuple[str, ...]
    seconds: float
    rounds: int


WAN = Network("wan", ("delay 10ms", "loss 0.01", "rate 1G", "queue 4M"), 6.0, 3)
LEO = Network("leo", ("delay 20ms", "jitter 3ms", "loss 0.01", "rate 200M", "queue 1M"), 8.0, 1)
GEO = Network("geo", ("delay 300ms", "rate 50M", "queue 4M"), 15.0, 1)
HOSTILE = Network(
    "hostile",
    ("delay 5ms", "loss 0.01", "corrupt 0.01", "duplicate 0.02", "reorder 0.02"),
    0.0,
    1,
)
REBIND_MS = 300
HOSTILE_BYTES = 8 << 20
GOALS = {"stoq.lossy.wan.to_quinn": 3.0}


def measure(scale: Scale) -> list[Metric]:
    metrics = []
    with prepared() as directory, cable(MTU) as link:
        for network in (WAN, LEO, GEO):
            metrics += _network(network, link, directory, scale)
        through = relayed(HOSTILE, link, BEYOND_S, "--rebind-ms", str(REBIND_MS))
        size = HOSTILE_BYTES if not scale.short else scale.hashed_bytes
        with through as way:
            done = transfer(peers.STOQ, link, directory, hashed=size, through=way)
    return [*metrics, metric("stoq.lossy.hostile.intact", [done.gbps], "Gbit/s", better="higher")]


def _network(network: Network, link: Link, directory: Path, scale: Scale) -> list[Metric]:
    seconds = network.seconds if not scale.short else max(scale.seconds, 0.5)
    gbps: dict[str, list[float]] = {each.name: [] for each in TRANSPORTS}
    for _ in range(min(network.rounds, scale.rounds)):
        for transport in TRANSPORTS:
            with relayed(network, link, seconds + BEYOND_S) as way:
                done = transfer(transport, link, directory, seconds=seconds, through=way)
            gbps[transport.name].append(done.gbps)
    ours = gbps[peers.STOQ.name]
    theirs = [max(pair) for pair in zip(gbps["quinn_best"], gbps["quinn_default"], strict=True)]
    ratios = [mine / best for mine, best in zip(ours, theirs, strict=True)]
    name = f"stoq.lossy.{network.name}"
    return [
        metric(f"{name}.stoq", [1000 * each for each in ours], "Mbit/s", better="higher"),
        *(
            metric(
                f"{name}.{each.name}",
                [1000 * value for value in gbps[each.name]],
                "Mbit/s",
                better="higher",
            )
            for each in TRANSPORTS[1:]
        ),
        metric(
            f"{name}.to_quinn",
            ratios,
            "",
            goal=GOALS.get(f"{name}.to_quinn"),
            better="higher",
            baseline=f"{name}.quinn_best",
        ),
    ]


@contextmanager
def relayed(
    network: Network, link: Link, limit_s: float, *words: str
) -> Iterator[Callable[[int], tuple[str, int]]]:
    """A function from the port of a receiver to where a relay in front of it is to be dialled. The
    relay begins with the call and ends with the context."""
    running: list[End] = []

    def begin(port: int) -> tuple[str, int]:
        command: Sequence[str] = [
            str(RELAY),
            *("--listen", f"[{link.host}]:0", "--target", f"[{link.host}]:{port}"),
            *("--seconds", str(round(limit_s)), *words, *network.settings),
        ]
        relay = End(link.receiver(command), limit_s)
        running.append(relay)
        host, _, relay_port = relay.line()["listening"].rpartition(":")
        return host.strip("[]"), int(relay_port)

    try:
        yield begin
    finally:
        for relay in running:
            relay.__exit__()
