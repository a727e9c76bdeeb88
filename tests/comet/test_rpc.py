"""Calls of the engine's interface, against a server that answers as told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from hypermesh.ledger.engines.comet.errors import EngineRefused
from hypermesh.ledger.engines.comet.rpc import Rpc
from hypermesh.ledger.errors import LedgerUnavailable, QueueFull
from hypermesh.ledger.kernel import NonceNotNext
from hypermesh.wire.codec import encode


class Told(socketserver.ThreadingUnixStreamServer):
    """Answers every call with `answer`, and keeps the calls."""

    daemon_threads = True
    answer: bytes
    calls: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Told

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.calls.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_request(self, *args: object) -> None: ...


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    server = Told(str(tmp_path / "rpc.sock"), Handler)
    server.calls = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def rpc(tmp_path: Path) -> Iterator[Rpc]:
    client = Rpc(tmp_path / "rpc.sock")
    yield client
    client.close()


def result(value: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


def error(data: str) -> bytes:
    details = {"code": -32603, "message": "Internal error", "data": data}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "error": details}).encode()


def test_a_transaction_is_handed_over_in_base64(told: Told, rpc: Rpc) -> None:
    told.answer = result({"code": 0, "data": "", "log": ""})
    assert rpc.broadcast(b"\x00\xff") is None
    (call,) = told.calls
    assert (call["method"], call["params"]) == ("broadcast_tx_sync", {"tx": "AP8="})


def test_a_refusal_comes_back_as_it_was(told: Told, rpc: Rpc) -> None:
    refusal = NonceNotNext(why="it carries nonce 7, the next is 0")
    data = encode(refusal.problem).hex().upper()
    told.answer = result({"code": 1, "data": data, "log": str(refusal)})
    returned = rpc.broadcast(b"x")
    assert isinstance(returned, NonceNotNext)
    assert str(returned) == str(refusal)


@pytest.mark.parametrize("data", ["", "zz", "93", None])
def test_a_refusal_that_is_not_ours_is_told_in_the_engines_words(
    told: Told, rpc: Rpc, data: str | None
) -> None:
    told.answer = result({"code": 1, "data": data, "log": "because"})
    returned = rpc.broadcast(b"x")
    assert isinstance(returned, EngineRefused)
    assert "because" in str(returned)


def test_what_the_engine_knows_already_is_no_error(told: Told, rpc: Rpc) -> None:
    told.answer = error("tx already exists in cache")
    assert rpc.broadcast(b"x") is None


def test_a_full_mempool_is_a_full_queue(told: Told, rpc: Rpc) -> None:
    told.answer = error("mempool is full: number of txs 10000 (max: 10000)")
    with pytest.raises(QueueFull):
        rpc.broadcast(b"x")


@pytest.mark.parametrize("answer", [error("no such method"), b"<html>"])
def test_other_answers_are_errors_of_the_engine(told: Told, rpc: Rpc, answer: bytes) -> None:
    told.answer = answer
    with pytest.raises(EngineRefused):
        rpc.broadcast(b"x")


def test_an_engine_that_is_not_there_is_unavailable(rpc: Rpc) -> None:
    assert not rpc.listening()
    with pytest.raises(LedgerUnavailable):
        rpc.height()


def test_the_status_says_whether_transactions_are_taken(told: Told, rpc: Rpc) -> None:
    sync = {"latest_block_height": "12", "catching_up": True}
    told.answer = result({"sync_info": sync})
    assert rpc.listening()
    assert rpc.height() == 12
    assert not rpc.takes_transactions()
