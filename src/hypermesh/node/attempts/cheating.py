"""All attempts of a node, by name: one at a time, each on its owner's order."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from hypermesh.node.attempts.attempt import Attempt
from hypermesh.wire.api.attempt import AttemptResult, AttemptView
from hypermesh.wire.errors import Conflict, NotAvailable, NotFound


class Busy(Conflict):
    """Another attempt is under way; they would be in each other's way."""

    code = "HM-NODE-0030"
    title = "Another attempt is under way"
    remedy = "Wait for it to end, then try again"


class Cheating:
    """What this node's owner may try against the own network."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = {attempt.name: attempt for attempt in attempts}
        self._running = threading.Lock()

    def all(self) -> list[AttemptView]:
        """Every attempt with the bytes that it would send now."""
        return [_view(attempt) for attempt in self._attempts.values()]

    def run(self, name: str, content: bytes | None) -> AttemptResult:
        """Carry out the attempt `name`, with `content` in place of what it prepares.

        Raises `NotFound`, `Busy`, `NotAvailable` where this node cannot try it.
        """
        attempt = self._attempts.get(name)
        if attempt is None:
            known = ", ".join(self._attempts)
            raise NotFound(
                f"There is no attempt {name!r}", why=f"there are {known}", fix="hm try-to-cheat"
            )
        if not self._running.acquire(blocking=False):
            raise Busy
        try:
            began = time.monotonic()
            sent = attempt.prepare() if content is None else content
            outcome = attempt.run(sent)
        finally:
            self._running.release()
        return AttemptResult(
            name=name,
            title=attempt.title,
            what=attempt.what,
            facts=outcome.facts,
            refused=outcome.refused,
            code=outcome.code,
            reason=outcome.reason,
            rule=attempt.rule,
            height=outcome.height,
            failures=list(outcome.failures),
            edited=content is not None,
            sent=sent.hex(),
            took_ms=round((time.monotonic() - began) * 1000, 1),
        )


def _view(attempt: Attempt) -> AttemptView:
    content, unavailable = b"", ""
    try:
        content = attempt.prepare()
    except NotAvailable as error:
        unavailable = str(error)
    return AttemptView(
        name=attempt.name,
        title=attempt.title,
        what=attempt.what,
        rule=attempt.rule,
        content=content.hex(),
        unavailable=unavailable,
    )
