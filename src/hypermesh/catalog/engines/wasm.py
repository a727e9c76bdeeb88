"""Engine `wasm`: WebAssembly modules in wasmtime, in a worker process that can be killed.

Two walls: wasmtime bounds the module's memory and stops it at its deadline by epoch; around it the
worker is a sandboxed process in a cgroup, like a Python job, where CPU time is metered and a wedge
(a long compilation, a sleep inside WASI) ends. Where bubblewrap is missing the second wall is the
cgroup alone, and the isolation class says so.

A worker serves one lease and is warm for its next job: the same module again needs no process start
and no compilation. At most one idle worker is kept.
"""

from __future__ import annotations

import importlib.util
import os
import selectors
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hypermesh.catalog.engines.engine import EngineInfo
from hypermesh.catalog.engines.python import isolation_class
from hypermesh.catalog.errors import ArgumentInvalid, ModuleInvalid, PackageUnknown, SandboxBroken
from hypermesh.catalog.limits import PROCESSES_MAX, LeafLimits, ProcessLimits, Usage
from hypermesh.catalog.output import Output
from hypermesh.catalog.sandbox import process
from hypermesh.catalog.sandbox.bubblewrap import Bind, Bubblewrap, Text, own_interpreter
from hypermesh.catalog.sandbox.cgroup import Cgroups, Leaf
from hypermesh.catalog.sandbox.process import Cancellation, Ending
from hypermesh.wire.asset import Enforcement
from hypermesh.wire.decoding import NOT_DECODED
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.ids import LeaseId
from hypermesh.wire.rpc import JobLimits, JobRequest, JobResult

JOBS_PER_WORKER_MAX = 200
"""Jobs after which a worker is replaced, because runtimes leak a little."""
WORKER_BYTES = 256 << 20
"""Memory for the worker itself (interpreter, compiler, compiled code) beside the job's own."""
WORKER_FILE_BYTES = 2 << 20
"""The largest file a worker writes: a job's standard input, in memory."""
WORKER_FILES = 64
WORKER_MILLICORES = 2000
"""Share of the CPU for starting a worker; a job then sets its own."""
WORKER_START_S_MAX = 10.0
OUTPUT_BYTES_MAX = 1 << 20
"""The most that `JobLimits.output_bytes` may say."""
WEDGE_MS = 250
"""Milliseconds after its deadline within which the epoch must have stopped a job."""

_WORKER = Path(__file__).with_name("wasm_worker.py")
_SITE = Path("/opt/wasm")
_INSIDE = Path("/worker.py")
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); exec(open(sys.argv[2]).read())"
_CORE_MODULE = b"\0asm\1\0\0\0"
_COMPONENT = b"\0asm\r\0\1\0"
_HEAD = struct.Struct(">II")
_ANSWER_BYTES_MAX = 1 << 16


class _Answer(msgspec.Struct, frozen=True):
    """What a worker says of a job (`wasm_worker` names the fields). A worker has run foreign code,
    so its word is checked like any input."""

    exit_code: Annotated[int, Meta(ge=-(2**31), lt=2**32)] = 0
    reason: Annotated[str, Meta(pattern="^(exited|deadline|memory)$")] = "exited"
    stdout: Annotated[int, Meta(ge=0, le=2**32)] = 0
    stderr: Annotated[int, Meta(ge=0, le=2**32)] = 0
    stdout_cut: Annotated[int, Meta(ge=0, le=2**53)] = 0
    stderr_cut: Annotated[int, Meta(ge=0, le=2**53)] = 0
    memory_bytes: Annotated[int, Meta(ge=0, le=2**53)] = 0
    engine_us: Annotated[int, Meta(ge=0, le=2**53)] = 0
    refused: Annotated[str, Meta(max_length=16)] = ""
    text: Annotated[str, Meta(max_length=4000)] = ""


_answers = msgspec.json.Decoder(_Answer)


