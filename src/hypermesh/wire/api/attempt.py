"""Attempts to cheat as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body

CONTENT_DIGITS_MAX = 2 * 1024 * 1024
"""Hexadecimal digits: the largest block is below half of it in bytes."""


class AttemptView(msgspec.Struct, frozen=True):
    """One way to cheat: what it does, which rule must catch it, and the bytes that it would send
    (hex), which may be changed first. `unavailable` says why this node cannot try it; empty where
    it can."""

    name: str
    title: str
    what: str
    rule: str
    content: str
    unavailable: str


class AttemptPage(msgspec.Struct, frozen=True):
    """`GET /v1/attempts`: all of them."""

    items: list[AttemptView]
    next_cursor: str | None


class AttemptOrder(Body, frozen=True):
    """`POST /v1/attempts/{name}`: carry it out, with `content` (hex) in place of what it prepares
    by itself."""

    content: Annotated[str, Meta(max_length=CONTENT_DIGITS_MAX)] | None = None


class AttemptResult(msgspec.Struct, frozen=True):
    """What became of an attempt. `refused` is false where something got through; `code` and
    `reason` are the refusal's own, `rule` names what is meant to catch it, `facts` says what was
    done and seen. `height` is the block that records the refusal, where one does; `failures` names
    the proofs that were refused; `sent` are the bytes (hex)."""

    name: str
    title: str
    what: str
    facts: str
    refused: bool
    code: str
    reason: str
    rule: str
    height: int | None
    failures: list[str]
    edited: bool
    sent: str
    took_ms: float
