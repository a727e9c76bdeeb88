"""Bytes that are not what HTTP has them to be, on both listeners: the node stays up and answers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from hypermesh.http.protocol import HEAD_BYTES_MAX
from hypermesh.sdk.location import socket_path

from .nodes import Running

Dial = Callable[[], socket.socket]

TIMEOUT_S = 20


@pytest.fixture(params=["unix", "tcp"])
def dial(request: pytest.FixtureRequest, alice: Running) -> Dial:
    def over_unix() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(TIMEOUT_S)
        made.connect(str(socket_path(alice.data)))
        return made

    def over_tcp() -> socket.socket:
        port = urlsplit(alice.api).port
        return socket.create_connection(("::1", port), TIMEOUT_S)

    return over_unix if request.param == "unix" else over_tcp


@pytest.fixture(autouse=True)
def _the_same_process_answers_afterwards(alice: Running) -> Iterator[None]:
    before = alice.mesh.network.status().pid
    yield
    assert alice.mesh.network.status().pid == before


def host_of(alice: Running) -> bytes:
    return b"Host: " + urlsplit(alice.api).netloc.encode() + b"\r\n"


def answer_to(dial: Dial, data: bytes, *, hang_up: bool = True) -> bytes:
    """All that comes back until the node hangs up; `hang_up`: nothing more will be sent."""
    parts = []
    with closing(dial()) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        if hang_up:
            # The node may have hung up first.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


GARBAGE = {
    "zeros": bytes(4096),
    "noise": hashlib.shake_256(b"noise").digest(65536),
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no request line": b"\r\n\r\n\r\n",
    "half a request": b"GET /livez HTTP/1.1\r\nHost: x\r\nAccept",
    "no version": b"GET /nowhere\r\n\r\n",
    "unknown method": b"FROB /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "endless header": b"GET /livez HTTP/1.1\r\nHost: " + b"a" * 1_000_000,
    "many headers": b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    "bad length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n{}",
    "signed length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
    "superscript length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n\r\n{}",
    "huge length": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(dial: Dial, name: str) -> None:
    answer = answer_to(dial, GARBAGE[name])
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert b"application/problem+json" in (answer or b"application/problem+json")


@pytest.mark.parametrize("name", ["endless header", "many headers"])
def test_a_head_has_an_end(dial: Dial, name: str) -> None:
    """Refused while the client still holds the line open."""
    answer = answer_to(dial, GARBAGE[name], hang_up=False)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_a_head_that_comes_drop_by_drop_has_an_end(dial: Dial) -> None:
    with closing(dial()) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        for _ in range(HEAD_BYTES_MAX // 1000 + 1):
            connection.sendall(b"x-filler: " + b"a" * 990)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_requests_in_a_row_are_answered_in_order(dial: Dial, alice: Running) -> None:
    ask = b"GET %s HTTP/1.1\r\n" + host_of(alice) + b"\r\n"
    paths = [b"/livez", b"/nope", b"/v1/network"]
    last = b"GET /livez HTTP/1.1\r\n" + host_of(alice) + b"Connection: close\r\n\r\n"
    requests = b"".join(ask % path for path in paths) + last
    answer = answer_to(dial, requests, hang_up=False)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
    assert statuses == [b"200", b"404", b"200", b"200"]


def test_a_request_in_single_bytes(dial: Dial, alice: Running) -> None:
    request = b"GET /livez HTTP/1.1\r\n" + host_of(alice) + b"Connection: close\r\n\r\n"
    with closing(dial()) as connection:
        for byte in request:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_body_that_never_comes_changes_nothing(dial: Dial, alice: Running) -> None:
    before = alice.mesh.accounts.get().balance
    token = (alice.data / "api-token").read_text().encode()
    head = (
        b"POST /v1/accounts/transfer HTTP/1.1\r\n"
        + host_of(alice)
        + b"Authorization: Bearer "
        + token
        + b"\r\nIdempotency-Key: half-%s\r\n" % os.urandom(4).hex().encode()
        + b"Content-Type: application/json\r\nContent-Length: 200\r\n\r\n"
    )
    answer_to(dial, head + b'{"to": "' + b"0" * 64 + b'", "amount": 5}')
    assert alice.mesh.accounts.get().balance == before


def test_many_idle_connections_do_not_keep_others_out(dial: Dial, alice: Running) -> None:
    idle = [dial() for _ in range(100)]
    try:
        assert alice.mesh.network.status().name == "alice"
    finally:
        for connection in idle:
            connection.close()
