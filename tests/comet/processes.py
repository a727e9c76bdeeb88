"""The processes of one validator, and those who send to it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hypermesh.ledger.engines.comet.rpc import Rpc
from hypermesh.ledger.identity import SignerUnknown

from .comparison import entries

PACE_MS = 100
START_S = 60.0
WAIT_S = 60.0
POLL_S = 0.05


class Validator:
    """The processes of one validator: ours, and the engine that it starts."""

    def __init__(self, directory: Path, engine: Path) -> None:
        self.directory = directory
        self._engine = engine
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.engine_pid = 0
        self.rpc = Rpc(directory / "comet" / "rpc.sock")

    def start(self, **environment: str) -> None:
        """Start it, under another hash seed each time, and wait until it makes blocks."""
        self.launch(**environment)
        line = self.first_line()
        assert line, self.errors
        self.engine_pid = json.loads(line)["engine"]

    def launch(self, **environment: str) -> None:
        """Start it."""
        self._starts += 1
        program = Path(__file__).with_name("validator.py")
        with (self.directory / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(program), str(self.directory), self._engine, str(PACE_MS)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONHASHSEED": str(self._starts), **environment},
            )

    def first_line(self) -> bytes:
        """What it says when it is ready; nothing where it ended before."""
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_S)
        assert readable, self.errors
        return self._process.stdout.readline()

    @property
    def errors(self) -> str:
        return (self.directory / "stderr").read_text()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit status of our process, once it has ended."""
        assert self._process is not None
        status = self._process.wait(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def stop(self) -> None:
        """End it in order."""
        self.signal(signal.SIGTERM)
        assert self.ended() == 0, self.errors

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self.ended()
        if self.engine_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.engine_pid, signal.SIGKILL)
        self.rpc.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def next_blocks(rpc: Rpc) -> None:
    """Wait until what was in work is in a block, and its app hash in the next one's header."""
    height = rpc.height()
    until(lambda: rpc.height() > height + 1)


def send(rpc: Rpc, operations: Sequence[bytes]) -> Counter[str]:
    """Hand the operations to the engine in order; the codes of those refused at the door.

    A signer is known from the block that introduces it; until then its operations wait.
    """
    refused: Counter[str] = Counter()
    for operation in operations:
        refusal = rpc.broadcast(operation)
        if isinstance(refusal, SignerUnknown):
            next_blocks(rpc)
            refusal = rpc.broadcast(operation)
        if refusal is not None:
            refused[refusal.code] += 1
    return refused


def drain(rpc: Rpc) -> None:
    """Wait until nothing waits for a block, and the last app hash stands in a header."""
    until(lambda: rpc.call("num_unconfirmed_txs", {})["n_txs"] == "0")
    next_blocks(rpc)


def missing(rpc: Rpc, operations: Sequence[bytes]) -> list[bytes]:
    """The operations that no block holds, in their order, once the engine has played back the block
    that it may have been in when it was killed."""
    next_blocks(rpc)
    present = set(entries(rpc))
    return [operation for operation in operations if operation not in present]