class WasmEngine:
    """Jobs in WebAssembly. Without `sandbox` the worker is a plain process under its cgroup."""

    name = "wasm"

    def __init__(self, sandbox: Bubblewrap | None, cgroups: Cgroups) -> None:
        self._sandbox = sandbox
        self._cgroups = cgroups
        self._site = _site()
        self._lock = threading.Lock()
        self._idle: _Worker | None = None
        self._closed = False
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="hm-wasm-starter")

    @property
    def info(self) -> EngineInfo:
        reason = self._missing
        return EngineInfo(
            self.name,
            "none" if reason else self._isolation,
            not reason,
            reason,
            self._cgroups.cpu,
            self._cgroups.memory,
            "" if reason else f"wasmtime {version('wasmtime')}",
        )

    @property
    def _missing(self) -> str:
        if self._site is None:
            return "the Python package wasmtime is not installed"
        if self._sandbox is None and own_interpreter() is None:
            return "the interpreter of this process cannot be found"
        return ""

    @property
    def _isolation(self) -> str:
        walls = "wasmtime" if self._sandbox is None else f"wasmtime+{self._sandbox.isolation}"
        return isolation_class(walls, self._cgroups)

    def warm(self, lease: LeaseId) -> None:
        """Start a worker for the first job of `lease`, so that the job finds it ready. Blocks until
        it is."""
        self._keep(self._take(lease))

    def run(
        self, request: JobRequest, cancellation: Cancellation | None, output: Output
    ) -> JobResult:
        """What a module says comes with its end, not before."""
        if self._missing:
            raise NotAvailable("This node runs no WASM jobs", why=self._missing)
        if request.packages or request.result_bytes:
            raise PackageUnknown(
                "A WASM job has no packages and no result beside its output",
                fix="Leave out packages and result_bytes, or use the engine python",
            )
        _check_module(request.program)
        limits = request.limits
        worker = self._take(request.lease)
        sound = False
        try:
            worker.limit(limits)
            began = time.monotonic()
            until = began + (limits.wall_ms + WEDGE_MS) / 1000
            reply = worker.exchange(_job(request), until, cancellation)
            wall_us = int((time.monotonic() - began) * 1e6)
            used = worker.used()
            if isinstance(reply, _Reply):
                answer, body = reply.parts(limits)
                sound = True
            else:
                answer, body = _cut_short(reply, used), b""
        finally:
            if sound:
                self._keep(worker)
            else:
                worker.close()
        if answer.refused:
            error = ArgumentInvalid if answer.refused == "argument" else ModuleInvalid
            raise error(why=answer.text)
        output.take(output.stdout, body[: answer.stdout])
        output.take(output.stderr, body[answer.stdout :])
        # Without a cgroup the time inside the engine, which has one thread, bounds the CPU time.
        return JobResult(
            engine=self.name,
            exit_code=answer.exit_code,
            reason=answer.reason,
            stdout=body[: answer.stdout],
            stderr=body[answer.stdout :],
            wall_us=wall_us,
            cpu_us=answer.engine_us if used is None else used.cpu_us,
            memory_peak_bytes=answer.memory_bytes,
            isolation=self._isolation,
            enforced_cpu=self._cgroups.cpu.value,
            enforced_memory=self._cgroups.memory.value,
            stdout_cut_bytes=answer.stdout_cut,
            stderr_cut_bytes=answer.stderr_cut,
        )

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, None
        if idle is not None:
            idle.close()
        self._starter.shutdown()

    def _take(self, lease: LeaseId) -> _Worker:
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is not None:
            if idle.lease == lease and idle.alive:
                return idle
            idle.close()
        return self._starter.submit(_Worker, self._cgroups, self._command, lease).result()

    def _keep(self, worker: _Worker) -> None:
        spare: _Worker | None = worker
        with self._lock:
            if not self._closed and worker.jobs < JOBS_PER_WORKER_MAX:
                spare, self._idle = self._idle, worker
        if spare is not None:
            spare.close()

    @contextmanager
    def _command(self) -> Iterator[tuple[list[str], list[int]]]:
        assert self._site is not None, "an engine that is missing starts no worker"  # noqa: S101
        boot = ["-I", "-S", "-c", _BOOT]
        if self._sandbox is None:
            yield [str(own_interpreter()), *boot, str(self._site.parent), str(_WORKER)], []
            return
        shown: list[Bind | Text] = [
            Bind(self._site, _SITE / self._site.name),
            Text(_WORKER.read_bytes(), _INSIDE),
        ]
        arguments = [*boot, str(_SITE), str(_INSIDE)]
        with self._sandbox.command(arguments, shown=shown, work_bytes=WORKER_FILE_BYTES) as found:
            yield found


_Command: TypeAlias = Callable[[], AbstractContextManager[tuple[list[str], list[int]]]]


