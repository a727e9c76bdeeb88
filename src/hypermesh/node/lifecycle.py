"""A node process from its first line to its last."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from hypermesh.crypto.files import replace
from hypermesh.node.api.answers import Answers
from hypermesh.node.api.application import application, loopback_sockets, serving, unix_socket
from hypermesh.node.api.guard import Guard
from hypermesh.node.api.idempotency import Idempotency
from hypermesh.node.claim import Claim
from hypermesh.node.composition import Node
from hypermesh.node.configuration import Configuration, prepare
from hypermesh.node.founding import found
from hypermesh.node.joining import join
from hypermesh.node.membership import Membership
from hypermesh.node.views import Listening
from hypermesh.wire.errors import Conflict

TOKEN_FILE = "api-token"
TOKEN_BYTES = 32
TOKEN_CHARACTERS_MIN = 43
"""32 bytes in base 64 without padding."""
API_THREADS = 64
"""Requests that wait at a time: for the ledger, for other nodes, for jobs (fewer; see
`borrowing.JOBS_MAX`)."""
ANSWERS_FILE = "answers.sqlite"

log = logging.getLogger(__name__)


def run(configuration: Configuration, token: str | None, *, clock_is_right: bool = False) -> None:
    """Run the node in the foreground until SIGINT or SIGTERM. `clock_is_right`: the operator says
    so, although the clock may be far from the last block."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    prepare(configuration.data)
    claim = Claim(configuration.lock)
    try:
        membership = become_member(configuration, token)
        confirmed_ms = time.time_ns() // 1_000_000 if clock_is_right else None
        uvloop.run(_serve(configuration, membership, confirmed_ms))
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
    configuration: Configuration, membership: Membership, confirmed_ms: int | None
) -> None:
    node = Node(configuration, membership, confirmed_ms)
    answers = Answers(configuration.data / ANSWERS_FILE)
    try:
        port, sockets = loopback_sockets()
        node.listening = Listening(node.listening.stoq, f"http://localhost:{port}")
        app = Idempotency(application(node), answers)
        guarded = Guard(app, token=_token(configuration.data / TOKEN_FILE))
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(API_THREADS, thread_name_prefix="api"))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        async with (
            serving(Guard(app, token=None), [unix_socket(configuration.socket)]),
            serving(guarded, sockets),
        ):
            node.start()
            log.info("%s is up: %s", configuration.settings.name, node.listening.api)
            await stopping.wait()
            log.info("going down")
            await asyncio.to_thread(node.borrowing.close)
    finally:
        await asyncio.to_thread(node.stop)
        answers.close()
        configuration.socket.unlink(missing_ok=True)


def _token(file: Path) -> str:
    """The session token of the loopback listener, made at first use."""
    token = file.read_text() if file.exists() else ""
    if len(token) < TOKEN_CHARACTERS_MIN:
        # Cut short by a crash: an empty token would let everybody in.
        token = secrets.token_urlsafe(TOKEN_BYTES)
        replace(file, token.encode())
    return token
