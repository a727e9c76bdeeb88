"""A service in Python, as a node has one: a thread that takes requests and answers them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.request import Request

from .network import DEADLINE_S


@contextmanager
def serving(endpoint: Endpoint, answer: Callable[[Request], None]) -> Iterator[None]:
    """Hands every request of `endpoint` to `answer` on another thread."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                request = endpoint.next_request(20)
                if request is not None:
                    answer(request)
        except EndpointClosed:
            pass
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        assert not failures, failures
