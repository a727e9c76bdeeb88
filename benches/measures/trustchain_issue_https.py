"""Issuing through the API: `trustchain-server` as a company runs it, a requester's token, TLS.

Orders go over connections that are kept, from one other process on the same machine. One connection
gives the latencies; `CONNECTIONS`, each with an order under way, the rate. A certificate is counted
when its answer is whole: then it is linted, logged, durable and shown. The machine's cores serve
the server and its requesters both.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from result import ROOT, Metric, metric, percentile

ALONE = 300
CONNECTIONS = 32
EACH = 100
ROUNDS = 3
WAIT_S = 120.0
NAME = "www.example.internal"
REQUESTER = ROOT / "benches" / "peers" / "requester.py"
SETTINGS = """
name = "Bench"
profile = "classic"
hosts = ["localhost", "::1"]
permitted = ["dns:.example.internal"]
https = "[::1]:0"
http = ""
public_url = "http://pki.example.internal"
[dns]
listen = ""
[acme]
enabled = false
[rate]
stranger_per_s = 1000000
member_per_s = 1000000
"""


def measure() -> list[Metric]:
    with tempfile.TemporaryDirectory(prefix="bench-https-") as directory, _served(directory) as at:
        _asked(at, 1, 20, "warm")
        _, waits_s = _asked(at, 1, ALONE, "alone")
        _asked(at, CONNECTIONS, 10, "warm")
        rates, loaded_s = [], []
        for number in range(ROUNDS):
            took_s, times_s = _asked(at, CONNECTIONS, EACH, f"round-{number}")
            rates.append(CONNECTIONS * EACH / took_s)
            loaded_s += times_s
    waits_ms = [each * 1000 for each in waits_s]
    loaded_ms = [each * 1000 for each in loaded_s]
    figure = "trustchain.issue.https.classic"
    return [
        metric(f"{figure}_p50", waits_ms, "ms", goal=5.0),
        metric(f"{figure}_p99", waits_ms, "ms", value=percentile(waits_ms, 0.99), goal=35.0),
        metric(f"{figure}_rate", rates, "1/s", goal=1000.0, better="higher"),
        metric(f"{figure}_loaded_p50", loaded_ms, "ms"),
        metric(f"{figure}_loaded_p99", loaded_ms, "ms", value=percentile(loaded_ms, 0.99)),
    ]


@contextlib.contextmanager
def _served(directory: str) -> Iterator[dict[str, object]]:
    """What a requester is told of a server that runs."""
    data = Path(directory) / "data"
    settings = Path(directory) / "settings.toml"
    settings.write_text(SETTINGS)
    program = [sys.executable, "-m", "hypermesh.standalone.trust"]
    place = ["--data", str(data)]
    subprocess.run(
        [*program, "init", "--config", str(settings), *place], check=True, stdout=subprocess.DEVNULL
    )
    made = subprocess.run(
        [*program, "token", "create", "bench", "--role", "requester", *place],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    token = made.stdout.split()[-1]
    with subprocess.Popen([*program, "run", *place], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield {
                "port": _port(server),
                "root": str(data / "root" / "root.pem"),
                "token": token,
                "name": NAME,
            }
        finally:
            server.terminate()


def _port(server: subprocess.Popen[str]) -> int:
    """That of HTTPS; the server says where it serves when all of it does."""
    assert server.stdout is not None
    port = 0
    for line in server.stdout:
        word, rest = line.split(maxsplit=1)
        if word == "https":
            port = int(rest.rpartition(":")[2])
        if word == "root":
            return port
    raise SystemExit("trustchain-server does not start")


def _asked(
    at: dict[str, object], connections: int, each: int, label: str
) -> tuple[float, list[float]]:
    """The seconds of all orders together, and of each."""
    told = {**at, "connections": connections, "each": each, "label": label}
    done = subprocess.run(
        [sys.executable, str(REQUESTER), json.dumps(told)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=WAIT_S,
    )
    found = json.loads(done.stdout)
    return found["seconds"], found["times"]
