"""What a job says while it runs: bounded, and readable from other threads as it grows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Stream:
    """What one output stream of a job said, up to a limit, and how much was cut off behind it."""

    limit: int
    data: bytearray
    cut: int = 0

    def take(self, chunk: bytes) -> None:
        kept = chunk[: self.limit - len(self.data)]
        self.data += kept
        self.cut += len(chunk) - len(kept)


class Output:
    """The outputs of one job. One thread writes; any may read, and be told when there is more."""

    def __init__(self, limit: int, result_limit: int = 0) -> None:
        """Limits in bytes: of standard output and standard error each, and of the result."""
        self.stdout = Stream(limit, bytearray())
        self.stderr = Stream(limit, bytearray())
        self.result = Stream(result_limit, bytearray())
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._is_ended = False

    @property
    def ended(self) -> bool:
        """Whether all has been said."""
        return self._is_ended

    def take(self, stream: Stream, chunk: bytes) -> None:
        """Add `chunk` to one of the streams."""
        with self._lock:
            stream.take(chunk)
        self._tell()

    def end(self) -> None:
        """Nothing more will come."""
        self._is_ended = True
        self._tell()

    def since(self, stdout: int, stderr: int) -> tuple[bytes, bytes]:
        """What both streams hold beyond these offsets."""
        with self._lock:
            return bytes(self.stdout.data[stdout:]), bytes(self.stderr.data[stderr:])

    def has(self, stdout: int, stderr: int) -> bool:
        """Whether there is anything to tell a reader who is at these offsets."""
        return self._is_ended or len(self.stdout.data) > stdout or len(self.stderr.data) > stderr

    @contextmanager
    def heard(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` at every change while the block lasts. It must not wait."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _tell(self) -> None:
        if self._listeners:
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                listener()
