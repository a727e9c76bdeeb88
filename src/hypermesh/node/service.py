"""The calls that a node answers over STOQ.

A pump takes requests from the endpoint's bounded queue and hands them to a bounded pool of
threads. A method names the protocols (ALPN) that may call it, so an enrolling stranger or the
bearer of a lease cannot reach what is meant for certified peers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.request import Request
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Forbidden, HyperMeshError, NotFound, Overloaded
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE, SERVICE_CONTROL, SERVICE_JOB, Call

WORKERS = 64
"""Threads; they are made when needed. A follower's long poll holds one, so more than about sixty
followers need another way to wait."""
CALLS_WAITING_MAX = 128
POLL_MS = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who calls: proven by STOQ before the call was read. `owner` is None without a certificate;
    `channel` is the exporter that binds signatures to this connection; `network` is that of the
    certificate, where one was shown."""

    id: bytes
    owner: bytes | None
    alpn: str
    channel: bytes
    network: bytes | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """One method: who may call it, what it takes, and the function that answers."""

    alpns: frozenset[str]
    argument: type[Any]
    answer: Callable[[Peer, Any], object]


class Service:
    """Answers `Call`s until stopped."""

    def __init__(
        self,
        endpoint: Endpoint,
        methods: Mapping[str, Method],
        streams: Mapping[int, Callable[[Request], None]],
        heard: Callable[[NodeId], None],
    ) -> None:
        """`streams` take the requests of their service that open a stream; they do not wait.
        `heard` is told of every call of a certified node."""
        self._endpoint = endpoint
        self._methods = methods
        self._streams = streams
        self._heard = heard
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="stoq-call")
        self._places = threading.BoundedSemaphore(CALLS_WAITING_MAX)
        self._stopping = threading.Event()
        self._pump = threading.Thread(target=self._take, name="stoq-pump", daemon=True)

    def start(self) -> None:
        self._pump.start()

    def stop(self) -> None:
        """Stop taking calls; those under way are finished."""
        self._stopping.set()
        if self._pump.is_alive():
            self._pump.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> None:
        while not self._stopping.is_set():
            request = self._endpoint.next_request(POLL_MS)
            if request is None:
                continue
            if not self._places.acquire(blocking=False):
                request.refuse(Overloaded("This node answers too many calls"))
                continue
            self._pool.submit(self._answer, request)

    def _answer(self, request: Request) -> None:
        try:
            take = self._streams.get(request.service)
            if take is None:
                request.reply(self._result(request))
            else:
                take(request)
        except HyperMeshError as error:
            request.refuse(error)
        except Exception:
            log.exception("A call of service %d failed", request.service)
            request.refuse(HyperMeshError("The node failed on this call"))
        finally:
            self._places.release()

    def _result(self, request: Request) -> bytes:
        if request.service not in (SERVICE_CONTROL, SERVICE_JOB):
            raise NotFound(f"This node has no service {request.service}")
        call = decode(Call, request.body)
        method = self._methods.get(call.method)
        if method is None:
            raise NotFound(f"This node has no method {call.method!r}")
        if request.alpn not in method.alpns:
            raise Forbidden(
                f"{call.method} cannot be called over {request.alpn}",
                why=f"it is for {', '.join(sorted(method.alpns))}",
            )
        if request.peer_id is None:
            raise Forbidden("The caller has shown no keys")
        if request.alpn == ALPN_NODE:
            self._heard(request.peer_id)
        peer = Peer(
            request.peer_id,
            request.peer_owner,
            request.alpn,
            request.channel_binding,
            request.peer_network,
        )
        return encode(method.answer(peer, decode(method.argument, call.argument)))
