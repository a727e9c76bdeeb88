"""One end of transfers in a process of its own, which kills itself at a named instant.

Reads lines of hex: secret keys, certificates, genesis; then a line of JSON. As `receive` it writes
its port and takes files until it is killed; as `send` it sends one and writes the proof,
and its largest size in KiB.

An instant is the name of a message that is about to be said, or one of `INSTANTS`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.transfer import frames, receiver, sender, store
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.rpc import SERVICE_TRANSFER
from hypermesh.wire.transfer import Message

INSTANTS = ("before it is shown", "shown", "recorded", "page noted")
STALL_MS = 2_000
PAGE_CHUNKS = 8
"""So that a small file has several pages."""


def die(instant: str) -> None:
    """Kill this process at `instant`."""
    say = frames.Frames.say

    def say_or_die(self: frames.Frames, message: Message) -> None:
        if type(message).__name__ == instant:
            now()
        say(self, message)

    frames.Frames.say = say_or_die  # type: ignore[method-assign]
    publish, note, shown = store.publish, store.Store.note, store.Store.publish
    if instant == "before it is shown":
        store.publish = lambda *_: now()  # type: ignore[assignment]
    elif instant == "shown":
        store.publish = then_die(publish)
    elif instant == "recorded":
        store.Store.publish = then_die(shown)  # type: ignore[method-assign]
    elif instant == "page noted":
        store.Store.note = then_die(note)  # type: ignore[method-assign]


def now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(work: Callable[..., Any]) -> Callable[..., Any]:
    def done(*arguments: Any) -> None:
        work(*arguments)
        now()

    return done


def main() -> None:
    lines = [bytes.fromhex(sys.stdin.readline()) for _ in range(5)]
    secret, leaf, issuing, root, genesis = lines
    told = json.loads(sys.stdin.readline())
    if told.get("small_pages", True):
        sender.PAGE_CHUNKS_MAX = PAGE_CHUNKS
    die(told["instant"])
    keys = QuantumKeys.from_secret_bytes(secret)
    policy = TrustPolicy(network=genesis, roots=[root], issuers=[issuing])
    with Endpoint.bind(policy=policy, identity=Identity((leaf, issuing, root), keys)) as endpoint:
        if told["role"] == "receive":
            receive(endpoint, genesis, keys, Path(told["inbox"]))
        else:
            send(endpoint, genesis, keys, told)


def receive(endpoint: Endpoint, genesis: bytes, keys: QuantumKeys, inbox: Path) -> None:
    kept = store.Store(inbox)
    taking = receiver.Receiver(kept, lambda *_: None, lambda: 1 << 41)
    sys.stdout.write(f"{endpoint.address[1]}\n")
    sys.stdout.flush()
    while True:
        request = endpoint.next_request(60_000)
        if request is None:
            return
        assert request.stream is not None
        assert request.peer_id is not None
        assert request.peer_owner is not None
        parties = sender.Parties(genesis, keys, request.peer_id)
        try:
            taking.receive(request.stream, request.peer_owner, parties, stall_ms=STALL_MS)
        except HyperMeshError as error:
            sys.stderr.write(f"{error}\n")


def send(endpoint: Endpoint, genesis: bytes, keys: QuantumKeys, told: dict[str, Any]) -> None:
    peer = bytes.fromhex(told["peer"])
    with (
        endpoint.connect("::1", told["port"], peer=peer) as connection,
        sender.Source(Path(told["path"])) as source,
    ):
        proof = sender.send(
            connection.open_stream(SERVICE_TRANSFER),
            source,
            bytes.fromhex(told["transfer"]),
            sender.Parties(genesis, keys, peer),
            since_ms=0,
            stall_ms=STALL_MS,
        )
    sys.stdout.write(f"{encode(proof).hex()} {largest_kib(os.getpid())}\n")


def largest_kib(process: int) -> int:
    """The most memory that a process has had since its program began."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main()
