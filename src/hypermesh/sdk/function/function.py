"""`@hm.function`: a Python function that runs in the pool.

    @hm.function(cpu=1, memory="512MiB")
    def primes(below):
        return [n for n in range(2, below) if all(n % d for d in range(2, int(n**0.5) + 1))]

    primes.remote(100)                      # in another machine's sandbox
    list(primes.map([100, 1000, 10_000]))   # several at once, results in order
    primes.local(100)                       # here, as if it were not decorated

Its text travels, or with `travels="cloudpickle"` what it captures too; either is opened inside the
sandbox alone. What comes back is data: nothing that a provider sends is ever run here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import operator
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, overload

from hypermesh.sdk.function.code import RESULT_BYTES_MAX, Code, How, code_of
from hypermesh.sdk.function.outcome import value_of
from hypermesh.sdk.job import GRACE_S, AsyncJob, Job
from hypermesh.sdk.location import data_directory
from hypermesh.sdk.mesh import AsyncMesh, Mesh, connect, connect_async
from hypermesh.wire.api.job import JobSubmit
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration

P = ParamSpec("P")
R = TypeVar("R")

CONCURRENCY = 8
CONCURRENCY_MAX = 256

Progress = Callable[[int, int | None], None]
"""Called with (results so far, results in all; None where nobody knows)."""


class FunctionCall(Generic[R]):
    """A call that was submitted. It goes on without this object, and is a job of the node."""

    def __init__(self, code: Code, job: Job, wait_s: float) -> None:
        self._code = code
        self._wait_s = wait_s
        self.job = job

    def result(self, timeout_s: float | None = None) -> R:
        """What the function returned, waited for at most `timeout_s` (else as long as the call may
        take). Raises as `Function.remote` does, and `Unreachable` where it is not over by then."""
        view = self.job.wait(self._wait_s if timeout_s is None else timeout_s)
        value: R = value_of(self._code, view)
        return value

    def cancel(self) -> None:
        """End it where it runs; what it has used is paid. One that is over stays as it is."""
        self.job.cancel()


class AsyncFunctionCall(Generic[R]):
    """As `FunctionCall`, for asyncio."""

    def __init__(self, code: Code, job: AsyncJob, wait_s: float) -> None:
        self._code = code
        self._wait_s = wait_s
        self.job = job

    async def result(self, timeout_s: float | None = None) -> R:
        """As `FunctionCall.result`."""
        view = await self.job.wait(self._wait_s if timeout_s is None else timeout_s)
        value: R = value_of(self._code, view)
        return value

    async def cancel(self) -> None:
        """As `FunctionCall.cancel`."""
        await self.job.cancel()


class Function(Generic[P, R]):
    """A function of the pool, made by `@hm.function`. Called itself, it raises: say where."""

    def __init__(
        self,
        function: Callable[P, R],
        limits: JobSubmit,
        travels: How,
        mesh: Mesh | AsyncMesh | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._limits = limits
        self._travels = travels
        self._mesh = mesh

    @functools.cached_property
    def code(self) -> Code:
        """The function as it travels, made when it is first needed."""
        return code_of(self._function, self._travels)

    def on(self, mesh: Mesh | AsyncMesh) -> Function[P, R]:
        """The same function through another node than the user's own, or over a connection that is
        there already.

        with hm.connect(data) as mesh:
            primes.on(mesh).remote(100)
        """
        return Function(self._function, self._limits, self._travels, mesh)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it here."""
        return self._function(*args, **kwargs)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it in the pool and wait for what it returns.

        Raises `RemoteError` where the function raises, `FunctionUnsendable` or `ValueUnsendable`
        where it or a value cannot travel, `VersionMismatch`, or why the job failed: its deadline,
        its memory, a provider that is lost.
        """
        return self.submit(*args, **kwargs).result()

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Call it in the pool without waiting; `result()` of what this returns waits."""
        job = self._job(args, kwargs)
        return FunctionCall(self.code, self._sync().jobs.submit(job), self._wait_s)

    def map(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> Iterator[R]:
        """Call it for each of `items` (its only argument), at most `concurrency` at once; the
        results in the order of the items, as they come. It begins with the first result that is
        asked for. The first call that fails ends it and cancels the others; so does leaving it
        before its end.

        for found in primes.map(range(100, 1000, 100), concurrency=4):
            print(len(found))
        """
        total = _total(items, concurrency)
        return self._mapped(items, concurrency, total, progress)

    def _mapped(
        self, items: Iterable[Any], concurrency: int, total: int | None, progress: Progress | None
    ) -> Iterator[R]:
        submit: Callable[..., FunctionCall[R]] = self.submit
        waiting: deque[FunctionCall[R]] = deque()
        source = iter(items)
        done = 0
        try:
            while True:
                for item in source:
                    waiting.append(submit(item))
                    if len(waiting) >= concurrency:
                        break
                if not waiting:
                    return
                value = waiting[0].result()
                waiting.popleft()
                done += 1
                if progress is not None:
                    progress(done, total)
                yield value
        finally:
            for call in waiting:
                with contextlib.suppress(HyperMeshError):
                    call.cancel()

    async def aremote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """As `remote`, for asyncio."""
        async with self._async() as mesh:
            call = await self._asubmit(mesh, args, kwargs)
            return await call.result()

    async def asubmit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncFunctionCall[R]:
        """As `submit`, for asyncio; of a function that is `on` an `AsyncMesh`, which the call goes
        on using."""
        if not isinstance(self._mesh, AsyncMesh):
            raise InvalidInput(
                f"{self.code.name}.asubmit needs a connection that outlives it",
                fix="async with hm.connect_async() as mesh: await f.on(mesh).asubmit(...)",
            )
        return await self._asubmit(self._mesh, args, kwargs)

    async def amap(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> AsyncIterator[R]:
        """As `map`, for asyncio.

        async for found in primes.amap(range(100, 1000, 100)):
            print(len(found))
        """
        total = _total(items, concurrency)
        waiting: deque[AsyncFunctionCall[R]] = deque()
        source = iter(items)
        done = 0
        async with self._async() as mesh:
            try:
                while True:
                    for item in source:
                        waiting.append(await self._asubmit(mesh, (item,), {}))
                        if len(waiting) >= concurrency:
                            break
                    if not waiting:
                        return
                    value = await waiting[0].result()
                    waiting.popleft()
                    done += 1
                    if progress is not None:
                        progress(done, total)
                    yield value
            finally:
                for call in waiting:
                    with contextlib.suppress(HyperMeshError):
                        await call.cancel()

    def __call__(self, *_args: P.args, **_kwargs: P.kwargs) -> R:
        name = self._function.__name__
        raise InvalidInput(
            f"{name} is a function of the pool: say where it is to run",
            fix=f"{name}.remote(...) in the pool, {name}.local(...) here",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Inside the sandbox a function that calls itself finds a plain function: of what is here,
        # only the standard library is there.
        return operator.itemgetter(0), ((self._function,),)

    @property
    def _wait_s(self) -> float:
        return self._limits.wall_ms / 1000 + GRACE_S

    def _job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> JobSubmit:
        limits = self._limits
        return JobSubmit(
            engine=limits.engine,
            program=self.code.program.hex(),
            stdin=self.code.arguments(args, kwargs).hex(),
            cpu_millicores=limits.cpu_millicores,
            memory_bytes=limits.memory_bytes,
            wall_ms=limits.wall_ms,
            packages=self.code.packages,
            result_bytes=RESULT_BYTES_MAX,
        )

    async def _asubmit(
        self, mesh: AsyncMesh, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncFunctionCall[R]:
        job = await mesh.jobs.submit(self._job(args, kwargs))
        return AsyncFunctionCall(self.code, job, self._wait_s)

    def _sync(self) -> Mesh:
        if isinstance(self._mesh, AsyncMesh):
            raise InvalidInput(
                f"{self._function.__name__} is on an AsyncMesh",
                fix="Await `aremote`, `amap` or `asubmit`",
            )
        return self._mesh or _own(os.getpid(), data_directory())

    @contextlib.asynccontextmanager
    async def _async(self) -> AsyncIterator[AsyncMesh]:
        if isinstance(self._mesh, AsyncMesh):
            yield self._mesh
            return
        if self._mesh is not None:
            raise InvalidInput(
                f"{self._function.__name__} is on a Mesh that blocks",
                fix="Put it `on` an AsyncMesh, or on none",
            )
        async with connect_async() as mesh:
            yield mesh


@overload
def function(given: Callable[P, R]) -> Function[P, R]: ...
@overload
def function(
    *,
    cpu: float | str = 1,
    memory: int | str = "512MiB",
    timeout: float | str = "60s",
    travels: How = "source",
    engine: str = "python",
) -> Callable[[Callable[P, R]], Function[P, R]]: ...
def function(
    given: Callable[..., Any] | None = None,
    *,
    cpu: float | str = 1,
    memory: int | str = "512MiB",
    timeout: float | str = "60s",
    travels: How = "source",
    engine: str = "python",
) -> Any:
    """Make a function run in the pool: `@hm.function`, or with what it may use.

    `cpu` is cores (1, 0.25, "250m"), `memory` bytes or "512MiB", `timeout` seconds or "5m", each
    for one call. `travels` says how it gets there: "source", its text, for a function that stands
    on its own; or "cloudpickle", with all that it captures, for providers with the same Python.
    `engine` is the sandbox that runs it.

    @hm.function(cpu=1, memory="512MiB", timeout="5m")
    def square(number):
        return number * number

    square.local(3)
    """
    if travels not in ("source", "cloudpickle"):
        raise InvalidInput(f"{travels!r} is no way to travel", fix='Use "source" or "cloudpickle"')
    try:
        limits = JobSubmit(
            engine=engine,
            program="00",
            cpu_millicores=parse_cores(cpu),
            memory_bytes=parse_bytes(memory),
            wall_ms=parse_duration(timeout if isinstance(timeout, str) else f"{timeout}s"),
        )
    except ValueError as error:
        raise InvalidInput("A limit of a function is none", why=str(error)) from error

    def decorate(decorated: Callable[..., Any]) -> Function[..., Any]:
        return Function(decorated, limits, travels)

    return decorate if given is None else decorate(given)


@functools.lru_cache(maxsize=16)
def _own(pid: int, data: Path) -> Mesh:  # noqa: ARG001 (a forked process must not share sockets)
    """The connection that functions of this process share, to the node of `data`."""
    mesh = connect(data)
    atexit.register(mesh.close)
    return mesh


def _total(items: Iterable[Any], concurrency: int) -> int | None:
    if not 1 <= concurrency <= CONCURRENCY_MAX:
        raise InvalidInput(f"{concurrency} calls at once", fix=f"Say 1 to {CONCURRENCY_MAX}")
    return len(items) if isinstance(items, Sized) else None
