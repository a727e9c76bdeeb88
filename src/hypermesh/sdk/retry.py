"""When a call that failed is made again: bounded, with jitter, and only where that is harmless.

Full jitter: each pause is drawn evenly between nothing and a bound that doubles, so that callers
who failed together do not come back together.
"""

from __future__ import annotations

import os
from typing import Any

from hypermesh.sdk.call import Call
from hypermesh.wire.errors import HyperMeshError, Overloaded, Unreachable

ATTEMPTS_MAX = 4
PAUSE_S = 0.05
PAUSE_S_MAX = 2.0

STILL_ANSWERED = "HM-API-0006"
"""The node is at work on the same Idempotency-Key, or was when it went down."""


class ConnectionBroke(Unreachable):
    """The connection to the node broke before the answer was whole."""

    code = "HM-SDK-0003"
    status = 504
    exit_code = 7
    title = "The node went away"
    remedy = "What it had acknowledged is kept; see `hm status`, then ask again"


def pause_s(
    call: Call[Any],
    error: HyperMeshError,
    attempt: int,
    chance: float,
    retry_after_s: float | None = None,
) -> float | None:
    """How long to wait before `call` is made again after its `attempt` (from 1) failed with
    `error`; None where it is not made again. `chance` is drawn evenly from 0 to 1.

    `retry_after_s` is what the node asked for; more than `PAUSE_S_MAX` is left to the caller.
    """
    passes = isinstance(error, (ConnectionBroke, Overloaded)) or retry_after_s is not None
    still = call.once and attempt > 1 and error.code == STILL_ANSWERED
    if attempt >= ATTEMPTS_MAX or not call.is_repeatable or not (passes or still):
        return None
    floor = retry_after_s or 0.0
    if floor > PAUSE_S_MAX:
        return None
    bound: float = min(PAUSE_S_MAX, PAUSE_S * 2 ** (attempt - 1))
    return floor + bound * chance


def retry_after_s(header: str | None) -> float | None:
    """The seconds in a Retry-After header (RFC 9110, section 10.2.3); None without them. Nodes
    send no dates there."""
    return float(header) if header and header.isascii() and header.isdigit() else None


def drawn() -> float:
    """A number from 0 to 1, evenly."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def fresh_key() -> str:
    """An Idempotency-Key that nobody has used."""
    return os.urandom(16).hex()
