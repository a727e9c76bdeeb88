"""A node process from its first line to its last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import uvloop

from hypermesh.crypto.files import replace
from hypermesh.http.serving import serving
from hypermesh.node import heap
from hypermesh.node.api.answers import Answers
from hypermesh.node.api.application import (
    application,
    loopback_sockets,
    remote_socket,
    unix_socket,
)
from hypermesh.node.api.dashboard import Dashboard
from hypermesh.node.api.guard import Guard, Loopback, OwnersSocket, Remote
from hypermesh.node.api.tls import ServerCertificate
from hypermesh.node.catching_up import catch_up
from hypermesh.node.claim import Claim
from hypermesh.node.composition import Node
from hypermesh.node.configuration import Configuration, prepare
from hypermesh.node.founding import found
from hypermesh.node.joining import join
from hypermesh.node.membership import Membership
from hypermesh.node.views import Listening
from hypermesh.wire import decoding
from hypermesh.wire.errors import Conflict

TOKEN_FILE = "api-token"
TOKEN_BYTES = 32
TOKEN_CHARACTERS_MIN = 43
"""32 bytes in base 64 without padding."""
API_THREADS = 64
"""Requests that wait at a time: for the ledger, for other nodes, for jobs (fewer; see
`running.RUNNERS`)."""
ANSWERS_FILE = "answers.sqlite"

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who wants to know how the process is, beside its users: a service manager."""

    async def attend(self, node: Node) -> None:
        """Runs as long as the node serves; cancelled when it goes down."""
        ...

    def stopping(self) -> None: ...


def run(
    configuration: Configuration,
    token: str | None,
    *,
    clock_is_right: bool = False,
    watcher: Watcher | None = None,
    log_level: str = "info",
) -> None:
    """Run the node in the foreground until SIGINT or SIGTERM. `clock_is_right`: the operator says
    so, although the clock may be far from the last block. `log_level`: see `layers.LOG_LEVELS`."""
    heap.bound()
    logging.basicConfig(
        stream=sys.stderr,
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    decoding.build_all()
    prepare(configuration.data)
    claim = Claim(configuration.lock)
    try:
        membership = become_member(configuration, token)
        catch_up(configuration.data, membership, int(time.time()))
        confirmed_ms = time.time_ns() // 1_000_000 if clock_is_right else None
        uvloop.run(_serve(configuration, membership, confirmed_ms, watcher))
    finally:
        claim.release()


def become_member(configuration: Configuration, token: str | None) -> Membership:
    """The membership that is there, or a new one: by token, or by founding a network."""
    data = configuration.data
    membership = Membership.open(data)
    if membership is not None:
        if token is not None:
            raise Conflict(
                f"The node in {data} is a member of a network already",
                fix="Start it with `hm up`, or join with another --data directory",
            )
        return membership
    now_ms = time.time_ns() // 1_000_000
    if token is not None:
        return join(data, token, now_ms // 1000)
    return found(data, f"{configuration.settings.name}-net", now_ms)


async def _serve(
    configuration: Configuration,
    membership: Membership,
    confirmed_ms: int | None,
    watcher: Watcher | None,
) -> None:
    node = Node(configuration, membership, confirmed_ms)
    answers = Answers(configuration.data / ANSWERS_FILE)
    try:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(API_THREADS, thread_name_prefix="api"))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        async with AsyncExitStack() as listeners:
            await _listen(node, answers, listeners)
            node.start()
            log.info("%s is up: %s", configuration.settings.name, node.listening.api)
            attending = None if watcher is None else asyncio.create_task(watcher.attend(node))
            await stopping.wait()
            log.info("going down")
            if watcher is not None and attending is not None:
                watcher.stopping()
                attending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await attending
            node.events.close()
            await asyncio.to_thread(node.running.stop)
    finally:
        await asyncio.to_thread(node.stop)
        answers.close()
        configuration.socket.unlink(missing_ok=True)


async def _listen(node: Node, answers: Answers, listeners: AsyncExitStack) -> None:
    """Answer on the UNIX socket, on loopback, and with TLS unless the settings say not to."""
    configuration = node.configuration
    app = application(node, answers)
    page = Dashboard(app)
    port, sockets = loopback_sockets()
    api, tls = f"http://localhost:{port}", None
    token = _token(configuration.data / TOKEN_FILE)
    owner = Guard(app, OwnersSocket())
    await listeners.enter_async_context(serving(owner, [unix_socket(configuration.socket)]))
    local = Guard(page, Loopback(token, node.tokens))
    await listeners.enter_async_context(serving(local, sockets))
    wanted = configuration.settings.tls_port
    remote = remote_socket(wanted) if wanted else None
    if remote is not None:
        tls = f"https://[::]:{remote.getsockname()[1]}"
        context = ServerCertificate(node.membership, node.authority).context
        guard = Guard(page, Remote(node.tokens))
        await listeners.enter_async_context(serving(guard, [remote], context))
    elif wanted:
        log.warning("no port from %d on is free: this node's API is for this machine only", wanted)
    node.listening = Listening(node.listening.stoq, api, tls)


def _token(file: Path) -> str:
    """The session token of the loopback listener, made at first use."""
    token = file.read_text() if file.exists() else ""
    if len(token) < TOKEN_CHARACTERS_MIN:
        # Cut short by a crash: an empty token would let everybody in.
        token = secrets.token_urlsafe(TOKEN_BYTES)
        replace(file, token.encode())
    return token
