"""STOQ from Python: a blocking stream, written from `bytes` and read into a buffer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from end import Options, Sink, Source, announce, run

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.trust import Identity, TrustPolicy

SERVICE = 900
PATIENCE_MS = 30_000


def receive(options: Options) -> dict[str, Any]:
    with bound(options.host, options.credentials, "server") as endpoint:
        announce(endpoint.address[1])
        request = endpoint.next_request(PATIENCE_MS)
        stream = None if request is None else request.stream
        if stream is None:
            raise SystemExit("no stream was opened")
        sink = Sink(options)
        while count := stream.fill(sink.room):
            sink.filled(count)
        found = sink.ended()
        stream.finish()
        while endpoint.stats().connections:  # the sender closes first
            time.sleep(0.001)
        return found


def send(options: Options) -> dict[str, Any]:
    with bound("::", options.credentials, "client") as endpoint:
        connection = dialled(endpoint, options)
        stream = connection.open_stream(SERVICE)
        source = Source(options)
        for message in source:
            stream.write(message)
        stream.finish()
        if stream.read():
            raise SystemExit("the receiver sends")
        return source.sent()


def dialled(endpoint: Endpoint, options: Options) -> Connection:
    return endpoint.connect(options.host, options.port, timeout_ms=PATIENCE_MS)


def bound(host: str, credentials: Path, who: str) -> Endpoint:
    """An endpoint of one of the two nodes."""

    def read(name: str) -> bytes:
        return (credentials / name).read_bytes()

    policy = TrustPolicy(
        network=read("genesis"), roots=[read("root.der")], issuers=[read("issuing.der")]
    )
    chain = (read(f"{who}.der"), read("issuing.der"), read("root.der"))
    keys = QuantumKeys.from_secret_bytes(read(f"{who}.keys"))
    return Endpoint.bind(host, policy=policy, identity=Identity(chain, keys))


if __name__ == "__main__":
    run(receive=receive, send=send)
