"""Runs the worker: one request, one child process, one time limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypermesh.wire.errors import HyperMeshError

_WORKER = Path(__file__).with_name("worker.py")
_STDERR_CHARACTERS_MAX = 400
CPU_SECONDS_SPARE = 5


class ProverFailed(HyperMeshError):
    """The process that makes a proof failed, or what it made would be refused."""

    code = "HM-PROOF-0001"
    title = "A proof could not be made"


class ProverTooSlow(HyperMeshError):
    """The process that makes a proof was killed at its time limit."""

    code = "HM-PROOF-0004"
    status = 504
    exit_code = 7
    title = "Making a proof took too long"
    remedy = "See what else this machine is doing; the next epoch tries again"


def run(task: str, seconds_max: int, **request: Any) -> dict[str, Any]:
    """The worker's reply to `task`. Raises `ProverFailed` when the child fails, and `ProverTooSlow`
    when it still ran after `seconds_max` seconds and was killed."""
    message = {"task": task, "cpu_seconds_max": seconds_max + CPU_SECONDS_SPARE, **request}
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_WORKER)],
            input=json.dumps(message).encode(),
            capture_output=True,
            timeout=seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProverTooSlow(
            f"The task {task!r} was stopped", why=f"it did not end within {seconds_max} s"
        ) from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip()[-_STDERR_CHARACTERS_MAX:]
        raise ProverFailed(
            f"The task {task!r} failed", why=f"its process ended with {done.returncode}: {last}"
        )
    reply: dict[str, Any] = json.loads(done.stdout)
    return reply
