"""`trustchain-server` over a database that dies, and comes back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.postgresql.fixtures import started
from tests.postgresql.server import Server as Database

from .conftest import WAIT_S, Server, eventually, founded, requested, trustchain

THREADS = 4
ENOUGH = 12


@pytest.fixture
def server(tmp_path: Path, postgresql: Database) -> Iterator[Server]:
    made = founded(tmp_path / "data", store=postgresql.url(postgresql.database()))
    yield made
    made.kill()


class Asking:
    """Threads that have certificates issued, until they are told to end."""

    def __init__(self, server: Server, acknowledged: list[dict[str, object]]) -> None:
        self._server = server
        self._acknowledged = acknowledged
        self._over = threading.Event()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with self._server.client() as client:
            while not self._over.is_set():
                asked = requested("k.example.internal").der
                try:
                    answer = client.post("/v1/certificates", content=asked)
                except httpx.HTTPError as error:
                    self.wrong.append(str(error))
                    return
                if answer.status_code == 201:
                    self._acknowledged.append(answer.json())
                elif answer.status_code != 503:
                    self.wrong.append(answer.text)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def test_a_database_that_is_killed_loses_nothing_and_service_goes_on(tmp_path: Path) -> None:
    with started() as mortal, contextlib.ExitStack() as ended:
        server = founded(tmp_path / "data", store=mortal.url(mortal.database()))
        ended.callback(server.kill)
        server.start()
        acknowledged: list[dict[str, object]] = []
        client = ended.enter_context(server.client())

        def more() -> None:
            before = len(acknowledged)
            eventually(lambda: len(acknowledged) >= before + ENOUGH, "certificates are issued")

        for _ in range(2):
            asking = Asking(server, acknowledged)
            with contextlib.ExitStack() as done:
                done.callback(asking.end)
                more()
                mortal.kill()
                eventually(lambda: client.get("/readyz").status_code == 503, "it is not ready")
                assert client.get("/livez").status_code == 200
                mortal.start()
                eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
                more()
            assert asking.wrong == []
        _all_kept(server, acknowledged)
        # And both at once.
        server.kill()
        mortal.kill()
        mortal.start()
        server.start()
        _all_kept(server, acknowledged)


def _all_kept(server: Server, acknowledged: list[dict[str, object]]) -> None:
    with server.client() as client:
        for told in acknowledged:
            assert client.get(f"/v1/certificates/{told['serial']}").json() == told
        indices = [told["log_index"] for told in acknowledged]
        assert len(set(indices)) == len(indices), "no two certificates have one place in the log"
        assert client.get("/v1/audit/check").json()["whole"]


def test_a_database_has_one_authority_and_one_server(server: Server, tmp_path: Path) -> None:
    # Another authority does not begin in it, with or without a server at work.
    settings = tmp_path / "other.toml"
    settings.write_text("")
    words = ("init", "--config", str(settings), "--store", server.store)
    assert "HM-TRUST-0064" in trustchain(*words, data=tmp_path / "other").stderr
    server.start()
    assert "HM-TRUST-0063" in trustchain(*words, data=tmp_path / "another").stderr
    with server.client() as client:
        answer = client.post("/v1/certificates", content=requested("a.example.internal").der)
        assert answer.status_code == 201


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("")
    for store, code in (
        ("postgresql:///trust?host=/nowhere", "HM-TRUST-0360"),
        ("postgresql://me:hush@/trust?host=/nowhere", "HM-TRUST-0200"),
    ):
        words = ("init", "--config", str(settings), "--store", store)
        done = trustchain(*words, data=tmp_path / code)
        assert code in done.stderr
        assert "hush" not in done.stderr
        assert done.returncode == 3
