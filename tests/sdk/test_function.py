"""`@hm.function`: how a function travels, what comes back, and what is refused before it leaves.

The pool of these tests is a process of this machine with the interpreter's options of the sandbox:
no packages but those that travel with it. `tests/node` runs functions in the real one.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import hypermesh as hm
from hypermesh.sdk.function.code import (
    ARGUMENT_BYTES_MAX,
    FunctionUnsendable,
    ValueUnsendable,
    code_of,
)
from hypermesh.sdk.function.data import pack
from hypermesh.sdk.function.function import Function
from hypermesh.sdk.function.outcome import RemoteError, ResultInvalid, VersionMismatch, value_of
from hypermesh.sdk.mesh import AsyncMesh
from hypermesh.wire.api.job import JobLimitsView, JobState, JobSubmit, JobView
from hypermesh.wire.errors import InvalidInput

LIMIT = 10


def view(**members: Any) -> JobView:
    """A job that is done."""
    whole: dict[str, Any] = dict.fromkeys(JobView.__struct_fields__)
    whole |= {
        "job": "0f" * 16,
        "state": JobState.DONE,
        "provider": "ab" * 32,
        "provider_name": "bob",
        "limits": JobLimitsView(1, 1, 1, 1, 1),
        "reason": "exited",
        "stderr": "",
    }
    return JobView(**{**whole, **members})


class LocalJob:
    def __init__(self, pool: Pool, submitted: JobSubmit) -> None:
        self.pool = pool
        self.is_open = True
        read, write = os.pipe()
        environment = {"HYPERMESH_RESULT_FD": str(write)}
        if submitted.packages:
            environment["PYTHONPATH"] = str(pool.packages)
        with os.fdopen(read, "rb") as channel:
            try:
                program = bytes.fromhex(submitted.program)
                done = subprocess.run(
                    [sys.executable, "-P", "-s", "-S", "-u", "-c", program],
                    input=bytes.fromhex(submitted.stdin),
                    env=environment,
                    pass_fds=[write],
                    capture_output=True,
                    timeout=30,
                    check=False,
                )
            finally:
                os.close(write)
            self.view = view(
                result=channel.read(),
                exit_code=done.returncode,
                state=JobState.FAILED if done.returncode else JobState.DONE,
                stdout=done.stdout.decode(),
                stderr=done.stderr.decode(),
            )

    def wait(self, timeout_s: float) -> JobView:
        assert timeout_s > 0
        self._end()
        return self.view

    def cancel(self) -> None:
        self.pool.cancelled += self._end()

    def _end(self) -> bool:
        """One that is over stays as it is."""
        was_open, self.is_open = self.is_open, False
        self.pool.open -= was_open
        return was_open


class Pool:
    """Stands for a mesh: `mesh.jobs.submit`."""

    def __init__(self, packages: Path) -> None:
        self.packages = packages
        self.submitted: list[JobSubmit] = []
        self.open = self.most = self.cancelled = 0

    @property
    def jobs(self) -> Pool:
        return self

    def submit(self, job: JobSubmit) -> LocalJob:
        self.submitted.append(job)
        self.open += 1
        self.most = max(self.most, self.open)
        return LocalJob(self, job)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    (tmp_path / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    return Pool(tmp_path)


def on(function: Function[..., Any], pool: Any) -> Function[..., Any]:
    return function.on(pool)


@hm.function(cpu=1, memory="512MiB", timeout=30)
def primes(below: int, *, first: int = 2) -> list[int]:
    import math

    return [n for n in range(first, below) if all(n % d for d in range(2, math.isqrt(n) + 1))]


@hm.function
def factorial(number: int) -> int:
    return 1 if number < 2 else number * factorial(number - 1)  # type: ignore[operator, call-arg]


@hm.function
def echo(value: Any) -> Any:
    return value


@hm.function
def divide(number: int) -> float:
    print("dividing")  # noqa: T201 (what it prints is the point)
    return 1 / number


def test_a_function_runs_elsewhere_and_its_value_comes_back(pool: Pool) -> None:
    assert on(primes, pool).remote(20) == [2, 3, 5, 7, 11, 13, 17, 19] == primes.local(20)
    assert on(primes, pool).remote(12, first=7) == [7, 11]
    job = pool.submitted[0]
    assert (job.cpu_millicores, job.memory_bytes, job.wall_ms) == (1000, 512 << 20, 30_000)
    assert job.packages == []
    for value in (None, (1, {"a": b"\xff"}, {2.5}), "text\n", 10**40, [True, 0j]):
        again = on(echo, pool).remote(value)
        assert again == value
        assert type(again) is type(value)


def test_a_function_that_calls_itself(pool: Pool) -> None:
    assert on(factorial, pool).remote(20) == 2432902008176640000


def test_an_exception_comes_back_as_text(pool: Pool) -> None:
    with pytest.raises(RemoteError, match="divide raised ZeroDivisionError: division by zero") as e:
        on(divide, pool).remote(0)
    error = e.value
    assert (error.remote_type, error.remote_message) == ("ZeroDivisionError", "division by zero")
    assert 'test_function.py", line' in error.remote_traceback
    assert "return 1 / number" in error.remote_traceback
    assert "driver" not in error.remote_traceback
    assert error.remote_traceback in error.__notes__[0]
    assert "bob" in str(error)


def test_what_it_prints_is_its_own(pool: Pool) -> None:
    call = on(divide, pool).submit(4)
    assert call.result() == 0.25
    assert call.job.view.stdout == "dividing\n"


@hm.function
def leave(code: int) -> None:
    import sys

    sys.exit(code)


@hm.function
def deep(depth: int) -> int:
    return deep(depth + 1)  # type: ignore[operator, call-arg, no-any-return]


def test_ways_to_end_that_are_exceptions_too(pool: Pool) -> None:
    with pytest.raises(RemoteError, match="leave raised SystemExit: 3"):
        on(leave, pool).remote(3)
    with pytest.raises(RemoteError, match="RecursionError") as caught:
        on(deep, pool).remote(0)
    assert len(caught.value.remote_traceback) < 100_001


@hm.function
def unsendable(kind: str) -> Any:
    from datetime import date

    return {"date": date(2026, 1, 1), "large": bytes(2 << 20), "deep": [1]}[kind]


def test_a_result_that_is_no_data_says_what_to_return(pool: Pool) -> None:
    with pytest.raises(ValueUnsendable, match=r"datetime\.date is no data.*Return None"):
        on(unsendable, pool).remote("date")
    with pytest.raises(ValueUnsendable, match=r"takes 2\d+ bytes"):
        on(unsendable, pool).remote("large")


def test_arguments_that_cannot_travel_are_refused_here(pool: Pool) -> None:
    with pytest.raises(ValueUnsendable, match="cloudpickle"):
        on(echo, pool).remote(object())
    with pytest.raises(ValueUnsendable, match="map over the parts"):
        on(echo, pool).remote(bytes(ARGUMENT_BYTES_MAX))
    assert pool.submitted == []


def capturing() -> Function[..., Any]:
    offset = 5

    @hm.function
    def shifted(number: int) -> int:
        return number + offset

    return shifted


def uses_module(number: int) -> int:
    return textwrap.TextWrapper(number).width


def uses_default(number: int = LIMIT) -> int:
    return number


def uses_nested() -> int:
    def inner() -> int:
        return LIMIT

    return inner()


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (capturing()._function, "`offset` of the function around it"),
        (uses_module, "`textwrap` from outside.*Import modules inside"),
        (uses_default, "`LIMIT` from outside"),
        (uses_nested, "`LIMIT` from outside"),
        (lambda: 1, "with `def`"),
        (coroutine, "coroutine"),
        (generator, "Return a list"),
        (len, "no function of Python"),
        (str.upper, "no function of Python"),
    ],
)
def test_functions_that_cannot_travel_say_what_to_write_instead(function: Any, why: str) -> None:
    with pytest.raises(FunctionUnsendable, match=why):
        code_of(function, "source")


def test_annotations_and_methods_do_not_count_as_outside() -> None:
    def annotated(path: Path, items: list[Any]) -> Iterator[Any]:  # type: ignore[return]
        found: list[Path] = [item.LIMIT for item in items]
        textual: Path  # noqa: F842
        assert found
        assert path

    assert code_of(annotated, "source").name == "annotated"


def test_a_function_without_source() -> None:
    made: dict[str, Any] = {}
    exec("def made(): return 1", made)  # noqa: S102
    with pytest.raises(FunctionUnsendable, match="source of made"):
        code_of(made["made"], "source")


def test_closures_travel_by_cloudpickle(pool: Pool) -> None:
    scale = 3

    @hm.function(travels="cloudpickle")
    def scaled(number: int) -> int:
        return number * scale + LIMIT

    assert on(scaled, pool).remote(2) == 16
    assert pool.submitted[0].packages == ["cloudpickle"]
    lock = threading.Lock()
    with pytest.raises(FunctionUnsendable, match="cannot be pickled"):
        code_of(locking(lock), "cloudpickle")


def locking(lock: Any) -> Any:
    def locked() -> None:
        lock.acquire()

    return locked


def recursive(number: int) -> int:
    return 1 if number < 2 else number * recursive(number - 1)


recursive_pool = hm.function(travels="cloudpickle")(recursive)


def test_a_pickled_function_finds_itself_plain(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "recursive", recursive_pool)
    assert on(recursive_pool, pool).remote(5) == 120


def test_other_versions_are_said_before_anything_is_opened(pool: Pool) -> None:
    @hm.function(travels="cloudpickle")
    def never() -> None:
        raise AssertionError

    bound = on(never, pool)
    for name, here in [("python", "'3.4'"), ("cloudpickle", "'0.1'")]:
        code = bound.code
        pattern = f"'{name}': '"
        start = code.program.decode().index(pattern) + len(pattern) - 1
        end = code.program.decode().index("'", start + 1) + 1
        text = code.program.decode()
        other = type(code)(
            code.name, code.how, code.needs, (text[:start] + here + text[end:]).encode()
        )
        job = JobSubmit(
            engine="python",
            program=other.program.hex(),
            stdin=b"\x80 not even a pickle".hex(),
            packages=other.packages,
        )
        with pytest.raises(VersionMismatch, match=rf"bob.*has {name}.*needs Python"):
            value_of(other, pool.submit(job).view)


def test_a_provider_without_cloudpickle(pool: Pool) -> None:
    pool.packages = pool.packages / "none"
    with pytest.raises(VersionMismatch, match="cloudpickle none"):
        on(recursive_pool, pool).remote(1)


@pytest.mark.parametrize(
    "result",
    [
        b"\xc1",
        pack([1]),
        pack({}),
        pack({"value": 1, "raised": {}}),
        pack({"raised": "x"}),
        pack({"raised": {"type": 1}}),
        pack({"mismatch": {}}),
        pack({"unsendable": {}}),
        pack({"frob": 1}),
    ],
)
def test_a_result_that_is_none_of_ours_blames_the_provider(result: bytes) -> None:
    with pytest.raises(ResultInvalid, match="bob") as caught:
        value_of(primes.code, view(result=result))
    assert caught.value.exit_code == hm.ExitCode.INTEGRITY


def test_a_job_that_failed_says_why() -> None:
    with pytest.raises(hm.HyperMeshError, match="deadline"):
        value_of(
            primes.code, view(state=JobState.FAILED, reason="deadline", exit_code=-9, result=b"")
        )
    with pytest.raises(ResultInvalid, match="without a result"):
        value_of(primes.code, view(result=None))


def test_map_is_ordered_bounded_and_counts(pool: Pool) -> None:
    done: list[tuple[int, int | None]] = []
    bound = on(primes, pool)
    found = bound.map(range(2, 9), concurrency=3, progress=lambda *now: done.append(now))
    assert pool.submitted == []
    assert list(found) == [primes.local(n) for n in range(2, 9)]
    assert pool.most == 3
    assert pool.open == 0
    assert done == [(n, 7) for n in range(1, 8)]
    assert list(bound.map([])) == []
    assert list(bound.map(iter([3]), progress=lambda *now: done.append(now))) == [[2]]
    assert done[-1] == (1, None)
    for concurrency in (0, 257):
        with pytest.raises(InvalidInput):
            bound.map([1], concurrency=concurrency)


def test_map_cancels_what_runs_when_one_fails_or_nobody_listens(pool: Pool) -> None:
    bound = on(divide, pool)
    with pytest.raises(RemoteError, match="ZeroDivision"):
        list(bound.map([1, 0, 1, 1, 1, 1], concurrency=3))
    assert (len(pool.submitted), pool.cancelled) == (4, 2)
    some = bound.map([1] * 6, concurrency=3)
    assert next(some) == 1.0
    some.close()  # type: ignore[attr-defined]
    assert pool.cancelled == 4
    assert pool.open <= 1


class AsyncPool(AsyncMesh):
    def __init__(self, pool: Pool) -> None:
        super().__init__(Path("/nowhere"))
        self.jobs: Any = self
        self.pool = pool

    async def submit(self, job: JobSubmit) -> Any:
        return AsyncLocalJob(self.pool.submit(job))


class AsyncLocalJob:
    def __init__(self, job: LocalJob) -> None:
        self.job = job

    async def wait(self, timeout_s: float) -> JobView:
        return self.job.wait(timeout_s)

    async def cancel(self) -> None:
        self.job.cancel()


def test_the_async_twins_do_the_same(pool: Pool) -> None:
    async def work() -> None:
        async with AsyncPool(pool) as mesh:
            bound = primes.on(mesh)
            assert await bound.aremote(8) == [2, 3, 5, 7]
            assert [each async for each in bound.amap([3, 4], concurrency=2)] == [[2], [2, 3]]
            call = await bound.asubmit(5)
            assert await call.result() == [2, 3]
            with pytest.raises(RemoteError):
                [each async for each in divide.on(mesh).amap([0, 1, 1], concurrency=2)]
            assert pool.cancelled == 1
            with pytest.raises(InvalidInput, match="aremote"):
                bound.remote(3)
        with pytest.raises(InvalidInput, match="outlives"):
            await primes.asubmit(3)
        with pytest.raises(InvalidInput, match="AsyncMesh"):
            await on(primes, pool).aremote(3)

    asyncio.run(work())


def test_a_function_of_the_pool_is_still_itself() -> None:
    assert primes.__name__ == "primes"
    assert primes.__wrapped__ is primes._function  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match=r"primes\.remote.*primes\.local"):
        primes(3)


@pytest.mark.parametrize(
    "limits",
    [{"cpu": "many"}, {"memory": "512 MeB"}, {"timeout": "5"}, {"timeout": -1}, {"travels": "air"}],
)
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        hm.function(**limits)


def test_a_changed_function_is_read_anew(tmp_path: Path) -> None:
    """Two functions of one name are two programs."""
    assert primes.code.program != factorial.code.program
    assert primes.code.program == code_of(primes._function, "source").program


@pytest.mark.parametrize("name", ["remote", "submit", "map"])
def test_the_async_methods_have_the_same_parameters(name: str) -> None:
    one, twin = (inspect.signature(getattr(Function, each)) for each in (name, f"a{name}"))
    assert list(one.parameters.values()) == list(twin.parameters.values())
    assert inspect.getdoc(getattr(Function, f"a{name}")).startswith(f"As `{name}`")  # type: ignore[union-attr]
