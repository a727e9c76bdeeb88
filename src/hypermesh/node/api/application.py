"""The ASGI application and its listeners: the owner's UNIX socket, loopback HTTP, and TLS."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig

from hypermesh import __version__
from hypermesh.http.problem import on_bug, on_deep_nesting, on_disk, on_error, on_http_error
from hypermesh.node.api.answers import Answers
from hypermesh.node.api.authority import Authority
from hypermesh.node.api.description import Description
from hypermesh.node.api.guard import BODY_BYTES_MAX
from hypermesh.node.api.idempotency import Idempotency
from hypermesh.node.api.request import StrictRequest
from hypermesh.node.api.routes import ROUTES, dependencies
from hypermesh.node.composition import Node
from hypermesh.node.configuration import API_PORT, API_PORTS_TRIED
from hypermesh.wire.errors import HyperMeshError

BACKLOG = 256


class PortTaken(HyperMeshError):
    """No loopback port is free for the API."""

    code = "HM-NODE-0005"
    exit_code = 3
    title = "No port is free for the API"


def application(node: Node, answers: Answers) -> Litestar:
    """The routes. Put a `Guard` around them for each listener."""
    return Litestar(
        route_handlers=ROUTES,
        middleware=[Authority, DefineMiddleware(Idempotency, answers=answers)],
        dependencies=dependencies(node),
        request_class=StrictRequest,
        exception_handlers={
            HyperMeshError: on_error,
            HTTPException: on_http_error,
            RecursionError: on_deep_nesting,
            OSError: on_disk,
            Exception: on_bug,
        },
        openapi_config=OpenAPIConfig(
            title="HyperMesh",
            version=__version__,
            path="/v1/openapi.json",
            render_plugins=[Description(path="/")],
            use_handler_docstrings=True,
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        debug=False,
    )


def loopback_sockets() -> tuple[int, list[socket.socket]]:
    """The first port from 5173 on that is free on both loopbacks, and its bound sockets."""
    for port in range(API_PORT, API_PORT + API_PORTS_TRIED):
        with contextlib.suppress(OSError):
            return port, _bind_both(port)
    raise PortTaken(
        f"Ports {API_PORT} to {API_PORT + API_PORTS_TRIED - 1} are all in use on loopback",
        fix="Stop what uses them; `ss -ltnp` shows it",
    )


def _bind_both(port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    try:
        for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            listener = socket.socket(family, socket.SOCK_STREAM)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


def remote_socket(first: int) -> socket.socket | None:
    """A socket on every IPv6 address of this machine, bound to the first port from `first` on that
    is free; None where all that are tried are taken."""
    for port in range(first, first + API_PORTS_TRIED):
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
        else:
            return listener
    return None


def unix_socket(path: Path) -> socket.socket:
    """The owner's socket: mode 0600 from its first instant."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener
