"""What an attempt is, and what can become of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hypermesh.wire.errors import HyperMeshError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    `refused` is False only where something got through. `code` and `reason` are the refusal's;
    `facts` says in words what was done and seen; `height` is the block that recorded the refusal,
    where one did; `failures` names the proofs that were refused.
    """

    refused: bool
    code: str
    reason: str
    facts: str
    height: int | None = None
    failures: tuple[str, ...] = ()

    @classmethod
    def refusal(cls, error: HyperMeshError, facts: str, height: int | None = None) -> Outcome:
        """The attempt met `error`."""
        failures = tuple(getattr(error, "failures", ()))
        reason = ": ".join(part for part in (error.what, error.why or "; ".join(failures)) if part)
        return cls(True, error.code, reason, facts, height, failures)

    @classmethod
    def through(cls, facts: str, height: int | None = None) -> Outcome:
        """Nothing stopped the attempt."""
        return cls(False, "", "Nothing refused it", facts, height)


class Attempt(Protocol):
    """One way to cheat. `rule` says which rule must catch it and where that rule is written."""

    name: str
    title: str
    what: str
    rule: str

    def prepare(self) -> bytes:
        """The bytes that the attempt would send, falsified; may be changed before `run`.

        Raises `NotAvailable` where this node cannot try it, and says why.
        """
        ...

    def run(self, content: bytes) -> Outcome:
        """Carry the attempt out with `content`. Raises what has nothing to do with it, such as
        `LedgerUnavailable`."""
        ...


def flipped(data: bytes) -> bytes:
    """`data` with one bit of its middle byte changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
