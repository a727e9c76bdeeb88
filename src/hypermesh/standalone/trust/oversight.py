"""Routes of those who watch: the audit log, the report, figures, health."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from hypermesh.standalone.trust.call import Answer, Call, as_json
from hypermesh.standalone.trust.parts import Parts, now_s
from hypermesh.standalone.trust.recording import POLICY_AGAIN_S
from hypermesh.standalone.trust.report import Report, made, page
from hypermesh.trustchain.ca.audit import AuditRow, check
from hypermesh.trustchain.ca.store import PAGE_MAX
from hypermesh.wire.errors import InvalidInput, Overloaded

WAITING_MAX = 4096
"""A log with more submissions than that before it is not ready for others."""


class AuditView(msgspec.Struct, frozen=True):
    """A row of the audit log. `document` is the canonical encoding of the act's particulars,
    hexadecimal, as are the hashes that chain the rows."""

    number: int
    at_s: int
    actor: str
    kind: str
    subject: str
    document: str
    before: str
    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    items: list[AuditView]
    next_cursor: str | None


def audit(parts: Parts, call: Call) -> Answer:
    limit = call.limit()
    rows = parts.authority.store.audit(call.number("after", 0), min(limit + 1, PAGE_MAX))
    items = [_view(row) for row in rows[:limit]]
    is_more = len(rows) > limit or len(rows) == PAGE_MAX
    return as_json(AuditPage(items, str(items[-1].number) if is_more and items else None))


def audit_check(parts: Parts, call: Call) -> Answer:
    """Check the whole chain; the number of rows and the last hash. Raises `AuditBroken`."""
    del call
    last = b""

    def seen() -> Iterator[AuditRow]:
        nonlocal last
        for row in _rows(parts, 0):
            last = row.hash
            yield row

    count = check(seen())
    return as_json({"rows": count, "head": last.hex(), "whole": True})


def report(parts: Parts, call: Call) -> Answer:
    from_s, to_s = call.number("from", 0), call.number("to", now_s() + 1)
    if from_s >= to_s:
        raise InvalidInput("from is before to, both in seconds since 1970")
    found = compiled(parts, from_s, to_s)
    if call.query.get("format") == "html" or "text/html" in call.accept:
        return Answer(page(found).encode(), "text/html; charset=utf-8")
    return as_json(found)


def compiled(parts: Parts, from_s: int, to_s: int) -> Report:
    """The report of the acts from `from_s` on and before `to_s`."""
    certificates, acts = parts.logs.certificates, parts.logs.acts
    return made(
        # The policy that a period begins under was said in the day before, or at a later start.
        _rows(parts, _number_before(parts, from_s - POLICY_AGAIN_S)),
        from_s,
        to_s,
        made_s=now_s(),
        organization=parts.settings.name,
        profile=parts.settings.profile,
        permitted=parts.settings.permitted,
        root_sha256=hashlib.sha256(parts.root).hexdigest(),
        logs={
            certificates.identity.origin: certificates.checkpoint().decode(),
            acts.identity.origin: acts.checkpoint().decode(),
        },
        names=lambda serial: _names(parts, serial),
    )


def _names(parts: Parts, serial: int) -> tuple[str, ...]:
    kept = parts.authority.store.by_serial(serial)
    return () if kept is None else kept.names


def metrics(parts: Parts, call: Call) -> Answer:
    del call
    figures = parts.metrics
    figures.entries.labels("certificates").set(parts.logs.certificates.head.size)
    figures.entries.labels("acts").set(parts.logs.acts.head.size)
    figures.waiting.set(parts.logs.waiting)
    figures.tls_ends.set(parts.tls.not_after_s)
    return Answer(figures.text(), "text/plain; version=0.0.4; charset=utf-8")


def livez(parts: Parts, call: Call) -> Answer:
    del parts, call
    return as_json({"status": "alive"})


def readyz(parts: Parts, call: Call) -> Answer:
    """Whether it can issue: the logs take submissions, and the store answers."""
    del call
    if parts.logs.failure is not None:
        raise parts.logs.failure
    if parts.logs.waiting > WAITING_MAX:
        raise Overloaded(f"{parts.logs.waiting} submissions wait for the log")
    parts.authority.store.by_serial(1)
    return as_json({"status": "ready", "entries": parts.logs.certificates.head.size})


def _rows(parts: Parts, after: int) -> Iterator[AuditRow]:
    last = after
    while rows := parts.authority.store.audit(last, PAGE_MAX):
        yield from rows
        last = rows[-1].number


def _number_before(parts: Parts, from_s: int) -> int:
    """The number of a row before all that are of `from_s` or later: the clock may have gone back
    by less than an hour between rows."""
    low, high = 0, 1
    while parts.authority.store.audit(high, 1):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        rows = parts.authority.store.audit(middle, 1)
        if rows and rows[0].entry.at_s < from_s - 3600:
            low = middle + 1
        else:
            high = middle
    return low


def _view(row: AuditRow) -> AuditView:
    entry = row.entry
    return AuditView(
        row.number,
        entry.at_s,
        entry.actor,
        entry.kind,
        entry.subject,
        entry.document.hex(),
        row.before.hex(),
        row.hash.hex(),
    )
