"""How long everything takes: the full run, and the short one that only shows that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of one run. A short one takes no figure worth keeping."""

    short: bool
    rounds: int
    """Turns of all transports on a path."""
    seconds: float
    """Of one transfer or one series of requests."""
    hashed_bytes: int
    """Sent once by each transport on each path, and digested whole at both ends."""
    connections: int
    """Live at once on one endpoint."""
    movers: int
    """Of these, so many move data while all are asked."""
    steps: int
    """Repetitions of one cryptographic step."""


FULL = Scale(
    short=False,
    rounds=5,
    seconds=1.2,
    hashed_bytes=64 << 20,
    connections=10_000,
    movers=100,
    steps=200,
)
SHORT = Scale(
    short=True,
    rounds=1,
    seconds=0.2,
    hashed_bytes=1 << 20,
    connections=24,
    movers=4,
    steps=3,
)
