"""A process that is under its limits before it runs: start, watch, end.

A child is started as a short shell script that lowers its own resource limits, waits for one line
on its standard input and then becomes the real program. While it waits, the parent sets the limits
of its cgroup. So nothing of the real program ever runs outside its limits, and no Python code runs
between fork and exec (which would be unsafe in a process with threads). If the parent dies
meanwhile, the line never comes and the child ends.
"""

from __future__ import annotations

import enum
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from hypermesh.catalog.errors import SandboxBroken
from hypermesh.catalog.limits import LeafLimits, ProcessLimits
from hypermesh.catalog.output import Output, Stream
from hypermesh.catalog.sandbox.cgroup import KILL_S_MAX, Leaf

_OPEN_GATE = b"go\n"

OUTPUT_DROPPED_MAX = 64 << 20
"""Bytes of one stream that are read and dropped beyond a job's output limit, so that a talkative
program can finish; after them it is ended, because reading costs the provider, not the job."""
_READ_BYTES = 1 << 16
_ULIMIT_BLOCK_BYTES = 512


class Ending(enum.StrEnum):
    """Why a job ended (`JobResult.reason`)."""

    EXITED = "exited"
    DEADLINE = "deadline"
    MEMORY = "memory"
    KILLED = "killed"


class Cancellation:
    """Asks a running job to end, from any thread. Close it when the job is over."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def cancel(self) -> None:
        """End the job; it reports `killed`. Again, or after the job, does nothing."""
        os.eventfd_write(self._event, 1)

    @property
    def cancelled(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._event, selectors.EVENT_READ)
            return bool(selector.select(0))

    def fileno(self) -> int:
        return self._event

    def close(self) -> None:
        os.close(self._event)

    def __enter__(self) -> Cancellation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, with which limits on each process and on all of them together."""

    arguments: Sequence[str]
    descriptors: Sequence[int]
    each: ProcessLimits
    together: LeafLimits


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended. `exit_code` is 128 + signal where a signal ended it; `cpu_us` is what
    `wait4` reports for it and its waited-for descendants. (The peak of memory that `wait4` reports
    is no use: it includes that of the process it was forked from.)"""

    ending: Ending
    exit_code: int
    wall_us: int
    cpu_us: int


@contextmanager
def started(launch: Launch, leaf: Leaf) -> Iterator[subprocess.Popen[bytes]]:
    """The process of `launch`, inside `leaf` and running; when the block ends, it is dead and its
    pipes are closed. The environment is empty and the work directory is `/`.

    Raises `SandboxBroken` where it cannot be started or put under its limits.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _gate(launch.each), "sh", *launch.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={},
            pass_fds=tuple(launch.descriptors),
            start_new_session=True,
        )

    try:
        process = leaf.born(start)
    except OSError as error:
        raise SandboxBroken("A process for a job cannot be started", why=str(error)) from error
    try:
        leaf.limit(launch.together)
        with suppress(BrokenPipeError):
            _pipe(process.stdin).write(_OPEN_GATE)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.wait(KILL_S_MAX)
        for pipe in (process.stdin, process.stdout, process.stderr):
            _pipe(pipe).close()


def run(
    launch: Launch,
    leaf: Leaf,
    *,
    stdin: bytes,
    output: Output,
    wall_ms: int,
    cancellation: Cancellation | None,
    result: int | None = None,
) -> Outcome:
    """Run `launch` in `leaf` to its end or its deadline, whichever comes first.

    What it says is in `output` as soon as it is read; `result` is the descriptor from which the
    result comes.

    Blocks the calling thread, which must live until it returns: the kernel ties the sandbox's life
    to the thread that started it. Whatever the ending, everything in the leaf is dead afterwards.
    """
    with started(launch, leaf) as process:
        began = time.monotonic()
        watch = _Watch(process, stdin, output, result)
        try:
            ending = watch.until(began + wall_ms / 1000, cancellation)
            wall_us = int((time.monotonic() - began) * 1e6)
            # Ending the sandbox's outer process takes its namespace along, with or without a
            # cgroup. It is reaped before the leaf is emptied, which a zombie would still be in.
            if ending is not Ending.EXITED:
                process.kill()
            exit_code, used = _reap(process)
            leaf.kill()
            watch.rest()
        finally:
            watch.close()
        return Outcome(
            ending,
            exit_code,
            wall_us,
            int((used.ru_utime + used.ru_stime) * 1e6),
        )


def _gate(limits: ProcessLimits) -> str:
    """The script in front of a job. Shells disagree on one letter: the number of processes is `-p`
    in dash and busybox, `-u` in bash. A limit that an administrator set lower stays."""
    lines = [
        "ulimit -c 0",
        f"ulimit -n {limits.open_files}",
        f"ulimit -f {limits.file_bytes // _ULIMIT_BLOCK_BYTES}",
    ]
    if limits.processes is not None:
        lines.append(f"ulimit -p {limits.processes} || ulimit -u {limits.processes}")
    if limits.cpu_s is not None:
        lines.append(f"ulimit -t {limits.cpu_s}")
    if limits.address_space_bytes is not None:
        lines.append(f"ulimit -v {limits.address_space_bytes // 1024}")
    return "; ".join(f"{{ {line}; }} 2>/dev/null" for line in lines) + '; read -r go && exec "$@"'


class _Watch:
    """Feeds and drains a process without ever waiting on one pipe alone."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes, output: Output, result: int | None
    ) -> None:
        self._output = output
        self._in = _pipe(process.stdin)
        self._unsent = memoryview(stdin)
        self._end = os.pidfd_open(process.pid)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._end, selectors.EVENT_READ, None)
        self._streams = {
            _pipe(process.stdout).fileno(): output.stdout,
            _pipe(process.stderr).fileno(): output.stderr,
        }
        if result is not None:
            self._streams[result] = output.result
        for descriptor, stream in self._streams.items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, stream)
        os.set_blocking(self._in.fileno(), False)
        self._selector.register(self._in, selectors.EVENT_WRITE, None)
        self._feed()

    def until(self, deadline: float, cancellation: Cancellation | None) -> Ending:
        if cancellation is not None:
            self._selector.register(cancellation, selectors.EVENT_READ, None)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return Ending.DEADLINE
            for key, _ in self._selector.select(left):
                if key.fileobj == self._end:
                    return Ending.EXITED
                if key.fileobj is cancellation:
                    return Ending.KILLED
                if key.fileobj is self._in:
                    self._feed()
                else:
                    self._drain(key.fd, key.data)
            if max(stream.cut for stream in self._streams.values()) > OUTPUT_DROPPED_MAX:
                return Ending.KILLED

    def rest(self) -> None:
        """What the dead process left in its pipes."""
        for descriptor, stream in self._streams.items():
            while self._drain(descriptor, stream):
                pass

    def close(self) -> None:
        self._selector.close()
        os.close(self._end)

    def _feed(self) -> None:
        try:
            while self._unsent:
                sent = self._in.write(self._unsent)
                if not sent:
                    return
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        self._selector.unregister(self._in)
        self._in.close()

    def _drain(self, descriptor: int, stream: Stream) -> bool:
        try:
            chunk = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            with suppress(KeyError):
                self._selector.unregister(descriptor)
            return False
        self._output.take(stream, chunk)
        return True


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    return (128 - code if code < 0 else code), used


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "every stream of a job is a pipe"  # noqa: S101
    return pipe


SIGKILLED = 128 + signal.SIGKILL
"""Exit code of a process, or of a sandbox whose process, was ended by SIGKILL."""
