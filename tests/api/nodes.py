"""Node processes for tests of the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hypermesh.node.background import await_ready, launch, stop
from hypermesh.node.configuration import Configuration
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh

T = TypeVar("T")


@dataclass
class Running:
    """A node that is ready."""

    data: Path
    mesh: Mesh
    node: str
    owner: str
    api: str

    def over_socket(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(socket_path(self.data)))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=30)


@contextmanager
def started(
    data: Path, level: str, token: str | None = None, tls_port: int | None = None
) -> Iterator[Running]:
    configuration = Configuration.of(
        data,
        name=data.name,
        share="20%",
        level=level,
        stoq_host="::1",
        stoq_port=None,
        tls_port=tls_port,
    )
    process = launch(configuration, token)
    try:
        await_ready(configuration, process, timeout_s=60)
        with Mesh(socket_path(data)) as mesh:
            status = mesh.network.status()
            yield Running(data, mesh, status.node, status.owner, status.api)
    finally:
        stop(data)
        process.wait()


def eventually(look: Callable[[], T | None], what: str, within_s: float = 30) -> T:
    """The first true value of `look`, before the deadline."""
    deadline = time.monotonic() + within_s
    while not (value := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return value


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of `answer`, whole and in agreement with its status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert set(details) == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "cause",
        "fix",
        "exit_code",
        "failures",
    }
    assert details["status"] == status
    assert details["type"] == f"urn:hypermesh:error:{details['code']}"
    assert details["title"]
    assert details["detail"]
    assert 1 <= details["exit_code"] <= 9
    return details
