"""What a workload asked for and what it was promised, and whether a store keeps to that.

Everything stored is a value under a key. Before a workload asks for a change it says `begin`; when
the change is acknowledged it says `done`, and `refused` when it is told that nothing was done. A
store that is opened after a power cut has to hold, for every key, the value acknowledged last, or
one that was begun since and not refused. One value lost is a promise broken; a key or a value that
nobody asked for is invented.

The marks are lines of JSON, between the operations of a recording or on a pipe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ANY = "?"
"""A value that only the store can tell, such as a certificate's; or a key, such as the secret of an
invitation."""


@dataclass(slots=True)
class _Key:
    """`kept` is what was acknowledged last (None: nothing, or that it is gone), `begun` all that
    was asked for since and had no answer."""

    kept: str | None = None
    begun: list[str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a store, in words; nothing where it is as promised."""

    lost: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(self.lost + other.lost, self.invented + other.invented)

    def __bool__(self) -> bool:
        """Whether something is wrong."""
        return bool(self.lost or self.invented)


class Promises:
    """Reads the marks in order; `check` compares at any moment."""

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._nameless = 0
        self.acknowledged = 0
        self.answered: set[str] = set()
        """Keys that were ever done or refused."""

    def hear(self, mark: bytes) -> bool:
        """Take a mark; whether it is an acknowledgement."""
        said = json.loads(mark)
        key, value = said["key"], said["value"]
        if said["said"] == "begin":
            if key == ANY:
                self._nameless += 1
            else:
                self._keys.setdefault(key, _Key()).begun.append(value)
            return False
        self.answered.add(key)
        self.acknowledged += 1
        known = self._keys.get(key)
        if said["said"] == "refused":
            assert known is not None
            # An earlier life may have asked for the same, and that may have been done.
            known.begun.remove(value)
            return True
        if known is None:
            self._nameless -= 1
        self._keys[key] = _Key(value)
        return True

    @property
    def kept(self) -> dict[str, str]:
        """What was acknowledged last and holds something, value by key."""
        return {key: known.kept for key, known in self._keys.items() if known.kept is not None}

    def check(self, found: Mapping[str, str]) -> Verdict:
        """`found` is what a store holds: value by key."""
        lost, invented = [], []
        for key, known in self._keys.items():
            value = found.get(key)
            if value == known.kept or value in known.begun or (value and ANY in known.begun):
                continue
            if known.kept is None:
                invented.append(f"{key} = {value} should not be there")
            elif value is None:
                lost.append(f"{key} = {known.kept} is gone")
            else:
                lost.append(f"{key} = {known.kept} is {value}")
        strange = found.keys() - self._keys.keys()
        if len(strange) > self._nameless:
            invented += [f"{key} was never asked for" for key in sorted(strange)]
        return Verdict(tuple(lost), tuple(invented))


class Witness:
    """The workload's side: says what it begins and what was acknowledged."""

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self._say = say

    def begin(self, key: str, value: str | None = ANY) -> None:
        self._mark("begin", key, value)

    def done(self, key: str, value: str | None) -> None:
        self._mark("done", key, value)

    def refused(self, key: str, value: str | None = ANY) -> None:
        self._mark("refused", key, value)

    def _mark(self, said: str, key: str, value: str | None) -> None:
        self._say(json.dumps({"said": said, "key": key, "value": value}).encode())
