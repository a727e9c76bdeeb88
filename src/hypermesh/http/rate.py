"""How often a principal may ask: a token bucket as one integer, the time at which it is full again
(the generic cell rate algorithm, ITU-T I.371 annex A). Times are in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`per_s` requests a second in the long run, at most `burst` at once."""

    per_s: int
    burst: int


def take(full_ns: int, now_ns: int, limit: Limit) -> tuple[int, int]:
    """Take one from the bucket that is full again at `full_ns`: when it is full then, and 0; or
    `full_ns` unchanged and how long to wait for the next, where it is empty."""
    cost = SECOND_NS // limit.per_s
    after = max(full_ns, now_ns) + cost
    wait = after - now_ns - cost * limit.burst
    return (full_ns, wait) if wait > 0 else (after, 0)


class Buckets:
    """One bucket for each principal, at most `kept_max`: the one that was used longest ago goes
    first. By then it is full, unless more principals than that ask within one burst."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._full_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._full_ns)

    def take(self, principal: str, now_ns: int, limit: Limit) -> int:
        """How long `principal` must wait, in nanoseconds; 0 where it may go on."""
        full_ns, wait = take(self._full_ns.pop(principal, 0), now_ns, limit)
        self._full_ns[principal] = full_ns
        if len(self._full_ns) > self._kept_max:
            del self._full_ns[next(iter(self._full_ns))]
        return wait
