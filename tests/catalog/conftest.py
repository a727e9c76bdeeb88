"""One ladder for all tests of jobs, and a short way to run a job on it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.catalog.errors import SandboxMissing, SandboxUnusable
from hypermesh.catalog.sandbox.process import Cancellation
from hypermesh.wire.rpc import JobLimits, JobRequest, JobResult

Run = Callable[..., JobResult]


def job(
    engine: str,
    program: bytes | str,
    *arguments: str,
    stdin: bytes = b"",
    cpu: int = 1000,
    memory: int = 64 << 20,
    wall_ms: int = 20_000,
    output: int = 1 << 16,
    lease: bytes = bytes(32),
) -> JobRequest:
    source = program.encode() if isinstance(program, str) else program
    limits = JobLimits(cpu, memory, wall_ms, output)
    return JobRequest(lease, 0, engine, source, list(arguments), stdin, limits)


@pytest.fixture(scope="session")
def node_name() -> str:
    return f"test-{os.getpid()}-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def ladder(node_name: str) -> Iterator[Ladder]:
    opened = Ladder.open(node_name)
    yield opened
    opened.close()


@pytest.fixture
def python(ladder: Ladder) -> Run:
    """Run a Python job. Where no sandbox works, the refusal is what is tested."""
    info = next(each for each in ladder.engines() if each.name == "python")
    if not info.available:
        with pytest.raises((SandboxMissing, SandboxUnusable)):
            ladder.run(job("python", "print(1)"))
        pytest.skip(f"python jobs are refused on this machine, as tested: {info.reason}")

    def run(program: str, *arguments: str, **rest: Any) -> JobResult:
        cancellation: Cancellation | None = rest.pop("cancellation", None)
        return ladder.run(job("python", program, *arguments, **rest), cancellation)

    return run


@pytest.fixture
def wasm(ladder: Ladder) -> Run:
    """Run a WASM job given as WAT text."""
    from wasmtime import wat2wasm

    def run(text: str, *arguments: str, **rest: Any) -> JobResult:
        cancellation: Cancellation | None = rest.pop("cancellation", None)
        request = job("wasm", bytes(wat2wasm(text)), *arguments, **rest)
        return ladder.run(request, cancellation)

    return run
