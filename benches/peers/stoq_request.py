"""Small requests of a Python client to STOQ's echo service.

`--mode blocking`: one after the other. `--mode asyncio`: the same on an event loop.
`--mode concurrent`: `--window` of them at once there, a call and a task each.
`--mode pipelined`: many in one call.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from end import Options, run
from stoq_stream import bound, dialled

from hypermesh.stoq.connection import Connection
from hypermesh.wire.rpc import SERVICE_ECHO

WARM = 200
BATCH = 2_000


def request(options: Options) -> dict[str, Any]:
    body = b"Z" * options.bytes
    with bound("::", options.credentials, "client") as endpoint:
        connection = dialled(endpoint, options)
        if options.mode == "blocking":
            return _blocking(connection, body, options.seconds)
        if options.mode == "asyncio":
            return asyncio.run(_one_by_one(connection, body, options.seconds))
        if options.mode == "concurrent":
            return asyncio.run(_concurrent(connection, body, options))
        return asyncio.run(_pipelined(connection, body, options.seconds))


def _blocking(connection: Connection, body: bytes, seconds: float) -> dict[str, Any]:
    taken_us = []
    for _ in range(WARM):
        connection.request(SERVICE_ECHO, body)
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        answer = connection.request(SERVICE_ECHO, body)
        taken_us.append((time.perf_counter() - started) * 1e6)
        _right(answer, body)
    return {"taken_us": taken_us}


async def _one_by_one(connection: Connection, body: bytes, seconds: float) -> dict[str, Any]:
    taken_us = []
    for _ in range(WARM):
        await connection.request_async(SERVICE_ECHO, body)
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        answer = await connection.request_async(SERVICE_ECHO, body)
        taken_us.append((time.perf_counter() - started) * 1e6)
        _right(answer, body)
    return {"taken_us": taken_us}


async def _concurrent(connection: Connection, body: bytes, options: Options) -> dict[str, Any]:
    started = time.perf_counter()
    until = started + options.seconds

    async def ask() -> int:
        answered = 0
        while time.perf_counter() < until:
            _right(await connection.request_async(SERVICE_ECHO, body), body)
            answered += 1
        return answered

    answered = sum(await asyncio.gather(*(ask() for _ in range(options.window))))
    return {"answered": answered, "seconds": time.perf_counter() - started}


async def _pipelined(connection: Connection, body: bytes, seconds: float) -> dict[str, Any]:
    bodies = [body] * BATCH
    answered = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        answers = await connection.request_many_async(SERVICE_ECHO, bodies)
        if answers != bodies:
            raise SystemExit("an echo is not what was said")
        answered += len(answers)
    return {"answered": answered, "seconds": time.perf_counter() - started}


def _right(answer: bytes, body: bytes) -> None:
    if answer != body:
        raise SystemExit("the echo is not what was said")


if __name__ == "__main__":
    run(request=request)
