"""Work that many callers share: those who ask at the same time are carried together.

A caller that finds a place among the carriers carries all that waits, its own job among it; the
others sleep until their job is done, or until a carrier that is done leaves its place to them. Each
sleeper has a lock of its own. With one lock for all, those whose jobs are done would stand in line
before those whose jobs are not, and what is carried together would shrink to one or two.

No time is waited for more to come, so a lone caller is not delayed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar, final

J = TypeVar("J")


class _Sleeper(Generic[J]):
    """A job and the caller that waits for it. `leads`: it is woken to carry, not to go on."""

    __slots__ = ("job", "leads", "woken")

    def __init__(self, job: J) -> None:
        self.job: Final = job
        self.leads = False
        self.woken = threading.Lock()
        self.woken.acquire()


@final
class Group(Generic[J]):
    """Carries jobs by `carry`, which is given 1 to `together_max` of them and writes down what
    became of each; it raises nothing but what ends a program. At most `carriers_max` callers carry
    at once, so that one can compute while another waits for the disk."""

    def __init__(
        self,
        carry: Callable[[Sequence[J]], None],
        together_max: int,
        waiting_max: int,
        carriers_max: int,
    ) -> None:
        self._carry = carry
        self._together_max = together_max
        self._waiting_max = waiting_max
        self._free = carriers_max
        self._waiting: deque[_Sleeper[J]] = deque()
        self._changing = threading.Lock()

    def carried(self, job: J) -> bool:
        """Have `job` carried, by this caller or another; False where too many wait already."""
        sleeper = _Sleeper(job)
        with self._changing:
            leads = self._free > 0
            if leads:
                self._free -= 1
            elif len(self._waiting) < self._waiting_max:
                self._waiting.append(sleeper)
            else:
                return False
        if not leads:
            sleeper.woken.acquire()
            leads = sleeper.leads
        if leads:
            self._lead(sleeper)
        return True

    def _lead(self, leader: _Sleeper[J]) -> None:
        with self._changing:
            count = min(len(self._waiting), self._together_max - 1)
            others = [self._waiting.popleft() for _ in range(count)]
        try:
            self._carry([leader.job, *(each.job for each in others)])
        finally:
            for each in others:
                each.woken.release()
            self._leave()

    def _leave(self) -> None:
        """Give the place among the carriers to who waits longest, if anyone does."""
        with self._changing:
            if not self._waiting:
                self._free += 1
                return
            successor = self._waiting.popleft()
        successor.leads = True
        successor.woken.release()
