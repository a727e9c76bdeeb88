"""How the C library keeps memory that Python gives back."""

from __future__ import annotations

import ctypes

ARENAS = 2
_M_ARENA_MAX = -8
"""`M_ARENA_MAX` of mallopt(3)."""


def bound() -> bool:
    """Let all threads share `ARENAS` heaps; call it before there are threads. False where the C
    library has no such setting.

    By itself glibc gives each of a node's many threads a heap of its own, up to eight a core. What
    is freed in one is not used by another, so a node would grow for hours before it levelled off.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, ARENAS))
