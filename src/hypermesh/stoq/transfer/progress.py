"""How far a transfer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Of `size` bytes of the file, `done` are dealt with: `moved` of them over the stream, the rest
    because the receiver had them."""

    size: int
    done: int
    moved: int


Watcher = Callable[[Progress], None]
"""Told after every few MiB, on the thread of the transfer. What it raises ends the transfer."""


def unwatched(progress: Progress) -> None:
    """Nobody looks."""
    del progress
