"""A bad network between two endpoints: the relay of `crates/impair`, as a context manager.

    with Relay("::1", server_port, "delay 10ms", "loss 0.01") as relay:
        bob.connect(*relay.address, ...)
        relay.set("rate 10M")
    relay.report["up"]["lost"]

Each line is `[up|down] KEY VALUE`, `up` being towards the server; without either it is for both.
`hm-impair` without arguments explains them.
"""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target" / "release" / "hm-impair"

PATIENCE_S = 10
"""For the relay to answer a line, or to end."""


@functools.cache
def build() -> Path:
    """The relay's program, built where it is missing or old (cargo knows)."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "impair"]
    subprocess.run(command, cwd=ROOT, check=True)
    return BINARY


class Relay:
    """A relay to `host` and `port`, until the block ends or `seconds` have passed."""

    def __init__(
        self,
        host: str,
        port: int,
        *lines: str,
        seed: int = 1,
        seconds: int = 120,
        rebind_ms: int | None = None,
        listen: str = "::1",
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`prefix` starts the program elsewhere, such as in a network namespace."""
        self._command = [
            *prefix,
            str(build()),
            *("--target", f"[{host}]:{port}", "--listen", f"[{listen}]:0"),
            *("--seed", str(seed), "--seconds", str(seconds)),
            *(() if rebind_ms is None else ("--rebind-ms", str(rebind_ms))),
            *lines,
        ]
        self._process: subprocess.Popen[str] | None = None
        self.address: tuple[str, int] = ("", 0)
        """Where clients go, from the start of the block on."""
        self.report: dict[str, Any] = {}
        """What it has done, after the block."""

    def __enter__(self) -> Relay:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        try:
            host, _, port = self._read()["listening"].rpartition(":")
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        self.address = (host.strip("[]"), int(port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._running()
        try:
            out, _ = process.communicate("quit\n", timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        if out:
            self.report = json.loads(out.splitlines()[-1])

    def set(self, *lines: str) -> None:
        """Changes what the relay does from now on; raises ValueError for what is no setting."""
        for line in lines:
            self._tell(line)

    def rebind(self) -> None:
        """The server sees its clients at new ports from now on; the old ones are forgotten."""
        self._tell("rebind")

    def _tell(self, line: str) -> None:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise ValueError(answer["error"])

    def _read(self) -> dict[str, Any]:
        process = self._running()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"hm-impair ended with {process.wait()}: {self._command}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the relay is not running")
        return self._process