class _Worker:
    """A worker process, its cgroup and what it has used. Used by one thread at a time, but started
    by one that outlives it: the kernel ties a sandbox's life to the thread that started it."""

    def __init__(self, cgroups: Cgroups, command: _Command, lease: LeaseId) -> None:
        self.lease = lease
        self.jobs = 0
        self._limits = LeafLimits(WORKER_MILLICORES, WORKER_BYTES)
        counted = cgroups.processes is not Enforcement.UNENFORCED
        each = ProcessLimits(
            None, WORKER_FILE_BYTES, WORKER_FILES, None if counted else PROCESSES_MAX, None
        )
        with ExitStack() as held:
            self._leaf: Leaf = cgroups.leaf()
            held.callback(self._leaf.remove)
            with command() as (line, descriptors):
                launch = process.Launch(line, descriptors, each, self._limits)
                self._process = held.enter_context(process.started(launch, self._leaf))
                self._pipe = _Pipe(self._process)
                held.callback(self._pipe.close)
                ready = self._pipe.exchange(b"", time.monotonic() + WORKER_START_S_MAX, None)
                if not isinstance(ready, _Reply):
                    raise SandboxBroken("The WASM worker does not start", why=self._last_words())
            self._used = self._leaf.usage()
            self._held = held.pop_all()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def limit(self, limits: JobLimits) -> None:
        wanted = LeafLimits(limits.cpu_millicores, limits.memory_bytes + WORKER_BYTES)
        if wanted != self._limits:
            self._leaf.limit(wanted)
            self._limits = wanted

    def exchange(
        self, job: bytes, deadline: float, cancellation: Cancellation | None
    ) -> _Reply | Ending:
        self.jobs += 1
        return self._pipe.exchange(job, deadline, cancellation)

    def used(self) -> Usage | None:
        """What was used since the last call, or the start."""
        before, self._used = self._used, self._leaf.usage()
        if before is None or self._used is None:
            return None
        return replace(
            self._used,
            cpu_us=self._used.cpu_us - before.cpu_us,
            oom_kills=self._used.oom_kills - before.oom_kills,
        )

    def close(self) -> None:
        self._held.close()

    def _last_words(self) -> str:
        self._process.kill()
        said = b"" if self._process.stderr is None else self._process.stderr.read(4096)
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class _Reply:
    """An answer as it came, not yet believed."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self._head = head
        self._body = body

    def parts(self, limits: JobLimits) -> tuple[_Answer, bytes]:
        """The answer and its bytes. Raises `SandboxBroken` where they do not fit each other."""
        try:
            answer = _answers.decode(self._head)
        except NOT_DECODED as error:
            raise SandboxBroken("The WASM worker talks nonsense", why=str(error)) from error
        if max(
            answer.stdout, answer.stderr
        ) > limits.output_bytes or answer.stdout + answer.stderr != len(self._body):
            raise SandboxBroken("The WASM worker talks nonsense", why="lengths do not match")
        return answer, self._body


class _Pipe:
    """Messages to and from a worker, without ever waiting on one direction alone."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdin is not None and worker.stdout is not None  # noqa: S101, PT018
        self._in, self._out = worker.stdin.fileno(), worker.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    def exchange(
        self, message: bytes, deadline: float, cancellation: Cancellation | None
    ) -> _Reply | Ending:
        """Send `message` and await one answer. `EXITED`: the worker is gone."""
        unsent = memoryview(message)
        received = bytearray()
        if unsent:
            self._selector.register(self._in, selectors.EVENT_WRITE)
        if cancellation is not None:
            self._selector.register(cancellation, selectors.EVENT_READ)
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return Ending.DEADLINE
                for key, _ in self._selector.select(left):
                    if key.fileobj is cancellation:
                        return Ending.KILLED
                    if key.fd == self._in:
                        unsent = unsent[os.write(self._in, unsent) :]
                        if not unsent:
                            self._selector.unregister(self._in)
                    elif not (chunk := os.read(self._out, 1 << 16)):
                        return Ending.EXITED
                    else:
                        received += chunk
                        if (reply := _reply(received)) is not None:
                            return reply
        except BrokenPipeError:
            return Ending.EXITED
        finally:
            if unsent:
                self._selector.unregister(self._in)
            if cancellation is not None:
                self._selector.unregister(cancellation)

    def close(self) -> None:
        self._selector.close()


def _reply(received: bytearray) -> _Reply | None:
    if len(received) < _HEAD.size:
        return None
    head, body = _HEAD.unpack_from(received)
    if head > _ANSWER_BYTES_MAX or body > 2 * OUTPUT_BYTES_MAX:
        raise SandboxBroken("The WASM worker talks nonsense", why="its answer is too long")
    if len(received) < _HEAD.size + head + body:
        return None
    start = _HEAD.size + head
    return _Reply(bytes(received[_HEAD.size : start]), bytes(received[start : start + body]))


def _cut_short(ending: Ending, used: Usage | None) -> _Answer:
    """What is to be said of a job whose worker was killed, by this process or by the kernel."""
    if ending is Ending.EXITED:
        if used is None or not used.oom_kills:
            raise SandboxBroken("The WASM worker ended in the middle of a job")
        ending = Ending.MEMORY
    return _Answer(exit_code=process.SIGKILLED, reason=ending.value)


def _job(request: JobRequest) -> bytes:
    limits = request.limits
    head = msgspec.json.encode(
        {
            "program": len(request.program),
            "stdin": len(request.stdin),
            "arguments": request.arguments,
            "memory_bytes": limits.memory_bytes,
            "wall_ms": limits.wall_ms,
            "output_bytes": limits.output_bytes,
        }
    )
    body = len(request.program) + len(request.stdin)
    return b"".join((_HEAD.pack(len(head), body), head, request.program, request.stdin))


def _check_module(program: bytes) -> None:
    if program.startswith(_COMPONENT):
        raise NotAvailable(
            "WebAssembly components do not run yet",
            fix="Build a core module, for example for wasm32-wasip1",
        )
    if not program.startswith(_CORE_MODULE):
        raise ModuleInvalid(
            why=f"it begins with {program[:8].hex()}, a module with {_CORE_MODULE.hex()}",
            fix="Pass the compiled .wasm file, not its text",
        )


def _site() -> Path | None:
    """The directory of the wasmtime package, without importing it into the node."""
    spec = importlib.util.find_spec("wasmtime")
    return Path(spec.origin).parent if spec is not None and spec.origin else None
