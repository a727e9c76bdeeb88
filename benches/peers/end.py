"""What every Python end of a measurement has in common: its arguments, the pattern, the check of
what comes, the line of JSON. The ends in `crates/stoq-bench` do the same.

    python PEER.py receive --listen HOST --credentials DIRECTORY
    python PEER.py send --to HOST --port N --credentials DIRECTORY
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypermesh.crypto.digest import digest

READ_BYTES = 256 * 1024
MESSAGE_BYTES = 256 * 1024
TLS_NAME = "bench.hm.internal"
ALPN = "hm-bench"

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@dataclass(frozen=True)
class Options:
    """The command line of an end."""

    command: str
    host: str
    port: int
    credentials: Path
    seconds: float
    message: int
    hashed: int
    mtu: int
    bytes: int
    window: int
    mode: str


class Pattern:
    """The repeated bytes, as far as one write or one check reaches beyond them."""

    def __init__(self, options: Options) -> None:
        once = (options.credentials / "pattern").read_bytes()
        reach = max(options.message, READ_BYTES)
        self.period = len(once)
        # Of `bytes`, for a transport may keep what cannot change instead of copying it.
        self._bytes = once * (2 + reach // len(once))
        self.view = memoryview(self._bytes)
        self.address = ctypes.cast(ctypes.c_char_p(self._bytes), ctypes.c_void_p).value or 0


class Sink:
    """Where a stream ends. `room` is to be filled from the front; `filled` says how far."""

    def __init__(self, options: Options) -> None:
        self._pattern = None if options.hashed else Pattern(options)
        self._kept = bytearray()
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._held = (ctypes.c_char * READ_BYTES).from_buffer(self._buffer)
        self._address = ctypes.addressof(self._held)
        self._at = 0
        self._checked = 0
        self._first: float | None = None

    @property
    def room(self) -> memoryview:
        return self._view[self._at :]

    def filled(self, count: int) -> None:
        if self._first is None:
            self._first = time.perf_counter()
        self._at += count
        if self._at == READ_BYTES:
            self._check()

    def take(self, data: bytes) -> None:
        """For a transport that hands out its own buffers."""
        while data:
            room = self.room
            piece = data[: len(room)]
            room[: len(piece)] = piece
            self.filled(len(piece))
            data = data[len(piece) :]

    def ended(self) -> dict[str, Any]:
        last = time.perf_counter()
        self._check()
        seconds = last - (last if self._first is None else self._first)
        found: dict[str, Any] = {"bytes": self._checked, "seconds": seconds}
        if self._pattern is None:
            found["digest"] = digest("bench", bytes(self._kept)).hex()
        return found

    def _check(self) -> None:
        """Compare what is here in one go, so that small reads cost no more than large ones."""
        pattern = self._pattern
        if pattern is None:
            self._kept += self._view[: self._at]
        else:
            place = pattern.address + self._checked % pattern.period
            if _memcmp(self._address, place, self._at):
                raise SystemExit(f"wrong bytes after {self._checked}")
        self._checked += self._at
        self._at = 0


class Source:
    """What one stream sends: iterate, then `sent`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pattern = Pattern(options)
        self._whole = os.urandom(options.hashed)
        self._at = 0

    def __iter__(self) -> Iterator[memoryview]:
        message = self._options.message
        if self._options.hashed:
            whole = memoryview(self._whole)
            while self._at < len(whole):
                piece = whole[self._at : self._at + message]
                self._at += len(piece)
                yield piece
            return
        view, period = self._pattern.view, self._pattern.period
        until = time.perf_counter() + self._options.seconds
        while time.perf_counter() < until:
            place = self._at % period
            self._at += message
            yield view[place : place + message]

    def sent(self) -> dict[str, Any]:
        found: dict[str, Any] = {"bytes": self._at}
        if self._options.hashed:
            found["digest"] = digest("bench", self._whole).hex()
        return found


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def announce(port: int) -> None:
    """Where the other end is to connect."""
    say({"port": port})


def run(**commands: Callable[[Options], dict[str, Any]]) -> None:
    """Do what the command line asks, and say what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=commands)
    parser.add_argument("--listen", default="::1")
    parser.add_argument("--to")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--message", type=int, default=MESSAGE_BYTES)
    parser.add_argument("--hashed", type=int, default=0)
    parser.add_argument("--mtu", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=64)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--mode", default="blocking")
    given = vars(parser.parse_args())
    listen, to = given.pop("listen"), given.pop("to")
    options = Options(host=to or listen, **given)
    found = commands[options.command](options)
    say({**found, "cpu_s": time.process_time()})
    sys.stdout.flush()
