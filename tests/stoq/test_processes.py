"""The same across two processes, and what is seen when one of them dies."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from hypermesh.crypto.digest import digest
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.wire.rpc import SERVICE_CONTROL, SERVICE_ECHO

from .network import DEADLINE_S
from .peer_process import REGION, SIZE


@pytest.fixture
def across(
    process: subprocess.Popen[str], bob: Endpoint, alice_keys: QuantumKeys
) -> Iterator[Connection]:
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with bob.connect("::1", port, peer=alice_keys.id) as connection:
        yield connection


def test_requests_streams_and_memory(across: Connection) -> None:
    assert across.request(SERVICE_CONTROL, b"hello") == b"HELLO"
    data = secrets.token_bytes(SIZE)
    remote = across.region(REGION, 1)
    for at in range(0, SIZE, 1 << 20):
        remote.write(at, memoryview(data)[at : at + (1 << 20)])
    assert digest("test", remote.read(0, SIZE)) == digest("test", data)
    assert remote.fetch_add(0, 1) == int.from_bytes(data[:8], "little")
    stream = across.open_stream(SERVICE_ECHO)
    stream.write(data[: 1 << 20])
    stream.finish()
    echoed = b""
    while part := stream.read():
        echoed += part
    assert digest("test", echoed) == digest("test", data[: 1 << 20])


def test_a_peer_that_ends_says_so(process: subprocess.Popen[str], across: Connection) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 0
    with pytest.raises(errors.ConnectionClosed, match="the process ends"):
        across.request(SERVICE_ECHO, b"x")


def test_a_killed_peer_costs_the_call_its_time_and_no_more(
    process: subprocess.Popen[str], across: Connection, bob: Endpoint, alice: Endpoint
) -> None:
    process.kill()
    process.wait(DEADLINE_S)
    with pytest.raises((errors.TimedOut, errors.ConnectionLost)):
        across.request(SERVICE_ECHO, b"x", timeout_ms=300)
    with bob.connect(*alice.address) as other:
        assert other.request(SERVICE_ECHO, b"x") == b"x"
