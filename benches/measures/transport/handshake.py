"""Handshakes on loopback: mutual, keys agreed by X25519MLKEM768, both chains judged, and the
channel bound by FALCON and Ed25519 on either side.

Whole handshakes alone: the client holds no tickets, and one that is resumed ends the run. Both ends
meet the same peer again and again, so each knows the signatures in its chain after the first time;
`step.certificate_check` is what the first time takes, `step.certificate_known` every other.

Clients and server share the machine, so the rate is of both ends' work. The steps are timed alone,
on one thread, in processor time; in one handshake each end does the key exchange (its half), one
check of a chain, one signature and one verification of either scheme, and TLS another of Ed25519.
"""

from __future__ import annotations

from pathlib import Path

from result import Metric, metric

from measures.transport.ends import (
    BEYOND_S,
    LOOPBACK,
    RUST,
    End,
    dialling,
    echoing,
    prepared,
)
from measures.transport.scale import Scale

WINDOW = 8
"""Handshakes at once."""
RATE_GOAL = 400.0
STEPS = {
    "key_exchange": "both halves",
    "certificate_check": "one chain",
    "certificate_known": "one chain seen before",
    "falcon_sign": "one signature",
    "falcon_verify": "one signature",
    "ed25519_sign": "one signature",
    "ed25519_verify": "one signature",
}


def measure(scale: Scale) -> list[Metric]:
    rates: list[float] = []
    latencies_ms: list[float] = []
    client_ms: list[float] = []
    server_ms: list[float] = []
    with prepared() as directory:
        for _ in range(scale.rounds):
            with echoing(LOOPBACK, directory, scale.seconds + BEYOND_S) as (server, port):
                before_s = server.ask()["cpu_s"]
                with _client(directory, port, scale.seconds, WINDOW) as client:
                    done = client.last()
                used_s = server.ask()["cpu_s"] - before_s
                with _client(directory, port, scale.seconds, 1) as client:
                    latencies_ms += client.last()["taken_ms"]
            count = len(done["taken_ms"])
            rates.append(count / done["seconds"])
            client_ms.append(1000 * done["used_s"] / count)
            server_ms.append(1000 * used_s / count)
        steps = _steps(directory, scale.steps)
    return [
        metric("stoq.handshake.rate", rates, "1/s", goal=RATE_GOAL, better="higher"),
        metric("stoq.handshake.alone.p50", latencies_ms, "ms"),
        metric("stoq.handshake.cpu.client", client_ms, "ms of one core"),
        metric("stoq.handshake.cpu.server", server_ms, "ms of one core"),
        *(
            metric(f"stoq.handshake.step.{name}", steps[name], f"µs of one core, {what}")
            for name, what in STEPS.items()
        ),
    ]


def _client(directory: Path, port: int, seconds: float, window: int) -> End:
    command = [str(RUST), "handshake", "--credentials", str(directory)]
    words = [*command, "--seconds", str(seconds), "--window", str(window)]
    return dialling(words, LOOPBACK, port, seconds + BEYOND_S)


def _steps(directory: Path, rounds: int) -> dict[str, list[float]]:
    command = [str(RUST), "steps", "--credentials", str(directory), "--rounds", str(rounds)]
    with End(command, BEYOND_S) as end:
        return end.last()
